"""The image starts from a CD and, written to a stick as it is, from a disk, each with a BIOS and with UEFI."""
import re

import pytest
from emulator import BIOS, OVMF, find_bochs
from guest import Shell, linux_conf, payload_conf, payload_lines

UEFI_BOOT = 60  # seconds, fast emulator: OVMF and GRUB
CYLINDER = 16 * 63 * 512


@pytest.fixture
def iso(images, payload):
    return images.trefoil(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})


def stick(iso):
    """The image on a disk, which for Bochs has whole cylinders; a stick is larger than the image on it, too."""
    data = iso.read_bytes()
    path = iso.with_suffix(".img")
    path.write_bytes(data + bytes(-len(data) % CYLINDER + CYLINDER))
    return path


def reaches_the_guest(machine, firmware):
    machine.expect(rf"event=machine .*firmware={firmware}", UEFI_BOOT)
    assert payload_lines(machine)[-1] == "payload: done"


def test_cd(iso, boot):
    machine = boot(iso, bios=OVMF, memory=256)
    reaches_the_guest(machine, "uefi")
    # OVMF, unlike the BIOS, leaves IA32_FEATURE_CONTROL open.
    assert "event=feature-control-locked was=0 value=5" in machine.log


@pytest.mark.parametrize("bios, firmware", [(BIOS, "bios"), (OVMF, "uefi")], ids=["bios", "uefi"])
def test_stick(iso, boot, bios, firmware):
    disk = stick(iso)
    try:
        reaches_the_guest(boot(None, disk=disk, bios=bios, memory=256), firmware)
    finally:
        disk.unlink()


def test_debian(images, boot, kernel, initrd):
    iso = images.trefoil(linux_conf("alpha"), {"vmlinuz": kernel, "alpha.img": initrd("alpha")})
    machine = boot(iso, bios=OVMF, memory=512)
    machine.expect(r"event=started", UEFI_BOOT)
    alpha = Shell(machine, "alpha")
    alpha.wait()
    assert alpha.run("hostname; echo $((6 * 7))") == "alpha\n42"


@pytest.mark.parametrize("other_first", [False, True])
def test_the_loader_finds_its_own_disk(images, boot, payload, other_first):
    """Two images that look alike, in one machine: each brings its own files."""
    files = {"hello.elf": payload("hello")}
    cd = images.trefoil(payload_conf("a" if other_first else "b", "hello.elf"), files, name="cd")
    disk = stick(images.trefoil(payload_conf("b" if other_first else "a", "hello.elf"), files, name="disk"))
    try:
        machine = boot(cd, disk=disk, bios=OVMF, memory=256)
        from_cd = b"Slave" in machine.expect(r"starting Boot\d+ .*Ata\(Primary,(Master|Slave)", UEFI_BOOT)[1]
        started = machine.expect(r"vm=(\w) event=started", UEFI_BOOT)[1]
        assert started == (b"a" if from_cd == other_first else b"b")
    finally:
        disk.unlink()


@pytest.mark.skipif(find_bochs().plugins, reason="the display of this Bochs has 8 bits per pixel only")
def test_graphics_mode_of_a_bios(images, boot, payload):
    """mkiso.sh -v"""
    iso = images.trefoil(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")}, options=("-v",))
    machine = boot(iso, memory=256)
    reaches_the_guest(machine, "bios")
    log = (machine.workdir / "bochs.log").read_text(errors="replace")
    assert re.search(r"VBE enabling x 1024, y 768, bpp 32", log)
