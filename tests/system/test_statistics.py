"""Exit statistics and the trace: what they say is what the guests did, nothing of a dump is lost, and the view ends as it began."""
from __future__ import annotations

import json
import re

import pytest
from conftest import run_tool
from emulator import Emulator, find_bochs
from guest import ANSI, key, payload_conf

EACH = 1000  # CPUIDs for each digit that the payload `counted` gets, and half as many INs
BUCKETS = 14  # guest/stats.h
several_cpus = pytest.mark.skipif(find_bochs().version < (3, 0), reason="this Bochs is too old for several CPUs")


def dump(machine: Emulator) -> dict[tuple[str, int, str], list[int]]:
    """(vm, vcpu, kind) -> count, ticks, max; each line has been checked by itself."""
    key(machine, "d")
    machine.expect(r"csv: vm,vcpu,kind,count,ticks,max,buckets\r?\n", 20)
    text = machine.expect(r"(?s)(.*?)--- csv: (\d+) lines ---", 60)
    rows = [line[5:].split(",") for line in text[1].decode().splitlines() if line.startswith("csv: ")]
    assert len(rows) + 1 == int(text[2])
    found = {}
    for vm, vcpu, kind, *numbers in rows:
        count, ticks, longest, *buckets = map(int, numbers)
        least = sum(n * (64 << i) for i, n in enumerate(buckets) if i)
        assert len(buckets) == BUCKETS and sum(buckets) == count
        assert least <= ticks <= count * longest and ticks >= longest
        found[vm, int(vcpu), kind] = [count, ticks, longest]
    return found


class Worker:
    """The payload `counted`, which has the focus. Its letters are one line, that is printed anew after each dump."""

    def __init__(self, machine: Emulator):
        self.machine, self.line = machine, ""
        machine.expect(r"counted: ready\r?\n", 60)

    def work(self, digit: int) -> None:
        self.machine.send(str(digit))
        self.line += "ABCDEFGHI"[digit - 1]
        self.machine.expect(self.line, 30)


def counts(after: dict, before: dict, kind: str) -> int:
    return after["a", 0, kind][0] - before.get(("a", 0, kind), [0])[0]


def test_counts_are_what_the_guest_did(images, boot, payload):
    machine = boot(images.trefoil(payload_conf("a", "counted.elf"), {"counted.elf": payload("counted")}), memory=256)
    worker = Worker(machine)
    dumps = [dump(machine)]
    for digit in (1, 3, 7):
        worker.work(digit)
        dumps.append(dump(machine))
    cpuids = [counts(after, before, "cpuid") for before, after in zip(dumps, dumps[1:])]
    ports = [counts(after, before, "io-instruction") for before, after in zip(dumps, dumps[1:])]
    assert cpuids == [EACH, 3 * EACH, 7 * EACH]
    assert [n - ports[0] for n in ports] == [0, EACH, 3 * EACH] and EACH / 2 < ports[0] < EACH / 2 + 20
    key(machine, "z")
    machine.expect(r"event=statistics-reset", 20)
    assert not dump(machine).keys() & {("a", 0, kind) for kind in ("cpuid", "io-instruction", "hlt")}
    worker.work(2)
    assert dump(machine)["a", 0, "cpuid"][0] == 2 * EACH
    # What a person sees: the same numbers, those that took the most time first.
    key(machine, "s")
    table = machine.expect(r"(?s)exits +count[^\n]*\n(.*?)  hlt ", 20)[1].decode()
    assert re.search(rf"  cpuid +{2 * EACH} ", table)
    shares = [float(share) for share in re.findall(r"^  \S+ +\d+ +([\d.]+)%", table, re.M)]
    assert len(shares) > 2 and shares == sorted(shares, reverse=True)
    printed = run_tool("tools/exit-stats.py", machine.workdir / "serial.log", 3)
    assert re.search(rf"a vcpu 0: \d+ ticks\n.*\n(.*\n)*  cpuid +{2 * EACH} .*\|[ .:=+*#%@-]{{{BUCKETS}}}\|", printed)


@several_cpus
def test_reset_while_others_count(images, boot, payload):
    """On two CPUs, one of which counts all the time, the other sleeps."""
    conf = payload_conf("a", "counted.elf") + payload_conf("busy", "spin.elf") + payload_conf("off", "spin.elf", extra="autostart = off")
    machine = boot(images.trefoil(conf, {f"{name}.elf": payload(name) for name in ("counted", "spin")}), memory=256, cpus=2)
    worker = Worker(machine)
    worker.work(9)
    for _ in range(5):
        assert dump(machine)["busy", 0, "turn"][0] > 0
        key(machine, "z")
        machine.expect(r"event=statistics-reset", 20)
    assert ("a", 0, "cpuid") not in dump(machine)
    worker.work(1)
    assert dump(machine)["a", 0, "cpuid"][0] == EACH


def test_the_view(images, boot, payload):
    """It is painted every second until a key is pressed; the log lines that came meanwhile are shown then, and the guest."""
    conf = payload_conf("a", "echo.elf") + payload_conf("dies", "crash.elf", "triple", extra="on_exit = restart")
    machine = boot(images.trefoil(conf, {f"{name}.elf": payload(name) for name in ("echo", "crash")}), memory=256)
    machine.expect(r"echo: ready", 30)
    key(machine, "l")
    page_begin = r"\x1b\[Hup (\d+\.\d+) s, [^\n]*\x1b\[K\r\nexits +count [^\n]*\x1b\[K\r\na  "
    times = [float(machine.expect(page_begin, 30, never=r"\x1b\[J[^\x1b]*event=")[1]) for _ in range(10)]
    assert all(1 <= round(after - before, 3) < 1.1 for before, after in zip(times, times[1:]))
    seen = machine.serial.seen
    machine.send("X")
    machine.expect(r"--- console: a ", 20)
    later = machine.expect(r"(?s).*?\[ *(\d+\.\d+)\] [^\n]*vm=dies event=started", 20)
    assert times[0] < float(later[1]) < times[-1]
    page = ANSI.sub(b"", bytes(machine.serial.data[:seen])).decode().replace("\r", "").rsplit("up ", 1)[1].split("\n")
    assert all(len(line) < 80 for line in page)
    machine.send("Y")
    machine.expect(r"Y", 20)
    assert b"X" not in machine.serial.data[seen:]  # it was the view's


def test_without_a_trace(images, boot, payload):
    machine = boot(images.trefoil(payload_conf("a", "echo.elf"), {"echo.elf": payload("echo")}), memory=256)
    machine.expect(r"echo: ready", 30)
    for which in "tx":
        key(machine, which)
        machine.expect(r"--- there is no room for a trace", 20)


@several_cpus
def test_the_trace(images, boot, payload):
    """Two guests on two CPUs. The dump is many times what the console can hold, and the ring has gone round."""
    conf = "[trefoil]\ntrace = 64\n" + payload_conf("a", "counted.elf", extra="cpus = 1\n")
    conf += payload_conf("b", "spin.elf", extra="cpus = 0\n")
    machine = boot(images.trefoil(conf, {f"{name}.elf": payload(name) for name in ("counted", "spin")}), memory=256, cpus=2)
    worker = Worker(machine)
    for _ in range(2):
        key(machine, "t")
        machine.expect(r"event=trace state=on", 20)
        worker.work(3)
        key(machine, "x")
        lines = int(machine.expect(r"--- trace: (\d+) lines ---", 120)[1])
        key(machine, "t")
        machine.expect(r"event=trace state=off", 20)
    assert lines > 2047
    trace = json.loads(run_tool("tools/trace2json.py", machine.workdir / "serial.log"))["traceEvents"]
    assert {e["args"]["name"] for e in trace if e["name"] == "thread_name"} == {"cpu 0", "cpu 1"}
    for cpu in (0, 1):
        own = [e for e in trace if e["ph"] != "M" and e["tid"] == cpu]
        slices = [e for e in own if e["ph"] == "X"]
        turns = [e["cat"] for e in slices if e["cat"] in ("guest", "exit")]
        assert all(before != after for before, after in zip(turns, turns[1:]))
        assert all(before["ts"] + before["dur"] <= after["ts"] + 0.001 for before, after in zip(slices, slices[1:]))
        assert all(before["ts"] <= after["ts"] for before, after in zip(own, own[1:]) if {before["ph"], after["ph"]} == {"i"})
        for guest, leave in zip(slices, slices[1:]):
            if guest["cat"] == "guest" and leave["cat"] == "exit":
                assert leave["args"]["vcpu"] == guest["name"]
        assert {e["name"] for e in slices if e["cat"] == "guest"} == {("b vcpu0", "a vcpu0")[cpu]}
        names = {e["name"] for e in slices if e["cat"] == "exit"}
        assert names and not any("reason" in name or name == "unknown" for name in names)
    ports = [e for e in slices if e["name"] == "io-instruction"]
    # Of 1500 INs the last ones, each an entry and an exit; the CPUIDs before them are gone.
    assert EACH < len(ports) < 1024 and "cpuid" not in names
    assert {"inject", "armed", "fired", "ipi"} <= {e["cat"] for e in trace if e["ph"] == "i"}
    assert any(e["name"] == "IPI 0xf2" and e["args"]["to"] == "cpu 1" for e in trace)  # core/sched.c wakes it
