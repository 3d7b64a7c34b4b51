"""A guest's fault is the guest's: it stops, or spins, alone, with a report; its neighbour goes on."""
import pytest
from guest import echo_answers, payload_conf

# What the hostile guest does, and what the log says of it (None: it may go on doing it).
MODES = [
    ("triple", r"vm=bad event=stopped cause=triple-fault"),
    ("badstate", None),
    ("ud-loop", None),
    ("mmio-flood", None),
    ("port-flood", None),
    ("msr-flood", None),
    ("hlt-if0", None),
    ("memscan", None),
]


@pytest.mark.parametrize("mode, report", MODES, ids=[mode for mode, _ in MODES])
@pytest.mark.parametrize("cpu", ["corei7_haswell_4770", "corei7_sandy_bridge_2600k"])
def test_the_neighbour_goes_on(images, boot, payload, mode, report, cpu):
    conf = payload_conf("good", "echo.elf") + payload_conf("bad", "crash.elf", mode)
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo"), "crash.elf": payload("crash")}), cpu=cpu, memory=256)
    machine.expect(r"echo: ready", 30)
    if report:
        machine.expect(report, 60)
    echo_answers(machine)


@pytest.mark.parametrize("how, cause", [("poweroff", "power-off"), ("triple", "triple-fault")])
def test_the_end_of_a_guest_is_reported(images, boot, payload, how, cause):
    conf = "[trefoil]\npoweroff = on\n" + payload_conf("a", "hello.elf", f"exit={how}")
    machine = boot(images.trefoil(conf, {"hello.elf": payload("hello")}), memory=256)
    machine.expect(rf"vm=a event=stopped cause={cause}", 30)
    assert machine.wait_end(30) == "power off"


def test_a_reset_starts_the_guest_again(images, boot, payload):
    machine = boot(images.trefoil(payload_conf("a", "hello.elf", "exit=reset"), {"hello.elf": payload("hello")}), memory=256)
    for _ in range(3):
        machine.expect(r"vm=a event=started", 30)
        machine.expect(r"payload: done", 30)
        machine.expect(r"vm=a event=stopped cause=reset", 30)


def test_restart_on_exit(images, boot, payload):
    conf = payload_conf("a", "hello.elf", "exit=triple", extra="on_exit = restart\n")
    machine = boot(images.trefoil(conf, {"hello.elf": payload("hello")}), memory=256)
    for _ in range(3):
        machine.expect(r"vm=a event=started", 30)
        machine.expect(r"vm=a event=stopped cause=triple-fault", 30)
