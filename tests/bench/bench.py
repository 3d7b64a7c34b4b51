#!/usr/bin/python3
"""What Trefoil costs, in instructions: on Bochs one TSC tick is one instruction, and runs repeat.   bench.py BUILD_DIR [CPU]

Prints one line for each operation (tests/payload/bench.c), and how long Debian's cloud kernel takes from its entry to
its init, as a guest and on the bare machine.
"""
from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from emulator import Bochs  # noqa: E402

SETUP_SECTS = 0x1F1  # Linux boot protocol: the 32-bit entry point is at (setup_sects + 1) * 512
CMDLINE = "console=ttyS0,115200 quiet cryptomgr.notests random.trust_cpu=on trefoil.run=tsc"


def run(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def last_match(work: Path, iso: Path, cpu: str, pattern: str) -> re.Match:
    # lax_msrs: a bare Linux reads IA32_MISC_ENABLE, which Bochs has not
    with Bochs(work / iso.stem, iso, cpu=cpu, memory=768, lax_msrs=True) as machine:
        return machine.expect(pattern, 300)


def operations(build: Path, work: Path, cpu: str) -> None:
    (work / "trefoil.conf").write_text("[vm bench]\nkernel = bench.elf\nmemory = 64M\n")
    iso = work / "bench.iso"
    run(ROOT / "tools/mkiso.sh", "-d", build / "payload", iso, "trefoil", build / "boot/trefoil.elf", work / "trefoil.conf")
    with Bochs(work / "bench", iso, cpu=cpu, memory=256) as machine:
        machine.expect("payload: done", 120)
        for name, ticks in re.findall(r"bench name=(\S+) ticks=(\d+)", machine.log):
            print(f"operation={name} instructions={ticks}")


def several_cpus(build: Path, work: Path, cpu: str) -> None:
    """tests/payload/smp_bench.c says what a tick is with several CPUs."""
    (work / "smp.conf").write_text("[vm bench]\nkernel = smp_bench.elf\nmemory = 64M\nvcpus = 2\n")
    iso = work / "smp.iso"
    run(ROOT / "tools/mkiso.sh", "-d", build / "payload", iso, "trefoil", build / "boot/trefoil.elf", work / "smp.conf")
    with Bochs(work / "smp", iso, cpu=cpu, cpus=2, memory=256) as machine:
        machine.expect("payload: done", 120)
        for name, ticks in re.findall(r"bench name=(\S+) ticks=(\d+)", machine.log):
            print(f"operation={name} ticks={ticks}")


def switch(build: Path, work: Path, cpu: str) -> None:
    """Two guests on one CPU: what lies between the end of one's turn and the begin of the other's, as neither has it."""
    (work / "turns.conf").write_text("[trefoil]\nshow_all = on\n" + "".join(f"[vm {n}]\nkernel = turns.elf\nmemory = 16M\n" for n in "ab"))
    iso = work / "turns.iso"
    run(ROOT / "tools/mkiso.sh", "-d", build / "payload", iso, "trefoil", build / "boot/trefoil.elf", work / "turns.conf")
    with Bochs(work / "turns", iso, cpu=cpu, memory=256) as machine:
        for _ in "ab":
            machine.expect(r"turns run=\d+ gap=\d+", 120)
        (run_a, gap_a), (run_b, gap_b) = (map(int, pair) for pair in re.findall(r"turns run=(\d+) gap=(\d+)", machine.log))
        print(f"operation=vcpu-switch instructions={(gap_a - run_b + gap_b - run_a) // 4}")


def linux(build: Path, work: Path, cpu: str) -> None:
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
    print(f"linux=bare instructions={bare}\nlinux=guest instructions={guest} ratio={guest / bare:.4f}")


def main() -> None:
    build, cpu = Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "corei7_skylake_x"
    with tempfile.TemporaryDirectory() as directory:
        operations(build, Path(directory), cpu)
        several_cpus(build, Path(directory), cpu)
        switch(build, Path(directory), cpu)
        linux(build, Path(directory), cpu)


if __name__ == "__main__":
    main()
