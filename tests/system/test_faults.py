"""Faults that the test hooks make in the hypervisor's own paths (tests/hooks/faults.c): allocations and VMX instructions that
fail, interrupts that nobody asked for or that are lost, NMIs at any instruction. Nothing is silent, and the other guests go on."""
from __future__ import annotations

import re

import pytest
from emulator import PLAIN_CPU
from guest import LOG_LINE, echo_answers, key, payload_conf
from test_audit import audit, variant

CPU = "corei7_haswell_4770"
ECHO = payload_conf("a", "echo.elf", memory="4M")
TWO = "[trefoil]\nshow_all = on\n" + ECHO + payload_conf("b", "hello.elf", memory="4M")
AT_LEAST = 17  # allocations of a VM: its state, tables, memory, bitmaps, vCPU


@pytest.fixture
def start(boot, payload, workdir, hypervisor):
    """start(arguments, conf): a machine with this command line."""
    def run(arguments: str, conf: str = TWO, **options):
        files = {kernel: payload(kernel.removesuffix(".elf")) for kernel in set(re.findall(r"kernel = (\S+)", conf))}
        return boot(variant(workdir, hypervisor, conf, files, arguments), **{"cpu": CPU, "memory": 256, **options})

    return run


def refusals(log: str) -> dict[int, str]:
    """What became of each allocation that was refused: the line behind the hook's, without the audit's."""
    lines = [line for line in log.splitlines() if re.search(r"vm=\S+ event=(refusing|refused|created|no-console)", line)]
    return {int(match[1]): after for line, after in zip(lines, lines[1:] + [""])
            if (match := re.search(r"event=refusing allocation=(\d+) wrong=0$", line))}


def test_a_vm_without_memory_gives_back_what_it_had(start):
    """From the Nth allocation on all fail while `b` is created, for each N until it exists."""
    machine = start("refuse=b:1")
    machine.expect(r"event=ready", 30, never=r"event=audit-failed|wrong=[1-9]")
    tried = refusals(machine.log)
    assert sorted(tried) == list(range(1, len(tried) + 1)) and len(tried) > AT_LEAST, machine.log
    *refused, last = (tried[n] for n in sorted(tried))
    assert all(re.search(r"vm=b event=refused error=no-memory reason=", line) for line in refused), refused
    assert "vm=b event=no-console" in last  # the last one: it does without
    machine.expect(r"echo: ready", 30)
    audit(machine, "a", "b")
    echo_answers(machine)


@pytest.mark.parametrize("cpu, memory", [(CPU, "4M"), ("corei7_skylake_x", "7M")], ids=["small-pages", "apicv"])
def test_one_allocation_that_fails_costs_one_vm_at_most(start, cpu, memory):
    names = [f"b{n}" for n in range(2, 40)]
    conf = ECHO + "".join(payload_conf(name, "hello.elf", memory=memory) for name in names)
    machine = start("refuse=each:1", conf, cpu=cpu, memory=512)
    machine.expect(r"event=ready vms=(\d+) ", 30)
    tried = refusals(machine.log)
    assert len(tried) == len(names) + 1 and re.search("event=refused error=no-memory", tried[2])
    refused = [n for n, line in tried.items() if "event=refused" in line]
    assert len(refused) > AT_LEAST - 5 and max(refused) < len(names) - 10  # some of the RAM comes in smaller pieces then
    machine.expect(r"echo: ready", 60)
    key(machine, "v")
    machine.expect(r"event=audit-done vms=\d+ free=\d+K wrong=0 longest=\d+ result=ok", 60, never="event=audit-failed")
    echo_answers(machine)


def outcome(machine) -> str:
    found = machine.expect(r"(panic: cpu0: [^\r\n]*|core: event=refused [^\r\n]*|vm=\w+ event=refused [^\r\n]*|vm=\w+ event=fault [^\r\n]*"
                           r"|event=no-console[^\r\n]*|echo: ready|vm=b event=started)\r?\n", 30, never="(?!)")
    return found[1].decode()


# The hypervisor's own allocations, about: page tables first, then what each part needs.
@pytest.mark.parametrize("n", [1, 14, 16, 17, *[pytest.param(n, marks=pytest.mark.slow) for n in (*range(2, 14), 15, *range(18, 60))]])
def test_no_memory_at_the_start_is_told(start, n):
    """Each ends in a sentence, or costs a VM or a convenience."""
    machine = start(f"refuse=boot:{n}")
    said = outcome(machine)
    if said.startswith("panic"):
        assert "no memory" in said
        machine.expect(r"panic: machine stopped\r?\n", 30, never="(?!)")
    elif "core: event=refused" in said:
        assert "missing=memory" in said
        machine.expect(r"event=advice text=", 30)
        machine.expect(r"event=halted", 30)
    elif "vm=a event=refused" in said:
        machine.expect(r"vm=b event=started", 30)
        machine.expect(r"payload: done", 30)
    elif "echo: ready" not in machine.log:
        machine.expect(r"echo: ready|vm=b event=started", 30)


VMX_FAULTS = [
    ("vmxon:1", r"event=vmxon-failed cpu=0 region=[0-9a-f]+h"),
    ("vmclear:1", r"panic: cpu0: vmx: VMCLEAR of [0-9a-f]+h failed"),
    ("vmptrld:2", r"panic: cpu0: vmx: VMPTRLD of [0-9a-f]+h failed"),
    ("invept:2", r"panic: cpu0: vmx: INVEPT type 1 of [0-9a-f]+h failed"),
    ("invvpid:2", r"panic: cpu0: vmx: INVVPID type 1 of \d+ failed"),
    ("vmread:1", r"panic: cpu0: vmx: VMREAD of field [0-9a-f]{4}h failed in \w+"),
    ("vmread:2000", r"panic: cpu0: vmx: VMREAD of field [0-9a-f]{4}h failed in \w+"),
    ("vmwrite:1", r"panic: cpu0: vmx: VMWRITE of [0-9a-f]+h to field [0-9a-f]{4}h failed in \w+"),
    ("vmwrite:1500", r"panic: cpu0: vmx: VMWRITE of [0-9a-f]+h to field [0-9a-f]{4}h failed in \w+"),
]
SAID = {what.split(":")[0]: said.replace("type 1", r"type \d") for what, said in VMX_FAULTS}
SLOW_COUNTS = {"vmclear": (3, 4), "vmptrld": (1, 3, 7), "invept": (1, 3, 4), "invvpid": (1, 3, 4), "vmread": (3, 7, 40, 300),
               "vmwrite": (3, 7, 40, 300)}
VMX_FAULTS_SLOW = [(f"{insn}:{n}", SAID[insn]) for insn, counts in SLOW_COUNTS.items() for n in counts]


@pytest.mark.parametrize("what, said", VMX_FAULTS + [pytest.param(*fault, marks=pytest.mark.slow) for fault in VMX_FAULTS_SLOW])
def test_a_vmx_instruction_that_fails_is_named(start, what, said):
    machine = start(f"vmx={what}")
    machine.expect(said, 30, never="(?!)")
    machine.expect(r"event=halted" if "vmxon" in what else r"panic: machine stopped\r?\n", 30, never="(?!)")


@pytest.mark.parametrize("what, reason, error", [
    ("vmlaunch:2", "VMRESUME with non-launched VMCS", 5), ("vmresume:1", "VMLAUNCH with non-clear VMCS", 4),
    *[pytest.param(f"vmresume:{n}", "VMLAUNCH with non-clear VMCS", 4, marks=pytest.mark.slow) for n in (2, 10, 60, 100)]])
def test_an_entry_that_fails_costs_its_vm(start, what, reason, error):
    machine = start(f"vmx={what}", TWO.replace("[vm b]", "[vm b]\non_exit = restart"))
    line = machine.expect(rf'vm=(\w) vcpu=0 event=fault exit=none reason="{reason}" error={error} section="VM-Instruction Error Numbers"', 30)
    machine.expect(rf"vm={line[1].decode()} event=stopped cause=error", 30)
    if line[1] == b"b":
        machine.expect(r"vm=b event=started", 30)
        if "echo: ready" not in machine.log:
            machine.expect(r"echo: ready", 30)
        echo_answers(machine)
    else:
        machine.expect(r"payload: done", 30)


WORK = ["string", "memory", "mmio", "cpu", "tasks", "modes"]  # what they print depends on no clock


def work(machine) -> dict[str, list[str]]:
    """What each of the working guests says; the guest with the focus answers meanwhile."""
    for _ in WORK:
        machine.expect(r"\w+\| payload: done", 120)
    lines = machine.log.replace("\r", "").split("\n")
    return {name: [line for line in lines if line.startswith(f"{name}| ") and not line.startswith(f"{name}| #") and
                   not LOG_LINE.search(line)] for name in WORK}


CONF = "[trefoil]\nshow_all = on\n" + ECHO + "".join(payload_conf(name, f"{name}.elf") for name in WORK)


@pytest.mark.parametrize("fault, cpu", [
    ("nmi=47", CPU), ("spurious=3", "corei7_skylake_x"),
    *[pytest.param(*slow, marks=pytest.mark.slow) for slow in (("nmi=31", "corei7_skylake_x"), ("nmi=61", PLAIN_CPU), ("spurious=1", CPU))]])
def test_what_interrupts_at_any_instruction_changes_nothing(start, fault, cpu):
    """NMIs every 4000 instructions of the machine, wherever it is; interrupts that nobody asked for before each third entry."""
    undisturbed = work(start("", CONF, cpu=cpu, memory=512))
    machine = start(fault, CONF, cpu=cpu, memory=512)
    assert work(machine) == undisturbed
    counted = [int(n) for n in re.findall(r"event=(?:nmi source=unknown|spurious) count=(\d+)", machine.log)]
    assert max(counted) >= 1000, counted
    audit(machine, "a", *WORK)
    echo_answers(machine)


@pytest.mark.parametrize("lost", ["timer:1", "timer:2", "device:1", "device:2", "device:7"])
def test_a_lost_interrupt_is_made_up_for(start, lost):
    machine = start(f"lost={lost}")
    machine.expect(r"echo: ready", 30)
    echo_answers(machine)
    assert "event=interrupt-lost" in machine.log


def test_a_machine_check_between_two_exits_ends_in_a_report(start):
    machine = start("machine-check=40", CONF, memory=512)
    machine.expect(r"panic: cpu0: #MC machine check", 60, never="(?!)")
    machine.expect(r"panic: machine check: MCG_STATUS=", 30, never="(?!)")
    machine.expect(r"vmcs: exit=", 30, never="(?!)")
    machine.expect(r"panic: machine stopped\r?\n", 30, never="(?!)")
