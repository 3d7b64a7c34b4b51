"""A machine that cannot run Trefoil is told so in one line, and stops."""
import pytest
from guest import payload_conf

BOCHS = [
    ("p4_prescott_celeron_336", "VT-x"),
    ("core2_penryn_t9600", "EPT"),
    ("corei5_lynnfield_750", "unrestricted guest"),
    ("core_duo_t2400_yonah", "64-bit long mode"),
    ("ryzen", "an Intel CPU"),
]


@pytest.fixture
def iso(images, payload):
    return images.trefoil(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})


def refused(machine, reason):
    """Before there is a log, the line is "refused: ..."; later it is an event, with an advice behind it."""
    line = machine.expect(r"(?:refused: |event=refused missing=)([^\r\n]*)\r?\n", 30)
    assert reason in line[1].decode()
    if b"event=" in line[0]:
        machine.expect(r"event=advice text=\S", 10)
        machine.expect(r"event=halted", 10)
    assert "panic" not in machine.log
    assert "event=created" not in machine.log


@pytest.mark.parametrize("cpu, reason", BOCHS)
def test_cpu(iso, boot, cpu, reason):
    refused(boot(iso, cpu=cpu, memory=128), reason)


def test_vmx_taken_away(iso, boot):
    refused(boot(iso, exclude="vmx", memory=128), "VT-x")


@pytest.mark.parametrize("cpu, reason", [("Nehalem", "VT-x"), ("qemu64", "an Intel CPU")])
def test_qemu_without_vtx(iso, boot, cpu, reason):
    refused(boot(iso, emulator="qemu", cpu=cpu, memory=256), reason)


def test_memory_for_no_guest(images, boot, payload):
    """Enough for Trefoil, too little for the guest: that VM is refused, with the reason."""
    iso = images.trefoil(payload_conf("a", "hello.elf", memory="1G") + payload_conf("b", "hello.elf", memory="16M"),
                         {"hello.elf": payload("hello")})
    machine = boot(iso, memory=128)
    machine.expect(r"vm=a event=refused [^\r\n]*memory", 30)
    machine.expect(r"vm=b event=started", 30)
    machine.expect(r"payload: done", 30)


def test_too_little_memory(iso, boot):
    refused(boot(iso, memory=16), "memory")
