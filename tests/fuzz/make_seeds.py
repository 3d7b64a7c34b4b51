#!/usr/bin/env python3
"""Writes the binary seeds of fuzz_multiboot2 and fuzz_acpi into tests/fuzz/corpus. The result is in the tree."""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).parent / "corpus"


def write(subject, name, data):
    folder = CORPUS / subject
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def mb2_tag(kind, body):
    return (struct.pack("<II", kind, 8 + len(body)) + body).ljust((8 + len(body) + 7) & ~7, b"\0")


def mb2(*tags):
    body = b"".join(tags) + mb2_tag(0, b"")
    return struct.pack("<II", 8 + len(body), 0) + body


def mb2_mmap(*entries):
    return mb2_tag(6, struct.pack("<II", 24, 0) + b"".join(struct.pack("<QQII", *e, 0) for e in entries))


def mb2_efi_mmap(*entries):
    return mb2_tag(17, struct.pack("<II", 48, 1) + b"".join(struct.pack("<QQQQQQ", kind, base, 0, pages, 0xF, 0)
                                                            for kind, base, pages in entries))


def mb2_screen(kind, bpp, colours):
    return mb2_tag(8, struct.pack("<QIIIBBH", 0x80000000, 4096, 800, 600, bpp, kind, 0) + colours)


def seal(table):
    table = table[:4] + struct.pack("<I", len(table)) + table[8:]
    return table[:9] + bytes([-(sum(table) - table[9]) & 0xFF]) + table[10:]


def table(signature, body):
    return seal(signature.ljust(36, b"\0") + body)


def gas(space, width, address):
    return struct.pack("<BBBBQ", space, width, 0, 0, address)


PHYS = 0x1000  # where fuzz_acpi.c puts the first byte of memory


def acpi(revision, extended):
    """A machine of one CPU: what fuzz_acpi.c takes as its input."""
    memory = b""

    def place(data):
        nonlocal memory
        at = PHYS + len(memory)
        memory += data
        return at

    dsdt = place(table(b"DSDT", b"\x08_S5_\x12\x06\x04\x0a\x05\x01\x00\x00"))
    fadt = bytearray(276 if extended else 116)
    fadt[:4] = b"FACP"
    struct.pack_into("<I", fadt, 40, dsdt)
    struct.pack_into("<II", fadt, 64, 0x604, 0)
    struct.pack_into("<I", fadt, 76, 0x608)
    fadt[91] = 4
    struct.pack_into("<I", fadt, 112, 1 << 8 | 1 << 10)
    if extended:
        fadt[116:128] = gas(1, 8, 0xCF9)
        fadt[128] = 0xF
        struct.pack_into("<Q", fadt, 140, dsdt)
        fadt[172:184] = gas(1, 16, 0x604)
        fadt[208:220] = gas(1, 32, 0x608)
    tables = [place(seal(bytes(fadt)))]
    tables.append(place(table(b"APIC", struct.pack("<II", 0xFEE00000, 1)
        + struct.pack("<BBBBI", 0, 8, 0, 0, 1)
        + struct.pack("<BBBBII", 1, 12, 2, 0, 0xFEC00000, 0)
        + struct.pack("<BBBBIH", 2, 10, 0, 9, 9, 0xF)
        + struct.pack("<BBHQ", 5, 12, 0, 0xFEE00000)
        + struct.pack("<BBHIII", 9, 16, 0, 300, 1, 7))))
    tables.append(place(table(b"HPET", struct.pack("<I", 0) + gas(0, 64, 0xFED00000) + bytes(4))))
    if extended:
        tables.append(place(table(b"SPCR", bytes(4) + gas(1, 8, 0x2F8) + struct.pack("<BBIB5sHHBBBIBII", 3, 3, 19, 7, b"",
                                                                                     0xFFFF, 0xFFFF, 0, 0, 0, 0, 0, 1843200, 0))))
        device = struct.pack("<BHBHHHHHHHHH", 0, 40, 1, 2, 38, 0, 0, 0x8000, 0, 0, 22, 34) + gas(0, 32, 0xFE030000) \
            + struct.pack("<I2s", 32, b".")
        tables.append(place(table(b"DBG2", struct.pack("<II", 44, 1) + device)))
    rsdt = place(table(b"RSDT", b"".join(struct.pack("<I", t) for t in tables)))
    xsdt = place(table(b"XSDT", b"".join(struct.pack("<Q", t) for t in tables))) if extended else 0
    rsdp = bytearray(b"RSD PTR ".ljust(36, b"\0"))
    rsdp[15] = revision
    struct.pack_into("<I", rsdp, 16, rsdt)
    if extended:
        struct.pack_into("<IQ", rsdp, 20, 36, xsdt)
    rsdp[8] = -sum(rsdp[:20]) & 0xFF
    rsdp[32] = -sum(rsdp) & 0xFF
    return b"\x01" + bytes(rsdp) + memory


def main():
    ram = (0x100000, 0x7F00000, 1)
    write("multiboot2", "least", mb2(mb2_mmap(ram)))
    write("multiboot2", "grub", mb2(
        mb2_tag(21, struct.pack("<I", 0x200000)), mb2_tag(1, b"log=debug\0"), mb2_tag(2, b"GRUB 2.06\0"),
        mb2_tag(3, struct.pack("<II", 0x1000000, 0x1000200) + b"trefoil.conf\0"),
        mb2_tag(3, struct.pack("<II", 0x2000000, 0x3000000) + b"vmlinuz quiet\0"),
        mb2_mmap((0, 0x9FC00, 1), (0x9FC00, 0x400, 2), ram, (0xFFFC0000, 0x40000, 2)),
        mb2_tag(9, struct.pack("<III", 0, 40, 0)), mb2_tag(14, b"RSD PTR ".ljust(20, b"\0")),
        mb2_tag(15, b"RSD PTR ".ljust(36, b"\0"))))
    efi_map = mb2_efi_mmap((7, 0, 160), (3, 0x100000, 1000), (4, 0x4E8000, 24), (6, 0x500000, 16), (9, 0x510000, 16))
    write("multiboot2", "uefi", mb2(
        mb2_screen(1, 32, bytes([16, 8, 8, 8, 0, 8])), mb2_tag(12, struct.pack("<Q", 0x3F9EE018)), efi_map, mb2_mmap(ram)))
    write("multiboot2", "efi-map-only", mb2(efi_map, mb2_screen(0, 8, struct.pack("<H", 2) + bytes([0, 0, 0, 255, 255, 255]))))
    write("multiboot2", "text", mb2(mb2_screen(2, 16, b""), mb2_tag(11, struct.pack("<I", 0x3F9EE018)), mb2_tag(18, b"")))
    write("acpi", "revision0", acpi(0, False))
    write("acpi", "revision2", acpi(2, True))


if __name__ == "__main__":
    main()
