"""The audit (Ctrl-] v): clean whatever the guests do, and each violation that the test hooks plant is reported by name."""
from __future__ import annotations

import re

import pytest
from conftest import run_tool
from emulator import PLAIN_CPU
from guest import Shell, echo_answers, focus, key, linux_conf, payload_conf

CPU = "corei7_haswell_4770"   # its large pages are split where they are executed
OUR_FIELDS = r"pages=(\d+) tables=(\d+) memory=(\d+)K shared=0 foreign=0 other=0 result=ok\r?\n"
FAILED = r"event=audit-failed[^\r\n]*"


def audit(machine, *names: str) -> dict[str, tuple[int, ...]]:
    """Audits a machine that must be clean, with these VMs; returns each one's pages, tables and KiB."""
    key(machine, "v")
    found = {}
    for name in names:
        line = machine.expect(rf"vm={name} event=audit " + OUR_FIELDS, 30, never=FAILED)
        found[name] = tuple(int(n) for n in line.groups())
    machine.expect(r"audit: event=audit pages=\d+ tables=\d+ shared=0 writable-executable=0 other=0 result=ok\r?\n", 30, never=FAILED)
    machine.expect(rf"event=audit-done vms={len(names)} free=\d+K wrong=0 longest=\d+ result=ok\r?\n", 30, never=FAILED)
    return found


def variant(workdir, hypervisor, conf: str, files: dict, arguments: str):
    """An ISO of the hypervisor with the test hooks."""
    tree = workdir / "files"
    tree.mkdir(exist_ok=True)
    (tree / "trefoil.conf").write_text(conf)
    for name, file in files.items():
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to(file)
    iso = workdir / "trefoil.iso"
    run_tool("tools/mkiso.sh", iso, "trefoil", hypervisor, tree / "trefoil.conf", arguments)
    return iso


# What the guest may not reach, by the name of the VM that is given it (tests/hooks/plant.c): who has it, and the reason.
REACH = "the guest can reach a frame that is not the one it has there"
PLANTS = {
    "neighbour": ("vm victim: RAM", REACH),
    "state": ("vm state: state", REACH),
    "image": ("hypervisor: image", REACH),
    "ept-table": ("vm victim: EPT table", REACH),
    "own-table": ("vm own-table: EPT table", REACH),
    "vmcs": ("vm victim: VMCS", REACH),
    "bitmap": ("vm bitmap: MSR bitmap", REACH),
    "vmxon": ("hypervisor: VMXON region", REACH),
    "page-table": ("hypervisor: page table", REACH),
    "free": ("hypervisor: free", REACH),
    "device": ("hypervisor: no RAM", REACH),
    "moved": ("vm moved: RAM", REACH),
    "swapped": ("vm victim: RAM", REACH),
    "rom": ("vm rom: empty ROM", "the guest can write or execute what is read-only or data"),
    "uncached": ("vm uncached: empty ROM", "RAM with another memory type than write-back"),
    "misconfigured": ("hypervisor: no RAM", "an address beyond the CPU's"),
    "circle": ("vm circle: EPT table", "a table in a frame that has an owner already"),
    "table": ("vm victim: EPT table", "a table in a frame that has an owner already"),
    "shared": ("vm victim: empty ROM", "a frame with two owners, of whom this is the first"),
    "port": ("vm port: VMCS", "an I/O port is open to the guest"),
    "msr": ("vm msr: VMCS", "an MSR is open to the guest"),
    "eptp": ("vm eptp: VMCS", "VMCS: the EPT pointer is not the VM's"),
    "msr-bitmap": ("vm msr-bitmap: VMCS", "VMCS: a bitmap is not the VM's"),
    "io-bitmap": ("vm io-bitmap: VMCS", "VMCS: a bitmap is not the VM's"),
    "controls": ("vm controls: VMCS", "VMCS: the execution controls are not ours"),
    "apic-page": ("vm apic-page: VMCS", "VMCS: an APIC page is not the VM's"),
    "vpid": ("vm vpid: VMCS", "VMCS: the VPID is not the vCPU's"),
    "entry-msrs": ("vm entry-msrs: VMCS", "VMCS: a list of MSRs that nobody made"),
    "exit-msrs": ("vm exit-msrs: VMCS", "VMCS: a list of MSRs that nobody made"),
    "saved-msrs": ("vm saved-msrs: VMCS", "VMCS: a list of MSRs that nobody made"),
    "link": ("vm link: VMCS", "VMCS: a linked VMCS that nobody made"),
    "host-cr3": ("vm host-cr3: VMCS", "VMCS: the host's page tables are not ours"),
}
HOST_PLANTS = {
    "writable-code": "a page that is writable and executable",
    "executable-data": "a page that is writable and executable",
    "executable-constants": "an executable page outside the image's code",
    "lower-half": "a page in the lower half",
    "guard": "a stack without a guard page",
    "alias": "the image's code or constants by a writable name",
    "uncached": "RAM as a device",
    "user": "a page of user mode",
    "write-protect": "the CPU does not keep to the rights of its page tables",
}


def test_each_planted_violation_is_reported_by_name(boot, payload, workdir, hypervisor):
    """Not one that nobody planted; and the guests that have nothing to do with it go on."""
    conf = payload_conf("victim", "echo.elf", memory="4M")
    conf += "".join(payload_conf(name, "echo.elf", memory="4M", extra="autostart = off") for name in [*PLANTS, "in-use"])
    conf += payload_conf("clean", "hello.elf", memory="4M")
    files = {"echo.elf": payload("echo"), "hello.elf": payload("hello")}
    iso = variant(workdir, hypervisor, conf, files, "plant=" + ",".join(HOST_PLANTS))
    machine = boot(iso, cpu=CPU, memory=512)
    machine.expect(r"echo: ready", 60)
    key(machine, "v")
    machine.expect(r"event=planted\r?\n", 30)
    machine.expect(rf"event=audit-done vms={len(PLANTS) + 3} free=\d+K wrong=\d+ longest=\d+ result=failed\r?\n", 60)
    violations = re.findall(r'audit: (?:vm=(\S+) )?event=audit-failed address=\S+ frame=\S+ owner="([^"]*)" reason=([^\r\n]*)',
                            machine.log)
    first = {}
    for vm, owner, reason in violations:
        first.setdefault(vm, (owner, reason))
    results = dict(re.findall(r"vm=(\S+) event=audit pages[^\r\n]* result=(\w+)", machine.log))
    assert {vm: found for vm, found in first.items() if vm} == PLANTS
    assert {vm for vm, result in results.items() if result == "failed"} == set(PLANTS)
    assert sorted(reason for vm, _, reason in violations if not vm) == sorted(
        [*HOST_PLANTS.values(), "a frame with two owners, of whom this is the first"])
    assert ("", "vm in-use: APIC-access page", "a frame with two owners, of whom this is the first") in violations
    echo_answers(machine)


def test_restarted_and_hostile_guests_leave_nothing_behind(images, boot, payload):
    names = ("a", "storm", "dies", "scans")
    conf = payload_conf("a", "echo.elf") + payload_conf("storm", "hostile.elf", "lapic-storm")
    conf += payload_conf("dies", "crash.elf", "triple", extra="on_exit = restart") + payload_conf("scans", "crash.elf", "memscan")
    iso = images.trefoil(conf, {f"{name}.elf": payload(name) for name in ("echo", "hostile", "crash")})
    machine = boot(iso, cpu=CPU, memory=512)
    machine.expect(r"echo: ready", 60)
    before = audit(machine, *names)
    machine.expect(r"vm=dies event=restart-delayed", 60)
    key(machine, "r")
    machine.expect(r"vm=a event=stopped cause=request starts=1", 30)
    machine.expect(r"echo: ready", 60)
    after = audit(machine, *names)
    assert [memory for _, _, memory in after.values()] == [memory for _, _, memory in before.values()]
    echo_answers(machine)


@pytest.mark.parametrize("cpu, extra", [(PLAIN_CPU, ""), ("corei7_skylake_x", "apicv = off"), ("corei7_skylake_x", "")],
                         ids=["sandy-bridge", "apicv-off", "skylake"])
def test_other_cpus_and_ways_are_clean(images, boot, payload, cpu, extra):
    conf = payload_conf("a", "echo.elf", extra=extra) + payload_conf("b", "hello.elf", extra=extra)
    iso = images.trefoil(conf, {f"{name}.elf": payload(name) for name in ("echo", "hello")})
    machine = boot(iso, cpu=cpu, memory=256)
    machine.expect(r"echo: ready", 60)
    audit(machine, "a", "b")
    echo_answers(machine)


def test_two_linuxes_are_clean(images, boot, kernel, initrd):
    """While they boot, when they are up, and after one has been restarted; on a CPU where their pages are split."""
    names = ("alpha", "beta")
    iso = images.trefoil(linux_conf(*names), {"vmlinuz": kernel, **{f"{name}.img": initrd(name) for name in names}})
    machine = boot(iso, cpu=CPU, memory=1024)
    machine.expect(r"vm=alpha event=started", 60)
    first = audit(machine, *names)
    Shell(machine, "alpha").wait()
    later = audit(machine, *names)
    assert all(later[name][0] > first[name][0] and later[name][2] == first[name][2] for name in names)  # split, from their own
    focus(machine, "beta", 2)
    key(machine, "r")
    machine.expect(r"vm=beta event=started", 60)
    audit(machine, *names)
    focus(machine, "alpha", 1)
    assert Shell(machine, "alpha").run("echo $((6 * 7))") == "42"
