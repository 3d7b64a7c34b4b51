#!/usr/bin/python3
"""Prints the last dump of exit statistics (Ctrl-] d) that a serial log has.   exit-stats.py [LOG [KINDS]]

One table for each vCPU: the KINDS (10) that took the most time, and a histogram whose marks are the buckets of
guest/stats.h, from below 128 ticks up, each with twice as many.
"""
from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

SHADES = " .:-=+*#%@"


def last_dump(log: str) -> dict[tuple[str, int], dict[str, list[int]]]:
    """(vm, vcpu) -> kind -> count, ticks, max and the buckets. Lines that are missing are an error."""
    dump: dict[tuple[str, int], dict[str, list[int]]] = {}
    found, lines = None, 0
    for line in log.splitlines():
        if line.startswith("csv: vm,"):
            dump, lines = defaultdict(dict), 1
        elif line.startswith("csv: "):
            vm, vcpu, kind, *numbers = line[5:].split(",")
            dump[vm, int(vcpu)][kind] = [int(n) for n in numbers]
            lines += 1
        elif line == f"--- csv: {lines} lines ---":
            found = dump
    if found is None:
        sys.exit("exit-stats: there is no whole dump in this log")
    return found


def histogram(buckets: list[int]) -> str:
    most = max(buckets)
    return "".join(SHADES[-(-n * (len(SHADES) - 1) // most)] for n in buckets)


def main() -> None:
    log = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else sys.stdin.buffer.read()
    kinds = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    for (vm, vcpu), stats in last_dump(log.decode(errors="replace")).items():
        total = sum(ticks for _, ticks, *_ in stats.values())
        print(f"{vm} vcpu {vcpu}: {total} ticks\n  {'kind':26} {'count':>10} {'time':>6} {'average':>9} {'maximum':>10}  histogram")
        for kind, (count, ticks, longest, *buckets) in sorted(stats.items(), key=lambda item: -item[1][1])[:kinds]:
            print(f"  {kind:26} {count:10} {ticks / total:6.1%} {ticks // count:9} {longest:10} |{histogram(buckets)}|")


if __name__ == "__main__":
    main()
