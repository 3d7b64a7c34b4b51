"""Trefoil behind a boot loader that leaves the machine, the memory map or the ACPI tables as the worst firmware does
(tests/firmware). Either a guest sees what it sees elsewhere, or a clear refusal says what is wrong."""
import pytest
from conftest import BUILD, TREFOIL
from guest import payload_conf, payload_lines

SHIM = BUILD / "firmware" / "shim.elf"
HASWELL, NEWEST = "corei7_haswell_4770", "arrow_lake"
REFUSED = r"event=refused missing=([^\r\n]*)\r?\n"


@pytest.fixture
def start(images, boot, workdir, payload):
    """start(options, kernel): Trefoil behind the shim, with one guest."""
    conf = workdir / "trefoil.conf"

    def boot_shim(options, kernel="hello", **machine):
        conf.write_text(payload_conf("a", f"{kernel}.elf"))
        iso = images.native("multiboot2", SHIM, options, TREFOIL, "", conf, "", payload(kernel), "")
        machine.setdefault("memory", 256)
        running = boot(iso, **machine)
        running.expect(r"shim: spoiling the machine\r\n|shim: ([^\r]*)\r\n", 30)
        return running

    return boot_shim


@pytest.fixture(scope="module")
def expected():
    """Lines of the runs behind harmless firmware."""
    return {}


STATES = [
    # what the shim leaves behind, the guest that looks, the CPU, what the log says
    ("x2apic", "board", "corei7_skylake_x", "event=lapic mode=x2apic"),
    ("pit", "board", HASWELL, "event=ready"),
    ("lapic", "board", HASWELL, "event=lapic mode=xapic"),
    ("lapic pit x2apic", "board", HASWELL, "event=lapic mode=x2apic"),
    ("lapic lapic-moved", "board", HASWELL, "event=lapic mode=xapic"),
    ("tsc", "board", HASWELL, "event=tsc "),
    ("cr", "cpu", HASWELL, "event=ready"),
    ("cr", "hello", NEWEST, "event=ready"),
    ("msrs fpu", "cpu", HASWELL, "event=ready"),
    ("mtrr", "cpu", HASWELL, "event=ready"),
    ("debug", "cpu", HASWELL, "event=ready"),
    ("pit lapic x2apic tsc mtrr fpu msrs cr debug at=high", "cpu", HASWELL, "event=lapic mode=x2apic"),
]


@pytest.mark.parametrize("options, kernel, cpu, says", STATES)
def test_state_left_behind(start, expected, options, kernel, cpu, says):
    if (kernel, cpu) not in expected:
        clean = start("", kernel, cpu=cpu)
        expected[kernel, cpu] = payload_lines(clean)
        clean.stop()
    machine = start(options, kernel, cpu=cpu)
    assert payload_lines(machine) == expected[kernel, cpu]
    assert says in machine.log
    assert "apic-error" not in machine.log


RUNNING = [
    # options, memory in KiB that is less than without them, what the log says
    ("map=many", 140 * 4, ""),
    ("map=many at=high", 140 * 4, ""),
    ("map=sparse", 16 << 10, ""),
    ("map=overlap", 3 << 10, ""),
    ("map=unsorted", 0, ""),
    ("map=beyond", 0, "event=ram-unused base=0x10000000000000 size=0x80000000"),
    ("acpi=search", 0, "event=found cpus=1 "),
    ("acpi=none", 0, "event=no-acpi"),
    ("acpi=madt", 0, "event=table-checksum table=MADT"),
    ("acpi=x2apic", 4, "event=found cpus=41 "),
    ("acpi=hpet-ram", 0, "event=device-unreachable address=0x7000000 "),
    ("acpi=hpet-far", 0, "event=device-unreachable address=0x100000000000000 "),
    ("acpi=ioapic-ram", 0, "event=device-unreachable address=0x7000000 "),
]


def total(machine):
    return int(machine.expect(r"event=memory total-kib=(\d+) ", 30, never=REFUSED)[1])


@pytest.mark.parametrize("options, less, says", RUNNING)
def test_maps_and_tables_that_are_odd(start, expected, options, less, says):
    if "total" not in expected:
        clean = start("")
        expected["total"], expected["hello"] = total(clean), payload_lines(clean)
        clean.stop()
    machine = start(options)
    assert total(machine) == expected["total"] - less
    assert payload_lines(machine) == expected["hello"]
    assert says in machine.log
    assert "trace-left-on" not in machine.log


def test_a_madt_without_cpus_is_as_good_as_none(start):
    machine = start("acpi=empty-madt")
    payload_lines(machine)
    assert "event=no-acpi" in machine.log and "irq-unusable" not in machine.log


def test_memory_far_above(start):
    """RAM above 512 GiB is counted, and not needed for a guest that fits below."""
    machine = start("map=high")
    assert total(machine) > 2 << 20
    payload_lines(machine)


REFUSALS = [
    ("map=toomany", "512 memory ranges"),
    ("map=none", "a module is not in RAM"),
    ("acpi=rsdp", "usable ACPI tables"),
    ("acpi=root", "usable ACPI tables"),
]


@pytest.mark.parametrize("options, reason", REFUSALS)
def test_what_cannot_work_is_refused(start, options, reason):
    machine = start(options)
    assert reason in machine.expect(REFUSED, 30)[1].decode()
    assert "panic" not in machine.log
    assert "event=created" not in machine.log
