"""What a guest can do between two exits must not take the machine from its neighbour, which sleeps until a key comes."""
import re

import pytest
from guest import echo_answers, payload_conf
from hostile import alone, neighbour_conf

# What the hostile guest does, and what is said of it: by the log, or by itself (None: it may go on for ever).
MODES = [
    ("xcr0", r"hostile: xcr0 done"),
    ("icebp", r"hostile: icebp done"),
    ("apic-table", r"hostile: apic-table done"),
    ("far-deadline", r"hostile: far-deadline fired 0 times"),
    ("idt-mmio", r"vm=bad event=stopped cause=error"),
    ("stack-mmio", r"vm=bad event=stopped cause=error"),
    ("ud-for-ever", None),
    ("db-loop", None),
    ("lapic-storm", None),
    ("lapic-storm-if0", None),
    ("pit-storm", None),
]


@pytest.mark.parametrize("extra", ["", "apicv = off\n"], ids=["apicv", "no-apicv"])
@pytest.mark.parametrize("mode, report", MODES, ids=[mode for mode, _ in MODES])
def test_the_neighbour_hears_its_keys(images, boot, payload, mode, report, extra):
    conf = "[trefoil]\nshow_all = on\n" + payload_conf("good", "echo.elf") + payload_conf("bad", "hostile.elf", mode, extra=extra)
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo"), "hostile.elf": payload("hostile")}), memory=256)
    machine.expect(r"hostile: begins", 30)
    if report:
        machine.expect(report, 30)
    echo_answers(machine)


def test_a_guest_that_dies_at_once_for_ever_is_slowed_down(images, boot, payload):
    conf = payload_conf("good", "echo.elf") + payload_conf("bad", "crash.elf", "triple", memory="4M", extra="on_exit = restart\n")
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo"), "crash.elf": payload("crash")}), memory=256)
    for seconds in (1, 2, 4, 8, 16, 16):
        machine.expect(rf"vm=bad event=restart-delayed delay={seconds}000000\b", 30)
        machine.expect(r"vm=bad event=started", 30)
    echo_answers(machine)


def test_with_nobody_else_it_is_started_again_too(images, boot, payload):
    conf = payload_conf("bad", "crash.elf", "triple", memory="4M", extra="on_exit = restart\n")
    machine = boot(images.trefoil(conf, {"crash.elf": payload("crash")}))
    for seconds in (1, 2):
        machine.expect(rf"vm=bad event=restart-delayed delay={seconds}000000\b", 30)
        machine.expect(r"vm=bad event=started", 30)


def test_who_asks_for_what_there_is_not(images, boot, payload):
    """More memory than the machine has, more CPUs than there can be, a line that another has: the neighbour alone starts."""
    conf = neighbour_conf(extra="console = com2\n") \
        + payload_conf("memory", "hostile.elf", "cpuid-storm", memory="512G") \
        + payload_conf("rest", "hostile.elf", "cpuid-storm", memory="254M") \
        + payload_conf("cpus", "hostile.elf", "cpuid-storm", extra="vcpus = 255\n") \
        + payload_conf("line", "hostile.elf", "cpuid-storm", extra="console = com2\n") \
        + payload_conf("good", "hostile.elf", "cpuid-storm")
    files = {"neighbour.elf": payload("neighbour"), "hostile.elf": payload("hostile")}
    machine = boot(images.trefoil(conf, files), memory=256, com2=True)
    machine.com2.expect(rb"payload: done\r?\n", 60 * machine.slowness)
    for name in ("memory", "rest"):
        assert re.search(rf"vm={name} event=refused error=\S+ reason=not enough free memory for the guest's RAM", machine.log)
    assert re.search(r"vm=cpus key=vcpus expected=", machine.log)
    assert "vm=line event=refused key=console value=com2 reason=another VM has the second serial port" in machine.log
    assert "hostile: begins" not in machine.log
    said = [line for line in bytes(machine.com2.data).decode().replace("\r", "").split("\n") if line.startswith(("payload", "neigh"))]
    assert said == alone()[0]


def test_a_restart_by_the_console_is_no_last_stop(images, boot, payload):
    conf = "[trefoil]\npoweroff = on\n" + payload_conf("a", "echo.elf")
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo")}), memory=256)
    machine.expect(r"echo: ready", 30)
    machine.send(b"\x1dr")
    machine.expect(r"vm=a event=started", 30)
    machine.expect(r"echo: ready", 30)


@pytest.mark.parametrize("mode", ["lapic-storm", "lapic-storm-if0"])
def test_many_storms(images, boot, payload, mode):
    conf = payload_conf("good", "echo.elf") + "".join(payload_conf(f"bad{i}", "hostile.elf", mode, memory="4M") for i in range(12))
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo"), "hostile.elf": payload("hostile")}), memory=256)
    machine.expect(r"echo: ready", 60)
    machine.send(b"abcdefghij\x04")
    machine.expect(r"payload: done", 30)
