"""QEMU without KVM has no VT-x: on every board, with both firmwares, from every medium, Trefoil says so on the serial line
and on the screen, and leaves the machine in order."""
import pytest
from emulator import OVMF
from guest import payload_conf
from screen import QemuScreen
from test_refusals import refused

SEABIOS = ""
# Every pair of two columns' values is in one row.
ROWS = [
    # board, firmware, medium, CPUs, MiB
    ("pc", SEABIOS, "cdrom", 1, 256),
    ("q35", OVMF, "cdrom", 2, 1024),
    ("q35", SEABIOS, "usb", 1, 1024),
    ("pc", OVMF, "usb", 2, 256),
    ("q35", SEABIOS, "ide", 2, 4096),
    ("pc", OVMF, "ide", 1, 8192),
    ("q35", OVMF, "virtio", 4, 256),
    ("pc", SEABIOS, "virtio", 8, 1024),
    ("pc", OVMF, "cdrom", 4, 4096),
    ("q35", SEABIOS, "cdrom", 8, 8192),
    ("pc", SEABIOS, "usb", 4, 8192),
    ("q35", OVMF, "usb", 8, 4096),
    ("pc", SEABIOS, "ide", 4, 1024),
    ("q35", OVMF, "ide", 8, 256),
    ("pc", OVMF, "virtio", 1, 4096),
    ("q35", SEABIOS, "virtio", 2, 8192),
]
OFTEN = 4  # rows of `make test`; the others are of `make test-all`


def row(i, values):
    board, firmware, medium, cpus, memory = values
    name = f"{board}-{'OVMF' if firmware else 'SeaBIOS'}-{medium}-{cpus}cpu-{memory}M"
    return pytest.param(*values, id=name, marks=[] if i < OFTEN else [pytest.mark.slow])


@pytest.mark.parametrize("board, firmware, medium, cpus, memory", [row(i, values) for i, values in enumerate(ROWS)])
def test_refusal(images, boot, payload, workdir, board, firmware, medium, cpus, memory):
    iso = images.trefoil(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})
    source = {} if medium == "cdrom" else {"disk": iso, "bus": medium}
    machine = boot(None if source else iso, emulator="qemu", cpu="Nehalem", machine=board, bios=firmware, cpus=cpus,
                   memory=memory, extra=QemuScreen.options(workdir), **source)
    screen = QemuScreen(machine)
    refused(machine, "VT-x")
    screen.expect("VT-x")
    screen.command("quit")
    assert machine.wait_end() == "power off"
