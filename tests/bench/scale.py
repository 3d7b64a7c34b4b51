"""Many guests, many CPUs, much memory: what one guest loses by the others, and what each of them costs to have.

A guest that computes (payload `busy`) measures how long the same work takes beside others that sleep (payload `idle`). On one CPU
of Bochs a tick is an instruction: what it takes longer than alone is what was executed for the others.
"""
from __future__ import annotations

import re
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import linux
from machines import ROOT, Bochs

GUESTS = (1, 2, 8, 32, 128)
TICKING = (8, 32)  # the same, and all but one have timer ticks
TICK_HZ = 100
CPUS = (1, 2, 3, 4)
SIZES_MIB = (64, 256, 1024, 2048, 4096, 8192)
GUEST_MIB = 32
SPARE_MIB = 128   # for the hypervisor and the boot modules
HOLE_MIB = 3072   # what would be between here and 4 GiB is not there
SECOND = 100_000_000  # ticks: Bochs's `ips`
WORK = SECOND     # of a sample, in instructions
SAMPLES = 5
SMP_GUESTS = 4    # each does as much
TIMEOUT = 1200


@dataclass(frozen=True)
class Guest:
    name: str
    kernel: str
    cmdline: str
    mib: int = GUEST_MIB
    more: str = ""  # lines of its section

    def section(self) -> str:
        return f"[vm {self.name}]\nkernel = {self.kernel}\nmemory = {self.mib}M\ncmdline = {self.cmdline}\n{self.more}"


class Run:
    """Trefoil in Bochs, all of whose guests have started."""

    def __init__(self, machine: Bochs, guests: int):
        self.machine = machine
        self.ready = machine.expect(r"event=ready [^\n]*\n", TIMEOUT, never="event=refused")[0].decode()
        for _ in range(guests):
            machine.expect("event=started", TIMEOUT)

    def seconds(self, event: str) -> list[float]:
        """When the log says so, since the hypervisor's entry."""
        return [float(time) for time in re.findall(rf"\[ *([0-9.]+)\][^\n]* event={event}", self.machine.log)]

    def ready_kib(self, field: str) -> int:
        return int(re.search(rf" {field}=(\d+)K", self.ready)[1])

    def busy_ticks(self) -> list[int]:
        self.machine.send("x")
        self.machine.expect("payload: done", TIMEOUT)
        return [int(ticks) for ticks in re.findall(r"busy work=\d+ ticks=(\d+)", self.machine.log)]


@contextmanager
def running(build: Path, work: Path, name: str, cpu: str, guests: list[Guest], cpus: int = 1) -> Iterator[Run]:
    conf, iso = work / f"{name}.conf", work / f"{name}.iso"
    conf.write_text("\n".join(guest.section() for guest in guests))
    subprocess.run([ROOT / "tools/mkiso.sh", "-d", build / "payload", "-d", linux.kernel().parent, iso, "trefoil",
                    build / "boot/trefoil.elf", conf], check=True)
    memory = sum(guest.mib for guest in guests) + SPARE_MIB
    memory += 4096 - HOLE_MIB if memory > HOLE_MIB else 0
    with Bochs(work / name, iso, cpu=cpu, cpus=cpus, memory=memory, exclude=linux.chance()) as machine:
        yield Run(machine, len(guests))


BUSY = Guest("busy", "busy.elf", f"work={WORK} count={SAMPLES}")


def beside(build: Path, work: Path, cpu: str, guests: int, hz: int = 0) -> dict:
    """One guest that computes beside guests - 1 that sleep; each has `hz` timer ticks in a second."""
    idle = [Guest(f"idle{n}", "idle.elf", f"hz={hz}", more="console = none\n") for n in range(1, guests)]
    with running(build, work, f"beside-{guests}-{hz}", cpu, [BUSY, *idle]) as run:
        ticks = run.busy_ticks()
        return {"guests": guests, "hz": hz, "ticks": statistics.median(ticks), "max": max(ticks),
                "ready_us": round(run.seconds("ready")[0] * 1e6), "started_us": round(run.seconds("started")[-1] * 1e6),
                "hypervisor_kib": run.ready_kib("hypervisor")}


def priced(row: dict, alone: dict) -> dict:
    """What each of the others costs: in instructions for a virtual second, and as a part of what the one has."""
    lost, others = row["ticks"] - alone["ticks"], row["guests"] - 1
    if not others:
        return row
    return row | {"idle_per_second": round(lost / others / (WORK / SECOND)),
                  "slowdown_per_guest": lost / others / alone["ticks"],
                  "create_us_per_guest": round((row["ready_us"] - alone["ready_us"]) / others),
                  "hypervisor_kib_per_guest": round((row["hypervisor_kib"] - alone["hypervisor_kib"]) / others, 1)}


def idle_linux(build: Path, work: Path, cpu: str, alone: dict) -> int:
    """What a Linux whose only process sleeps executes in a second, its own instructions included."""
    image = linux.initrd(work)
    guest = Guest("linux", linux.kernel().name, f"{linux.CMDLINE} -- sleep", linux.MIB, f"initrd = {image.name}\n")
    with running(build, work, "idle-linux", cpu, [BUSY, guest]) as run:
        run.machine.send("\x1d2")  # its console
        run.machine.expect("bench init", TIMEOUT)
        run.machine.send("\x1d1")
        run.machine.expect("--- console: busy", TIMEOUT)
        return round((statistics.median(run.busy_ticks()) - alone["ticks"]) / (WORK / SECOND))


def cpus(build: Path, work: Path, cpu: str, count: int) -> dict:
    """A fixed amount of work in guests that all compute: how long the last one takes, in virtual time."""
    guests = [Guest(f"busy{n}", "busy.elf", f"work={WORK} count=1 wait=0 exit=poweroff") for n in range(SMP_GUESTS)]
    with running(build, work, f"cpus-{count}", cpu, guests, count) as run:
        for _ in range(SMP_GUESTS):
            run.machine.expect("event=stopped", TIMEOUT)
        return {"cpus": count, "us": round((run.seconds("stopped")[-1] - run.seconds("started")[0]) * 1e6)}


def size(build: Path, work: Path, cpu: str, mib: int) -> dict:
    """From the hypervisor's entry to the guest's: creation, and the zeroing of its memory apart."""
    with running(build, work, f"size-{mib}", cpu, [Guest("big", "idle.elf", "hz=0", mib)]) as run:
        ready, started = run.seconds("ready")[0], run.seconds("started")[0]
        tables = int(re.search(r"event=created [^\n]*tables=(\d+)K", run.machine.log)[1])
        return {"mib": mib, "ready_us": round(ready * 1e6), "zeroing_us": round((started - ready) * 1e6),
                "started_us": round(started * 1e6), "tables_kib": tables, "hypervisor_kib": run.ready_kib("hypervisor")}


def measure(build: Path, work: Path, cpu: str) -> dict:
    rows = [beside(build, work, cpu, guests) for guests in GUESTS]
    return {"work": WORK,
            "guests": [priced(row, rows[0]) for row in rows],
            "ticking": [priced(beside(build, work, cpu, guests, TICK_HZ), rows[0]) for guests in TICKING],
            "idle_linux": idle_linux(build, work, cpu, rows[0]),
            "cpus": [cpus(build, work, cpu, count) for count in CPUS],
            "sizes": [size(build, work, cpu, mib) for mib in SIZES_MIB]}
