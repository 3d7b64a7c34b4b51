#!/usr/bin/python3
"""What Trefoil costs, in instructions: on Bochs one TSC tick is one instruction, and runs repeat.   bench.py BUILD_DIR [CPU]

Prints one line for each operation (tests/payload/bench.c), and what Debian's cloud kernel costs as a guest (linux.py).
"""
from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import linux  # noqa: E402
from emulator import Bochs  # noqa: E402


def run(*command: object) -> str:
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


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


def main() -> None:
    build, cpu = Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "corei7_skylake_x"
    with tempfile.TemporaryDirectory() as directory:
        operations(build, Path(directory), cpu)
        several_cpus(build, Path(directory), cpu)
        switch(build, Path(directory), cpu)
        for name, found in linux.measure(build, Path(directory), cpu).items():
            print(f"linux={name} native={found['native']} guest={found['guest']} ratio={found['ratio']:.4f}")


if __name__ == "__main__":
    main()
