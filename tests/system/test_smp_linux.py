"""Debian's kernel with several CPUs, two of them side by side: all CPUs work, and the kernels find nothing to complain about."""
import re

import pytest
from emulator import find_bochs
from guest import Shell, focus, linux_conf
from test_debian import check_log

HASWELL = "corei7_haswell_4770"
COMPLAINTS = re.compile(r"unsynchron|TSC found unstable|clocksource: .*(unstable|skew)|not responding|failed to (come|boot)|"
                        r"hung_task|Firmware Bug|APIC id mismatch|do_boot_cpu failed|rcu_.*(stall|starved)|watchdog: BUG")
# The same on each CPU at once: how many different sums there are.
WORK = "for c in $(seq $(nproc)); do (taskset $(printf %x $((1 << c - 1))) sh -c 'for i in 1 2 3 4 5 6; do find /bin /etc /init " \
       "-type f | sort | xargs cat | md5sum; done' >/tmp/sum$c) & done; wait; cat /tmp/sum* | sort -u | wc -l"
BOOT = 240  # seconds of the fast emulator: two kernels, four CPUs
pytestmark = pytest.mark.skipif(find_bochs().version < (3, 0), reason="this Bochs is too old for several CPUs")


def start(images, boot, kernel, initrd, names, vcpus, cpus, extra="", **options):
    conf = linux_conf(*names, extra={name: f"vcpus = {vcpus}\n{extra}" for name in names})
    files = {"vmlinuz": kernel, **{f"{name}.img": initrd(name) for name in names}}
    machine = boot(images.trefoil(conf, files), cpus=cpus, memory=512, **options)
    return machine, *(Shell(machine, name) for name in names)


def healthy(shell):
    check_log(shell)
    assert not [line for line in shell.run("dmesg", 60).splitlines() if COMPLAINTS.search(line)]


def ticks(shell, vcpus):
    """Timer interrupts on each CPU."""
    for name in ("LOC", "timer"):
        line = shell.run(f"grep -w {name} /proc/interrupts; true").split()
        if line[1:]:
            return [int(n) for n in line[1:1 + vcpus]]
    raise AssertionError("no timer in /proc/interrupts")


def works(shell, vcpus):
    assert shell.run("nproc") == str(vcpus)
    before = ticks(shell, vcpus)
    assert shell.run(WORK, 240) == "1"
    assert all(now > was for was, now in zip(before, ticks(shell, vcpus)))


def test_two_kernels_of_two_cpus(images, boot, kernel, initrd):
    machine, alpha, beta = start(images, boot, kernel, initrd, ["alpha", "beta"], 2, 2)
    alpha.wait(BOOT)
    works(alpha, 2)
    focus(machine, "beta", 2)
    beta.wait(BOOT)
    works(beta, 2)
    healthy(beta)
    focus(machine, "alpha", 1)
    healthy(alpha)


def test_a_cpu_goes_and_comes_back(images, boot, kernel, initrd):
    machine, alpha = start(images, boot, kernel, initrd, ["alpha"], 2, 2)
    alpha.wait(BOOT)
    for _ in range(3):
        alpha.run("echo 0 >/sys/devices/system/cpu/cpu1/online", 60)
        assert alpha.run("nproc; cat /sys/devices/system/cpu/online") == "1\n0"
        alpha.run("echo 1 >/sys/devices/system/cpu/cpu1/online", 60)
        assert alpha.run("nproc; cat /sys/devices/system/cpu/online") == "2\n0-1"
    works(alpha, 2)
    healthy(alpha)


@pytest.mark.parametrize("vcpus, cpus", [(2, 1), pytest.param(4, 2, marks=pytest.mark.slow), pytest.param(4, 4, marks=pytest.mark.slow)])
def test_as_many_as_wanted(images, boot, kernel, initrd, vcpus, cpus):
    machine, alpha = start(images, boot, kernel, initrd, ["alpha"], vcpus, cpus)
    alpha.wait(BOOT)
    works(alpha, vcpus)
    healthy(alpha)


@pytest.mark.slow
def test_two_kernels_of_four_cpus_on_two(images, boot, kernel, initrd):
    machine, alpha, beta = start(images, boot, kernel, initrd, ["alpha", "beta"], 4, 2)
    alpha.wait(2 * BOOT)
    focus(machine, "beta", 2)
    beta.wait(2 * BOOT)
    works(beta, 4)
    healthy(beta)
    focus(machine, "alpha", 1)
    works(alpha, 4)
    healthy(alpha)


@pytest.mark.slow
@pytest.mark.parametrize("cpu, extra", [(HASWELL, "apicv = off\n"), ("corei7_sandy_bridge_2600k", ""), ("corei7_skylake_x", "")],
                         ids=["no-apicv", "sandy-bridge", "skylake"])
def test_on_other_cpus(images, boot, kernel, initrd, cpu, extra):
    machine, alpha, beta = start(images, boot, kernel, initrd, ["alpha", "beta"], 2, 2, extra, cpu=cpu)
    alpha.wait(BOOT)
    works(alpha, 2)
    focus(machine, "beta", 2)
    beta.wait(BOOT)
    works(beta, 2)
    healthy(beta)


@pytest.mark.slow
def test_reboot_and_power_off_stop_every_cpu(images, boot, kernel, initrd):
    machine, alpha, beta = start(images, boot, kernel, initrd, ["alpha", "beta"], 2, 2)
    alpha.wait(BOOT)
    focus(machine, "beta", 2)
    beta.wait(BOOT)
    machine.send("reboot -f\r")
    machine.expect(r"vm=beta event=stopped cause=reset", 60)
    beta.wait(BOOT)
    works(beta, 2)
    machine.send("poweroff -f\r")
    machine.expect(r"vm=beta event=stopped cause=power-off", 60)
    focus(machine, "alpha", 1)
    works(alpha, 2)
    healthy(alpha)
