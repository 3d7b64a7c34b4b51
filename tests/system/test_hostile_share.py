"""Guests that take what time they can get: the neighbour says what it says alone, and keeps its share of the CPU."""
import pytest
from emulator import DEFAULT_CPU, PLAIN_CPU
from guest import payload_conf
from hostile import IPS, finish, neighbour_conf

FAULTS = ["ud-for-ever", "db-loop"]
EXITS = ["cpuid-storm", "port-storm", "uart-storm", "timer-reads", "absent-reads", "absent-writes", "ioapic-reads", "pause-storm",
         "cache-storm", "tsc-writes", "mtrr-writes", "cr3-storm", "tlb-storm", "fault-storm", "xsetbv-storm", "hlt-if0"]
INTERRUPTS = ["lapic-storm", "lapic-storm-if0", "lapic-storm-busy", "deadline-storm", "pit-storm", "rtc-storm", "timer-storm",
              "timer-storm-busy", "self-storm", "nmi-storm", "init-storm", "level-storm"]
LONG = ["pit-ins", "pit-outs", "rtc-ins", "absent-ins", "rtc-alarm", "uart-loop", "mmio-rep", "console-flood", "console-line",
        "console-escapes"]
WIDE = ["task-switches", "ac-loop"]  # of the 32-bit payload
SLICE_TICKS = 500_000  # 5 ms of 100 MHz, the default
SHOW_ALL = "[trefoil]\nshow_all = on\n"


def start(images, boot, payload, attacks, weight, head="", extra="", **options):
    """The neighbour, and a guest for each attack, with the default weight."""
    conf = head + neighbour_conf(weight=weight)
    for n, attack in enumerate(attacks):
        conf += payload_conf(f"bad{n}", "hostile32.elf" if attack in WIDE else "hostile.elf", attack, memory="4M", extra=extra)
    files = {f"{name}.elf": payload(name) for name in ("neighbour", "hostile", "hostile32")}
    return boot(images.trefoil(conf, files), memory=256, **options)


@pytest.mark.parametrize("attacks", [FAULTS + WIDE, EXITS[:8], EXITS[8:], INTERRUPTS[:6], INTERRUPTS[6:], LONG[:7]],
                         ids=["faults", "exits", "more-exits", "timers", "interrupts", "long"])
def test_against_many(images, boot, payload, attacks):
    """Together they weigh as much as the neighbour."""
    finish(start(images, boot, payload, attacks, 100 * len(attacks)))


@pytest.mark.parametrize("attack", ["console-escapes", pytest.param("console-flood", marks=pytest.mark.slow),
                                    pytest.param("console-line", marks=pytest.mark.slow)])
def test_floods_that_are_shown(images, boot, payload, attack):
    """On a CPU twice as fast as elsewhere here: for each byte on the line many may have to be read that are left out."""
    finish(start(images, boot, payload, [attack], 100, SHOW_ALL, ips=2 * IPS), ips=2 * IPS)


def test_a_crash_in_a_loop(images, boot, payload):
    finish(start(images, boot, payload, ["triple"], 100, extra="on_exit = restart\n"), log_lines=150)


def test_no_exit_takes_long(images, boot, payload):
    """Instructions that ask for much at once come back before half a slice is over, as one sees that sleeps until its timer."""
    attacks = ["pit-ins", "pit-outs", "absent-ins", "mmio-rep", "rtc-alarm", "console-line"]
    conf = payload_conf("sleeper", "latency.elf", "count=200", memory="4M", extra="weight = 600\n")
    conf += "".join(payload_conf(f"bad{n}", "hostile.elf", attack, memory="4M") for n, attack in enumerate(attacks))
    machine = boot(images.trefoil(conf, {f"{name}.elf": payload(name) for name in ("latency", "hostile")}), memory=256)
    worst = int(machine.expect(r"latency: worst=(\d+) of 200", 120)[1])
    assert 0 < worst < SLICE_TICKS // 2


@pytest.mark.slow
@pytest.mark.parametrize("attack", FAULTS + WIDE + EXITS + INTERRUPTS + LONG)
def test_against_one(images, boot, payload, attack):
    finish(start(images, boot, payload, [attack], 100))


@pytest.mark.slow
@pytest.mark.parametrize("weight", [50, 300])
@pytest.mark.parametrize("attack", ["cpuid-storm", "timer-storm", "pit-storm", "absent-writes"])
def test_weights(images, boot, payload, attack, weight):
    finish(start(images, boot, payload, [attack], weight), share=weight / (weight + 100))


@pytest.mark.slow
@pytest.mark.parametrize("extra, cpu", [("apicv = off\n", DEFAULT_CPU), ("", PLAIN_CPU), ("", "corei7_skylake_x")],
                         ids=["no-apicv", "plain", "skylake"])
@pytest.mark.parametrize("attack", INTERRUPTS)
def test_interrupts_on_other_cpus(images, boot, payload, attack, extra, cpu):
    finish(start(images, boot, payload, [attack], 100, extra=extra, cpu=cpu), cpu=cpu)


@pytest.mark.slow
def test_against_all(images, boot, payload):
    attacks = FAULTS + WIDE + EXITS + INTERRUPTS + LONG
    finish(start(images, boot, payload, attacks, 100 * len(attacks)), log_lines=150)
