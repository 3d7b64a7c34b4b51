"""hypervisor = kvm: what a guest that knows KVM's interface finds, and what Debian's kernel makes of it."""
import re

import pytest
import test_smp_linux
from emulator import find_bochs
from guest import linux_conf, payload_conf, payload_lines
from test_debian import check_log, start

FOUND = """payload: start
KVMKVMKVM 40000001
features {features} hints 0
clock on: ok
clock: version odd 0 flags 1 pace ok
clock: started before now 1
wall: ok
wall: version odd 0, of this century 1
steal on: ok
steal: version odd 0 flags 0 preempted 0
clock off: ok
steal off: ok
clock nowhere: fault=13 error=0
clock at a device: fault=13 error=0
clock at the video hole: fault=13 error=0
clock across a page: fault=13 error=0
clock unaligned: fault=13 error=0
wall nowhere: fault=13 error=0
wall unaligned: fault=13 error=0
steal nowhere: fault=13 error=0
steal unaligned: fault=13 error=0
page faults: fault=13 error=0
old clock: fault=13 error=0
poll 0 unknown -1000
ring 3 fault=80 -1
ipi 1 fired 1
ipi to nobody 0, as SMI -22
yield 0
kick 0
awake
eoi fault={eoi}
payload: done"""


@pytest.mark.parametrize("cpu, features, eoi", [
    ("corei7_haswell_4770", "1002aaa", "13: register in service 0; register register in service 0; register in service 0"),
    # Without virtual-interrupt delivery
    ("corei7_sandy_bridge_2600k", "1002aea", "-1: memory in service 0; register memory in service 0; memory in service 0"),
])
def test_the_interface(images, boot, payload, cpu, features, eoi):
    conf = payload_conf("a", "kernel.elf", extra="hypervisor = kvm")
    machine = boot(images.trefoil(conf, {"kernel.elf": payload("kvm")}), cpu=cpu, memory=256)
    assert payload_lines(machine) == FOUND.format(features=features, eoi=eoi).split("\n")


@pytest.mark.parametrize("vcpus, cpu", [(1, "corei7_haswell_4770"), (3, "corei7_haswell_4770"), (3, "corei7_sandy_bridge_2600k")])
def test_debian_uses_it(images, boot, kernel, initrd, vcpus, cpu):
    conf = linux_conf("alpha", extra={"alpha": f"hypervisor = kvm\nvcpus = {vcpus}\n"})
    machine, alpha = start(images, boot, kernel, initrd, conf, "alpha", cpu=cpu)
    alpha.wait()
    log = alpha.run("dmesg", 60)
    for said in ("Hypervisor detected: KVM", "clocksource: Switched to clocksource kvm-clock", "x2apic enabled"):
        assert said in log
    for said in ("PV spinlocks enabled", "setup PV IPIs", "setup pv remote TLB flush", "setup PV sched yield"):
        assert (said in log) == (vcpus > 1)
    assert not re.search(r"kvm.*(unstable|failed)|NO_HZ.*unstable", log, re.I)
    check_log(alpha)
    before, after = (float(alpha.run(f"{sleep}cut -d ' ' -f 1 /proc/uptime")) for sleep in ("", "sleep 2; "))
    assert 2 <= after - before < 10
    # Where they outnumber the machine's CPUs they wait, and see it.
    stolen = alpha.run("for i in 1 2; do (while :; do :; done) & done; sleep 2; head -1 /proc/stat; kill $(jobs -p)", 60)
    ticks = int(re.search(r"^cpu +(.*)$", stolen, re.M)[1].split()[7])
    assert ticks > 50 if vcpus > 1 else ticks < 50
    check_log(alpha)


@pytest.mark.skipif(find_bochs().version < (3, 0), reason="this Bochs is too old for several CPUs")
def test_three_on_two_cpus(images, boot, kernel, initrd):
    """vCPUs move, wait and kick each other; one goes and comes back, and with it what it had registered."""
    machine, alpha = test_smp_linux.start(images, boot, kernel, initrd, ["alpha"], 3, 2, "hypervisor = kvm\n")
    alpha.wait(test_smp_linux.BOOT)
    test_smp_linux.works(alpha, 3)
    for online in "010101":
        alpha.run(f"echo {online} >/sys/devices/system/cpu/cpu1/online", 60)
    test_smp_linux.works(alpha, 3)
    test_smp_linux.healthy(alpha)
