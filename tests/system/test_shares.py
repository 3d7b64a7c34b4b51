"""Proportional shares: pure-compute guests progress by their weights; one that waits for keys does not starve."""
import re

import pytest
from guest import payload_conf

WORK = 1 << 19  # iterations a line: some hundred lines of either guest in the measured stretch
LINES = 400     # of the heavier guest
WARM_UP = 40


@pytest.mark.parametrize("cpu", ["corei7_haswell_4770", "corei7_skylake_x"])
@pytest.mark.parametrize("heavy, light", [(100, 100), (300, 100)])
def test_shares_follow_weights(images, boot, payload, heavy, light, cpu):
    conf = "[trefoil]\nshow_all = on\n" + payload_conf("heavy", "spin.elf", f"work={WORK}", extra=f"weight = {heavy}\n") \
        + payload_conf("light", "spin.elf", f"work={WORK}", extra=f"weight = {light}\n")
    machine = boot(images.trefoil(conf, {"spin.elf": payload("spin")}), cpu=cpu, memory=256)
    machine.expect(rf"(?m)^spin {LINES}\r?$", 180)
    text = machine.log
    machine.stop()
    done = {}
    for lines in (WARM_UP, LINES):
        before = text[:re.search(rf"(?m)^spin {lines}\r?$", text).start()]
        done[lines] = int(re.findall(r"(?m)^light\| spin (\d+)\r?$", before)[-1])
    ratio = (LINES - WARM_UP) / (done[LINES] - done[WARM_UP])
    assert ratio == pytest.approx(heavy / light, rel=0.05)


def test_a_compute_guest_does_not_delay_keys(images, boot, payload):
    conf = payload_conf("echo", "echo.elf") + payload_conf("spin", "spin.elf", extra="weight = 1000\n")
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo"), "spin.elf": payload("spin")}), memory=256)
    machine.expect(r"echo: ready", 30)
    for word in (b"one", b"two", b"three"):
        for letter in word:
            machine.send(bytes([letter]))
            machine.expect(re.escape(bytes([letter])), 10)


@pytest.mark.parametrize("cpu, xcr0", [("corei5_arrandale_m520", 3), ("corei7_haswell_4770", 7), ("corei7_skylake_x", 0xe7)])
def test_no_state_leaks_between_guests(images, boot, payload, cpu, xcr0):
    """FPU and vector registers, debug registers, CR2 and MSRs survive the neighbours' turns, who fill their own."""
    conf = "[trefoil]\nshow_all = on\n" + "".join(payload_conf(name, "switch.elf", f"seed={seed}")
                                                  for seed, name in enumerate("abc", 1))
    machine = boot(images.trefoil(conf, {"switch.elf": payload("switch")}), cpu=cpu, memory=256)
    for _ in range(3):
        machine.expect(rf"switch: kept, xcr0 {xcr0:x}\r?\n", 60, never=r"switch: round|panic: machine stopped")


SLICE_TICKS = 500_000  # 5 ms of 100 MHz, the default


@pytest.mark.parametrize("cpu", ["corei7_haswell_4770", "corei7_sandy_bridge_2600k"])
def test_a_sleeper_wakes_within_two_slices(images, boot, payload, cpu):
    """Exact, in the guest's own TSC: two guests compute without end, a third sleeps until its timer, 200 times."""
    conf = payload_conf("sleeper", "latency.elf", "count=200") + payload_conf("spin", "spin.elf") \
        + payload_conf("spun", "spin.elf", extra="weight = 200\n")
    machine = boot(images.trefoil(conf, {"latency.elf": payload("latency"), "spin.elf": payload("spin")}), cpu=cpu, memory=256)
    worst = int(machine.expect(r"latency: worst=(\d+) of 200", 120)[1])
    assert 0 < worst < 2 * SLICE_TICKS
