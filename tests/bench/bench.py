#!/usr/bin/python3
"""What Trefoil costs: measures, prints, and writes BUILD_DIR/bench.json.

On Bochs one TSC tick is one instruction, and runs repeat. On a machine with VT-x, and from the log of a bare one, ticks are cycles.
"""
from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import linux
import machines
import operations
import scale

PARTS = ("operations", "linux", "scale")


def from_logs(logs: list[Path]) -> dict:
    """Of a bare machine that started the ISO of `make bench-iso`: the serial log; and perhaps another, with mitigations = off."""
    texts = [log.read_text(errors="replace") for log in logs]
    where = machines.of_log(texts[0])
    found = [dict(operations.parse(text)) for text in texts]
    if not all(found):
        raise SystemExit("bench: a log without one line of figures")
    return {"machine": where.describe(), "operations": {where.cpu: operations.with_price(found[0], found[1] if found[1:] else {})}}


def measure(build: Path, kind: str, cpus: list[str], parts: list[str]) -> dict:
    these = [machines.kvm()] if kind == "kvm" else [machines.bochs(cpu) for cpu in cpus]
    results: dict = {"machine": these[0].describe()}
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        if "operations" in parts:
            results["operations"] = {each.cpu: operations.measure(build, work, each) for each in these}
        if "linux" in parts and kind == "bochs":
            results["linux"] = linux.measure(build, work, these[0].cpu)
        if "scale" in parts and kind == "bochs":
            results["scale"] = scale.measure(build, work, these[0].cpu)
    return results


def show(results: dict) -> None:
    unit = results["machine"]["unit"]
    for cpu, records in results.get("operations", {}).items():
        print(f"{cpu}, {unit}:\n{'':24}{'median':>9}{'p99':>9}{'max':>9}   without mitigations")
        for name, record in records.items():
            figures = "".join(f"{record.get(key, ''):>9}" for key in ("median", "p99", "max"))
            print(f"{name:24}{figures}{record.get('mitigations_off', {}).get('median', ''):>9}")
    for name, record in results.get("linux", {}).items():
        print(f"linux {name}: " + " ".join(f"{key}={value}" for key, value in record.items()))
    for name, rows in results.get("scale", {}).items():
        for row in rows if isinstance(rows, list) else [{name: rows}]:
            print(f"scale {name}: " + " ".join(f"{key}={value}" for key, value in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("--machine", choices=("bochs", "kvm"), default="bochs")
    parser.add_argument("--cpu", action="append", help="a CPU model of Bochs, instead of some")
    parser.add_argument("--only", default=",".join(PARTS), help="some of " + ",".join(PARTS))
    parser.add_argument("--from-log", type=Path, nargs="+", metavar="FILE", help="of a bare machine; another with mitigations = off")
    parser.add_argument("--iso", choices=("auto", "off"), help="only make BUILD_DIR/bench.iso for it, with these mitigations")
    options = parser.parse_args()
    build, parts = options.build.resolve(), options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part is named {' or '.join(sorted(unknown))}")
    if options.iso:
        print(operations.image(build, operations.with_head(operations.BENCH, options.iso), build / "bench.iso"))
        return
    results = from_logs(options.from_log) if options.from_log else \
        measure(build, options.machine, options.cpu or machines.measured_cpus(), parts)
    (build / "bench.json").write_text(json.dumps(results, indent="\t") + "\n")
    show(results)


if __name__ == "__main__":
    main()
