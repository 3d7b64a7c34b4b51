"""Equivalence: a test kernel prints the same on the bare machine and as a guest, on CPUs with and without the options."""
import difflib

import pytest
from guest import payload_conf, payload_lines

NAMES = ["hello", "cpu", "board", "mmio", "string", "memory", "tasks", "modes"]
CPUS = ["corei7_haswell_4770", "corei7_sandy_bridge_2600k", "corei7_skylake_x"]
ARGUMENTS = "one two"


def compare(images, boot, file, cpu, extra=""):
    bare = boot(images.native("multiboot", file, ARGUMENTS), cpu=cpu, memory=64)
    expected = payload_lines(bare)
    bare.stop()
    own = ["x2apic"] if "x2apic: none" in expected else []  # a guest has an x2APIC, whatever the CPU has
    conf = payload_conf("a", "kernel.elf", ARGUMENTS, memory="64M", extra=extra)
    guest = boot(images.trefoil(conf, {"kernel.elf": file}), cpu=cpu, memory=256)
    lists = [[line for line in lines if line.split()[0].rstrip(":") not in own] for lines in (expected, payload_lines(guest))]
    difference = difflib.unified_diff(*lists, "bare machine", "guest", n=1, lineterm="")
    assert not (text := "\n".join(difference)), text


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", NAMES)
def test_same_as_on_the_bare_machine(images, boot, payload, name, cpu):
    compare(images, boot, payload(name), cpu)


@pytest.mark.parametrize("name", ["board", "mmio"])
def test_same_without_apic_virtualisation(images, boot, payload, name):
    compare(images, boot, payload(name), CPUS[0], "apicv = off\n")


def test_elf64(images, boot, payload):
    guest = boot(images.trefoil(payload_conf("a", "kernel.elf", ARGUMENTS), {"kernel.elf": payload("hello64")}), memory=256)
    assert payload_lines(guest)[-1] == "payload: done"
