"""The disk of the outer machine: Debian's cloud kernel with KVM's modules, busybox and Debian's QEMU with its firmware.

The parts that are the same each time are kept in the user's cache, beside the kernel that tools/fetch-kernel.sh keeps.
"""
from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

from emulator import CACHE, EmulatorError

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
QEMU = "/usr/bin/qemu-system-x86_64"
FIRMWARE = ["/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/qemu/kvmvapic.bin",
            "/usr/share/qemu/keymaps/en-us", "/usr/lib/ipxe/qemu/efi-e1000.rom", "/usr/lib/ipxe/qemu/efi-e1000e.rom",
            "/usr/share/ovmf/OVMF.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"]
MODULES = ["virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-intel.ko"]

SECTOR = 512
CYLINDER = 16 * 63 * SECTOR
LOADER_FIELDS = 376  # loader.asm
START_INFO, KERNEL, INITRD = 0x10000, 0x1000000, 0x8000000
# With AVX-512 a nested guest's XSAVE fails.
CMDLINE = "console=ttyS0,115200 quiet no_timer_check cryptomgr.notests random.trust_cpu=on panic=1 clearcpuid=avx512f"

NOTE_PHYS32_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY, "PVH"
HVM_START_MAGIC = 0x336EC578
E820_RAM, E820_RESERVED, E820_ACPI = 1, 2, 3


def run(*command: object, **options) -> bytes:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if done.returncode:
        raise EmulatorError(f"{command[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def vmlinux(bzimage: bytes) -> bytes:
    """The ELF image in a kernel image (Linux boot protocol: payload_offset, payload_length)."""
    setup_sectors = bzimage[0x1F1]
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    payload = bzimage[(setup_sectors + 1) * SECTOR + offset:][:length]
    tool = "lz4" if payload[:4] == bytes.fromhex("02214c18") else "xz"
    elf = run(tool, "-d", "-c", input=payload[:-4])
    if len(elf) != struct.unpack("<I", payload[-4:])[0]:
        raise EmulatorError("the kernel's payload does not unpack")
    return elf


def flatten(elf: bytes) -> tuple[bytes, int]:
    """An ELF image as it lies in memory from KERNEL on, and its PVH entry."""
    table, = struct.unpack_from("<Q", elf, 32)
    count, = struct.unpack_from("<H", elf, 56)
    image, entry = bytearray(), 0
    for i in range(count):
        kind, _, offset, _, physical, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", elf, table + 56 * i)
        if kind == 1:  # PT_LOAD
            image.extend(bytes(max(0, physical - KERNEL + in_memory - len(image))))
            image[physical - KERNEL:physical - KERNEL + in_file] = elf[offset:offset + in_file]
        elif kind == 4:  # PT_NOTE
            end = offset + in_file
            while offset < end:
                name_size, size, note = struct.unpack_from("<III", elf, offset)
                value = offset + 12 + (name_size + 3) // 4 * 4
                if note == NOTE_PHYS32_ENTRY and elf[offset + 12:][:3] == b"Xen":
                    entry, = struct.unpack_from("<I", elf, value)
                offset = value + (size + 3) // 4 * 4
    if not entry:
        raise EmulatorError("the kernel has no PVH entry")
    return bytes(image), entry


def archive(root: Path, out: Path) -> None:
    with open(out, "wb") as to:
        subprocess.run("find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --quiet -R +0:+0", shell=True, cwd=root,
                       stdout=to, check=True)


def populate(root: Path, kernel_tree: Path) -> None:
    """The outer Linux's file system."""
    for name in ("bin", "dev", "etc", "host", "lib64", "modules", "proc", "sys", "tmp", "var/tmp"):
        (root / name).mkdir(parents=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")  # QEMU's display looks it up
    shutil.copy2(HERE / "init", root / "init")
    (root / "init").chmod(0o755)
    busybox = shutil.which("busybox")
    if not busybox:
        raise EmulatorError("busybox is missing: tools/setup.sh nested")
    shutil.copy2(busybox, root / "bin/busybox")
    for applet in run(busybox, "--list").decode().split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    for module in MODULES:
        source, = kernel_tree.glob(f"lib/modules/*/kernel/{module}")
        # Without its signature too: checking that costs half a thousand million instructions.
        run("strip", "-g", "-o", root / "modules" / source.name, source)
    libraries = re.findall(r"(/\S+) \(0x", run("ldd", QEMU).decode())
    for file in [QEMU, *libraries, *FIRMWARE]:
        target = root / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)


def base() -> tuple[int, bytes, bytes]:
    """The parts that stay: the kernel's entry, its memory image, and the archive of its files."""
    if missing := [file for file in [QEMU, *FIRMWARE] if not Path(file).exists()]:
        raise EmulatorError(f"{missing[0]} is missing: tools/setup.sh nested")
    kernel = Path(run(TOP / "tools/fetch-kernel.sh").decode().strip())
    key = hashlib.sha256((HERE / "init").read_bytes() + (HERE / "image.py").read_bytes())
    for file in [kernel, QEMU, *FIRMWARE]:
        key.update(f"{file} {os.stat(file).st_size} {os.stat(file).st_mtime_ns}\n".encode())
    nested = CACHE / "nested"
    done = nested / key.hexdigest()[:16]
    nested.mkdir(parents=True, exist_ok=True)
    with open(nested / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            for old in [entry for entry in nested.iterdir() if entry.is_dir()]:
                shutil.rmtree(old)
            work = nested / "work"
            populate(work / "root", kernel.parent.parent)
            archive(work / "root", work / "base.cpio")
            shutil.rmtree(work / "root")
            image, entry = flatten(vmlinux(kernel.read_bytes()))
            (work / "kernel.bin").write_bytes(image)
            (work / "entry").write_text(str(entry))
            work.rename(done)
        # Under the lock: another version of this file may replace them.
        return int((done / "entry").read_text()), (done / "kernel.bin").read_bytes(), (done / "base.cpio").read_bytes()


def start_info(memory: int, initrd_size: int, cmdline: str) -> bytes:
    """PVH's start info with its memory map, module list and command line behind it. memory in bytes."""
    bios_tables = memory - 0x10000  # where the Bochs BIOS puts its ACPI tables
    memory_map = [(0, 0x9F000, E820_RAM), (0x9F000, 0x1000, E820_RESERVED), (0xE8000, 0x18000, E820_RESERVED),
                  (0x100000, bios_tables - 0x100000, E820_RAM), (bios_tables, 0x10000, E820_ACPI),
                  (0xFFFC0000, 0x40000, E820_RESERVED)]
    map_at = START_INFO + 56
    modules_at = map_at + 24 * len(memory_map)
    cmdline_at = modules_at + 32
    info = struct.pack("<IIIIQQQQII", HVM_START_MAGIC, 1, 0, 1, modules_at, cmdline_at, 0, map_at, len(memory_map), 0)
    for address, size, kind in memory_map:
        info += struct.pack("<QQII", address, size, kind, 0)
    info += struct.pack("<QQQQ", INITRD, initrd_size, 0, 0)
    return info + cmdline.encode() + b"\0"


def make_disk(out: Path, files: dict[str, Path], memory: int, ips: int) -> None:
    """A disk whose Linux has `files`, name -> file, in /host. memory in MiB."""
    entry, kernel, system = base()
    work = out.with_suffix(".files")
    shutil.rmtree(work, ignore_errors=True)
    for name, file in files.items():
        target = work / "host" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (work / "host").mkdir(parents=True, exist_ok=True)
    extra = out.with_suffix(".cpio")
    archive(work, extra)
    shutil.rmtree(work)
    sector = bytearray(run("nasm", "-f", "bin", "-o", "/dev/stdout", HERE / "loader.asm"))
    # Linux takes archives that follow each other, aligned to four bytes.
    own = extra.read_bytes()
    sizes = [(len(data) + SECTOR - 1) // SECTOR * SECTOR for data in (system, own)]
    info = start_info(memory << 20, sum(sizes), f"{CMDLINE} tsc_early_khz={ips // 1000}")
    chunks = [(START_INFO, info), (KERNEL, kernel), (INITRD, system), (INITRD + sizes[0], own)]
    struct.pack_into("<II", sector, LOADER_FIELDS, entry, START_INFO)
    with open(out, "wb") as disk:
        position = 64
        for i, (address, data) in enumerate(chunks):
            sectors = (len(data) + SECTOR - 1) // SECTOR
            struct.pack_into("<III", sector, LOADER_FIELDS + 8 + 12 * i, position, sectors, address)
            disk.seek(position * SECTOR)
            disk.write(data)
            position += sectors
        disk.seek(0)
        disk.write(sector)
        disk.truncate((position * SECTOR + CYLINDER - 1) // CYLINDER * CYLINDER)
    extra.unlink()
    Path(f"{out}.lock").unlink(missing_ok=True)  # of a run that was killed
