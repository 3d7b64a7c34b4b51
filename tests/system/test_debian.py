"""The main thing: unmodified Debian kernels side by side, each with a shell that answers."""
import hashlib
import re

import pytest
from guest import Shell, focus, linux_conf

CPUS = ["corei7_haswell_4770", "corei7_skylake_x", "corei7_sandy_bridge_2600k"]
# What Linux says when its time, its interrupts or its CPU are not what they should be.
COMPLAINTS = re.compile(r"soft lockup|hard LOCKUP|timekeeping watchdog|Marking clocksource|rcu:? .*stall|\bBUG\b|WARNING: CPU|"
                        r"\bOops\b|general protection|hrtimer: interrupt took|went backwards|unchecked MSR|nobody cared|"
                        r"[Ss]purious")


def start(images, boot, kernel, initrd, conf, *names, **options):
    files = {"vmlinuz": kernel, **{f"{name}.img": initrd(name) for name in names}}
    options.setdefault("memory", 512)
    machine = boot(images.trefoil(conf, files), **options)
    return machine, *(Shell(machine, name) for name in names)


def check_log(shell: Shell) -> None:
    log = shell.run("dmesg", 60)
    assert "Linux version" in log
    assert not [line for line in log.splitlines() if COMPLAINTS.search(line)]


@pytest.mark.parametrize("cpu", CPUS)
def test_two_kernels_two_shells(images, boot, kernel, initrd, cpu):
    machine, alpha, beta = start(images, boot, kernel, initrd, linux_conf("alpha", "beta"), "alpha", "beta", cpu=cpu)
    alpha.wait()
    assert alpha.run("hostname; echo $((6 * 7))") == "alpha\n42"
    focus(machine, "beta", 2)
    beta.wait()
    assert beta.run("hostname; tty") == "beta\n/dev/ttyS0"
    # Both compute at once; both answer.
    beta.run("i=0; while :; do i=$((i + 1)); echo $i >/tmp/n; done & true")
    focus(machine, "alpha", 1)
    for i in range(3):
        assert alpha.run(f"expr {i} + 1") == str(i + 1)
    check_log(alpha)
    focus(machine, "beta", 2)
    # The file is empty for a moment each time it is written.
    count = "until [ -s /tmp/n ] && n=$(cat /tmp/n) && [ $n ]; do :; done; echo $n"
    first, second = int(beta.run(count)), int(beta.run(f"sleep 1; {count}"))
    assert 0 < first < second
    assert beta.run("kill %1; cat /proc/sys/kernel/hostname") == "beta"
    check_log(beta)


def test_the_kernel_is_debians(images, boot, kernel, initrd):
    """Byte for byte: the checksum is the one in the package's own list, and that kernel is what runs."""
    version = kernel.name.removeprefix("vmlinuz-")
    listed = (kernel.parent.parent / "md5sums").read_text()
    assert f"{hashlib.md5(kernel.read_bytes()).hexdigest()}  boot/{kernel.name}" in listed
    machine, alpha = start(images, boot, kernel, initrd, linux_conf("alpha"), "alpha")
    alpha.wait()
    assert alpha.run("uname -r") == version


def test_emulated_apic_and_hidden_hypervisor(images, boot, kernel, initrd):
    conf = linux_conf("alpha", "beta", extra={"alpha": "apicv = off", "beta": "apicv = off\nhypervisor = off"})
    machine, alpha, beta = start(images, boot, kernel, initrd, conf, "alpha", "beta")
    alpha.wait()
    assert alpha.run("grep -cw hypervisor /proc/cpuinfo") == "1"
    check_log(alpha)
    focus(machine, "beta", 2)
    beta.wait()
    assert beta.run("grep -cw hypervisor /proc/cpuinfo") == "0"
    check_log(beta)


def test_power_off_panic_and_reboot_leave_the_neighbour_alone(images, boot, kernel, initrd):
    machine, alpha, beta = start(images, boot, kernel, initrd, linux_conf("alpha", "beta"), "alpha", "beta")
    alpha.wait()
    focus(machine, "beta", 2)
    beta.wait()
    machine.send("reboot -f\r")
    machine.expect(r"vm=beta event=stopped cause=reset", 60)
    beta.wait()
    machine.send("echo c >/proc/sysrq-trigger\r")
    machine.expect(r"Kernel panic - not syncing", 60)
    focus(machine, "alpha", 1)
    assert alpha.run("echo $((7 * 8))") == "56"
    check_log(alpha)
    machine.send("poweroff -f\r")
    machine.expect(r"vm=alpha event=stopped cause=power-off", 60)


def test_time(images, boot, kernel, initrd):
    """A descheduled guest's clock agrees with its neighbour's, and never runs backwards."""
    machine, alpha, beta = start(images, boot, kernel, initrd, linux_conf("alpha", "beta"), "alpha", "beta")
    alpha.wait()
    focus(machine, "beta", 2)
    beta.wait()
    beta.run("while :; do :; done & true")
    before = int(beta.run("date +%s"))
    focus(machine, "alpha", 1)
    between = int(alpha.run("sleep 3; date +%s"))
    samples = [float(word) for word in alpha.run("for i in 1 2 3 4 5 6; do cut -d' ' -f1 /proc/uptime; done").split()]
    assert samples == sorted(samples)
    focus(machine, "beta", 2)
    after = int(beta.run("date +%s"))
    assert before <= between <= after
    check_log(beta)
