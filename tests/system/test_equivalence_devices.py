"""Equivalence of device memory, string I/O and the board's devices: the same on the bare machine and as a guest."""
import pytest
from equivalence import assert_same

CPU = "corei7_haswell_4770"
OTHERS = ["corei7_sandy_bridge_2600k", "corei7_skylake_x"]
NAMES = ["access", "access32", "again", "lapic", "pc"]
CASES = [(name, CPU) for name in NAMES] + [("access", OTHERS[1]), ("lapic", OTHERS[0]), ("again", OTHERS[0])]
SLOW = [(name, cpu) for name in NAMES for cpu in OTHERS if (name, cpu) not in CASES]


@pytest.mark.parametrize("name, cpu", CASES)
def test_same_as_on_the_bare_machine(images, boot, payload, name, cpu):
    assert_same(images, boot, payload(name), cpu)


@pytest.mark.slow
@pytest.mark.parametrize("name, cpu", SLOW)
def test_same_on_other_cpus(images, boot, payload, name, cpu):
    assert_same(images, boot, payload(name), cpu)


@pytest.mark.parametrize("name", ["access", "again", "lapic"])
def test_same_without_apic_virtualisation(images, boot, payload, name):
    assert_same(images, boot, payload(name), CPU, extra="apicv = off\n")
