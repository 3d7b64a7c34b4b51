#!/usr/bin/python3
"""Turns the last trace (Ctrl-] x) of a serial log into Chrome's trace format, for ui.perfetto.dev or chrome://tracing.

    trace2json.py [LOG] >trace.json

Each CPU is a track: the guest's vCPU while it runs, the exit by its reason until the next entry or the end of the turn, and
instants for injections, timers and IPIs. docs/consoles.md has the form of the lines.
"""
from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

NOBODY = 0xFFFF
VALID = 1 << 31             # SDM 3C, "VM-Entry Controls for Event Injection"
TYPES = {0: "interrupt", 2: "NMI", 3: "exception", 4: "software interrupt", 5: "privileged exception", 6: "software exception"}
NEVER = 2**64 - 1


@dataclass
class Record:
    kind: str
    tsc: int
    who: int
    a: int
    b: int
    c: int


@dataclass
class Trace:
    hz: int
    vms: dict[int, str] = field(default_factory=dict)
    cpus: dict[int, int] = field(default_factory=dict)  # by local APIC ID
    reasons: dict[int, str] = field(default_factory=dict)
    records: dict[int, list[Record]] = field(default_factory=dict)

    def name(self, who: int) -> str:
        return f"{self.vms[who >> 8]} vcpu{who & 0xFF}"


def last_trace(log: str) -> Trace:
    """Lines that are missing are an error."""
    trace, found, lines = Trace(0), None, 0
    for line in log.splitlines():
        if line == f"--- trace: {lines} lines ---":
            found = trace
        if not line.startswith("trace: "):
            continue
        lines += 1
        what, *rest = line.split()[1:]
        if what == "hz":
            trace, lines = Trace(int(rest[0])), 1
        elif what == "vm":
            trace.vms[int(rest[0])] = rest[1]
        elif what == "apic":
            trace.cpus[int(rest[0])] = int(rest[1])
            trace.records[int(rest[1])] = []
        elif what == "reason":
            trace.reasons[int(rest[0])] = rest[1]
        else:
            records = trace.records[int(what.removeprefix("cpu"))]
            delta, who, a, b, c = (int(number, 16) for number in rest[1:])
            records.append(Record(rest[0], delta + (records[-1].tsc if records else 0), who, a, b, c))
    if found is None:
        sys.exit("trace2json: there is no whole trace in this log")
    return found


def instant(trace: Trace, r: Record) -> tuple[str, dict]:
    """Its name, and what else is known."""
    if r.kind == "inject":
        kind = TYPES.get(r.a >> 8 & 7, "event") if r.a & VALID else "virtual interrupt"
        return f"{kind} {r.a & 0xFF}", {"to": trace.name(r.who)}
    if r.kind == "ipi":
        return f"IPI {r.a:#x}", {"to": f"cpu {trace.cpus.get(r.b, r.b)}"}
    if r.kind == "armed":
        return "timer armed" if r.b != NEVER else "timer off", {"of": trace.name(r.who), "due": r.b}
    return f"timer {r.kind}", {"of": trace.name(r.who)}


def events(trace: Trace) -> list[dict]:
    start = min((records[0].tsc for records in trace.records.values() if records), default=0)

    def us(tsc: int) -> float:
        return (tsc - start) * 1_000_000 / trace.hz

    result: list[dict] = [{"ph": "M", "pid": 0, "name": "process_name", "args": {"name": "Trefoil"}}]
    for cpu, records in trace.records.items():
        track = {"pid": 0, "tid": cpu}
        result.append({"ph": "M", **track, "name": "thread_name", "args": {"name": f"cpu {cpu}"}})
        running: dict | None = None  # the slice that has begun
        for r in records:
            if r.kind not in ("entry", "exit", "switch"):
                name, args = instant(trace, r)
                result.append({"ph": "i", "s": "t", **track, "ts": us(r.tsc), "cat": r.kind, "name": name, "args": args})
                continue
            if running:
                result.append({**running, "dur": us(r.tsc) - running["ts"]})
            running = {"ph": "X", **track, "ts": us(r.tsc)}
            if r.kind == "entry":
                running |= {"cat": "guest", "name": trace.name(r.who)}
            elif r.kind == "exit":
                reason = trace.reasons.get(r.a & 0xFFFF, f"reason {r.a:#x}")
                running |= {"cat": "exit", "name": reason, "args": {"vcpu": trace.name(r.who), "rip": f"{r.b:#x}", "qualification": f"{r.c:#x}"}}
            else:
                running |= {"cat": "idle", "name": "idle"} if r.who == NOBODY else {"cat": "switch", "name": f"to {trace.name(r.who)}"}
    return result


def main() -> None:
    log = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else sys.stdin.buffer.read()
    json.dump({"displayTimeUnit": "ns", "traceEvents": events(last_trace(log.decode(errors="replace")))}, sys.stdout)


if __name__ == "__main__":
    main()
