#!/usr/bin/env python3
"""Writes the seed corpora of fuzz_vuart, fuzz_vpit, fuzz_vrtc, fuzz_vacpi and fuzz_vwatchdog (the steps of fuzz_dev.h): what drivers do."""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"
SIZES = {1: 0, 2: 1, 4: 2, 8: 3}


def rd(port, size=1, second=0):
    return bytes([SIZES[size] | second << 3, port])


def wr(port, value, size=1, second=0):
    return bytes([SIZES[size] | 4 | second << 3, port]) + value.to_bytes(size, "little")


def wait(ticks):
    return bytes([0x20]) + struct.pack("<I", ticks)


def late(ticks):
    return bytes([0x24]) + struct.pack("<I", 0) + ticks.to_bytes(5, "little")


def event(*operands):
    return bytes([0x30, *operands])


def pit(channel, mode, count, bcd=0):
    return wr(3, channel << 6 | 0x30 | mode << 1 | bcd) + wr(channel, count & 255) + wr(channel, count >> 8)


def cmos(index, value):
    return wr(0, index) + wr(1, value)


RTC_NOW = struct.pack("<qQQ", 1700000000, 3 << 30, 1 << 30)
SEEDS = {
    "vuart": {
        "probe": wr(1, 0) + rd(1) + wr(1, 15) + rd(1) + wr(4, 0x1A) + rd(6) + wr(2, 1) + rd(2) + wr(3, 0xBF) + rd(2) + wr(3, 3)
        + wr(4, 0x0B) + wr(1, 2) + rd(2) + rd(2) + wr(1, 0),
        "loop-fifo": wr(2, 7) + wr(4, 0x10) + b"".join(wr(0, i) for i in range(20)) + b"".join(rd(5) + rd(0) for _ in range(17)),
        "blocked": wr(4, 0x0B) + wr(1, 7) + event(2 | 4, 0) + wr(0, 65) + rd(5) + rd(2) + event(2, 9) + rd(2) + event(1, 40),
        "paste": wr(2, 0x81) + wr(4, 0x0B) + wr(1, 5) + event(0x60, 250) + event(0x60, 250) + (rd(2) + rd(5) + rd(0)) * 20,
    },
    "vpit": {
        "periodic": pit(0, 2, 4772) + wait(1 << 26) + wr(3, 0) + rd(0) + rd(0) + late(1 << 36) + event(),
        "one-shot": pit(0, 0, 1000) + wait(5000000) + wr(3, 0xC2) + rd(0) + rd(0) + rd(0),
        "calibrate": wr(0, 1, second=1) + pit(2, 0, 59659) + rd(0, second=1) + wait(1 << 28) + rd(0, second=1),
        "gates": b"".join(pit(2, m, 0x100, m & 1) + wr(0, 1, second=1) + wait(99999) + wr(0, 0, second=1) + wait(9999) + rd(2)
                          + wr(0, 1, second=1) for m in range(8)),
        "reload": pit(0, 3, 1001) + wait(100000) + wr(0, 7) + wr(0, 0) + wait(9000000) + wr(3, 0xE2) + rd(0) + pit(0, 4, 1) + wait(99999),
    },
    "vrtc": {
        "set": RTC_NOW + cmos(11, 0x82) + cmos(10, 0x76) + b"".join(cmos(i, 0x11) for i in (0, 2, 4, 6, 7, 8, 9, 50)) + cmos(11, 2)
        + cmos(10, 0x26) + wait(1 << 31) + wr(0, 0) + rd(1),
        "alarm": RTC_NOW + cmos(1, 0xC0) + cmos(3, 0xFF) + cmos(5, 0x22) + cmos(11, 0x22) + wait(4000000000) + wr(0, 12) + rd(1),
        "periodic": RTC_NOW + cmos(10, 0x23) + cmos(11, 0x72) + (wait(400000) + wr(0, 12) + rd(1)) * 8 + late(1 << 38) + event(),
        "12h": RTC_NOW + cmos(11, 0x00) + cmos(4, 0x92) + cmos(5, 0x81) + cmos(11, 0x24) + wait(1 << 30) + wr(0, 4) + rd(1),
    },
    "vacpi": {
        "timer": wr(2, 1, 2) + rd(8, 4) + late(1 << 39) + event() + rd(0, 8) + wr(0, 0xFFFF, 2),
        "button": wr(2, 0x120, 2) + event() + rd(0, 2) + wr(0, 0x100, 2) + rd(4, 2),
        "off": wr(4, 0x3401, 2) + wr(5, 0x34) + rd(4, 4),
        "resets": wr(0, 2, second=1) + wr(0, 6, second=1) + wr(1, 1, second=1) + wr(2, 0xFE, second=1) + rd(0, 4, second=1),
    },
    "vwatchdog": {
        "driver": rd(12, 4) + wr(12, 1, 4) + rd(8, 4) + wr(8, 3, 4) + wr(0, 300, 4) + wait(1 << 30) + wr(4, 1, 4) + rd(4, 4) + wr(8, 2, 4),
        "fires": wr(0, 1, 4) + wr(8, 1, 4) + wait(1 << 29) + rd(8, 4) + wr(8, 1, 4) + late(1 << 36) + rd(4, 4),
        "silence": event(0) + wait(0xFFFFFFFF) * 3 + event(1) + wait(0xFFFFFFFF) + event(0) + wait(0xFFFFFFFF) * 8,
        "odd": wr(0, 0, 4) + wr(0, 0xFFFFFFFF, 4) + rd(0, 8) + rd(14, 4) + rd(3, 2) + wr(8, 1) + wr(9, 1, 4) + rd(8, 4),
    },
}

for device, seeds in SEEDS.items():
    (CORPUS / device).mkdir(parents=True, exist_ok=True)
    for name, steps in seeds.items():
        (CORPUS / device / name).write_bytes(steps)
