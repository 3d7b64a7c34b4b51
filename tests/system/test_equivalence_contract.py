"""The CPU contract: what docs/cpu-contract.md says about CPUID, MSRs and control registers is what a guest sees, on any CPU."""
import re

import pytest
from cpu_contract import PAGE, Contract, read
from emulator import bochs_cpus
from equivalence import differ, intended_differences
from guest import payload_conf, payload_lines

EVERY_ROW = "corei7_icelake_u"  # has everything that the page tells of
CPUS = ["corei7_haswell_4770", "corei7_sandy_bridge_2600k", EVERY_ROW, *(pytest.param(cpu, marks=pytest.mark.slow) for cpu in (
    "corei5_arrandale_m520", "corei7_ivy_bridge_3770k", "broadwell_ult", "corei7_skylake_x", "corei3_cnl", "tigerlake",
    "sapphire_rapids", "arrow_lake"))]
PAYLOADS = ["contract", "contract32"]


@pytest.fixture
def both(images, boot, payload):
    """both(payload, cpu): what it prints on the bare machine and as a guest, and the TSC's frequency there."""
    def run(name, cpu, extra=""):
        machine = boot(images.native("multiboot", payload(name)), cpu=cpu, memory=64)
        bare = payload_lines(machine)
        machine.stop()
        conf = payload_conf("a", "kernel.elf", memory="64M", extra=extra)
        machine = boot(images.trefoil(conf, {"kernel.elf": payload(name)}), cpu=cpu, memory=256)
        guest = payload_lines(machine)
        machine.stop()
        return bare, guest, int(re.search(r"event=tsc hz=(\d+)", machine.log)[1])
    return run


@pytest.mark.parametrize("cpu", CPUS)
def test_the_page_says_what_a_guest_sees(both, cpu):
    bare, guest, hz = both("contract", cpu)
    seen = read(bare), read(guest), True, hz
    contract = Contract()
    assert not (text := contract.wrong(*seen)), text
    assert not (text := differ("contract", cpu, bare, guest, intended_differences())), text
    assert "tsc: written 1 adjust 1 back 1" in guest
    if cpu == EVERY_ROW:
        assert not contract.unseen()
        see_that_a_wrong_page_is_found(*seen)


def see_that_a_wrong_page_is_found(*seen):
    text = PAGE.read_text()
    changes = [("native 0-1 9 12-13", "native 0-1 9 13"), ("ones 2 |", "ones 3 |"), ("= 0x508", "= 0x509"),
               ("keeps 0 3 |", "keeps 0 |"), ("12-14 19", "12 14 19"), ("| 1a0 ", "| 1a0-1a1 ")]
    changes += [(row + "\n", "") for row in text.splitlines() if re.match(r"\| (1a0|6|CR4) ", row)]
    for old, new in changes:
        assert text.count(old) == 1, old
        assert Contract(text.replace(old, new)).wrong(*seen), old


@pytest.mark.parametrize("cpu", CPUS)
def test_without_paging(both, cpu):
    bare, guest, _ = both("contract32", cpu)
    assert not (text := Contract().wrong_registers(read(bare), read(guest))), text
    assert not (text := differ("contract32", cpu, bare, guest, intended_differences())), text


def test_with_the_hypervisor_bit_off(both):
    bare, guest, hz = both("contract", CPUS[0], "hypervisor = off\n")
    assert not (text := Contract().wrong(read(bare), read(guest), False, hz)), text
    leaf = {at[0]: registers for at, registers in read(guest).cpuid.items() if at[1:] == (0, "")}
    assert not leaf[1][2] >> 31 and leaf[0x40000000] == leaf[0x3fffffff] == leaf[0x40000010] == leaf[leaf[0][0]]


def test_every_model_is_tried():
    tried = {cpu if isinstance(cpu, str) else cpu.values[0] for cpu in CPUS}
    assert {cpu for cpu in bochs_cpus() if re.match(r"corei[3-9]_|broadwell|tigerlake|sapphire|arrow", cpu)} - tried \
        <= {"corei5_lynnfield_750"}  # no unrestricted guest: refused
