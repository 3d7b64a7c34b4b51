"""Debian's kernel as the neighbour: it computes alone, then beside guests that attack, and notices only its share."""
import pytest
from guest import Shell, focus, key, linux_conf, payload_conf
from hostile import SHARE

ATTACKS = ["cpuid-storm", "timer-storm", "db-loop", "console-flood"]
# Checksums over the file system, and how long they took: three numbers.
WORK = "a=$(cut -d' ' -f1 /proc/uptime); for i in 1 2 3 4 5 6 7 8; do find /bin /etc /init -type f | sort | xargs cat; " \
       "done | md5sum | cut -c1-32; echo $a; cut -d' ' -f1 /proc/uptime"


def work(shell: Shell) -> tuple[str, float]:
    digest, begin, end = shell.run(WORK, 240).split()
    return digest, float(end) - float(begin)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [*ATTACKS, "hypercube"])
def test_linux(images, boot, payload, kernel, initrd, attack):
    program = "hypercube.elf" if attack == "hypercube" else "hostile.elf"
    cmdline = "count=100000000 seed=3001" if attack == "hypercube" else attack
    conf = linux_conf("alpha") + payload_conf("bad", program, cmdline, memory="8M", extra="autostart = off\n")
    files = {"vmlinuz": kernel, "alpha.img": initrd("alpha"), program: payload(program.removesuffix(".elf"))}
    machine = boot(images.trefoil(conf, files), memory=512)
    alpha = Shell(machine, "alpha")
    alpha.wait()
    digest, alone = work(alpha)
    focus(machine, "bad", 2)
    key(machine, "b")
    machine.expect(r"vm=bad event=started", 30)
    focus(machine, "alpha", 1)
    again, beside = work(alpha)
    assert again == digest
    assert alone / 0.5 / beside >= SHARE
    assert "panic:" not in machine.log and "vm=bad event=stopped" not in machine.log
