"""What is wrong in trefoil.conf is said by file, line and key; one VM's error costs the others nothing."""
import pytest
from guest import payload_conf

GOOD = payload_conf("good", "hello.elf", "one two") + "[trefoil]\nfocus = good\n"
ERRORS = [
    ("[vm bad]\nkernel = hello.elf\nmemory = 32M\ncolour = red\n", 4, "colour"),
    ("[vm bad]\nkernel = hello.elf\nmemory = 32Q\n", 3, "memory"),
    ("[vm bad]\nkernel = hello.elf\nmemory = 32M\nweight = 0\n", 4, "weight"),
    ("[vm bad]\nkernel = hello.elf\nmemory = 32M\non_exit = explode\n", 4, "on_exit"),
    ("[vm bad]\nmemory = 32M\n", 1, "kernel"),
]


@pytest.mark.parametrize("conf, line, key", ERRORS, ids=[key for _, _, key in ERRORS])
def test_a_broken_vm_is_refused_the_others_start(images, boot, payload, conf, line, key):
    machine = boot(images.trefoil(conf + GOOD, {"hello.elf": payload("hello")}), memory=256)
    machine.expect(rf"event=config-error file=trefoil.conf line={line} vm=bad key={key} expected=", 30)
    machine.expect(r"vm=good event=started", 30)
    machine.expect(r"payload: done", 30)
    assert "vm=bad event=created" not in machine.log


def test_a_missing_kernel_is_named(images, boot, payload):
    machine = boot(images.trefoil(payload_conf("bad", "absent.elf") + GOOD, {"hello.elf": payload("hello")}), memory=256)
    machine.expect(r"vm=bad event=refused key=kernel value=absent.elf reason=", 30)
    machine.expect(r"payload: done", 30)


@pytest.mark.parametrize("kernel", [b"", b"MZ", b"\0" * 65536, b"\x7fELF" + b"\xff" * 4092], ids=["empty", "short", "zeros", "elf"])
def test_a_file_that_is_no_kernel(images, boot, payload, kernel):
    files = {"hello.elf": payload("hello"), "bad.bin": kernel}
    machine = boot(images.trefoil(payload_conf("bad", "bad.bin") + GOOD, files), memory=256)
    machine.expect(r"vm=bad event=refused ", 30)
    machine.expect(r"payload: done", 30)


@pytest.mark.parametrize("conf", ["", "[vm", "\0\xff\n[vm a]\n"], ids=["empty", "torn", "bytes"])
def test_no_vm_left(images, boot, conf):
    machine = boot(images.trefoil(conf, {}), memory=256)
    machine.expect(r"event=refused missing=a usable VM", 30)
    machine.expect(r"event=halted", 10)
