#!/usr/bin/python3
"""bench/contract.txt, and whether what is measured keeps it.   contract.py BUILD_DIR: makes each budget what is measured now.

Counts of instructions are exact on the Bochs of `make bochs` alone: the packaged one has other features of VT-x.
"""
from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import operations
from machines import CPUS, ROOT, bochs, find_bochs

CONTRACT = ROOT / "bench/contract.txt"
LINE = re.compile(r"^(?P<what>(?P<name>[\w-]+) +(?P<cpu>\w+) +)(?P<budget>\d+)(?P<rest>.*\n)", re.M)
HZ = 100_000_000  # of the TSC of our Bochs: ticks in a second of the log
LOOSE = 0.02      # a budget this much above what is measured, and more than a few instructions, hides what gets worse
LOOSE_LEAST = 4
HEADROOM = 0.002  # a run is late by some ticks if another part of it is; below 2 % with the rounding

Figures = dict[tuple[str, str], int]


def measurable() -> bool:
    return find_bochs().patched


def parse(text: str) -> Figures:
    return {(line["name"], line["cpu"]): int(line["budget"]) for line in LINE.finditer(text)}


def ready(log: str) -> tuple[int, int]:
    """Instructions from the hypervisor's entry to event=ready, and the KiB that it has then."""
    line = re.search(r"\[ *(\d+\.\d+)\] .*event=ready .*hypervisor=(\d+)K", log)
    return round(float(line[1]) * HZ), int(line[2])


def measure(build: Path, work: Path) -> Figures:
    found: Figures = {("image-kib", "any"): -(-(build / "boot/trefoil.elf").stat().st_size // 1024)}
    for cpu in CPUS:
        log = operations.run(build, work, bochs(cpu), operations.with_head(operations.BENCH))
        found |= {(name, cpu): record["median"] for name, record in operations.parse(log)}
        hypercall = operations.hypercall(operations.run(build, work, bochs(cpu), operations.with_head(operations.KVM)))
        found |= {(name, cpu): record["median"] for name, record in hypercall.items()}
        found["boot", cpu], found["memory-kib", cpu] = ready(log)

    def memory(conf: str) -> int:
        return ready(operations.run(build, work, bochs(CPUS[0]), operations.with_head(conf), until=r"event=ready [^\n]*\n"))[1]

    one, two_vcpus = found["memory-kib", CPUS[0]], memory(operations.BENCH + "vcpus = 2\n")
    found["memory-vcpu-kib", CPUS[0]] = two_vcpus - one
    found["memory-vm-kib", CPUS[0]] = memory(operations.BENCH + operations.BENCH.replace("bench]", "other]")) - two_vcpus
    return found


def judge(budgets: Figures, measured: Figures) -> dict[tuple[str, str], str]:
    """What is wrong with which line of the contract."""
    wrong = {key: f"measured {figure}, and has no budget" for key, figure in measured.items() if key not in budgets}
    for key, budget in budgets.items():
        figure = measured.get(key)
        if figure is None:
            wrong[key] = "has a budget, and was not measured"
        elif figure > budget:
            wrong[key] = f"measured {figure}, over the budget of {budget}"
        elif budget > figure * (1 + LOOSE) and budget > figure + LOOSE_LEAST:
            wrong[key] = f"measured {figure}, lower the budget of {budget}"
    return wrong


def budget_for(figure: int) -> int:
    """What is small is what it is; the rest has three digits, which make a change of any size visible."""
    if figure < 1000:
        return figure
    step = 10 ** (len(str(figure)) - 3)
    return -(-int(figure * (1 + HEADROOM)) // step) * step


def rewrite(text: str, measured: Figures) -> str:
    """The same with what is measured: comments and order stay, what is new comes last, what is gone goes."""
    budgets = parse(text)

    def line(match: re.Match) -> str:
        key = match["name"], match["cpu"]
        if key not in measured:
            return ""
        budget = budget_for(measured[key])
        if measured[key] <= budgets[key]:
            budget = min(budget, budgets[key])
        return f"{match['what']}{budget}{match['rest']}"

    new = "".join(f"{name:22} {cpu:25} {budget_for(measured[name, cpu])}\n" for name, cpu in measured if (name, cpu) not in budgets)
    return LINE.sub(line, text) + new


def main() -> None:
    if not measurable():
        sys.exit("contract: instructions are counted on the Bochs of `make bochs`")
    with tempfile.TemporaryDirectory() as directory:
        measured = measure(Path(sys.argv[1]).resolve(), Path(directory))
    text = CONTRACT.read_text()
    for (name, cpu), why in judge(parse(text), measured).items():
        print(f"{name} {cpu}: {why}")
    CONTRACT.write_text(rewrite(text, measured))


if __name__ == "__main__":
    main()
