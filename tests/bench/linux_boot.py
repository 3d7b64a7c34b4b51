"""How long Debian's cloud kernel takes from its entry to its init, as a guest and on the bare machine, in instructions."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

from machines import ROOT, Bochs

SETUP_SECTS = 0x1F1  # Linux boot protocol: the 32-bit entry point is at (setup_sects + 1) * 512
CMDLINE = "console=ttyS0,115200 quiet cryptomgr.notests random.trust_cpu=on trefoil.run=tsc"


def run(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def last_match(work: Path, iso: Path, cpu: str, pattern: str) -> re.Match:
    # lax_msrs: a bare Linux reads IA32_MISC_ENABLE, which Bochs has not
    with Bochs(work / iso.stem, iso, cpu=cpu, memory=768, lax_msrs=True) as machine:
        return machine.expect(pattern, 300)


def measure(build: Path, work: Path, cpu: str) -> dict:
    vmlinuz = Path(run(ROOT / "tools/fetch-kernel.sh"))
    run("gcc", "-O2", "-static", "-o", work / "tsc", ROOT / "tests/bench/tsc.c")
    run(ROOT / "tools/mkinitrd.sh", "bench", work / "bench.img", work / "tsc")
    run("nasm", "-f", "bin", "-o", work / "stub.bin", ROOT / "tests/bench/entry_stub.asm")
    stub, kernel = (work / "stub.bin").read_bytes(), bytearray(vmlinuz.read_bytes())
    (work / "vmlinuz").write_bytes(kernel)
    entry = (kernel[SETUP_SECTS] + 1) * 512
    kernel[entry:entry + len(stub)] = stub
    (work / "vmlinuz-stub").write_bytes(kernel)
    for name, image in (("bare-entry", "vmlinuz-stub"), ("bare", "vmlinuz")):
        run(ROOT / "tools/mkiso.sh", work / f"{name}.iso", "linux", work / image, CMDLINE, work / "bench.img")
    (work / "linux.conf").write_text("[vm linux]\nkernel = vmlinuz\ninitrd = bench.img\nmemory = 512M\n"
                                     f"cmdline = {CMDLINE}\n")
    run(ROOT / "tools/mkiso.sh", work / "guest.iso", "trefoil", build / "boot/trefoil.elf", work / "linux.conf")
    entered = int(last_match(work, work / "bare-entry.iso", cpu, "[0-9A-F]{16}")[0], 16)
    bare = int(last_match(work, work / "bare.iso", cpu, r"tsc=(\d+)\r")[1]) - entered
    guest = int(last_match(work, work / "guest.iso", cpu, r"tsc=(\d+)\r")[1])
    return {"boot": {"native": bare, "guest": guest, "ratio": round(guest / bare, 4)}}
