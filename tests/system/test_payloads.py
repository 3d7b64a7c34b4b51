"""Equivalence: a test kernel prints the same on the bare machine and as a guest, on CPUs with and without the options."""
import pytest
from guest import payload_conf, payload_lines

NAMES = ["hello", "cpu", "board", "mmio", "string", "memory"]
CPUS = ["corei7_haswell_4770", "corei7_sandy_bridge_2600k", "corei7_skylake_x"]
ARGUMENTS = "one two"


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", NAMES)
def test_same_as_on_the_bare_machine(images, boot, payload, name, cpu):
    bare = boot(images.native("multiboot", payload(name), ARGUMENTS), cpu=cpu, memory=64)
    expected = payload_lines(bare)
    bare.stop()
    conf = payload_conf(name, "kernel.elf", ARGUMENTS, memory="64M")
    guest = boot(images.trefoil(conf, {"kernel.elf": payload(name)}), cpu=cpu, memory=256)
    assert payload_lines(guest) == expected


@pytest.mark.parametrize("name", ["board", "mmio"])
def test_same_without_apic_virtualisation(images, boot, payload, name):
    bare = boot(images.native("multiboot", payload(name), ARGUMENTS), memory=64)
    expected = payload_lines(bare)
    bare.stop()
    conf = payload_conf(name, "kernel.elf", ARGUMENTS, memory="64M", extra="apicv = off\n")
    guest = boot(images.trefoil(conf, {"kernel.elf": payload(name)}), memory=256)
    assert payload_lines(guest) == expected


def test_elf64(images, boot, payload):
    guest = boot(images.trefoil(payload_conf("a", "kernel.elf", ARGUMENTS), {"kernel.elf": payload("hello64")}), memory=256)
    assert payload_lines(guest)[-1] == "payload: done"


@pytest.mark.parametrize("cpu", ["corei5_arrandale_m520", "corei7_icelake_u", "tigerlake", "sapphire_rapids", "arrow_lake"])
def test_other_cpus(images, boot, payload, cpu):
    guest = boot(images.trefoil(payload_conf("a", "kernel.elf", ARGUMENTS), {"kernel.elf": payload("hello")}), cpu=cpu, memory=256)
    assert payload_lines(guest)[-1] == "payload: done"
