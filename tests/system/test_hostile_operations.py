"""Random operations from a seed (tests/payload/hypercube.c): the hypervisor lives, the neighbour notices nothing."""
import re

import pytest
from emulator import DEFAULT_CPU, PLAIN_CPU
from guest import payload_conf
from hostile import finish, neighbour_conf


def start(images, boot, payload, rounds, count, seeds, extra="", more="", **options):
    conf = neighbour_conf(rounds, 100 * len(seeds))
    for seed in seeds:
        conf += payload_conf(f"bad{seed}", "hypercube.elf", f"count={count} seed={seed} exit=poweroff {more}", memory="8M", extra=extra)
    files = {"neighbour.elf": payload("neighbour"), "hypercube.elf": payload("hypercube")}
    return boot(images.trefoil(conf, files), memory=256, **options)


def operations(machine, rounds, seeds, timeout, cpu=DEFAULT_CPU):
    """All of them are done, and none ended its guest."""
    for _ in seeds:
        machine.expect(r"vm=bad\d+ event=stopped cause=[\w-]+ starts=\d+\r?\n", timeout)
    assert re.findall(r"vm=bad\d+ event=stopped cause=([\w-]+) starts=1", machine.log) == ["power-off"] * len(seeds)
    finish(machine, rounds, cpu=cpu)


def test_operations(images, boot, payload):
    operations(start(images, boot, payload, 200, 50_000, [1, 2]), 200, [1, 2], 90)


@pytest.mark.slow
@pytest.mark.parametrize("first", [1001, 1003, 1005, 1007, 1009])
def test_a_million_operations(images, boot, payload, first):
    seeds = [first, first + 1]
    operations(start(images, boot, payload, 400, 100_000, seeds), 400, seeds, 300)


@pytest.mark.slow
@pytest.mark.parametrize("extra, cpu", [("apicv = off\n", DEFAULT_CPU), ("", PLAIN_CPU), ("", "corei7_skylake_x")],
                         ids=["no-apicv", "plain", "skylake"])
def test_operations_on_other_cpus(images, boot, payload, extra, cpu):
    machine = start(images, boot, payload, 400, 100_000, [2001, 2002], extra=extra, cpu=cpu)
    operations(machine, 400, [2001, 2002], 300, cpu)


@pytest.mark.parametrize("lives", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_operations_that_end_the_guest(images, boot, payload, lives):
    """Resets, power-off, INIT with whatever then runs: the guest comes back, each time with another seed, from the clock."""
    rounds = 100 * lives
    conf = neighbour_conf(rounds) + payload_conf("bad", "hypercube.elf", "seed=0 ends", memory="4M", extra="on_exit = restart\n")
    machine = boot(images.trefoil(conf, {"neighbour.elf": payload("neighbour"), "hypercube.elf": payload("hypercube")}), memory=256)
    machine.expect(rf"vm=bad event=stopped cause=(reset|power-off|triple-fault) starts={lives}\b", 60 * lives)
    finish(machine, rounds, log_lines=20 + 4 * rounds)
