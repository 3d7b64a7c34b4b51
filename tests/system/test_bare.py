"""The ground the other tests stand on: the same kernels on the emulator itself, without a hypervisor."""
from guest import CLOUD_BOOT, Shell


def test_linux_on_the_bare_machine(images, boot, kernel, initrd):
    iso = images.native("linux", kernel, "console=ttyS0,115200 cryptomgr.notests quiet", initrd("bare"))
    machine = boot(iso, memory=256, lax_msrs=True)
    shell = Shell(machine, "bare")
    shell.wait(CLOUD_BOOT)
    assert shell.run("echo $((6 * 7)); hostname") == "42\nbare"
    machine.send("poweroff -f\r")
    assert machine.wait_end(30) == "power off"


def test_payload_on_the_bare_machine(images, boot, payload):
    machine = boot(images.native("multiboot", payload("hello"), "exit=spin one two"), memory=64)
    machine.expect(r"one two", 30)
    machine.expect(r"payload: done", 30)
