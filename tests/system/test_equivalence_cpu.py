"""Equivalence: what the CPU does around exits, one subject each."""
import pytest
from equivalence import assert_same, differ, intended_differences
from guest import payload_conf, payload_lines

NAMES = ["debug", "shadow", "nmi", "align", "deliver", "fpu", "paging64", "fetch", "syscalls", "segments", "sensitive"]
HASWELL = "corei7_haswell_4770"
OTHER_CPUS = ["corei7_sandy_bridge_2600k", "corei7_skylake_x", "corei7_icelake_u"]


@pytest.mark.parametrize("name", NAMES)
def test_same_as_on_the_bare_machine(images, boot, payload, name):
    assert_same(images, boot, payload(name), HASWELL)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", OTHER_CPUS)
@pytest.mark.parametrize("name", NAMES)
def test_same_on_other_cpus(images, boot, payload, name, cpu):
    # Bochs reports a stale event when an exit meets the delivery of a virtual interrupt.
    assert_same(images, boot, payload(name), cpu, extra="apicv = off\n" if name == "deliver" else "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["debug", "shadow", "nmi"])
def test_same_without_apic_virtualisation(images, boot, payload, name):
    assert_same(images, boot, payload(name), HASWELL, extra="apicv = off\n")


@pytest.mark.parametrize("name, cpu", [("fpu", HASWELL), ("segments", HASWELL), pytest.param("fpu", "corei7_skylake_x", marks=pytest.mark.slow)])
def test_same_next_to_a_neighbour(images, boot, payload, name, cpu):
    """Who has the CPU in between fills every register that is not part of its VMCS."""
    machine = boot(images.native("multiboot", payload(name)), cpu=cpu, memory=64)
    bare = payload_lines(machine)
    machine.stop()
    conf = payload_conf("a", "a.elf") + payload_conf("b", "b.elf", "seed=7 count=1000000")
    machine = boot(images.trefoil(conf, {"a.elf": payload(name), "b.elf": payload("switch")}), cpu=cpu, memory=256)
    assert not (text := differ(name, cpu, bare, payload_lines(machine), intended_differences())), text
