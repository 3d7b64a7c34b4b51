"""A payload that computes, beside guests that attack: what it says must be what it says alone, and as soon as its share
of the CPU allows."""
from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import BUILD, TREFOIL, Images, once, payload
from emulator import DEFAULT_CPU, Bochs, Emulator, ExpectError, find_bochs
from guest import guest_lines, payload_conf

IPS = 100_000_000
SHARE = 0.95  # of what its weight entitles the neighbour to
MEMORY = "8M"
ROUNDS = 60   # some 60 million instructions
EACH = 2      # rounds, for one line of output
LINES_MAX = 60  # of the log, for one test
SECRETS = {"neighbour": 1, "module": 2, "configuration": 3}


def secret(number: int) -> str:
    """As tests/payload/secret.h makes it."""
    state, text, mask = (number + 1) * 0x9e3779b97f4a7c15 & (1 << 64) - 1, "", (1 << 64) - 1
    for _ in range(32):
        state ^= state << 13 & mask
        state ^= state >> 7
        state ^= state << 17 & mask
        text += chr(ord("a") + (state >> 33) % 26)
    return text


def neighbour_conf(rounds: int = ROUNDS, weight: int = 100, extra: str = "") -> str:
    return payload_conf("good", "neighbour.elf", f"rounds={rounds} each={EACH} secret={SECRETS['neighbour']} exit=poweroff", memory=MEMORY,
                        extra=f"weight = {weight}\n{extra}")


def lines_of(machine: Emulator) -> list[str]:
    """What the neighbour, which has the focus, has said; others' lines that are shown among its own tear them like the log's."""
    text = re.sub(r"(?m)^bad\d*\| .*$", "[    0.000000] cpu0 info other: a line", machine.log)
    lines = [line for line in guest_lines(text) if re.match(r"payload: |neighbour: ", line)]
    return lines[:lines.index("payload: done") + 1]


def micros(machine: Emulator, event: str) -> int:
    seconds, rest = re.search(rf"(?m)^\[ *(\d+)\.(\d{{6}})\] cpu0 info \w+: vm=good event={event}", machine.log).groups()
    return int(seconds) * 1_000_000 + int(rest)


def life(machine: Emulator) -> int:
    """The microseconds from the neighbour's first instruction to its last, by the hypervisor's clock."""
    return micros(machine, "stopped cause=power-off") - micros(machine, "started")


def await_end(machine: Emulator, timeout: float) -> None:
    """Until it is off and its last line is shown, in whichever order."""
    ended = [re.compile(pattern) for pattern in (rb"vm=good event=stopped cause=power-off", rb"(?m)^payload: done\r?$")]
    if not machine.serial.wait(lambda: all(p.search(machine.serial.data) for p in ended), timeout * machine.slowness):
        raise ExpectError(f"the neighbour has not ended\n--- end of the serial line:\n{machine.log[-2000:]}")


def alone(rounds: int = ROUNDS, cpu: str = DEFAULT_CPU, ips: int = IPS) -> tuple[list[str], int]:
    """What the neighbour says where nobody else is, and how long it takes: once for all tests."""
    stamp = max(path.stat().st_mtime_ns for path in (TREFOIL, payload("neighbour")))
    version = "%d.%d" % find_bochs().version

    def run(out: Path) -> None:
        where = out.with_suffix(".run")
        where.mkdir(parents=True, exist_ok=True)
        iso = Images(where).trefoil(neighbour_conf(rounds), {"neighbour.elf": payload("neighbour")})
        with Bochs(where, iso, cpu=cpu, memory=256, ips=ips) as machine:
            await_end(machine, 30 + rounds)
            out.write_text(json.dumps([lines_of(machine), life(machine)]))
        iso.unlink()

    lines, time = json.loads(once(BUILD / "system" / f"neighbour-{rounds}-{cpu}-{ips}-{version}-{stamp:x}.json", run).read_text())
    assert len(lines) == rounds // EACH + 4
    return lines, time


def finish(machine: Emulator, rounds: int = ROUNDS, share: float = 0.5, cpu: str = DEFAULT_CPU, ips: int = IPS,
           log_lines: int = LINES_MAX) -> None:
    """Waits for the neighbour's end and judges it; share: of the CPU, by its weight."""
    await_end(machine, (30 + rounds) / share)
    lines, time = alone(rounds, cpu, ips)
    assert lines_of(machine) == lines
    assert "panic:" not in machine.log
    logged = re.findall(r"(?m)^\[ *\d+\.\d{6}\] cpu\d+ \w+ .*", machine.log[machine.log.index("event=ready"):])
    assert len(logged) <= log_lines, f"{len(logged)} lines in the log"
    got = time / share / life(machine)
    print(f"share={got:.3f} log={len(logged)}")
    assert got >= SHARE
