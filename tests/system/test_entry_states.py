"""Mutated states at VM entry: the checker names a rule where the CPU refuses and none where it enters, and it stays one guest's affair."""
import re

import pytest
from conftest import run_tool
from emulator import find_bochs
from guest import echo_answers, key, payload_conf, payload_lines

NEIGHBOUR = payload_conf("good", "echo.elf", memory="8M")
MANY = 100000
GUESTS = 40
RESTART = "on_exit = restart\nwatchdog = 500ms\n"  # one may sleep for good
RUNS = 5  # the fourth start in a row that ended soon is still followed by one at once


# Rules of the SDM that the emulator does not apply, so that it takes what the checker, rightly, refuses.
UNCHECKED = {
    "IA32_DEBUGCTL: reserved bits are 0",                                     # it has no such MSR's bits
    "pending debug exceptions: reserved bits are 0",                          # looks at bits 31:0 only
    "RIP: bits above the linear-address width are identical",
    "CR0: PG is 1 in IA-32e mode",
    "RFLAGS: VM is 0 in IA-32e mode and real-address mode",                   # not in real-address mode
    "event injection: an error code only with a hardware exception, and in protected mode",  # not if VMX_BASIC[56] is 1
    "pending debug exceptions: BS as TF and BTF say, in HLT or if STI or MOV SS blocks",
    "IA32_PKRS: bits 63:32 are 0",
    "activity state: one in which the injected event can be delivered",       # takes software interrupts in HLT
}
NULL_SS = re.compile(r"state=1 fields=(\S+,)?804:[0-3][, ].* rule=SS ")        # in 64-bit mode it does not look at such an SS


def image(workdir, payload, hypervisor, conf: str):
    tree = workdir / "files"
    tree.mkdir(exist_ok=True)
    for name in ("hello", "echo", "spin"):
        (tree / f"{name}.elf").unlink(missing_ok=True)
        (tree / f"{name}.elf").symlink_to(payload(name))
    (tree / "trefoil.conf").write_text(conf)
    iso = workdir / "trefoil.iso"
    run_tool("tools/mkiso.sh", "-m", iso, "trefoil", hypervisor, tree / "trefoil.conf")
    return iso


def check(machine, count: int) -> None:
    """The checker and the CPU agree about all of them."""
    done = machine.expect(r"vm=bad event=mutate-done tried=(\d+) entered=(\d+) refused=(\d+) disagreed=(\d+)", 300, never=r"panic:")
    tried, entered, refused, disagreed = map(int, done.groups())
    differences = re.findall(r"event=mutate-disagree (cpu=(\w+) .* rule=(.*?)\r?)$", machine.log, re.M)
    assert tried == count and bool(disagreed) == bool(differences)
    assert not [text for text, cpu, rule in differences if cpu != "entered" or not (rule in UNCHECKED or NULL_SS.search(text))]
    assert min(entered, refused) > count // 10  # the mutations are neither too wild nor too tame
    machine.expect(r"vm=bad event=stopped cause=request", 10)
    echo_answers(machine)


CPUS = ("corei7_haswell_4770", "arrow_lake")
modern = pytest.mark.skipif(find_bochs().version < (3, 0), reason="Bochs 2.7 checks CS in a way of its own")


@modern
@pytest.mark.parametrize("cpu", CPUS)
def test_checker_and_cpu_agree(boot, payload, workdir, hypervisor, cpu):
    conf = NEIGHBOUR + payload_conf("bad", "hello.elf", memory="8M", extra="mutate = 1000:1:0\n")
    check(boot(image(workdir, payload, hypervisor, conf), cpu=cpu, memory=256), 1000)


@modern
@pytest.mark.slow
@pytest.mark.parametrize("cpu", (*CPUS, "corei7_sandy_bridge_2600k"))
@pytest.mark.parametrize("seed", (2, 6))
def test_hostile_checker_and_cpu_agree(boot, payload, workdir, hypervisor, cpu, seed):
    conf = NEIGHBOUR + payload_conf("bad", "hello.elf", memory="8M", extra=f"mutate = {MANY}:{seed}:0\n")
    check(boot(image(workdir, payload, hypervisor, conf), cpu=cpu, memory=256), MANY)


def run_mutated(boot, payload, workdir, hypervisor, cpu: str, seed: int) -> None:
    """Guests that really run with such a state: each ends alone, and starts again as if nothing had been."""
    conf = "[trefoil]\nfocus = good\n" + NEIGHBOUR
    for n in range(GUESTS):
        conf += payload_conf(f"bad{n}", "spin.elf", memory="4M", extra=f"console = none\n{RESTART}mutate = {RUNS}:{seed + n}:1\n")
    machine = boot(image(workdir, payload, hypervisor, conf), cpu=cpu, memory=512)
    over = set()
    while len(over) < GUESTS:
        over.add(machine.expect(rf"vm=(bad\d+) event=mutate-over starts={RUNS + 1} ", 60, never=rf"panic:|event=mutate-over starts=[^{RUNS + 1}]")[1])
    assert f"runs={GUESTS * RUNS}" in machine.log
    for cause in set(re.findall(r"vm=bad\d+ event=stopped cause=(\S+)", machine.log)):
        assert cause in ("error", "reset", "triple-fault", "power-off", "watchdog", "request")
    assert "rule=unknown" not in machine.log
    echo_answers(machine)


def test_mutated_guests_run(boot, payload, workdir, hypervisor):
    run_mutated(boot, payload, workdir, hypervisor, CPUS[0], 100)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("seed", (1000, 2000))
def test_hostile_mutated_guests_run(boot, payload, workdir, hypervisor, cpu, seed):
    run_mutated(boot, payload, workdir, hypervisor, cpu, seed)


def architectural(images, boot, payload, cpu: str, seed: int, count: int) -> None:
    """States that a guest makes by itself: it meets the same faults as on the bare machine, and no entry fails."""
    file, arguments = payload("states"), f"seed={seed} count={count}"
    native = payload_lines(boot(images.native("multiboot", file, arguments), cpu=cpu, memory=64), 120)
    conf = payload_conf("a", "states.elf", arguments, memory="64M") + NEIGHBOUR
    machine = boot(images.trefoil(conf, {"states.elf": file, "echo.elf": payload("echo")}), cpu=cpu, memory=256)
    guest = payload_lines(machine, 120)
    assert "event=fault" not in machine.log
    assert guest == native
    key(machine, "2")
    echo_answers(machine)


def test_states_that_a_guest_can_make(images, boot, payload):
    architectural(images, boot, payload, CPUS[0], 1, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", (*CPUS, "corei7_sandy_bridge_2600k"))
@pytest.mark.parametrize("seed", (2, 3))
def test_hostile_states_that_a_guest_can_make(images, boot, payload, cpu, seed):
    architectural(images, boot, payload, cpu, seed, 10000)
