#!/usr/bin/python3
"""Finishes the header of a PE32+ file that objcopy made: no time stamp, NX-compatible, its check sum.   seal-efi.py FILE"""
from __future__ import annotations

import struct
import sys
from pathlib import Path

# Offsets from the start of "PE\0\0" (Microsoft's PE Format, "COFF File Header", "Optional Header").
TIME_STAMP = 8
OPTIONAL = 24
PE32_PLUS = 0x20B
CHECK_SUM = OPTIONAL + 64
DLL_CHARACTERISTICS = OPTIONAL + 70
DYNAMIC_BASE = 0x40
NX_COMPAT = 0x100


def check_sum(data: bytes) -> int:
    """The sum of all 16-bit words with carries added in, plus the length; the field itself must be 0."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"<{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def main() -> int:
    path = Path(sys.argv[1])
    data = bytearray(path.read_bytes())
    pe = struct.unpack_from("<I", data, 0x3C)[0]
    if data[pe:pe + 4] != b"PE\0\0" or struct.unpack_from("<H", data, pe + OPTIONAL)[0] != PE32_PLUS:
        print(f"seal-efi: {path} is no PE32+ file", file=sys.stderr)
        return 1
    struct.pack_into("<I", data, pe + TIME_STAMP, 0)
    struct.pack_into("<H", data, pe + DLL_CHARACTERISTICS, DYNAMIC_BASE | NX_COMPAT)
    struct.pack_into("<I", data, pe + CHECK_SUM, 0)
    struct.pack_into("<I", data, pe + CHECK_SUM, check_sum(bytes(data)) + len(data))
    path.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
