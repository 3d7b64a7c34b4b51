"""Looks at a machine's screen: takes a picture of it, keeps that as a PNG in the test's directory, and reads the text.

    screen = BochsScreen(machine)            # of boot(iso, extra=BochsScreen.options())
    screen.expect("event=ready")             # waits until that text is on the screen

A framebuffer is read by our own font, which must match to the pixel; a VGA text page by the font of the VGA's BIOS.
"""
from __future__ import annotations

import functools
import hashlib
import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tools"))

import font  # noqa: E402
from emulator import OVMF, Bochs, Emulator, ExpectError  # noqa: E402
from rfb import DISPLAY, Rfb  # noqa: E402

Image = pytest.importorskip("PIL.Image", reason="python3-pil is missing: tools/setup.sh test")

FONT = Path("/usr/share/consolefonts/spleen-8x16.psfu.gz")
VGA_BIOS = Path("/usr/share/vgabios/vgabios.bin")
VGA_A = bytes.fromhex("0000 1038 6cc6 c6fe c6c6 c6c6 0000 0000")  # how the VGA's letter A begins its font
HEIGHT = 16
TEXT_HEIGHT = 400  # of a text mode of 25 lines; no framebuffer of ours has it
LOOK_SECONDS = 0.3
UPDATE_SECONDS = 1


@functools.cache
def our_font() -> dict[bytes, str]:
    """Bitmap -> character. Of several with one bitmap the first counts, and a blank is a space."""
    glyphs: dict[bytes, str] = {bytes(HEIGHT): " "}
    order, bitmaps = font.order(), font.bitmaps(FONT)
    for i in [*range(32, 127), *range(len(order))]:
        glyphs.setdefault(bitmaps[i], order[i])
    return glyphs


@functools.cache
def vga_font() -> dict[bytes, str]:
    data = VGA_BIOS.read_bytes()
    start = data.index(VGA_A) - ord("A") * HEIGHT
    glyphs: dict[bytes, str] = {bytes(HEIGHT): " "}
    for i in [*range(32, 127), *range(256)]:
        glyphs.setdefault(data[start + i * HEIGHT:start + (i + 1) * HEIGHT], font.VGA[i])
    return glyphs


def read_cells(image, glyphs: dict[bytes, str], width: int, scale: int = 1) -> list[str]:
    """The lines of text on a picture of cells of width * 16 pixels, of which the first 8 hold the glyph. A cell that
    shows nothing known is `\\ufffd`."""
    image = image.convert("RGB")
    if scale > 1:
        image = image.resize((image.width // scale, image.height // scale), Image.NEAREST)
    pixels = image.quantize(256, dither=Image.Dither.NONE)  # only equality counts
    data, stride = pixels.tobytes(), pixels.width
    known: dict[bytes, str] = {}
    lines = []
    for top in range(0, pixels.height - HEIGHT + 1, HEIGHT):
        line = []
        for left in range(0, stride - width + 1, width):
            cell = b"".join(data[(top + y) * stride + left:(top + y) * stride + left + 8] for y in range(HEIGHT))
            if cell not in known:
                known[cell] = read_cell(cell, glyphs)
            line.append(known[cell])
        lines.append("".join(line).rstrip())
    return lines


def read_cell(cell: bytes, glyphs: dict[bytes, str]) -> str:
    colours = sorted(set(cell), key=cell.count, reverse=True)
    if len(colours) == 1:
        return " "
    if len(colours) > 2:
        return "\ufffd"
    for ink in reversed(colours):  # mostly there is more background than ink
        bitmap = bytes(sum((cell[y * 8 + x] == ink) << 7 - x for x in range(8)) for y in range(HEIGHT))
        if bitmap in glyphs:
            return glyphs[bitmap]
    return "\ufffd"


def read_text(image) -> list[str]:
    """A text mode of 25 lines has 400 lines of pixels; to who comes late Bochs shows it in the upper part of 480. The
    framebuffers of these sizes are told from it by their font."""
    texts = []
    if image.height in (400, 480) and image.width in (640, 720):
        texts.append(read_cells(image, vga_font(), image.width // 80))
    if image.height != 400:
        texts.append(read_cells(image, our_font(), 8, 2 if image.width >= 2560 else 1))
    return min(texts, key=lambda lines: "".join(lines).count("\ufffd"))


class Screen:
    """What the kinds of screen have in common: take() returns the picture as it is now."""

    def __init__(self, machine: Emulator):
        self.machine = machine

    def take(self):
        raise NotImplementedError

    def text(self) -> str:
        return "\n".join(read_text(self.take()))

    def keep(self, name: str) -> Path:
        """Saves the picture for people to look at."""
        path = self.machine.workdir / f"{name}.png"
        self.take().save(path)
        return path

    def expect(self, text: str, timeout: float = 30, name: str = "screen") -> str:
        """Waits until the screen shows `text`, in which lines may be broken at the screen's edge; keeps the picture. Returns
        the whole text."""
        end = time.monotonic() + timeout * self.machine.slowness
        while True:
            image = self.take()
            lines = read_text(image)
            if text in "\n".join(lines) or text.replace(" ", "") in "".join(lines).replace(" ", ""):
                image.save(self.machine.workdir / f"{name}.png")
                return "\n".join(lines)
            if time.monotonic() > end:
                image.save(self.machine.workdir / f"{name}.png")
                raise ExpectError(f"not on the screen: {text!r}\n" + "\n".join(lines))
            time.sleep(LOOK_SECONDS)


ENCODING_RAW, ENCODING_DESKTOP_SIZE = 0, -223
BGR233, RGB332 = ((0, 7), (3, 7), (6, 3)), ((5, 7), (2, 7), (0, 3))  # red, green, blue: shift, greatest value
HEADER_BAR, STATUS_BAR = 32, 18  # above and below the machine's screen in Bochs's window: buttons, lights


class BochsScreen(Screen, Rfb):
    """The screen of a Bochs with the display library rfb; its keyboard, too (rfb.py)."""

    @staticmethod
    def options(bios: str | None = None) -> tuple[str, ...]:
        """What boot() needs as `extra`."""
        # OVMF can drive no other VGA of Bochs; its graphics mode has more colours than Bochs's RFB server likes, which
        # works all the same once it is told to go on.
        graphics = ("vga: extension=cirrus", "pci: enabled=1, chipset=i440fx, slot1=cirrus", "panic: action=fatal, rfb=report")
        return (DISPLAY, *(graphics if bios == OVMF else ()))

    def __init__(self, machine: Bochs):
        Screen.__init__(self, machine)
        self._buffer = bytearray()
        self._image = None
        self._updates = 0
        self._changed = threading.Condition()
        Rfb.__init__(self, machine)

    def _drain(self) -> None:
        """Pictures come although nobody asks for them, and Bochs stands still if nobody takes them."""
        try:
            self._socket.sendall(struct.pack(">BxHii", 2, 2, ENCODING_RAW, ENCODING_DESKTOP_SIZE))
            self._image = Image.new("L", (self.width, self.height))
            while True:
                kind = self._receive(1)[0]
                if kind == 0:
                    self._update()
                elif kind == 3:  # cut text
                    self._receive(struct.unpack(">xxxI", self._receive(7))[0])
        except OSError:
            pass

    def _receive(self, n: int) -> bytes:
        while len(self._buffer) < n:
            chunk = self._socket.recv(1 << 20)
            if not chunk:
                raise OSError("Bochs has closed its screen")
            self._buffer += chunk
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    def _update(self) -> None:
        for _ in range(struct.unpack(">xH", self._receive(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self._receive(12))
            data = self._receive(width * height) if encoding == ENCODING_RAW else None
            with self._changed:
                if encoding == ENCODING_DESKTOP_SIZE:
                    self.width, self.height = width, height
                    self._image = Image.new("L", (width, height))
                else:
                    self._image.paste(Image.frombytes("L", (width, height), data), (x, y))
                self._updates += 1
                self._changed.notify_all()

    def take(self):
        with self._changed:
            before = self._updates
            self._socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
            self._changed.wait_for(lambda: self._updates > before, UPDATE_SECONDS)
            picture = self._image.crop((0, HEADER_BAR, self.width, self.height - STATUS_BAR))
        # Its pixels are said to be BGR233, and are so where Bochs has converted them; a palette gives RGB332.
        text = picture.height == TEXT_HEIGHT or not picture.crop((0, TEXT_HEIGHT, *picture.size)).getbbox()
        fields = RGB332 if text else BGR233
        return Image.merge("RGB", [picture.point([round(255 * (v >> shift & most) / most) for v in range(256)])
                                   for shift, most in fields])


class QemuScreen(Screen):
    """The screen of a QEMU, by its machine protocol (QMP)."""

    @staticmethod
    def options(workdir: Path) -> tuple[str, ...]:
        """What boot() needs as `extra`."""
        return ("-qmp", f"unix:{QemuScreen._path(workdir)},server=on,wait=off")

    @staticmethod
    def _path(workdir: Path) -> str:
        # Not in `workdir` itself, as a socket's path must be short.
        return f"/tmp/trefoil-{hashlib.sha256(str(workdir.resolve()).encode()).hexdigest()[:16]}.qmp"

    def __init__(self, machine: Emulator):
        super().__init__(machine)
        path = self._path(machine.workdir)
        for _ in range(100):
            try:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.connect(path)
                break
            except OSError:
                time.sleep(0.1)
        Path(path).unlink(missing_ok=True)
        self._file = self._socket.makefile("rw")
        self._answer()
        self.command("qmp_capabilities")

    def _answer(self) -> dict:
        while True:
            answer = json.loads(self._file.readline())
            if "event" not in answer:
                return answer

    def command(self, name: str, **arguments) -> dict:
        self._file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._file.flush()
        answer = self._answer()
        if "error" in answer:
            raise ExpectError(f"QEMU: {answer['error']['desc']}")
        return answer["return"]

    def take(self):
        path = self.machine.workdir / "screendump.png"
        self.command("screendump", filename=str(path), format="png")
        with Image.open(path) as image:
            return image.convert("RGB")
