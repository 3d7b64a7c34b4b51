"""A fault of the hypervisor itself: provoked by a VM exit that leads to where no exit should (HOST_RIP), reported, final."""
import pytest
from conftest import VARIANT, run_tool
from test_vmcs_check import CPU, Case, configuration, image

HOST_RIP = 0x6c16
UNMAPPED = 0xffffa00000000000


def address_of(symbol: str) -> int:
    table = run_tool("nm", VARIANT / "trefoil.elf").splitlines()
    return next(int(line.split()[0], 16) for line in table if line.split()[-1] == symbol)


@pytest.mark.parametrize("where, lines", [
    (None, [r"panic: cpu0: #PF page fault", rf"panic: .*rip.*{UNMAPPED:016x}", r"panic: cr0="]),
    ("__stack_chk_fail", [r"panic: cpu0: a stack buffer was overrun", r"panic: backtrace",
                          r"panic:   by 0x[0-9a-f]{16} __stack_chk_fail\+0x", r"panic: cr0="]),
], ids=["page-fault", "stack-overrun"])
def test_the_report(boot, payload, workdir, hypervisor, where, lines):
    conf = configuration({"victim": Case({HOST_RIP: address_of(where) if where else UNMAPPED})})
    machine = boot(image(workdir, payload, hypervisor, conf), cpu=CPU, memory=256)
    # The log's last lines had not been sent when it happened.
    for line in [*lines, r"unsent: .* event=started", r"vmcs: exit=", r"vmcs: rip=", r"vmcs: host_rip="]:
        machine.expect(line, 30, never=r"(?!)")
    machine.expect(r"panic: machine stopped\r?\n", 30, never=r"(?!)")
