#!/usr/bin/env python3
"""Writes the seed inputs of fuzz_vlapic, fuzz_vioapic and fuzz_vpic into corpus/."""
import os
import struct

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def seed(subject, name, data):
    directory = os.path.join(CORPUS, subject)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as f:
        f.write(data)


# Local APIC: a kind, then operations as fuzz_vlapic.c's step() reads them.
def mmio(reg, value):
    return struct.pack("<BBI", 1, reg >> 4, value)


def msr(index, value):
    return struct.pack("<BBQ", 0x87, index, value)  # 0x87 % 12 is 3, and bit 7 asks for 8 bytes


def base(value):
    return struct.pack("<BI", 5, value)


def time(ticks):
    return struct.pack("<BH", 6, ticks)


ON, TAKE, EOI = mmio(0xF0, 0x1FF), bytes([8]), mmio(0xB0, 0)
seed("vlapic", "periodic", b"\x10" + ON + mmio(0x3E0, 0xB) + mmio(0x320, 0x200EC) + mmio(0x380, 1000)
     + (time(1000) + TAKE + EOI) * 3)
seed("vlapic", "nesting", b"\x30" + bytes([7, 0x41]) + TAKE + bytes([7, 0x61]) + TAKE
     + EOI + mmio(0x80, 0x40) + EOI + mmio(0x80, 0))
seed("vlapic", "ipi", b"\x03" + ON + mmio(0x310, 0x03000000) + mmio(0x300, 0x4031) + TAKE + EOI + mmio(0x300, 0x44032)
     + mmio(0x300, 0xC4500))
seed("vlapic", "x2apic", b"\x80" + base(0xFEE00C00) + msr(0x0F, 0x1FF) + msr(0x3F, 0x77) + TAKE + msr(0x0B, 0)
     + msr(0x32, 0x400EC) + msr(0x30, 0x12340000004055))
seed("vlapic", "lint", b"\x10" + ON + mmio(0x350, 0x8071) + bytes([0x8D]) + TAKE + EOI + TAKE + bytes([9]) + EOI
     + mmio(0x370, 0x99) + bytes([7, 3]) + mmio(0x280, 0))


# I/O APIC: records of six bytes.
def reg(index, value):
    return struct.pack("<BBI", 0, index, value)


def line(pin, level):
    return struct.pack("<BBI", 0x82 if level else 0x02, pin, 0)


def end(vector):
    return struct.pack("<BBI", 3, vector, 0)


seed("vioapic", "level", reg(0x22, 0x8039) + line(9, 1) + end(0x39) + line(9, 0) + end(0x39))
seed("vioapic", "edge", reg(0x18, 0x34) + line(4, 1) + line(4, 0) + reg(0x18, 0x10034) + line(4, 1))
seed("vioapic", "mask", reg(0x24, 0x1803A) + line(10, 1) + reg(0x24, 0x803A) + reg(0x24, 0x3A) + end(0x3A))


# 8259 pair: records of three bytes.
def init(chip, vector, icw4):
    return bytes([7, vector | chip, icw4])


def out(chip, port, value):
    return bytes([8 | chip, port, value])


def irq(n, level):
    return bytes([5 if level else 4, n, 0])


ACK = bytes([6, 0, 0])
PC = init(0, 0x20, 1) + init(1, 0x28, 1)
seed("vpic", "pc", PC + irq(0, 1) + ACK + out(0, 0, 0x20) + irq(12, 1) + ACK + out(1, 0, 0x20) + out(0, 0, 0x20))
seed("vpic", "level", PC + out(2, 1, 0x0E) + irq(9, 1) + ACK + out(1, 0, 0x61) + out(0, 0, 0x62) + ACK)
seed("vpic", "modes", init(0, 0x20, 0x13) + init(1, 0x28, 3) + out(0, 0, 0x80) + irq(4, 1) + ACK + out(0, 0, 0x68)
     + out(0, 1, 8) + out(0, 0, 0x0C) + bytes([0, 0, 0]) + out(0, 0, 0xC3) + irq(9, 1) + irq(10, 1) + ACK + ACK)
