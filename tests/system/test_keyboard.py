"""The PS/2 keyboard drives the consoles as a serial line does, and with the screen it needs no line at all."""
import re

import pytest
from emulator import BIOS, OVMF
from guest import payload_conf
from rfb import DISPLAY, Rfb
from screen import BochsScreen

EITHER_ORDER = r"(?s)vm=two event=started.*echo: ready|echo: ready.*vm=two event=started"


@pytest.fixture
def iso(images, payload):
    """iso(further configuration, names of guests...)"""
    def make(head: str = "", *names: str):
        conf = head + "".join(payload_conf(name, "echo.elf") for name in names or ("one", "two"))
        return images.trefoil(conf, {"echo.elf": payload("echo")})
    return make


@pytest.fixture
def machine(iso, boot):
    machine = boot(iso(), memory=128, extra=BochsScreen.options())
    machine.expect(EITHER_ORDER, 60)
    return machine


@pytest.mark.parametrize("bios", [BIOS, OVMF], ids=["bios", "uefi"])
def test_typing(iso, boot, bios):
    """As the BIOS and as UEFI leave keyboard and controller."""
    machine = boot(iso(), memory=256, bios=bios, extra=(DISPLAY,))
    display = Rfb(machine)
    machine.expect(EITHER_ORDER, 150)
    for letter in "hello, Hello, World! a|b > c_d":  # one by one: the keyboard holds 16 codes, and its time is not ours
        display.type(letter)
        machine.expect(re.escape(letter), 10)
    for keys, answer in ((["Up"], "\x1b[A"), (["F1"], "\x1b[[A"), (["F12"], "\x1b[24~"), (["Delete"], "\x1b[3~"), (["BackSpace"], "\x7f"),
                         (["Alt", "x"], "\x1bx"), (["Control", "c"], "\x03"), (["Return"], "\r"), (["Home"], "\x1b[1~")):
        display.press(*keys)
        machine.expect(re.escape(answer), 10)
    display.press("Control", "d")
    machine.expect(r"payload: done", 10)


def test_the_multiplexers_keys(machine):
    display = BochsScreen(machine)
    display.type("\x1d?")
    machine.expect(r"Ctrl-\] and then:", 10)
    display.type("\x1d2")
    machine.expect(r"--- console: two ", 10)
    display.press("Control", "Alt", "Delete")  # nobody's
    display.type("z")
    machine.expect(r"z", 10)
    display.type("\x1dq")
    machine.expect(r"y to confirm", 10)
    display.type("y")
    assert machine.wait_end(30) == "power off"


@pytest.mark.parametrize("line, head, reason", [("", "", "no UART answers"),
                                                ("com1", "[trefoil]\nserial = none\n", "the configuration says so")])
def test_screen_and_keyboard_alone(iso, boot, line, head, reason):
    machine = boot(iso(head, "one"), memory=128, line=line, extra=BochsScreen.options())
    display = BochsScreen(machine)
    display.expect("echo: ready", 60)
    typed = ""
    for letter in "abcdefghi":  # with the list in between, until nothing of the log is left on the screen
        display.type("\x1di" + letter)
        typed += letter
        text = display.expect("\n" + typed, 20)
    assert "--- *1 one: running" in text and "event=" not in text
    display.type("\x1d0")  # it comes back, and what was before the console, too
    log = display.expect("event=started", 20, name="log").replace("\n", "")
    assert f"event=no-serial reason={reason}" in log and "event=ready vms=1" in log
    display.type("\x1dqy")
    assert machine.wait_end(30) == "power off"


def test_no_screen_by_configuration(iso, boot):
    """screen = off: nothing more appears there, and the line goes on."""
    machine = boot(iso("[trefoil]\nscreen = off\n"), memory=128, extra=BochsScreen.options())
    display = BochsScreen(machine)
    machine.expect(EITHER_ORDER, 60)
    text = display.expect("event=boot", 20)
    assert "echo: ready" not in text and "event=ready" not in text
    display.type("x")
    machine.expect(r"x", 10)
