"""Debian's cloud kernel on the bare machine and as a guest: from its entry to its first process, and what that does (workloads.c).

Both have the same RAM, and one command line, which has the kernel execute the same instructions on both:
  clearcpuid   Bochs has no IA32_MISC_ENABLE, without which a bare Linux has no fast string instructions. One that repeats is a
               tick for each iteration, so that neither is to use them.
  tsc_early_khz  Its CPUID promises a clock that its TSC has not, with which a bare Linux's timer interrupts come too seldom.
  indirect_target_selection, spectre_bhi  Where there is a hypervisor, Linux assumes that CPUID hides these, and works around them.
  nokaslr, norandmaps  What chance decides takes some percent more or fewer. Nor has the CPU RDRAND.
"""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

from machines import ROOT, Bochs, find_bochs

SETUP_SECTS = 0x1F1  # Linux boot protocol: the 32-bit entry point is at (setup_sects + 1) * 512
CMDLINE = ("console=ttyS0,115200 quiet cryptomgr.notests "
           "clearcpuid=rep_good,erms,fsrm tsc_early_khz=100000 indirect_target_selection=off spectre_bhi=off "
           "nokaslr norandmaps")
MIB = 640  # with less than 512 there are no huge pages
SPARE_MIB = 256
TIMEOUT = 1200


def run(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def chance() -> str:
    """The CPU's features that Bochs seeds from our clock."""
    return "rdrand rdseed" if find_bochs().version >= (3, 0) else ""


def kernel() -> Path:
    """Debian's cloud kernel."""
    return Path(run(ROOT / "tools/fetch-kernel.sh"))


def initrd(work: Path) -> Path:
    """One file: the kernel's own file system has /dev/console."""
    root, image = work / "initrd", work / "workloads.img"
    root.mkdir(exist_ok=True)
    run("gcc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", root / "init", *sorted((ROOT / "tests/bench").glob("*.c")))
    with open(image, "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "+0:+0"], cwd=root, input=b"init\n", stdout=out, check=True)
    return image


def entry_stub(work: Path, vmlinuz: Path) -> Path:
    """The kernel with a 32-bit entry that only says when it was reached."""
    run("nasm", "-f", "bin", "-o", work / "stub.bin", ROOT / "tests/bench/entry_stub.asm")
    stub, kernel = (work / "stub.bin").read_bytes(), bytearray(vmlinuz.read_bytes())
    entry = (kernel[SETUP_SECTS] + 1) * 512
    kernel[entry:entry + len(stub)] = stub
    (work / "vmlinuz-stub").write_bytes(kernel)
    return work / "vmlinuz-stub"


def serial_log(work: Path, iso: Path, cpu: str, memory: int, until: str) -> str:
    # lax_msrs: a bare Linux reads IA32_MISC_ENABLE
    with Bochs(work / iso.stem, iso, cpu=cpu, memory=memory, exclude=chance(), lax_msrs=True) as machine:
        machine.expect(until, TIMEOUT, never="Kernel panic|panic: machine stopped|event=stopped")
        return machine.log


def figures(log: str, entered: int) -> dict[str, float]:
    """The boot and the workloads' medians."""
    boot = int(re.search(r"bench init=(\d+)", log)[1]) - entered
    return {"boot": boot} | {name: float(median) for name, median in re.findall(r"bench name=(\S+) median=(\S+)", log)}


def measure(build: Path, work: Path, cpu: str) -> dict:
    """{workload: {native, guest, ratio}}; "boot" is from the kernel's entry to its first process."""
    vmlinuz, image = kernel(), initrd(work)
    conf = work / "linux.conf"
    conf.write_text(f"[vm linux]\nkernel = {vmlinuz.name}\ninitrd = {image.name}\nmemory = {MIB}M\ncmdline = {CMDLINE}\n")
    for name, bare in (("entry", entry_stub(work, vmlinuz)), ("native", vmlinuz)):
        run(ROOT / "tools/mkiso.sh", work / f"{name}.iso", "linux", bare, CMDLINE, image)
    run(ROOT / "tools/mkiso.sh", "-d", vmlinuz.parent, work / "guest.iso", "trefoil", build / "boot/trefoil.elf", conf)
    entered = int(re.search("[0-9A-F]{16}", serial_log(work, work / "entry.iso", cpu, MIB, "[0-9A-F]{16}"))[0], 16)
    native = figures(serial_log(work, work / "native.iso", cpu, MIB, "bench done"), entered)
    # A guest's TSC starts with it.
    guest = figures(serial_log(work, work / "guest.iso", cpu, MIB + SPARE_MIB, "bench done"), 0)
    return {name: {"native": native[name], "guest": guest[name], "ratio": round(guest[name] / native[name], 5)} for name in native}
