#!/usr/bin/env python3
"""Writes the seeds of fuzz_load into the directory load/ beside this file: one small valid kernel per format."""
import struct
from pathlib import Path

out = Path(__file__).parent / "load"
MiB = 1 << 20
AUTO, LINUX, MULTIBOOT, MULTIBOOT2, EXTRA, MORE_RAM = 0, 1, 2, 3, 4, 8


def linux() -> bytes:
    k = bytearray(0x400 + 0x300)
    k[0x1F1] = 1
    for at, form, value in ((0x1F4, "I", 0x30), (0x1FE, "H", 0xAA55), (0x200, "H", 0x6AEB), (0x202, "4s", b"HdrS"),
                            (0x206, "H", 0x20F), (0x211, "B", 1), (0x22C, "I", 0x7FFFFFFF), (0x230, "I", MiB),
                            (0x234, "B", 1), (0x236, "H", 1), (0x238, "I", 255), (0x258, "Q", MiB), (0x260, "I", 0x1000)):
        struct.pack_into("<" + form, k, at, value)
    return bytes(k)


def multiboot(flags: int, body: bytes = b"") -> bytes:
    return struct.pack("<III", 0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF) + body


def elf32() -> bytes:
    return (b"\x7fELF\1\1\1".ljust(16, b"\0") + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, MiB + 16, 52, 0, 0, 52, 32, 1, 0, 0, 0)
            + struct.pack("<8I", 1, 0, MiB, MiB, 0x80, 0x1000, 7, 4096))


def elf64() -> bytes:
    return (b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, MiB + 16, 64, 0, 0, 64, 56, 1, 0, 0, 0)
            + struct.pack("<IIQQQQQQ", 1, 7, 0, MiB, MiB, 0x80, 0x1000, 4096))


def tag(kind: int, flags: int, body: bytes = b"") -> bytes:
    t = struct.pack("<HHI", kind, flags, 8 + len(body)) + body
    return t + bytes(-len(t) % 8)


def multiboot2(*tags: bytes) -> bytes:
    body = b"".join(tags) + tag(0, 0)
    n = 16 + len(body)
    return struct.pack("<IIII", 0xE85250D6, 0, n, -(0xE85250D6 + n) & 0xFFFFFFFF) + body


seeds = {
    "linux": (LINUX | EXTRA | MORE_RAM, linux()),
    "mb1-flat": (AUTO, multiboot(0x10003, struct.pack("<5I", MiB, MiB, 0, MiB + 0x1000, MiB + 32)) + bytes(64)),
    "mb1-elf32": (MULTIBOOT | EXTRA, (elf32() + multiboot(3)).ljust(256, b"\x90")),
    "mb1-elf64": (MULTIBOOT, elf64() + multiboot(0).ljust(64, b"\x90")),
    "mb2-elf32": (MULTIBOOT2 | EXTRA, elf32().ljust(88, b"\0") + multiboot2(
        tag(1, 0, struct.pack("<4I", 1, 4, 6, 15)), tag(4, 1, struct.pack("<I", 3)), tag(6, 0),
        tag(10, 0, struct.pack("<4I", 2 * MiB, 3 * MiB, 4096, 2)))),
    "mb2-flat": (MULTIBOOT2, multiboot2(tag(2, 0, struct.pack("<4I", MiB, MiB, 0, 0)), tag(3, 0, struct.pack("<I", MiB + 8)))),
}
out.mkdir(exist_ok=True)
for name, (choice, kernel) in seeds.items():
    (out / name).write_bytes(bytes([choice]) + kernel)
