"""The keys of the console multiplexer, on a machine with two guests."""
import pytest
from guest import focus, key, payload_conf


@pytest.fixture
def machine(images, boot, payload):
    conf = payload_conf("one", "echo.elf") + payload_conf("two", "echo.elf") + payload_conf("idle", "hello.elf", extra="autostart = off\n")
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo"), "hello.elf": payload("hello")}), memory=256)
    # In either order.
    machine.expect(r"(?s)vm=two event=started.*echo: ready|echo: ready.*vm=two event=started", 30)
    return machine


def test_keys_go_to_the_focused_guest(machine):
    machine.send("k")
    machine.expect(r"k", 10)
    focus(machine, "two", 2)
    machine.expect(r"echo: ready", 30)
    machine.send("\x1d\x1dz")  # twice: the key itself
    machine.expect(rb"\x1dz", 10)
    focus(machine, "one", 1)


def test_help_list_and_statistics(machine):
    key(machine, "?")
    machine.expect(r"1 to 9", 10)
    key(machine, "i")
    machine.expect(r"--- \*1 one: ", 10)
    machine.expect(r"---  2 two: ", 10)
    machine.expect(r"---  3 idle: off", 10)
    key(machine, "s")
    machine.expect(r"one", 10)


def test_stop_start_and_restart(machine):
    focus(machine, "two", 2)
    key(machine, "k")
    machine.expect(r"vm=two event=stopped cause=request", 20)
    key(machine, "b")
    machine.expect(r"vm=two event=started", 20)
    machine.expect(r"echo: ready", 20)
    key(machine, "r")
    machine.expect(r"vm=two event=stopped cause=request", 20)
    machine.expect(r"vm=two event=started", 20)
    machine.expect(r"echo: ready", 20)
    focus(machine, "idle", 3)
    key(machine, "b")
    machine.expect(r"vm=idle event=started", 20)
    machine.expect(r"payload: done", 20)


def test_power_off(machine):
    key(machine, "q")
    machine.expect(r"y to confirm", 10)
    machine.send("y")
    assert machine.wait_end(30) == "power off"


def test_the_second_serial_port(images, boot, payload):
    """console = com2: that guest has the line for itself, both ways; a second one that wants it is refused."""
    conf = payload_conf("one", "echo.elf") + payload_conf("two", "echo.elf", extra="console = com2\n") \
        + payload_conf("three", "echo.elf", extra="console = com2\n")
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo")}), memory=256, com2=True)
    machine.expect(r"vm=three event=refused key=console value=com2", 30)
    machine.expect(r"echo: ready", 30)
    machine.com2.expect(rb"echo: ready", 30 * machine.slowness)
    for letter in b"qwertyuiop" * 10:
        machine.com2.send(bytes([letter]))
        machine.com2.expect(bytes([letter]), 20 * machine.slowness)
    machine.com2.send(b"\x04")
    machine.com2.expect(rb"payload: done", 20 * machine.slowness)
    assert "qwert" not in machine.log
    machine.send("\x04")
    machine.expect(r"payload: done", 20)
