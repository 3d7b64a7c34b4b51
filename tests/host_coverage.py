#!/usr/bin/python3
"""The table of `make coverage`: lines of each file, by room. Fails if the pure files are below the bounds.

    host_coverage.py SUMMARY_JSON PURE_FILE...        (the summary of `llvm-cov export -summary-only`)
"""
from __future__ import annotations

import json
import os
import sys
from collections import defaultdict

TOTAL_MIN = 90.0
FILE_MIN = 80.0


def percent(covered: int, count: int) -> float:
    return 100.0 * covered / count if count else 100.0


def row(name: str, covered: int, count: int) -> str:
    return f"{name:34} {count:6} {count - covered:6} {percent(covered, count):6.1f} %"


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as f:
        files = json.load(f)["data"][0]["files"]
    pure = set(sys.argv[2:])
    rooms: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    others: list[tuple[str, int, int]] = []
    for entry in files:
        name = os.path.relpath(entry["filename"])
        lines = entry["summary"]["lines"]
        (rooms[os.path.dirname(name)] if name in pure else others).append((name, lines["covered"], lines["count"]))

    print(f"{'file':34} {'lines':>6} {'missed':>6} {'covered':>8}")
    for room in sorted(rooms):
        for name, covered, count in sorted(rooms[room]):
            print(row(name, covered, count))
    print("\nnot pure, over tests/vtx:")
    for name, covered, count in sorted(others):
        print(row(name, covered, count))
    print()
    for room in sorted(rooms):
        print(row(room + "/", sum(c for _, c, _ in rooms[room]), sum(n for _, _, n in rooms[room])))
    every = [entry for room in rooms.values() for entry in room]
    covered, count = sum(c for _, c, _ in every), sum(n for _, _, n in every)
    print(row("all pure files", covered, count))

    low = [name for name, c, n in every if percent(c, n) < FILE_MIN]
    if low:
        print(f"FAIL below {FILE_MIN} % of the lines: {' '.join(sorted(low))}")
    if percent(covered, count) < TOTAL_MIN:
        print(f"FAIL the pure files together are below {TOTAL_MIN} % of the lines")
    return 1 if low or percent(covered, count) < TOTAL_MIN else 0


if __name__ == "__main__":
    sys.exit(main())
