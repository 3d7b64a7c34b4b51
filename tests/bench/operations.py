"""What single operations cost a guest: the payloads `bench`, `smp_bench` (two CPUs) and `turns` (two guests on one CPU)."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

from machines import ROOT, Machine

LINE = re.compile(r"bench name=(\S+) median=(\d+) p99=(\d+) max=(\d+) n=(\d+)")
TIMEOUT = 120
# The screen is drawn now and then, in the middle of some sample.
HEAD = "[trefoil]\nscreen = off\nshow_all = on\nmitigations = {}\n"
BENCH, SMP, TURNS = "[vm bench]\nkernel = bench.elf\nmemory = 64M\n", "[vm smp]\nkernel = smp_bench.elf\nmemory = 64M\nvcpus = 2\n", \
    "".join(f"[vm {name}]\nkernel = turns.elf\nmemory = 16M\n" for name in "ab")

Record = dict[str, int]


def image(build: Path, conf: str, out: Path) -> Path:
    """Trefoil with this configuration of payloads."""
    path = out.with_suffix(".conf")
    path.write_text(conf)
    subprocess.run([ROOT / "tools/mkiso.sh", "-d", build / "payload", out, "trefoil", build / "boot/trefoil.elf", path], check=True)
    return out


def parse(log: str) -> list[tuple[str, Record]]:
    """Each line that a payload has printed: what was measured, and its figures."""
    return [(name, dict(zip(("median", "p99", "max", "n"), map(int, figures)))) for name, *figures in LINE.findall(log)]


def bench_image(build: Path, out: Path, mitigations: str) -> Path:
    """The operations of one vCPU."""
    return image(build, HEAD.format(mitigations) + BENCH, out)


def run(build: Path, work: Path, machine: Machine, conf: str, cpus: int = 1, ends: int = 1) -> str:
    """The serial log of these payloads, to the end of so many of them."""
    with machine.start(work / "machine", image(build, conf, work / "bench.iso"), cpus) as emulator:
        for _ in range(ends):
            emulator.expect("payload: done", TIMEOUT)
        return emulator.log


def single(build: Path, work: Path, machine: Machine, mitigations: str) -> str:
    """The log of the payload with the operations of one vCPU."""
    return run(build, work, machine, HEAD.format(mitigations) + BENCH)


def switch(log: str) -> Record:
    """From one vCPU to another: what lies between the end of one's turn and the begin of the other's, as neither has it."""
    turns = parse(log)
    gap, turn = (sum(record["median"] for name, record in turns if name == which) for which in ("gap", "turn"))
    return {"median": (gap - turn) // len(turns), "n": turns[0][1]["n"]}


def measure(build: Path, work: Path, machine: Machine) -> dict[str, dict]:
    """name -> {median, p99, max, n}, with the mitigations that the CPU needs; and under "mitigations_off" the same without."""
    found: dict[str, dict[str, Record]] = {}
    for mitigations in ("auto", "off"):
        found[mitigations] = dict(parse(single(build, work, machine, mitigations)))
        head = HEAD.format(mitigations)
        found[mitigations] |= dict(parse(run(build, work, machine, head + SMP, cpus=2)))
        found[mitigations]["vcpu-switch"] = switch(run(build, work, machine, head + TURNS, ends=2))
    return with_price(found["auto"], found["off"])


def with_price(on: dict[str, Record], off: dict[str, Record]) -> dict[str, dict]:
    return {name: {**record, "mitigations_off": off[name]} if name in off else record for name, record in on.items()}
