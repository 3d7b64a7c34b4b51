"""Equivalence: a test kernel prints the same on the bare machine and as a guest, on CPUs with and without the options."""
import re

import pytest
from equivalence import Difference, assert_same, differ
from guest import payload_conf, payload_lines

NAMES = ["hello", "cpu", "board", "mmio", "string", "memory", "tasks", "modes", "random_found"]
CPUS = ["corei7_haswell_4770", "corei7_sandy_bridge_2600k", "corei7_skylake_x"]
ARGUMENTS = "one two"


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", NAMES)
def test_same_as_on_the_bare_machine(images, boot, payload, name, cpu):
    assert_same(images, boot, payload(name), cpu, ARGUMENTS)


@pytest.mark.parametrize("name", ["board", "mmio"])
def test_same_without_apic_virtualisation(images, boot, payload, name):
    assert_same(images, boot, payload(name), CPUS[0], ARGUMENTS, "apicv = off\n")


def test_elf64(images, boot, payload):
    guest = boot(images.trefoil(payload_conf("a", "kernel.elf", ARGUMENTS), {"kernel.elf": payload("hello64")}), memory=256)
    assert payload_lines(guest)[-1] == "payload: done"


def test_a_difference_is_found_and_a_stale_entry_too():
    entry = Difference("c", ["p*"], ["*"], re.compile(r"c=.*"))
    assert not differ("pay", "cpu", ["a=1", "c=2"], ["a=1", "c=3"], [entry])
    assert "-a=1" in differ("pay", "cpu", ["a=1", "c=2"], ["a=2", "c=3"], [entry])
    assert "stale" in differ("pay", "cpu", ["a=1", "c=2"], ["a=1", "c=2"], [entry])
    assert "stale" in differ("pay", "cpu", ["a=1"], ["a=1"], [entry])
    assert "-c=2" in differ("other", "cpu", ["c=2"], ["c=3"], [entry])
