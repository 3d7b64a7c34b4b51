"""Guests of several CPUs that attack: the neighbour says what it says alone, and keeps its share of the CPUs."""
import re

import pytest
from emulator import find_bochs
from guest import echo_answers, payload_conf
from hostile import await_end, alone, finish, lines_of, neighbour_conf

# What goes on for ever.
STORMS = ["ipi-storm", "ipi-storm-if0", "halted-storm", "vector-flood", "nmi-storm", "init-storm", "init-all-storm", "sipi-storm",
          "timers", "x2apic-toggle", "apic-base", "remap-race", "control-storm", "type-storm", "tsc-storm", "split-lock",
          "pause-storm", "lock-convoy", "halt-all", "device-race", "ioapic-race", "string-race", "console-race"]
# What may end the guest, in whichever way.
ENDS = ["ipi-random", "ioapic-any", "init-boot-cpu"]
STOPS = [("off-from-ap", "power-off"), ("off-from-all", "power-off"), ("reset-from-ap", "reset"), ("reset-from-all", "reset"),
         ("keyboard-from-ap", "reset"), ("triple-on-ap", "triple-fault"), ("triple-on-all", "triple-fault")]
# What comes to an end if it is told to; ioapic-race may make a line that is never at rest interrupt it for ever.
BOUNDED = [mode for mode in STORMS if mode not in ("timers", "halt-all", "apic-base", "ioapic-race")]
FAST = ["ipi-storm", "init-storm", "remap-race", "x2apic-toggle", "pause-storm", "device-race"]
pytestmark = pytest.mark.skipif(find_bochs().version < (3, 0), reason="this Bochs is too old for several CPUs")


def start(images, boot, payload, modes, cpus, vcpus=2, weight=100, extra="", **options):
    """The neighbour, and a guest of two CPUs for each mode."""
    conf = neighbour_conf(weight=weight)
    for n, mode in enumerate(modes):
        conf += payload_conf(f"bad{n}", "hostile.elf", mode, memory="8M", extra=f"vcpus = {vcpus}\n{extra}")
    files = {"neighbour.elf": payload("neighbour"), "hostile.elf": payload("smp_hostile")}
    return boot(images.trefoil(conf, files), memory=256, cpus=cpus, **options)


def unharmed(machine, timeout=120):
    """The neighbour's lines are what they are alone; how long it took is another test's subject."""
    await_end(machine, timeout)
    assert lines_of(machine) == alone()[0]
    assert "panic:" not in machine.log


@pytest.mark.parametrize("mode", [pytest.param(m, marks=[] if m in FAST else pytest.mark.slow) for m in STORMS + ENDS])
def test_the_neighbour_says_the_same(images, boot, payload, mode):
    unharmed(start(images, boot, payload, [mode], 2))


@pytest.mark.parametrize("modes", [STORMS[:6], STORMS[6:12], STORMS[12:18], STORMS[18:]], ids=["1", "2", "3", "4"])
@pytest.mark.slow
def test_against_many(images, boot, payload, modes):
    unharmed(start(images, boot, payload, modes, 2, weight=100 * len(modes)), 400)


@pytest.mark.parametrize("mode, vcpus, cpus", [
    pytest.param(mode, vcpus, cpus, marks=[] if mode == "pause-storm" and vcpus > cpus else pytest.mark.slow)
    for mode in STORMS for vcpus, cpus in [(2, 1), (4, 2), (4, 4)]])
def test_on_other_machines(images, boot, payload, mode, vcpus, cpus):
    unharmed(start(images, boot, payload, [mode], cpus, vcpus), 240)


@pytest.mark.slow
@pytest.mark.parametrize("mode", STORMS[:11])
def test_without_apic_virtualisation(images, boot, payload, mode):
    unharmed(start(images, boot, payload, [mode], 2, extra="apicv = off\n"))


@pytest.mark.parametrize("mode", ["ipi-storm", "pause-storm", pytest.param("init-storm", marks=pytest.mark.slow)])
def test_a_share_of_the_only_cpu(images, boot, payload, mode):
    """Two vCPUs of one weight each, beside the neighbour with the weight of both."""
    finish(start(images, boot, payload, [mode], 1, weight=200), share=0.5)


@pytest.mark.parametrize("mode, cause", STOPS, ids=[mode for mode, _ in STOPS])
def test_ends_from_any_cpu(images, boot, payload, mode, cause):
    """All of the guest's CPUs stop, and its next life begins with one again."""
    conf = "[trefoil]\nshow_all = on\n" + payload_conf("good", "echo.elf") \
        + payload_conf("bad", "hostile.elf", mode, memory="8M", extra="vcpus = 2\non_exit = restart\n")
    files = {"echo.elf": payload("echo"), "hostile.elf": payload("smp_hostile")}
    machine = boot(images.trefoil(conf, files), memory=256, cpus=2)
    machine.expect(rf"vm=bad event=stopped cause={cause}", 30)
    if cause != "power-off":
        machine.expect(r"smp: 2 of 2 CPUs", 30)
        machine.expect(rf"vm=bad event=stopped cause={cause}", 30)
    echo_answers(machine)


@pytest.mark.slow
@pytest.mark.parametrize("mode", BOUNDED)
def test_it_survives_what_it_does(images, boot, payload, mode):
    conf = payload_conf("bad", "hostile.elf", f"{mode} rounds=100", memory="8M", extra="vcpus = 2\n")
    machine = boot(images.trefoil(conf, {"hostile.elf": payload("smp_hostile")}), memory=256, cpus=2)
    machine.expect(rf"hostile: {mode} done", 120, never=r"event=(refused|stopped) [^\n]*|panic: machine stopped")


def test_a_crash_in_a_loop(images, boot, payload):
    machine = start(images, boot, payload, ["triple-on-all"], 2, extra="on_exit = restart\n")
    unharmed(machine)
    assert len(re.findall(r"vm=bad0 event=stopped cause=triple-fault", machine.log)) > 1
