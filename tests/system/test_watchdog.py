"""The watchdog restarts a guest that hangs, and no other."""
import re

import pytest
from conftest import run_tool
from guest import CLOUD_BOOT, Shell, echo_answers, linux_conf, payload_conf

LIMIT = 400  # ms
LIFE = 3 * LIMIT
HUNG = {"cli": "no-progress", "halt": "no-progress", "device": "device"}
HEALTHY = ("compute", "mostly", "ticks", "fed")
MACHINES = {
    "apicv": ("corei7_haswell_4770", ""),
    "tpr-shadow": ("corei7_sandy_bridge_2600k", ""),
    "nothing": ("corei7_sandy_bridge_2600k", "disable = preemption-timer tpr-shadow vpid\n"),
}


@pytest.mark.parametrize("how", MACHINES)
def test_the_hung_are_restarted_and_no_other(images, boot, payload, how):
    cpu, head = MACHINES[how]
    conf = f"[trefoil]\nshow_all = on\n{head}" + payload_conf("good", "echo.elf", extra="watchdog = 100ms\n", memory="8M")
    for mode in (*HUNG, *HEALTHY, "idle"):
        conf += payload_conf(mode, "hang.elf", f"{mode} ms={LIFE} exit=poweroff", memory="8M", extra=f"watchdog = {LIMIT}ms\n")
    machine = boot(images.trefoil(conf, {"echo.elf": payload("echo"), "hang.elf": payload("hang")}), cpu=cpu, memory=256)
    waiting = set(HEALTHY)
    restarts = dict.fromkeys(HUNG, 0)
    while waiting or min(restarts.values()) < 2:
        end = machine.expect(r"vm=(\w+) event=stopped cause=(\S+) starts=(\d+)", 120)
        name, cause, starts = end[1].decode(), end[2].decode(), int(end[3])
        if name in HUNG:
            assert (cause, starts) == ("watchdog", restarts[name] + 1)
            restarts[name] += 1
        else:
            assert (cause, starts) == ("power-off", 1) and name in waiting
            waiting.remove(name)
    for mode, reason in HUNG.items():
        timeout = {"device": 200}.get(mode, LIMIT)
        assert set(re.findall(rf"vm={mode} event=watchdog reason=(\S+) timeout=(\d+)", machine.log)) == {(reason, str(timeout))}
    # Why the guest has started, told by the device.
    assert re.findall(r"^device\| hang: status (\d)", machine.log, re.M)[:2] == ["0", "1"]
    assert re.search(r"^fed\| hang: status 0", machine.log, re.M)
    assert not re.search(r"vm=(idle|good) event=(watchdog|stopped)", machine.log)
    echo_answers(machine)


def test_one_that_always_hangs_is_restarted_once_in_a_while(images, boot, payload):
    conf = payload_conf("bad", "hang.elf", "halt", memory="8M", extra="watchdog = 100ms\n") + payload_conf("good", "echo.elf")
    machine = boot(images.trefoil("[trefoil]\nfocus = good\n" + conf, {"echo.elf": payload("echo"), "hang.elf": payload("hang")}),
                   memory=256)
    machine.expect(r"vm=bad event=stopped cause=watchdog starts=5", 60)
    machine.expect(r"vm=bad event=restart-delayed", 10)
    machine.expect(r"vm=bad event=stopped cause=watchdog starts=6", 60)
    echo_answers(machine)


def test_a_guest_that_hardly_gets_the_cpu_is_not_hung(images, boot, payload):
    """The other guest takes 99 of 100 parts; what is silent for a tenth of its own limit is so for ten limits of the clock."""
    conf = payload_conf("starved", "hang.elf", "mostly ms=3000 exit=poweroff", memory="8M", extra="weight = 1\nwatchdog = 100ms\n")
    conf += payload_conf("greedy", "spin.elf", memory="8M", extra="weight = 99\nconsole = none\n")
    machine = boot(images.trefoil(conf, {"spin.elf": payload("spin"), "hang.elf": payload("hang")}), memory=256)
    end = machine.expect(r"vm=starved event=stopped cause=(\S+) starts=1", 120)
    assert end[1] == b"power-off"


@pytest.fixture
def watchdog_initrd(kernel, workdir):
    drivers = [next(kernel.parent.parent.glob(f"lib/modules/*/kernel/drivers/watchdog/{name}.ko*"))
               for name in ("watchdog", "wdat_wdt")]
    if any(driver.suffix != ".ko" for driver in drivers):
        pytest.skip("the kernel's modules are compressed")
    return run_tool("tools/mkinitrd.sh", "a", workdir / "a.img", *drivers) or workdir / "a.img"


def test_debians_driver_feeds_it(images, boot, kernel, watchdog_initrd):
    conf = linux_conf("a", extra={"a": "watchdog = 5s\n"})
    machine = boot(images.trefoil(conf, {"vmlinuz": kernel, "a.img": watchdog_initrd}), memory=512)
    shell = Shell(machine, "a")
    shell.wait()

    def load_driver() -> dict[str, str]:
        shell.run("insmod /bin/watchdog.ko; insmod /bin/wdat_wdt.ko")
        names = ("identity", "bootstatus", "state")
        return dict(zip(names, shell.run("cd /sys/class/watchdog/watchdog0; cat " + " ".join(names) + "; cd /").split("\n")))

    assert load_driver() == {"identity": "wdat_wdt", "bootstatus": "0", "state": "inactive"}
    shell.run("watchdog -F -T 2 -t 1 /dev/watchdog & sleep 5")
    assert shell.run("cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout") == "active\n2"
    shell.run("kill $!; sleep 4")  # it closes in order, which stops the device
    assert shell.run("cat /sys/class/watchdog/watchdog0/state") == "inactive"
    assert "event=watchdog" not in machine.log
    machine.send("watchdog -F -T 2 -t 1 /dev/watchdog & sleep 3; kill -9 $!\r")
    machine.expect(r"vm=a event=watchdog reason=device timeout=2000 ", 60)
    machine.expect(r"vm=a event=stopped cause=watchdog starts=1", 10)
    shell.wait(CLOUD_BOOT)
    assert load_driver() == {"identity": "wdat_wdt", "bootstatus": "32", "state": "inactive"}  # WDIOF_CARDRESET
