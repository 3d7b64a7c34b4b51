"""Several CPUs: the machine's all run, and a guest's are like those of a bare machine with as many."""
import re

import pytest
from emulator import find_bochs
from equivalence import assert_same
from guest import payload_conf, payload_lines

HASWELL = "corei7_haswell_4770"
OTHERS = ["corei7_sandy_bridge_2600k", "corei7_skylake_x"]
NAMES = ["smp_ipi", "smp_tlb", "smp_timer", "smp_atomic", "smp_topology", "smp_lock"]
# What Bochs 2.7 says of x2APIC ids is wrong, and it takes minutes for what the fast one does in seconds.
pytestmark = pytest.mark.skipif(find_bochs().version < (3, 0), reason="this Bochs is too old for several CPUs")


def few(name, vcpus, host_cpus):
    """Arguments for fewer rounds where CPUs wait for each other's time slices."""
    return "rounds=10 count=1000 steps=40" if name != "smp_lock" and vcpus > host_cpus else "rounds=4 each=200"


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_every_cpu_comes_online(images, boot, payload, cpus):
    """Beside the boot CPU, which need not be brought up."""
    machine = boot(images.trefoil(payload_conf("a", "kernel.elf"), {"kernel.elf": payload("hello")}), cpus=cpus, memory=256)
    payload_lines(machine)
    online = re.findall(r"smp: event=cpu-online cpu=(\d+) apic-id=(\d+)", machine.log)
    assert sorted(online) == [(str(n), str(n)) for n in range(1, cpus)]


@pytest.mark.parametrize("name", NAMES)
def test_two_on_two(images, boot, payload, name):
    assert_same(images, boot, payload(name), HASWELL, cpus=2, host_cpus=2)


@pytest.mark.parametrize("name", NAMES)
def test_two_on_one(images, boot, payload, name):
    assert_same(images, boot, payload(name), HASWELL, few(name, 2, 1), cpus=2, host_cpus=1)


@pytest.mark.parametrize("name", ["smp_ipi", "smp_timer"])
def test_two_without_apic_virtualisation(images, boot, payload, name):
    assert_same(images, boot, payload(name), HASWELL, extra="apicv = off\n", cpus=2, host_cpus=2)


@pytest.mark.parametrize("cpu", OTHERS)
def test_interrupts_on_other_cpus(images, boot, payload, cpu):
    assert_same(images, boot, payload("smp_ipi"), cpu, cpus=2, host_cpus=2)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", [HASWELL, *OTHERS])
@pytest.mark.parametrize("vcpus, host_cpus", [(2, 4), (4, 1), (4, 2), (4, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_same_as_on_the_bare_machine(images, boot, payload, name, vcpus, host_cpus, cpu):
    assert_same(images, boot, payload(name), cpu, few(name, vcpus, host_cpus), timeout=240, cpus=vcpus, host_cpus=host_cpus)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_two_on_other_cpus(images, boot, payload, name, cpu):
    assert_same(images, boot, payload(name), cpu, cpus=2, host_cpus=2)


@pytest.mark.slow
@pytest.mark.parametrize("vcpus, host_cpus", [(2, 2), (4, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_without_apic_virtualisation(images, boot, payload, name, vcpus, host_cpus):
    assert_same(images, boot, payload(name), HASWELL, few(name, vcpus, host_cpus), "apicv = off\n", timeout=240, cpus=vcpus,
                host_cpus=host_cpus)


def start_two(images, boot, payload, name, arguments, vcpus, host_cpus, **options):
    conf = "[trefoil]\nshow_all = on\n" + "".join(payload_conf(vm, "kernel.elf", arguments, memory="16M", extra=f"vcpus = {vcpus}\n")
                                                  for vm in "ab")
    return boot(images.trefoil(conf, {"kernel.elf": payload(name)}), cpus=host_cpus, memory=256, **options)


@pytest.mark.parametrize("vcpus, host_cpus", [(2, 1), (2, 2), pytest.param(4, 2, marks=pytest.mark.slow)])
def test_registers_stay_with_their_cpu(images, boot, payload, vcpus, host_cpus):
    """Two guests, so that each vCPU waits and moves; what one leaves behind on a CPU would be found by another."""
    machine = start_two(images, boot, payload, "smp_atomic", "count=500 rounds=20", vcpus, host_cpus)
    for _ in range(2):
        machine.expect(r"payload: done", 120, never=r"event=(refused|stopped) [^\n]*|panic: machine stopped| lost ")
    kept = re.findall(r"cpu \d keeps its registers, and is interrupted", machine.log)
    assert len(kept) == 2 * vcpus


@pytest.mark.parametrize("host_cpus", [1, 2])
def test_locks_among_more_vcpus_than_cpus(images, boot, payload, host_cpus):
    """Two guests of two CPUs wait for their own locks: nobody waits for one that does not run for longer than it must."""
    machine = start_two(images, boot, payload, "smp_lock", "rounds=4 each=200", 2, host_cpus)
    for _ in range(2):
        machine.expect(r"lock: 1600 sections", 120)
    assert " lost some" not in machine.log


def test_a_guest_with_more_cpus_than_the_machine(images, boot, payload):
    conf = payload_conf("a", "kernel.elf", "steps=10 rounds=2", memory="16M", extra="vcpus = 8\n")
    machine = boot(images.trefoil(conf, {"kernel.elf": payload("smp_timer")}), cpus=2, memory=256)
    lines = payload_lines(machine, 240)
    assert "smp: 8 of 8 CPUs" in lines and "one-shot:" + " 10" * 8 in lines


@pytest.mark.slow
def test_as_many_as_there_can_be(images, boot, payload):
    machine = boot(images.trefoil(payload_conf("a", "kernel.elf", memory="64M", extra="vcpus = 64\n"),
                                  {"kernel.elf": payload("smp_topology")}), memory=256, cpus=4)
    lines = payload_lines(machine, 180)
    assert "smp: 64 of 64 CPUs" in lines and any(line.startswith("cpu 63 began with") for line in lines)
