"""The screen says what the serial line says: read from pictures, which stay in the tests' directories as PNG files."""
import re
from pathlib import Path

import pytest
from emulator import OVMF, bochs_cpus, find_bochs
from guest import payload_conf
from screen import BochsScreen, QemuScreen
from test_vmcs_check import CPU, Case, configuration, image

HOST_RIP = 0x6c16
UNMAPPED = 0xffffa00000000000
PACKAGED = "/usr/bin/bochs"
VT_X = "event=refused missing=VT-x"


@pytest.fixture
def hello(images, payload):
    """hello(options of mkiso.sh): an image that starts the payload of this name."""
    def make(*options):
        return images.trefoil(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")}, options=options)
    return make


@pytest.fixture
def packaged_bochs(monkeypatch):
    """Our own build has no VGA that OVMF can drive."""
    if not Path(PACKAGED).exists():
        pytest.skip("the package bochs is missing")
    monkeypatch.setenv("BOCHS", PACKAGED)
    find_bochs.cache_clear()
    bochs_cpus.cache_clear()
    yield
    find_bochs.cache_clear()
    bochs_cpus.cache_clear()


def serial_lines(machine):
    """What the serial line has said, from the hypervisor's first line on."""
    text = machine.log.replace("\r", "")
    return text[re.search(r"\[ *\d+\.\d+\] cpu0|refused: ", text).start():].split("\n")


def same_as_serial(machine, text, least=10):
    """The screen shows the last lines of the serial line, whole but for the breaks at its edge."""
    shown = "".join(text.split("\n")).replace(" ", "")
    wanted = [line.replace(" ", "").replace("\t", "") for line in serial_lines(machine) if line.strip()]
    assert len(wanted) >= least
    for line in wanted[-least:]:
        assert line in shown


def test_boot_in_text_mode(hello, boot):
    machine = boot(hello(), memory=256, extra=BochsScreen.options())
    screen = BochsScreen(machine)
    machine.expect(r"payload: done", 60)
    same_as_serial(machine, screen.expect("payload: done", name="boot-text"))


@pytest.mark.slow
def test_boot_on_uefi(hello, boot, packaged_bochs):
    machine = boot(hello(), memory=256, bios=OVMF, extra=BochsScreen.options(OVMF))
    screen = BochsScreen(machine)
    machine.expect(r"payload: done", 60)
    same_as_serial(machine, screen.expect("payload: done", name="boot-uefi"), 20)
    assert screen.take().size == (800, 600)


def test_colours_and_characters(images, payload, boot):
    """What a guest's program sends to a terminal: escape sequences, UTF-8, scrolling."""
    machine = boot(images.trefoil(payload_conf("a", "echo.elf"), {"echo.elf": payload("echo")}), memory=256,
                   extra=BochsScreen.options())
    screen = BochsScreen(machine)
    machine.expect(r"echo: ready", 60)
    for n in range(30):
        machine.send(f"line {n}\r\n")
        machine.expect(rf"line {n}\r?\n", 10)
    machine.send("\x1b[?25l\x1b[2J\x1b[3;5H\x1b[31mred\x1b[1;32;44m\xe9t\xe9\x1b[0m \u250c\u2500\u2510 \u20ac\x1b[7mreverse\x1b[m \x1b[95mend\x1b[m".encode())
    machine.expect(r"end\x1b\[m", 20)
    text = screen.expect("end", name="colours")
    assert text.split("\n")[2] == "    redété ┌─┐ Ereverse end"  # the VGA has no euro sign
    assert "line" not in text
    picture = screen.take()
    width = picture.width // 80

    def colours(column):
        cell = picture.crop((column * width, 2 * 16, column * width + 8, 3 * 16))
        return {tuple(c > 127 for c in colour) for _, colour in cell.getcolors()}

    black, red, green, blue, white = (False,) * 3, (True, False, False), (False, True, False), (False, False, True), (True,) * 3
    assert colours(4) == {black, red}
    assert colours(7) <= {blue, green, black} and green in colours(7)
    assert colours(16) - {black} and picture.getpixel((16 * width, 2 * 16))[0] > 127  # reverse: a light background
    assert white in colours(16) or (True, True, False) in colours(16)


def refused(machine, screen, name, least=3):
    machine.expect(re.escape(VT_X), 60)
    machine.expect(r"event=halted", 10)
    same_as_serial(machine, screen.expect("event=halted", name=name), least)


@pytest.mark.parametrize("options, name", [((), "refusal-text"), (("-v",), "refusal-framebuffer")], ids=["text", "framebuffer"])
def test_refusal(hello, boot, workdir, options, name):
    machine = boot(hello(*options), emulator="qemu", cpu="Nehalem", memory=256, extra=QemuScreen.options(workdir))
    screen = QemuScreen(machine)
    refused(machine, screen, name)
    assert (screen.take().size == (1024, 768)) == bool(options)


@pytest.mark.parametrize("machine_type", ["pc", "q35"])
def test_refusal_on_uefi(hello, boot, workdir, machine_type):
    machine = boot(hello(), emulator="qemu", cpu="Nehalem", memory=256,
                   extra=(*QemuScreen.options(workdir), "-machine", machine_type, "-bios", OVMF))
    refused(machine, QemuScreen(machine), "refusal-uefi")


@pytest.mark.parametrize("options", [(), ("-v",)], ids=["text", "framebuffer"])
def test_refusal_before_long_mode(hello, boot, workdir, options):
    machine = boot(hello(*options), emulator="qemu", cpu="qemu32", memory=256, extra=QemuScreen.options(workdir))
    screen = QemuScreen(machine)
    machine.expect(r"refused: this processor has no 64-bit long mode\r\n", 30)
    text = screen.expect("refused: this processor has no 64-bit long mode", 10, name="refusal-32bit")
    assert text.split() == "refused: this processor has no 64-bit long mode".split()  # and nothing else


@pytest.mark.parametrize("size, bits", [("640x480", 16), ("800x600", 24), ("1280x1024", 32), ("640x480", 15)])
def test_pixel_formats(hello, boot, workdir, monkeypatch, size, bits):
    """Refusals on other framebuffers, before and in long mode."""
    monkeypatch.setenv("GFXPAYLOAD", f"{size}x{bits}")
    for number, (cpu, line) in enumerate([("Nehalem", "event=halted"), ("qemu32", "no 64-bit long mode")]):
        where = workdir if not number else workdir / "2"
        machine = boot(hello("-v"), emulator="qemu", cpu=cpu, memory=256, extra=QemuScreen.options(where))
        screen = QemuScreen(machine)
        machine.expect(line, 30)
        screen.expect(line, 10, name=f"{size}x{bits}-{cpu}")
        assert "x".join(map(str, screen.take().size)) == size


def test_panic(boot, payload, workdir, hypervisor):
    conf = configuration({"victim": Case({HOST_RIP: UNMAPPED})})
    machine = boot(image(workdir, payload, hypervisor, conf), cpu=CPU, memory=256, extra=BochsScreen.options())
    screen = BochsScreen(machine)
    machine.expect(r"panic: machine stopped\r?\n", 60, never=r"(?!)")
    text = screen.expect("panic: machine stopped", name="panic")
    for word in ("panic: cpu0: #PF page fault", "it is not mapped", f"rip={UNMAPPED:016x}", "panic: cr0="):
        assert word.replace(" ", "") in text.replace(" ", "").replace("\n", "")
    assert "vmcs:" not in text  # so many lines would have scrolled the rest away
