"""What single operations cost a guest: the payloads `bench`, `smp_bench` (two CPUs) and `turns` (two guests on one CPU)."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

from machines import ROOT, Machine

LINE = re.compile(r"bench name=(\S+) median=(\d+) p99=(\d+) max=(\d+) n=(\d+)")
TIMEOUT = 120
LEAST_SAMPLES = 100  # of each operation; tests/payload/bench.c takes more
BENCH = "[vm bench]\nkernel = bench.elf\nmemory = 64M\n"
KVM = BENCH + "hypervisor = kvm\ncmdline = only=vmcall\n"
SMP = "[vm smp]\nkernel = smp_bench.elf\nmemory = 64M\nvcpus = 2\n"
TURNS = "".join(f"[vm {name}]\nkernel = turns.elf\nmemory = 16M\n" for name in "ab")

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


def with_head(conf: str, mitigations: str = "auto") -> str:
    """The screen is off: it is drawn now and then, in the middle of some sample."""
    return f"[trefoil]\nscreen = off\nshow_all = on\nmitigations = {mitigations}\n{conf}"


def run(build: Path, work: Path, machine: Machine, conf: str, cpus: int = 1, ends: int = 1, until: str = "payload: done") -> str:
    """The serial log of these payloads, until it has said so for so many times."""
    with machine.start(work / "machine", image(build, conf, work / "bench.iso"), cpus) as emulator:
        for _ in range(ends):
            emulator.expect(until, TIMEOUT)
        return emulator.log


def switch(log: str) -> Record:
    """From one vCPU to another: what lies between the end of one's turn and the begin of the other's, as neither has it."""
    turns = parse(log)
    gap, turn = (sum(record["median"] for name, record in turns if name == which) for which in ("gap", "turn"))
    return {"median": (gap - turn) // len(turns), "n": turns[0][1]["n"]}


def hypercall(log: str) -> dict[str, Record]:
    """VMCALL where it is no undefined instruction."""
    return {f"{name}-kvm": record for name, record in parse(log)}


def measure(build: Path, work: Path, machine: Machine) -> dict[str, dict]:
    """name -> {median, p99, max, n}, with the mitigations that the CPU needs; and under "mitigations_off" the same without."""
    found: dict[str, dict[str, Record]] = {}
    for mitigations in ("auto", "off"):
        one, two, turns = (with_head(conf, mitigations) for conf in (BENCH, SMP, TURNS))
        found[mitigations] = dict(parse(run(build, work, machine, one)) + parse(run(build, work, machine, two, cpus=2)))
        found[mitigations] |= hypercall(run(build, work, machine, with_head(KVM, mitigations)))
        found[mitigations]["vcpu-switch"] = switch(run(build, work, machine, turns, ends=2))
    return with_price(found["auto"], found["off"])


def with_price(on: dict[str, Record], off: dict[str, Record]) -> dict[str, dict]:
    return {name: {**record, "mitigations_off": off[name]} if name in off else record for name, record in on.items()}
