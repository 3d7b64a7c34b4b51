#!/usr/bin/python3
"""Where an operation's instructions go: by kind of exit, what each of the hypervisor's functions runs until the next VM entry.

    profile.py BUILD_DIR CPU OPERATION...      operations of tests/payload/bench.c
"""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from bisect import bisect
from collections import Counter, defaultdict
from pathlib import Path

build_bochs = [Path(__file__).resolve().parents[2] / "tools/bochs/build.sh", "--profile"]
os.environ["BOCHS"] = subprocess.run(build_bochs, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

import operations  # noqa: E402
from machines import ROOT, bochs  # noqa: E402

WAKE = 0x1000  # tools/bochs/profile.cc
RARE = 0.5     # instructions of an exit, on average, below which a function is not worth a line


class Symbols:
    """Of an address the function, without what the compiler has added to its name."""

    def __init__(self, elf: Path):
        lines = subprocess.run(["nm", elf], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        found = sorted((int(line.split()[0], 16), line.split()[2]) for line in lines if line.split()[1] in "tT")
        self.starts, self.names = zip(*found)

    def at(self, address: int) -> str:
        return self.names[bisect(self.starts, address) - 1].split(".")[0]


def exit_names() -> dict[int, str]:
    """As the hypervisor calls them (vmx/exit.h)."""
    text = (ROOT / "vmx/exit.h").read_text()
    return {int(number): name for name, number in re.findall(r"\bEXIT_(\w+) = (\d+)", text)} | {WAKE: "from HLT in the hypervisor"}


def profile(build: Path, work: Path, cpu: str, operation: str) -> dict[str, tuple[int, Counter]]:
    """key of a kind of exit -> how often, and the instructions by address."""
    counts = work / "profile"
    os.environ["TREFOIL_PROFILE"] = str(counts)
    iso = operations.image(build, operations.with_head(operations.BENCH + f"cmdline = only={operation}\n"), work / "profile.iso")
    with bochs(cpu).start(work / "machine", iso) as emulator:
        emulator.expect("payload: done", operations.TIMEOUT)
        emulator.signal(signal.SIGTERM)
        emulator.wait_end()
    exits: dict[str, int] = {}
    at: defaultdict[str, Counter] = defaultdict(Counter)
    for line in counts.read_text().splitlines():
        kind, key, *numbers = line.split()
        if kind == "exit":
            exits[key] = int(numbers[0])
        else:
            at[key][int(numbers[0], 16)] = int(numbers[1])
    return {key: (n, at[key]) for key, n in exits.items()}


def main() -> None:
    build, cpu, *names = Path(sys.argv[1]).resolve(), *sys.argv[2:]
    symbols, kinds = Symbols(build / "trefoil.elf"), exit_names()
    with tempfile.TemporaryDirectory() as directory:
        idle = profile(build, Path(directory), cpu, "rdtsc")  # what the start and the printing of the results take
        for name in names:
            for key, (n, at) in sorted(profile(build, Path(directory), cpu, name).items(), key=lambda item: -item[1][0]):
                if n - idle.get(key, (0,))[0] < operations.LEAST_SAMPLES:
                    continue
                functions = Counter()
                for address, count in at.items():
                    functions[symbols.at(address)] += count
                reason, detail = (int(part, 16) for part in key.split(":"))
                print(f"{name}: {kinds.get(reason, reason)} {detail:x}: {sum(functions.values()) / n:.0f} instructions")
                for function, count in functions.most_common():
                    if count / n >= RARE:
                        print(f"  {count / n:6.0f} {function}")


if __name__ == "__main__":
    main()
