"""A VM entry that fails is reported with the rule that is broken, and it is the rule that the emulator names too."""
from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from conftest import run_tool

CPU = "corei7_haswell_4770"
PARTS = 5  # of the cases: the log keeps only so much of a burst
NONCANONICAL = 1 << 63
HIGH = 1 << 46  # beyond the emulator's physical addresses

# Encodings (SDM 3D, "Field Encoding in VMCS") of the fields that many cases need.
CR0, CR3, CR4, RIP, RFLAGS, EFER = 0x6800, 0x6802, 0x6804, 0x681e, 0x6820, 0x2806
ENTRY_CTL, ENTRY_INFO, PROC2 = 0x4012, 0x4016, 0x401e
INTERRUPTIBILITY, ACTIVITY, PENDING_DEBUG = 0x4824, 0x4826, 0x6822
ENTRY_32, ENTRY_64 = 0xd1ff, 0xd3ff  # debug, PAT and EFER loaded, and what must be 1
LONG = {ENTRY_CTL: ENTRY_64, CR0: 0x80000031, CR4: 0x2020, EFER: 0x500, 0x4816: 0xa09b}
PAE = {CR0: 0x80000031, CR4: 0x2020}
V8086 = {RFLAGS: 0x20002, **{field + 2 * s: value for s in range(6)
                             for field, value in ((0x800, 0x100), (0x6806, 0x1000), (0x4800, 0xffff), (0x4814, 0xf3))}}


@dataclass(frozen=True)
class Case:
    """Fields are written before the first entry of a guest in flat protected mode; None: the entry succeeds."""
    fields: dict[int, int]
    field: int = 0          # of our report
    ours: str | None = None
    bochs: str = ""


CASES = {
    # "Checks on VMX Controls"
    "pin": Case({0x4000: 0}, 0x4000, "pin-based controls", "VMX pin-based controls"),
    "proc": Case({0x4002: 0}, 0x4002, "primary processor-based", "VMX proc-based controls"),
    "proc2": Case({PROC2: 0xffffffff}, PROC2, "secondary processor-based", "VMX secondary"),
    "cr3-targets": Case({0x400a: 300}, 0x400a, "CR3-target count", "too may CR3 targets"),
    "io-bitmap": Case({0x2000: 0x123}, 0x2000, "I/O bitmap A", "I/O bitmap A"),
    "msr-bitmap": Case({0x2004: HIGH}, 0x2004, "MSR bitmap", "MSR bitmap"),
    "virtual-apic": Case({0x2012: 8}, 0x2012, "virtual-APIC page", "virtual apic phy addr"),
    "tpr-threshold": Case({0x401c: 0x10, PROC2: 0xa2}, 0x401c, "TPR threshold", "TPR threshold too big"),
    "eptp-walk": Case({0x201a: 0x100006}, 0x201a, "EPT pointer: a page-walk", "invalid EPTPTR"),
    "eptp-type": Case({0x201a: 0x10001f}, 0x201a, "EPT pointer: a memory type", "invalid EPTPTR"),
    "vpid": Case({0x0000: 0}, 0x0000, "VPID", "guest VPID == 0"),
    "no-ept": Case({PROC2: 0x80}, PROC2, "unrestricted guest: only with EPT", "unrestricted guest without EPT"),
    "x2apic-and-apic": Case({PROC2: 0x93}, PROC2, "virtualize x2APIC mode", "[xX]2APIC"),
    "exit-ctl": Case({0x400c: 0}, 0x400c, "VM-exit controls", "VMX vmexit controls"),
    "msr-store": Case({0x400e: 1, 0x2006: 8}, 0x2006, "VM-exit MSR-store", "msr store addr malformed"),
    "entry-ctl": Case({ENTRY_CTL: 0}, ENTRY_CTL, "VM-entry controls", "VMX vmentry controls"),
    "event-type": Case({ENTRY_INFO: 0x80000100}, ENTRY_INFO, "event injection: a type", "VMENTRY bad injected event type"),
    "event-nmi": Case({ENTRY_INFO: 0x80000203}, ENTRY_INFO, "event injection: the vector of an NMI", "bad injected event vector"),
    "event-error": Case({ENTRY_INFO: 0x8000030d}, ENTRY_INFO, "event injection: an error code if", "broken error code"),
    "event-length": Case({ENTRY_INFO: 0x80000403, 0x401a: 16}, 0x401a, "instruction length", "bad injected event instr length"),
    # host state
    "host-cr0": Case({0x6c00: 0}, 0x6c00, "host CR0", "host state invalid CR0"),
    "host-cr3": Case({0x6c02: HIGH}, 0x6c02, "host CR3", "host state invalid CR3"),
    "host-cr4": Case({0x6c04: 0}, 0x6c04, "host CR4", "host state invalid CR4"),
    "host-pat": Case({0x2c00: 2}, 0x2c00, "host IA32_PAT", "host MSR_PAT"),
    "host-efer": Case({0x2c02: 2}, 0x2c02, "host IA32_EFER: reserved", "host EFER reserved"),
    "host-efer-lma": Case({0x2c02: 0x100}, 0x2c02, "host IA32_EFER: LMA", "host EFER .* inconsistent"),
    "host-ss": Case({0x0c04: 3}, 0x0c04, "host SS: TI and RPL", "host segreg 2 TI/RPL"),
    "host-cs": Case({0x0c02: 0}, 0x0c02, "host CS: not 0", "host CS selector 0"),
    "host-tr": Case({0x0c0c: 0}, 0x0c0c, "host TR: not 0", "host TR selector"),
    "host-gdtr": Case({0x6c0c: NONCANONICAL}, 0x6c0c, "host GDTR base", "host GDTR BASE"),
    "host-rip": Case({0x6c16: NONCANONICAL}, 0x6c16, "host RIP", "host RIP non-canonical"),
    # guest control registers and MSRs
    "cr0-fixed": Case({CR0: 0x11}, CR0, "CR0: the fixed", "guest invalid CR0"),
    "cr0-pg": Case({CR0: 0x80000030}, CR0, "CR0: PE is 1", "CR0.PG without CR0.PE"),
    "cr4-fixed": Case({CR4: 0}, CR4, "CR4: the fixed", "guest invalid CR4"),
    "cr4-pae": Case({**LONG, CR4: 0x2000}, CR4, "CR4: PAE", "CR4.PAE=0 in x86-64"),
    "cr4-pcide": Case({CR4: 0x22000}, CR4, "CR4: PCIDE", "CR4.PCIDE set in 32-bit"),
    "cr3": Case({CR3: HIGH}, CR3, "CR3: within", "guest invalid CR3"),
    "dr7": Case({0x681a: 1 << 32}, 0x681a, "DR7", "guest invalid DR7"),
    "sysenter": Case({0x6826: NONCANONICAL}, 0x6826, "IA32_SYSENTER_EIP", "guest SYSENTER_EIP"),
    "pat": Case({0x2804: 2 << 56}, 0x2804, "IA32_PAT", "guest MSR_PAT"),
    "efer": Case({EFER: 0x400}, EFER, "IA32_EFER: LMA equals", "guest EFER"),
    # guest segments
    "tr-ti": Case({0x080e: 4}, 0x080e, "TR selector: TI", "TR.TI set"),
    "fs-base": Case({0x680e: NONCANONICAL}, 0x680e, "FS base", "FS.BASE non canonical"),
    "ds-base": Case({0x680c: 1 << 32}, 0x680c, "DS base", "DS.BASE > 32 bit"),
    "cs-type": Case({0x4816: 0xc091}, 0x4816, "CS type", "guest CS.TYPE"),
    "ss-type": Case({0x4818: 0xc091}, 0x4818, "SS type", "guest SS.TYPE"),
    "ds-type": Case({0x481a: 0xc092}, 0x481a, "DS type: accessed", "DS not ACCESSED"),
    "es-present": Case({0x4814: 0xc013}, 0x4814, "ES P:", "ES not present"),
    "gs-system": Case({0x481e: 0xc083}, 0x481e, "GS S:", "GS not segment"),
    "gs-limit": Case({0x480a: 0xfffff000}, 0x481e, "GS G:", "GS.AR/LIMIT"),
    "cs-long-db": Case({**LONG, 0x4816: 0xe09b}, 0x4816, "CS D/B", "CS.D_B/L"),
    "tr-type": Case({0x4822: 0x81}, 0x4822, "TR type", "incorrect TR type"),
    "tr-unusable": Case({0x4822: 0x1008b}, 0x4822, "TR: usable", "TR invalid"),
    "ldtr-type": Case({0x4820: 0x83}, 0x4820, "LDTR type", "incorrect LDTR type"),
    "v8086-limit": Case({**V8086, 0x4806: 0xfffe}, 0x4806, "DS limit", "v8086 guest DS.LIMIT"),
    # the rest of the guest state
    "gdtr-limit": Case({0x4810: 0x10000}, 0x4810, "GDTR limit", "GDTR/IDTR limit"),
    "idtr-base": Case({0x6818: NONCANONICAL}, 0x6818, "IDTR base", "IDTR/IDTR.BASE|GDTR/IDTR.BASE"),
    "rip": Case({RIP: 1 << 32}, RIP, "RIP: bits 63:32", "guest RIP > 32 bit"),
    "rflags": Case({RFLAGS: 0xa}, RFLAGS, "RFLAGS: reserved", "RFLAGS reserved"),
    "rflags-1": Case({RFLAGS: 0}, RFLAGS, "RFLAGS: bit 1", r"RFLAGS\[1\]"),
    "rflags-vm": Case({**LONG, **V8086}, 0x6820, "RFLAGS: VM", "x86-64 guest with RFLAGS.VM"),
    "activity": Case({ACTIVITY: 5}, ACTIVITY, "activity state: one that", "guest activity state"),
    "blocking": Case({INTERRUPTIBILITY: 3, RFLAGS: 0x202}, INTERRUPTIBILITY, "interruptibility: not both", "interruptibility state broken"),
    "blocking-if": Case({INTERRUPTIBILITY: 1}, INTERRUPTIBILITY, "interruptibility: blocking by STI only", "blocked by STI"),
    "smi": Case({INTERRUPTIBILITY: 4}, INTERRUPTIBILITY, "interruptibility: blocking by SMI", "SMI blocked"),
    "pending-debug": Case({PENDING_DEBUG: 0x10}, PENDING_DEBUG, "pending debug exceptions: reserved", "tmpDR6"),
    "link": Case({0x2800: 0x123}, 0x2800, "VMCS link pointer: all ones", "link pointer malformed"),
    "pdpte": Case({**PAE, 0x280e: 0x23}, 0x280e, "PDPTE2", "PDPTRs Checks Failed"),
    # states that are valid
    "valid": Case({}),
    "valid-long": Case(LONG),
    "valid-pae": Case({**PAE, 0x280a: 0x1001, 0x280c: 0x22}),
    "valid-v8086": Case(V8086),
    "valid-real": Case({CR0: 0x30}),
    "valid-unusable": Case({0x4814: 0x10000, 0x481c: 0x10000, 0x4820: 0x10000}),
    "valid-event": Case({ENTRY_INFO: 0x80000b0e, 0x4018: 2}),
}

NEWEST = "arrow_lake"
PROC, EXIT_CTL = 0x4002, 0x400c
PROC_3, EXIT_32 = 0xb6226dfa, 0x3fefff  # ours with tertiary controls; ours
EXIT_2, EXIT_CET = EXIT_32 | 1 << 31, EXIT_32 | 1 << 28
ENTRY_UINV, ENTRY_CET = ENTRY_32 | 1 << 19, ENTRY_32 | 1 << 20
WITH_EPT = 0xa2  # and unrestricted guest, VPID
ONES = (1 << 64) - 1
PIN, NOT_POSTED = 0x4000, 0x7F  # without posted interrupts, which want virtual-interrupt delivery in PROC2
NEWER = {
    "posted": Case({PROC2: WITH_EPT}, PIN, "posted interrupts: only with virtual-interrupt delivery", "posted interrupts must"),
    "posted-address": Case({0x2016: 8}, 0x2016, "posted-interrupt descriptor", "Posted Interrupt Descriptor"),
    "tertiary": Case({PROC: PROC_3, 0x2034: ONES}, 0x2034, "tertiary processor-based", "VMX tertiary"),
    "exit2": Case({EXIT_CTL: EXIT_2, 0x2044: ONES}, 0x2044, "secondary VM-exit controls", "vmexit secondary"),
    "pml-no-ept": Case({PIN: NOT_POSTED, PROC2: 1 << 17}, PROC2, "page-modification logging: only", "PML is enabled without EPT"),
    "pml": Case({PIN: NOT_POSTED, PROC2: WITH_EPT | 1 << 17, 0x200e: 8}, 0x200e, "page-modification log:", "PML base"),
    "mbe-no-ept": Case({PIN: NOT_POSTED, PROC2: 1 << 22}, PROC2, "mode-based", "MBE is enabled without EPT"),
    "eptp-list": Case({PIN: NOT_POSTED, PROC2: WITH_EPT | 1 << 13, 0x2018: 1, 0x2024: 8}, 0x2024, "EPTP list", "eptp list"),
    "ve": Case({PIN: NOT_POSTED, PROC2: WITH_EPT | 1 << 18, 0x202a: 8}, 0x202a, "virtualization-exception", "#VE information"),
    "tsc-multiplier": Case({PIN: NOT_POSTED, PROC2: WITH_EPT | 1 << 25, 0x2032: 0}, 0x2032, "TSC multiplier", "TSC multiplier"),
    "host-s-cet": Case({EXIT_CTL: EXIT_CET, 0x6c18: NONCANONICAL}, 0x6c18, "host IA32_S_CET", "host IA32_S_CET"),
    "host-ssp": Case({EXIT_CTL: EXIT_CET, 0x6c1a: 1}, 0x6c1a, "host SSP", r"host SSP\[1:0\]"),
    "host-ssp-table": Case({EXIT_CTL: EXIT_CET, 0x6c1c: NONCANONICAL}, 0x6c1c, "host IA32_INTERRUPT_SSP", "host INTERRUPT_SSP"),
    "s-cet": Case({ENTRY_CTL: ENTRY_CET, 0x6828: NONCANONICAL}, 0x6828, "IA32_S_CET", "guest IA32_S_CET"),
    "ssp": Case({ENTRY_CTL: ENTRY_CET, 0x682a: 1}, 0x682a, "SSP:", r"guest SSP\[1:0\]"),
    "ssp-table": Case({ENTRY_CTL: ENTRY_CET, 0x682c: NONCANONICAL}, 0x682c, "IA32_INTERRUPT_SSP", "guest INTERRUPT_SSP"),
    "cet-wp": Case({CR4: 0x802040}, CR4, "CR4.CET", "CR4.CET=1 when CR0.WP=0"),
    "uinv": Case({ENTRY_CTL: ENTRY_UINV, 0x0814: 0x100}, 0x0814, "UINV", "INTR.UINV"),
    "valid": Case({}),
    "valid-tertiary": Case({PROC: PROC_3, 0x2034: 0}),
    "valid-cet": Case({ENTRY_CTL: ENTRY_CET, 0x6828: 0, 0x682a: 0x1000, 0x682c: 0}),
}


def emulator_messages(workdir) -> list[str]:
    """What the emulator says about entries that failed, in order."""
    return re.findall(r"((?:VMFAIL|VMENTER FAIL|VMENTER): .*)", (workdir / "bochs.log").read_text(errors="replace"))


def configuration(cases: dict[str, Case]) -> str:
    sections = []
    for name, case in cases.items():
        fields = " ".join(f"{field:#x}:{value:#x}" for field, value in case.fields.items())
        sections.append(f"[vm {name}]\nkernel = hello.elf\nmemory = 4M\n" + (f"break_vmcs = {fields}\n" if fields else ""))
    return "\n".join(sections)


def image(workdir, payload, hypervisor, configuration: str):
    tree = workdir / "files"
    tree.mkdir(exist_ok=True)
    (tree / "hello.elf").unlink(missing_ok=True)
    (tree / "hello.elf").symlink_to(payload("hello"))
    (tree / "trefoil.conf").write_text(configuration)
    iso = workdir / "trefoil.iso"
    run_tool("tools/mkiso.sh", iso, "trefoil", hypervisor, tree / "trefoil.conf")
    return iso


def test_a_vm_can_be_started_again_after_a_failed_entry(boot, payload, workdir, hypervisor):
    conf = configuration({"again": Case({RFLAGS: 0}), "other": Case({})}).replace("break_vmcs", "on_exit = restart\nbreak_vmcs")
    machine = boot(image(workdir, payload, hypervisor, conf), cpu=CPU, memory=256)
    machine.expect(r"vm=again vcpu=0 event=fault", 30)
    machine.expect(r"vm=again event=stopped cause=error starts=1", 30)
    machine.expect(r"vm=again event=started", 30)
    machine.expect(r"payload: done", 30, never=r"vm=again vcpu=0 event=fault")


PARTED = [(CPU, dict(list(CASES.items())[part::PARTS])) for part in range(PARTS)] + [(NEWEST, NEWER)]


@pytest.mark.parametrize("cpu, cases", PARTED, ids=[*map(str, range(PARTS)), "newer"])
def test_the_broken_rule_is_named(boot, payload, workdir, hypervisor, cpu, cases):
    """One VM per case, many in one run, those with a valid state first."""
    cases = dict(sorted(cases.items(), key=lambda item: item[1].ours is not None))
    machine = boot(image(workdir, payload, hypervisor, configuration(cases)), cpu=cpu, memory=1024)

    broken = {name: case for name, case in cases.items() if case.ours}
    reports = []
    for _ in broken:
        reports.append(machine.expect(r"vm=(\S+) vcpu=0 event=fault exit=(none|entry-failure\S*) reason=([^\r\n]*)\r?\n", 30))
    # An exit's report and the emulator's message come in the same order: both are made at the entry.
    messages = emulator_messages(workdir)
    assert len(messages) == len(broken), messages
    wrong = []
    for report, message in zip(reports, messages):
        name, text = report[1].decode(), report[3].decode()
        case = cases[name]
        expected = rf'rule="{re.escape(case.ours or "?")}.*" section="[^"]+" field={case.field:04x} value='
        if not case.ours or not re.search(expected, text) or not re.search(case.bochs, message):
            wrong.append(f"{name}: {text}\n    emulator: {message}")
    for name, case in cases.items():
        verdict = re.search(rf"vm={name} event=vmcs-check (field=\S+ )?rule=(.*?)\r?\n", machine.log)
        if case.fields and (not verdict or (verdict[2] == "none") != (case.ours is None)):
            wrong.append(f"{name}: before the entry: {verdict and verdict[2]}")
    assert not wrong, "\n".join(wrong)
