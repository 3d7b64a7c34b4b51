"""Shares of several CPUs: weights, caps, sets of CPUs, cores for one alone; and what no machine can give is refused."""
import re

import pytest
from guest import payload_conf

WORK = 1 << 19  # iterations a line
LINES = 200     # of the first guest
WARM_UP = 20
LOCK_ROUNDS, LOCK_WARM_UP = 40, 10


def spins(images, boot, payload, extras, cpus):
    """Lines of each of the guests while the first says LINES less WARM_UP, over that."""
    conf = "[trefoil]\nshow_all = on\nfocus = log\n" + "".join(
        payload_conf(f"g{n}", "spin.elf", f"work={WORK}", extra=extra) for n, extra in enumerate(extras))
    machine = boot(images.trefoil(conf, {"spin.elf": payload("spin")}), memory=256, cpus=cpus)
    machine.expect(rf"(?m)^g0\| spin {LINES}\r?$", 180)
    text = machine.log
    machine.stop()
    done = []
    for lines in (WARM_UP, LINES):
        before = text[:re.search(rf"(?m)^g0\| spin {lines}\r?$", text).start()]
        done.append([int(([0] + re.findall(rf"(?m)^g{n}\| spin (\d+)\r?$", before))[-1]) for n in range(len(extras))])
    return [(after - before) / (LINES - WARM_UP) for before, after in zip(*done)]


@pytest.mark.parametrize("extras, expected", [
    (["", "", ""], [1, 1, 1]),
    (["weight = 300\n", "weight = 200\n", ""], [1, 2 / 3, 1 / 3]),
    (["cap = 30\n", "", ""], [1, 0.85 / 0.3, 0.85 / 0.3]),  # no CPU idles: Bochs has another speed then
    (["weight = 1\nreservation = 40\n", "weight = 1000\n", "weight = 1000\n"], [1, 2, 2]),
    (["cpus = 1\n", "cpus = 0\n", "cpus = 0\n"], [1, 1 / 2, 1 / 2]),
    (["core = dedicated\n", "", ""], [1, 1 / 2, 1 / 2]),
], ids=["equal", "weights", "cap", "reservation", "cpus", "dedicated"])
def test_shares_of_two_cpus(images, boot, payload, extras, expected):
    assert spins(images, boot, payload, extras, 2) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("extra, key", [
    ("cpus = 7\n", "cpus"), ("vcpus = 2\ncore = dedicated\n", "core"), ("core = dedicated\ncpus = 0\n", "core"),
    ("vcpus = 3\nreservation = 70\n", "reservation"), ("vcpus = 2\nreservation = 60\ncpus = 1\n", "reservation"),
])
def test_what_cannot_be_given(images, boot, payload, extra, key):
    conf = payload_conf("good", "hello.elf") + payload_conf("bad", "hello.elf", extra=extra)
    machine = boot(images.trefoil(conf, {"hello.elf": payload("hello")}), memory=256, cpus=2)
    machine.expect(rf"vm=bad event=refused key={key} error=[a-z-]+ reason=\S", 30)
    machine.expect(r"payload: done", 30)


def lock_rounds(images, boot, payload, cpu, guests):
    """Ticks that a round of tests/payload/smp_lock.c takes each guest of two vCPUs on two CPUs, once all of them run."""
    conf = "[trefoil]\nshow_all = on\nfocus = log\n" + "".join(
        payload_conf(f"g{n}", "lock.elf", "rounds=0 each=2000", extra="vcpus = 2\n") for n in range(guests))
    machine = boot(images.trefoil(conf, {"lock.elf": payload("smp_lock")}), cpu=cpu, memory=256, cpus=2)
    machine.expect(rf"(?m)^g0\| # lock: round {LOCK_ROUNDS} ", 180)
    text = machine.log
    machine.stop()
    means = []
    for n in range(guests):
        ticks = [int(t) for t in re.findall(rf"(?m)^g{n}\| # lock: round \d+ ticks (\d+)\r?$", text)][LOCK_WARM_UP:]
        assert len(ticks) > LOCK_ROUNDS / 2, "one guest hardly runs"
        means.append(sum(ticks) / len(ticks))
    return means


# Without a scheduler that runs siblings together, most turns would be spent waiting for one that has no CPU.
@pytest.mark.parametrize("cpu", ["corei7_haswell_4770", "corei7_sandy_bridge_2600k"])  # with pause-loop exiting, and without
def test_two_guests_that_wait_for_locks(images, boot, payload, cpu):
    alone = lock_rounds(images, boot, payload, cpu, guests=1)[0]
    assert max(lock_rounds(images, boot, payload, cpu, guests=2)) < 1.25 * 2 * alone
