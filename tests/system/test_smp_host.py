"""The machine's own CPUs: started, told apart, asked, and stopped together."""
import pytest
from conftest import TREFOIL
from emulator import find_bochs
from guest import echo_answers, key, payload_conf
from test_audit import variant
from test_firmware import SHIM

CONF = payload_conf("a", "echo.elf") + payload_conf("b", "echo.elf")
pytestmark = pytest.mark.skipif(find_bochs().version < (3, 0), reason="this Bochs is too old for several CPUs")


@pytest.fixture
def machine(boot, images, payload):
    def start(conf=CONF, **options):
        return boot(images.trefoil(conf, {"echo.elf": payload("echo")}), memory=512, **options)
    return start


@pytest.mark.parametrize("cpus", [2, 4])
def test_an_audit_holds_all_cpus(machine, cpus):
    m = machine(cpus=cpus)
    m.expect("echo: ready")
    for _ in range(3):
        key(m, "v")
        m.expect(r"event=audit-done vms=2 [^\n]*result=ok", 30, never="result=failed|panic: machine stopped")
    echo_answers(m)


def test_fewer_cpus_than_there_are(machine):
    m = machine("[trefoil]\nhost_cpus = 2\n" + CONF, cpus=4)
    m.expect("echo: ready")
    assert "event=cpu-online cpu=1 " in m.log and "cpu=2 apic-id" not in m.log
    echo_answers(m)


def test_a_panic_stops_each_cpu_and_says_where_it_was(boot, payload, workdir, hypervisor):
    m = boot(variant(workdir, hypervisor, CONF, {"echo.elf": payload("echo")}, "machine-check=40"), memory=512, cpus=4)
    m.expect(r"panic: cpu(\d): #MC machine check", 60, never="(?!)")
    m.expect(r"panic: machine stopped\r?\n", 30, never="(?!)")
    assert [m.log.count(f"panic: cpu{cpu}") for cpu in range(4)] == [1] * 4
    assert "does not stop" not in m.log


@pytest.mark.parametrize("name", ["smp_ipi", "smp_timer"])
def test_locks_are_taken_in_their_order(boot, payload, workdir, hypervisor, name):
    """The variant with the test hooks panics where they are not."""
    conf = payload_conf("a", "kernel.elf", extra="vcpus = 2\n")
    m = boot(variant(workdir, hypervisor, conf, {"kernel.elf": payload(name)}, ""), memory=256, cpus=2)
    m.expect(r"payload: done", 60)


@pytest.mark.parametrize("fault, reason", [("silent=2", "it does not answer"), ("differs=2", "its VMX capabilities are not")])
def test_a_cpu_that_cannot_be_used_is_left_out(boot, payload, workdir, hypervisor, fault, reason):
    m = boot(variant(workdir, hypervisor, CONF, {"echo.elf": payload("echo")}, fault), memory=512, cpus=4)
    m.expect(rf"event=cpu-left-out apic-id=2 reason={reason}", 60)
    m.expect(r"event=cpu-online cpu=2 apic-id=3", 30)
    m.expect("echo: ready")
    echo_answers(m)


def test_time_stamp_counters_are_made_to_agree(boot, images, payload, workdir):
    """The boot loader sets the boot CPU's ahead by years."""
    conf = workdir / "trefoil.conf"
    conf.write_text(payload_conf("a", "smp_timer.elf", extra="vcpus = 2\n"))
    iso = images.native("multiboot2", SHIM, "tsc", TREFOIL, "", conf, "", payload("smp_timer"), "")
    m = boot(iso, memory=256, cpus=2)
    m.expect(r"event=tsc-adjusted cpu=1 offset=-\d{9,}", 60)
    m.expect(r"payload: done", 60)
    assert "back 0" in m.log
