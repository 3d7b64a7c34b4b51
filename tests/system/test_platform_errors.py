"""What the machine says of itself: its name, NMIs, machine checks, MSRs that it does not load, that it stays on."""
import re

from conftest import BUILD, TREFOIL
from guest import payload_conf
from test_vmcs_check import CPU, Case, configuration, image

TRAP = 0xffff  # tests/hooks/break_vmcs.c
NMI, MACHINE_CHECK = 2, 18
ENTRY_MSR_LOAD, ENTRY_MSR_LOAD_COUNT = 0x200a, 0x4014
REAL_MODE_IDT = 0  # the BIOS's vectors: nothing of which could be an MSR's entry


def test_an_nmi_is_logged_and_costs_nobody_anything(boot, payload, workdir, hypervisor):
    machine = boot(image(workdir, payload, hypervisor, configuration({"a": Case({TRAP: NMI})})), cpu=CPU, memory=256)
    machine.expect(r"event=nmi source=unknown count=1\r?\n", 30)
    assert "payload: done" in machine.log or machine.expect(r"payload: done", 30)


def test_a_machine_check_ends_in_a_report_with_the_banks(boot, payload, workdir, hypervisor):
    machine = boot(image(workdir, payload, hypervisor, configuration({"a": Case({TRAP: MACHINE_CHECK})})), cpu=CPU, memory=256)
    for line in [r"panic: cpu0: #MC machine check", r"panic: machine check: MCG_STATUS=[0-9a-f]+, \d+ banks",
                 r"panic: backtrace", r"panic: machine stopped\r?\n"]:
        machine.expect(line, 30, never=r"(?!)")


def test_an_msr_that_cannot_be_loaded_is_named(boot, payload, workdir, hypervisor):
    case = Case({ENTRY_MSR_LOAD: REAL_MODE_IDT, ENTRY_MSR_LOAD_COUNT: 1})
    machine = boot(image(workdir, payload, hypervisor, configuration({"a": case})), cpu=CPU, memory=256)
    machine.expect(r'vm=a vcpu=0 event=fault exit=entry-failure-msr-loading reason="VM entry with an MSR that cannot be loaded" '
                   r'entry=1 rule="entry: bits 63:32 are 0" section="Loading MSRs" msr=[0-9a-f]+ value=', 30)


def test_a_machine_that_cannot_be_switched_off_says_so(images, boot, payload, workdir):
    """Behind a firmware without ACPI tables (tests/firmware) nobody knows where S5 is."""
    conf = workdir / "trefoil.conf"
    conf.write_text("[trefoil]\npoweroff = on\n" + payload_conf("a", "crash.elf", "exit=triple"))
    iso = images.native("multiboot2", BUILD / "firmware" / "shim.elf", "acpi=none", TREFOIL, "", conf, "", payload("crash"), "")
    machine = boot(iso, cpu=CPU, memory=256)
    machine.expect(r"event=power-off\r?\n", 30)
    machine.expect(r"event=power-off-failed reason=the ACPI tables have no \\_S5", 30)
    machine.expect(r"event=halted", 30)


def test_the_machine_has_a_name(images, boot, payload):
    iso = images.trefoil(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})
    machine = boot(iso, cpu=CPU, cpus=2, memory=256)  # the second is parked
    line = machine.expect(r"event=machine ([^\r\n]*)\r?\n", 30)[1].decode()
    fields = dict(re.findall(r'([a-z]+)=("[^"]*"|\S+)', line))
    assert fields.keys() == {"vendor", "product", "board", "bios", "date", "firmware", "cpu", "signature", "microcode"}
    assert "Bochs" in fields["bios"] and fields["firmware"] == "bios"
    assert "i7-4770" in fields["cpu"] and fields["signature"] == "306c3"
    machine.expect(r"payload: done", 60)
