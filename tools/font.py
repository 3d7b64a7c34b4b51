#!/usr/bin/python3
"""Makes the tables of lib/font.c from a PSF 1 console font of 8x16 pixels with a Unicode table.

    font.py FONT.psfu.gz OUTPUT

`order` is which character each glyph shows; tests/system/screen.py reads screenshots by it.
"""
from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

HEIGHT = 16
SYMBOLS = "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"  # the VGA's glyphs 0 to 31
VGA = SYMBOLS + bytes(range(32, 127)).decode() + "⌂" + bytes(range(128, 256)).decode("cp437")
# Beyond the VGA's: what is shown -> the most similar glyph that the VGA has.
MORE = dict(zip("¤¦¨©®¯³´¸¹¾ÀÁÂÃÈÊËÌÍÎÏÐÒÓÔÕ×ØÙÚÛÝÞãðõøýþ–—‘’“”…‹›€●✗", "o|\"cR-3',13AAAAEEEIIIIDOOOOx0UUUYPadooyp--''\"\".<>E\7x"))
REPLACEMENT = "\u2bbd"  # a crossed box
# The same glyph for other characters.
ALIASES = {"\xad": "-", "‐": "-", "‑": "-", "‒": "–", "―": "—", "−": "-", "‚": ",", "„": "”", "✓": "√", "✔": "√", "✘": "✗",
           "β": "ß", "μ": "µ", "∑": "Σ", "∆": "⌂", "◼": "■", "▪": "■", "◾": "■", "▶": "►", "▸": "►", "◀": "◄",
           "╭": "┌", "╮": "┐", "╯": "┘", "╰": "└", "━": "─", "┃": "│", "┏": "┌", "┓": "┐", "┗": "└", "┛": "┘", "┣": "├",
           "┫": "┤", "┳": "┬", "┻": "┴", "╋": "┼", "┄": "─", "┅": "─", "┈": "─", "┉": "─", "╌": "─", "╍": "─", "┆": "│", "┇": "│",
           "┊": "│", "┋": "│", "╎": "│", "╏": "│", "╴": "─", "╶": "─", "╵": "│", "╷": "│", "╸": "─", "╺": "─"}
# What Spleen lacks and programs print, drawn here.
DRAWN = {
    "↑": "0000183c7edb18181818181800000000", "↓": "000018181818181818db7e3c18000000",
    "→": "00000000080c06ff060c080000000000", "←": "00000000103060ff6030100000000000",
    "►": "00004060707c7e7f7e7c706040000000", "◄": "000002060e3e7efe7e3e0e0602000000",
    "▲": "000000001818183c3c3c7e7e7eff0000", "▼": "00000000ff7e7e7e3c3c3c1818180000",
    "■": "0000000000007e7e7e7e7e7e00000000", "√": "0000000f0c0c0c0c0c4c6c3c1c0c0000",
    "≤": "000000060c18306030180c06007e0000", "≥": "0000006030180c060c183060007e0000",
}


def order() -> list[str]:
    return list(VGA) + list(MORE) + [REPLACEMENT]


def read_psf(path: Path) -> dict[str, bytes]:
    data = gzip.decompress(path.read_bytes())
    magic, mode, size = struct.unpack_from("<HBB", data)
    if magic != 0x0436 or size != HEIGHT or not mode & 2:
        sys.exit(f"font: {path} is not a PSF 1 font of 16 lines with a Unicode table")
    count = 512 if mode & 1 else 256
    table = struct.unpack_from(f"<{(len(data) - 4 - count * size) // 2}H", data, 4 + count * size)
    glyphs: dict[str, bytes] = {}
    at, in_sequence = 0, False
    for code in table:
        if code == 0xffff:
            at, in_sequence = at + 1, False
        elif code == 0xfffe:
            in_sequence = True
        elif not in_sequence:
            glyphs.setdefault(chr(code), data[4 + at * size:4 + (at + 1) * size])
    return glyphs


def bitmaps(path: Path) -> list[bytes]:
    have = read_psf(path) | {c: bytes.fromhex(drawn) for c, drawn in DRAWN.items()}
    have["\0"] = have[" "]
    return [have.get(c, have[REPLACEMENT]) for c in order()]


def codes() -> dict[int, int]:
    number = {c: i for i, c in enumerate(order())}
    table = {ord(c): i for c, i in number.items() if not " " <= c <= "~" and c != "\0"}
    table |= {ord(c): number[to] for c, to in ALIASES.items()}
    return dict(sorted(table.items()))


def main() -> None:
    font, out = map(Path, sys.argv[1:])
    lines = [f"#define GLYPH_REPLACEMENT {len(order()) - 1}", "const uint8_t font_glyphs[][FONT_HEIGHT] = {"]
    lines += ["\t{ " + ", ".join(f"0x{b:02x}" for b in glyph) + " }," for glyph in bitmaps(font)]
    lines += ["};", "static const struct code codes[] = {"]
    lines += [f"\t{{ 0x{code:04x}, {glyph} }}," for code, glyph in codes().items()]
    similar = [VGA.index(c) if c in VGA else ord(c) for c in MORE.values()] + [ord("?")]
    lines += ["};", "static const uint8_t vga_similar[] = { " + ", ".join(map(str, similar)) + " };"]
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
