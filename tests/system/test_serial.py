"""Which serial line is used, and that a machine without the usual one is as good."""
import re

import pytest
from guest import echo_answers, payload_conf
from test_refusals import refused


@pytest.fixture
def iso(images, payload):
    """iso(further configuration, ...): the payload `echo`, and one that ends by itself."""
    def make(head: str = "", extra: str = ""):
        conf = head + payload_conf("one", "echo.elf", extra=extra) + payload_conf("two", "hello.elf")
        return images.trefoil(conf, {"echo.elf": payload("echo"), "hello.elf": payload("hello")})
    return make


@pytest.mark.parametrize("line, port", [("com2", "2f8"), ("com3", "3e8"), ("com4", "2e8")])
def test_the_first_port_that_answers(iso, boot, line, port):
    """The interrupts of the third and fourth port are not known, so they are polled."""
    machine = boot(iso(), memory=128, line=line)
    machine.expect(rf"event=serial port=0x{port} found=port", 30)
    machine.expect(r"echo: ready", 30)
    echo_answers(machine)
    assert machine.log.count("event=boot") == 1


def test_the_console_has_com2(iso, boot):
    machine = boot(iso(extra="console = com2\n"), memory=128, line="com2")
    machine.expect(r"vm=one event=refused key=console value=com2 reason=the second serial port is the console's", 30)
    machine.expect(r"payload: done", 30)


def test_another_port_by_configuration(iso, boot):
    """What was logged before is repeated on the new line, and the old one falls silent."""
    machine = boot(iso(head="[trefoil]\nserial = 0x2f8\n"), memory=128, com2=True)
    machine.expect(r"event=ioapic ", 30)
    line = machine.com2
    for pattern in (rb"event=boot", rb"event=ioapic ", rb"event=serial port=0x2f8 found=configuration", rb"echo: ready"):
        line.expect(pattern, 30 * machine.slowness)
    line.send(b"x")
    line.expect(rb"x", 20 * machine.slowness)
    line.send(b"\x04")
    line.expect(rb"payload: done", 20 * machine.slowness)
    assert "found=configuration" not in machine.log
    assert "echo: ready" not in machine.log


def test_a_port_that_is_not_there(iso, boot):
    machine = boot(iso(head="[trefoil]\nserial = 0x2f8\n"), memory=128)
    machine.expect(r"event=serial-absent port=0x2f8", 30)
    machine.expect(r"echo: ready", 30)
    echo_answers(machine)


def test_no_line_by_configuration(iso, boot):
    """The first port falls silent, and the second is free for a guest."""
    machine = boot(iso(head="[trefoil]\nserial = none\n", extra="console = com2\n"), memory=128, com2=True)
    machine.expect(r"event=no-serial reason=the configuration says so\r\n", 30)
    machine.com2.expect(rb"echo: ready", 30 * machine.slowness)
    machine.com2.send(b"y")
    machine.com2.expect(rb"y", 20 * machine.slowness)
    machine.com2.send(b"\x04")
    machine.com2.expect(rb"payload: done", 20 * machine.slowness)
    assert machine.log.endswith("reason=the configuration says so\r\n")


def test_flood_on_a_polled_line(images, boot, payload):
    """No byte is lost, in either direction, where no interrupt comes."""
    conf = payload_conf("one", "echo.elf")
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo")}), memory=128, line="com3")
    machine.expect(r"echo: ready\r?\n", 30)
    text = bytes(b"abcdefghijklmnopqrstuvwxyz"[i % 26] for i in range(500))
    for at in range(0, len(text), 10):
        machine.send(text[at:at + 10])
        machine.expect(re.escape(text[at:at + 10]), 20)


@pytest.mark.parametrize("card, more", [("pci-serial,chardev=line", ()),
                                        ("pci-serial-2x,chardev1=line,chardev2=other", ("-chardev", "null,id=other"))])
def test_refusal_on_a_pci_card(iso, boot, card, more):
    machine = boot(iso(), emulator="qemu", cpu="Nehalem", memory=256, card=card, extra=more)
    refused(machine, "VT-x")
    assert "found=pci" in machine.log and "event=boot" in machine.log
