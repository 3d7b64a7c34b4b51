"""Any CPU: every model of the emulator that has what Trefoil needs runs guests (the others: test_refusals.py), and so does
one whose optional features are taken away, each alone and all together."""
import re

import pytest
from emulator import find_bochs
from guest import LOG_LINE, Shell, linux_conf, payload_conf
from test_shares import SLICE_TICKS

SLOW = pytest.mark.slow
# From the oldest with an unrestricted guest to the newest. Those that test_equivalence.py has, too, can wait.
MODELS = ["corei5_arrandale_m520", *(pytest.param(cpu, marks=SLOW) for cpu in (
    "corei7_sandy_bridge_2600k", "corei7_ivy_bridge_3770k", "corei7_haswell_4770", "broadwell_ult", "corei7_skylake_x",
    "corei3_cnl", "tigerlake")), "corei7_icelake_u", "sapphire_rapids", "arrow_lake"]
GUESTS = ["hello", "board", "mmio", "memory", "tasks", "switch"]
FULL = "corei7_skylake_x"  # has the most that Linux runs on
# Word of `disable` -> fields of event=enabled that are 0 then
FIELDS = {
    "vpid": ["vpid"],
    "preemption-timer": ["preemption-timer"],
    "tpr-shadow": ["tpr-shadow", "apic-access", "apic-registers", "virtual-interrupts", "x2apic"],
    "apicv": ["apic-registers", "virtual-interrupts"],
    "ept-2m": ["ept-2m"],
    "ept-1g": ["ept-1g"],
    "ept-ad": ["ept-ad"],
    "x2apic": ["x2apic"],
}
ALL = " ".join(FIELDS)
WORDS = [ALL, "vpid", "preemption-timer", "tpr-shadow", "apicv", *(pytest.param(word, marks=SLOW) for word in (
    "ept-2m", "ept-1g", "ept-ad", "x2apic"))]


def run_guests(images, boot, payload, head="", **options):
    """All the guests on one machine; their lines, and the fields of event=enabled."""
    conf = f"[trefoil]\nfocus = log\nshow_all = on\n{head}\n" + "".join(payload_conf(name, f"{name}.elf") for name in GUESTS)
    machine = boot(images.trefoil(conf, {f"{name}.elf": payload(name) for name in GUESTS}), memory=512, **options)
    enabled = machine.expect(r"event=enabled ([^\r\n]*)\r?\n", 30)[1].decode()
    for _ in GUESTS:
        machine.expect(r"\| payload: done\r?\n", 90, never=r"event=(refused|stopped) [^\n]*|panic: machine stopped")
    log = [line for line in machine.log.replace("\r", "").split("\n") if not LOG_LINE.match(line)]
    lines = {name: [line[len(name) + 2:] for line in log if line.startswith(f"{name}| ")] for name in GUESTS}
    machine.stop()
    return ({name: [line for line in own if not line.startswith("#")] for name, own in lines.items()},
            dict(field.split("=") for field in enabled.split()))


@pytest.mark.parametrize("cpu", MODELS)
def test_every_model_runs_guests(images, boot, payload, cpu):
    lines, _ = run_guests(images, boot, payload, cpu=cpu)
    for own in lines.values():
        assert own[0] == "payload: start"
        assert own[-1] == "payload: done"


@pytest.fixture(scope="module")
def undisturbed():
    """What the guests say with all features."""
    return {}


@pytest.mark.parametrize("words", WORDS)
def test_without_a_feature(images, boot, payload, undisturbed, words):
    if not undisturbed:
        undisturbed["lines"], undisturbed["has"] = run_guests(images, boot, payload, cpu=FULL)
    lines, has = run_guests(images, boot, payload, f"disable = {words}", cpu=FULL)
    gone = [field for word in words.split() for field in FIELDS[word]]
    assert has == {field: "0" if field in gone else value for field, value in undisturbed["has"].items()}
    assert lines == undisturbed["lines"]


def test_slices_without_the_preemption_timer(images, boot, payload):
    """The local APIC's timer ends them as exactly: test_shares.py has the limit."""
    if not find_bochs().patched:
        pytest.skip("this Bochs forgets interrupts of a guest with IF=0 (tools/bochs/extint.patch)")
    conf = "[trefoil]\ndisable = preemption-timer\n" + payload_conf("sleeper", "latency.elf", "count=100") \
        + payload_conf("spin", "spin.elf") + payload_conf("spun", "spin.elf", extra="weight = 200\n")
    machine = boot(images.trefoil(conf, {"latency.elf": payload("latency"), "spin.elf": payload("spin")}), memory=256)
    worst = int(machine.expect(r"latency: worst=(\d+) of 100", 120)[1])
    assert 0 < worst < 2 * SLICE_TICKS


def test_linux_without_any_feature(images, boot, kernel, initrd):
    machine = boot(images.trefoil(linux_conf("alpha", head=f"[trefoil]\ndisable = {ALL}\n"),
                                  {"vmlinuz": kernel, "alpha.img": initrd("alpha")}), memory=512)
    assert re.search(r"vpid=0 preemption-timer=0 tpr-shadow=0", machine.expect(r"event=enabled [^\r\n]*\r?\n", 30)[0].decode())
    shell = Shell(machine, "alpha")
    shell.wait()
    assert shell.run("hostname; echo $((6 * 7))") == "alpha\n42"


# Others than test_debian.py's. On the newer ones this kernel faults or hangs on the bare emulator, too.
@SLOW
@pytest.mark.parametrize("cpu", ["corei5_arrandale_m520", "corei7_ivy_bridge_3770k", "broadwell_ult"])
def test_linux(images, boot, kernel, initrd, cpu):
    machine = boot(images.trefoil(linux_conf("alpha"), {"vmlinuz": kernel, "alpha.img": initrd("alpha")}), cpu=cpu, memory=512)
    shell = Shell(machine, "alpha")
    shell.wait()
    assert shell.run("hostname; echo $((6 * 7))") == "alpha\n42"
