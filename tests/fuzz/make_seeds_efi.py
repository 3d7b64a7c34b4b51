#!/usr/bin/python3
"""Writes the seed inputs of fuzz_efi_image and fuzz_efi_map."""
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def image() -> bytes:
    tags = struct.pack("<HHIIIII", 10, 0, 24, 0x200000, 0xFFFFFFFF, 0x200000, 1) + struct.pack("<HHI", 0, 0, 8)
    length = 16 + len(tags)
    header = struct.pack("<IIII", 0xE85250D6, 0, length, -(0xE85250D6 + length) & 0xFFFFFFFF) + tags
    elf = struct.pack("<4s12BHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, *[0] * 9, 2, 62, 1, 0xFFFFFFFF80000010, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    text = struct.pack("<IIQQQQQQ", 1, 5, 0xB0, 0xFFFFFFFF80000000, 0x200000, len(header), len(header), 16)
    data = struct.pack("<IIQQQQQQ", 1, 6, 0xB0, 0xFFFFFFFF80001000, 0x201000, 8, 0x100, 16)
    return elf + text + data + header


def memory_map(*ranges: tuple[int, int, int]) -> bytes:
    return bytes([48]) + b"".join(struct.pack("<IIQQQQQ", kind, 0, start, 0, pages, 15, 0) for kind, start, pages in ranges)


def main() -> None:
    seeds = {
        "efi_image/good": image(),
        "efi_image/cut": image()[:150],
        "efi_map/three": memory_map((7, 0, 0x9F), (3, 0x100000, 0x700), (9, 0x800000, 8)),
        "efi_map/backwards": memory_map(*((7, i << 20, 0x100) for i in range(8, 0, -1))),
    }
    for name, content in seeds.items():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
