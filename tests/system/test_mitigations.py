"""What keeps guests apart on CPUs that speculate too far: decided as the CPU needs it, done, and without a trace in the guest."""
from __future__ import annotations

import difflib
import re

import pytest
from conftest import run_tool
from guest import payload_conf, payload_lines

OLD = "corei7_haswell_4770"  # without the microcode of 2018
SPECULATION = ["corei7_icelake_u", "tigerlake", "sapphire_rapids", "arrow_lake"]  # with IA32_SPEC_CTRL and its like
# MITIGATE_* of vmx/mitigation_policy.h
L1D, VERW, IBPB, IBRS_EXIT, RSB, RSB_ONE, BHB, SPLIT, NONE = (1 << bit for bit in range(9))
FIELDS = ["l1d-flush", "verw", "ibpb", "ibrs", "rsb", "bhi", "multihit", "srbds", "gds"]


def decided(machine) -> dict[str, str]:
    line = machine.expect(r"event=mitigations ([^\r\n]*)\r?\n", 30)[1].decode()
    return dict(word.split("=") for word in line.split())


@pytest.mark.parametrize("cpu", [OLD, *SPECULATION])
def test_a_guest_finds_the_controls_of_the_bare_machine(images, boot, payload, cpu):
    bare = boot(images.native("multiboot", payload("spec")), cpu=cpu, memory=64)
    expected = payload_lines(bare)
    bare.stop()
    guest = boot(images.trefoil(payload_conf("a", "spec.elf"), {"spec.elf": payload("spec")}), cpu=cpu, memory=256)
    difference = difflib.unified_diff(expected, payload_lines(guest), "bare machine", "guest", n=1, lineterm="")
    assert not (text := "\n".join(difference)), text
    assert ("spec_ctrl 4: fault=-1, then fault=-1 4" in expected) == (cpu in SPECULATION)


@pytest.mark.parametrize("mitigations", ["auto", "off"])
@pytest.mark.parametrize("cpu", ["tigerlake", "sapphire_rapids"])
def test_the_controls_are_switched_with_the_guest(images, boot, payload, cpu, mitigations):
    """Three guests with other values in IA32_SPEC_CTRL all the time."""
    conf = f"[trefoil]\nshow_all = on\nmitigations = {mitigations}\n" + "".join(
        payload_conf(name, "switch.elf", f"seed={seed} count=10") for seed, name in enumerate("abc", 1))
    machine = boot(images.trefoil(conf, {"switch.elf": payload("switch")}), cpu=cpu, memory=256)
    for _ in range(3):
        machine.expect(r"switch: kept", 60, never=r"switch: round|panic: machine stopped")
    machine.expect("# spec_ctrl 1", 60)


@pytest.mark.parametrize("cpu, mitigations, expected", [
    (OLD, "auto", "no-microcode no-microcode no-microcode no-microcode no-microcode not-needed on no-microcode not-needed"),
    (OLD, "off", "off off off off off not-needed off no-microcode not-needed"),
    ("tigerlake", "auto", "not-needed on on on on on on not-needed no-microcode"),
    ("tigerlake", "off", "not-needed off off off off off off not-needed no-microcode"),
], ids=["old-auto", "old-off", "tigerlake-auto", "tigerlake-off"])
def test_the_log_says_what_is_on(images, boot, payload, cpu, mitigations, expected):
    conf = f"[trefoil]\nmitigations = {mitigations}\n" + payload_conf("a", "hello.elf")
    machine = boot(images.trefoil(conf, {"hello.elf": payload("hello")}), cpu=cpu, memory=256)
    fields = decided(machine)
    if cpu == "tigerlake" and fields["arch-capabilities"] != "1f":
        pytest.skip("this Bochs has another tigerlake")
    assert [fields[name] for name in FIELDS] == expected.split()
    machine.expect(r"payload: done", 30)


@pytest.mark.parametrize("mitigations", ["auto", "off"])
@pytest.mark.parametrize("features", ["", "ept-1g", "ept-1g ept-2m"])
def test_code_anywhere_in_memory(images, boot, payload, mitigations, features):
    """Large pages are not executable at first (machine check on page size change), which the guest does not see."""
    conf = f"[trefoil]\nmitigations = {mitigations}\n" + (f"disable = {features}\n" if features else "") + \
        payload_conf("a", "exec.elf", memory="1200M")
    machine = boot(images.trefoil(conf, {"exec.elf": payload("exec")}), memory=2048)
    payload_lines(machine)
    assert "exec: ok" in machine.log
    calls, first, second = map(int, re.search(r"# exec: (\d+) calls, long: (\d+) then (\d+)", machine.log).groups())
    assert calls > 2000
    # The hypervisor's own interrupts make a few calls long, too.
    assert (first > 500) == (mitigations == "auto" and features != "ept-1g ept-2m")
    assert first > 500 or first < 20
    assert second < 20


@pytest.fixture
def image_of(workdir, payload, hypervisor):
    """image_of(configuration, payload): an image of the variant with test hooks."""

    def make(configuration: str, name: str):
        tree = workdir / "files"
        tree.mkdir(exist_ok=True)
        (tree / f"{name}.elf").unlink(missing_ok=True)
        (tree / f"{name}.elf").symlink_to(payload(name))
        (tree / "trefoil.conf").write_text(configuration)
        iso = workdir / "trefoil.iso"
        run_tool("tools/mkiso.sh", iso, "trefoil", hypervisor, tree / "trefoil.conf")
        return iso

    return make


def forced(flags: int, *names: str, kernel: str = "bench.elf") -> str:
    return f"[trefoil]\nmitigation_flags = {flags | NONE:#x}\n" + "".join(payload_conf(name, kernel) for name in names)


def cpuid_cost(machine) -> int:
    machine.expect(r"payload: done", 60)
    return int(re.search(r"bench name=cpuid median=(\d+)", machine.log)[1])


@pytest.mark.parametrize("flags, least, most", [
    (VERW, 7, 20), (IBRS_EXIT, 20, 60), (RSB, 64, 150), (RSB_ONE, 2, 30), (BHB, 80, 160), (IBPB | L1D, 0, 0),
    (VERW | IBRS_EXIT | RSB | RSB_ONE | BHB, 152, 400),
], ids=["verw", "ibrs", "rsb", "rsb-one", "bhb", "none-each-exit", "all"])
def test_each_exit_does_what_it_must(boot, image_of, flags, least, most):
    """Instructions of an exit more than without any; what is for a change of vCPU costs an exit nothing."""
    costs = []
    for number in (NONE, flags):
        machine = boot(image_of(forced(number, "a"), "bench"), cpu="tigerlake", memory=256)
        costs.append(cpuid_cost(machine))
        machine.stop()
    assert least <= costs[1] - costs[0] <= most, costs


@pytest.mark.parametrize("flags", [0, IBRS_EXIT | RSB | VERW], ids=["never-ours", "ours-at-each-exit"])
def test_the_hypervisor_runs_with_its_own_controls(boot, image_of, flags):
    conf = forced(flags, "a", "b", kernel="switch.elf").replace("switch.elf", "switch.elf\ncmdline = count=5")
    machine = boot(image_of("[trefoil]\nshow_all = on" + conf.removeprefix("[trefoil]"), "switch"), cpu="tigerlake", memory=256)
    for _ in range(2):
        machine.expect(r"switch: kept", 60, never=r"switch: round|event=spec-ctrl-leaked|panic: machine stopped")


def test_a_barrier_at_each_change_of_guest(boot, image_of):
    machine = boot(image_of(forced(IBPB | L1D, "a", "b", kernel="spin.elf"), "spin"), cpu="tigerlake", memory=256)
    machine.expect(r"event=mitigated ibpb=16 ", 60)


def test_no_barrier_for_one_guest_alone(boot, image_of):
    machine = boot(image_of(forced(IBPB | L1D, "a", kernel="spin.elf"), "spin"), cpu="tigerlake", memory=256)
    machine.expect(r"event=mitigated ibpb=1 l1d-flush=32", 60, never=r"ibpb=2 ")


