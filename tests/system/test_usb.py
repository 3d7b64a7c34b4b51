"""The USB stick's image: starts on BIOS and on UEFI, and again after a person has edited what is on it."""
import os
import subprocess

import pytest
from conftest import BUILD, TOP, TREFOIL
from emulator import BIOS, OVMF
from guest import Shell, linux_conf, payload_conf, payload_lines
from screen import QemuScreen

LOADER = BUILD / "BOOTX64.EFI"
LOADERS = [(BIOS, "GRUB"), (OVMF, "Trefoil EFI loader")]
FIRMWARE_START = 60  # seconds, fast emulator
CYLINDER = 16 * 63 * 512


def mkusb(out, conf, *options, **environment):
    return subprocess.run([TOP / "tools" / "mkusb.sh", *options, out, TREFOIL, LOADER, conf], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment})


@pytest.fixture
def stick(workdir):
    """stick(conf, files): an image; files as in images.trefoil()."""
    made = []

    def make(conf, files, name="stick"):
        tree = workdir / f"{name}.files"
        tree.mkdir(exist_ok=True)
        (tree / "trefoil.conf").write_text(conf)
        for module, source in files.items():
            (tree / module).unlink(missing_ok=True)
            (tree / module).symlink_to(source)
        made.append(workdir / f"{name}.img")
        done = mkusb(made[-1], tree / "trefoil.conf")
        assert done.returncode == 0, done.stdout
        return made[-1]

    yield make
    for image in made:
        image.unlink()


def edit(image, *command):
    subprocess.run([command[0], "-i", f"{image}@@1M", *map(str, command[1:])], check=True, stdin=subprocess.DEVNULL,
                   env={**os.environ, "MTOOLS_SKIP_CHECK": "1"})


@pytest.mark.parametrize("bios, loader", LOADERS, ids=["bios", "uefi"])
def test_payload(stick, boot, payload, bios, loader):
    disk = stick(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})
    machine = boot(None, disk=disk, bios=bios, memory=256)
    machine.expect(f"event=boot loader={loader}", FIRMWARE_START)
    assert payload_lines(machine)[-1] == "payload: done"
    if bios == BIOS:  # text mode, which every BIOS has
        assert "VBE enabling" not in (machine.workdir / "bochs.log").read_text(errors="replace")


@pytest.mark.parametrize("bios, loader", LOADERS, ids=["bios", "uefi"])
def test_debian(stick, boot, kernel, initrd, bios, loader):
    disk = stick(linux_conf("alpha"), {"vmlinuz": kernel, "alpha.img": initrd("alpha")})
    machine = boot(None, disk=disk, bios=bios, memory=512)
    machine.expect(f"event=boot loader={loader}", FIRMWARE_START)
    alpha = Shell(machine, "alpha")
    alpha.wait()
    assert alpha.run("hostname; echo $((6 * 7))") == "alpha\n42"


@pytest.mark.parametrize("bios, loader", LOADERS, ids=["bios", "uefi"])
def test_edited_by_a_person(stick, boot, payload, workdir, bios, loader):
    """Another kernel, in a directory of its own, and a configuration that names it."""
    disk = stick(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})
    conf = workdir / "edited.conf"
    conf.write_text(payload_conf("mine", "test/My-Kernel_64.elf", memory="64M").replace("\n", "\r\n"))
    edit(disk, "mmd", "::/trefoil/test")
    edit(disk, "mcopy", payload("hello64"), "::/trefoil/test/My-Kernel_64.elf")
    edit(disk, "mdel", "::/trefoil/hello.elf")
    edit(disk, "mcopy", "-o", conf, "::/trefoil/trefoil.conf")
    machine = boot(None, disk=disk, bios=bios, memory=256)
    machine.expect(r"vm=mine event=started kernel=test/My-Kernel_64\.elf", FIRMWARE_START)
    assert payload_lines(machine)[-1] == "payload: done"


@pytest.mark.parametrize("bus", ["ide", "usb"])
@pytest.mark.parametrize("bios, loader", [("", "GRUB"), (OVMF, "Trefoil EFI loader")], ids=["bios", "uefi"])
def test_as_a_disk_and_as_a_stick(stick, boot, payload, bios, loader, bus):
    """QEMU's firmwares, without VT-x: up to the refusal."""
    disk = stick(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})
    machine = boot(None, emulator="qemu", disk=disk, bios=bios, bus=bus, memory=256)
    machine.expect(f"event=boot loader={loader}", FIRMWARE_START)
    machine.expect("event=refused missing=", 10)


def test_a_bios_without_the_hypervisor(stick, boot, payload, workdir):
    """GRUB says what is missing, and leaves it on the screen."""
    disk = stick(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})
    edit(disk, "mdel", "::/trefoil/trefoil.elf")
    machine = boot(None, emulator="qemu", disk=disk, memory=256, extra=QemuScreen.options(workdir))
    text = QemuScreen(machine).expect("Escape opens GRUB's command line", FIRMWARE_START)
    assert "file `/trefoil/trefoil.elf' not found" in text
    assert "trefoil: not started: cannot load /trefoil/trefoil.elf" in text


def test_partitions(stick, payload):
    """A GPT that its own checker has nothing to say against; whole cylinders; and room for a person's kernels."""
    disk = stick(payload_conf("a", "hello.elf"), {"hello.elf": payload("hello")})
    assert disk.stat().st_size % CYLINDER == 0
    verified = subprocess.run(["sgdisk", "--verify", disk], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert "No problems found" in verified.stdout
    listed = subprocess.run(["sgdisk", "--print", disk], stdout=subprocess.PIPE, text=True).stdout.split("Number")[1]
    assert [line.split()[-2:] for line in listed.splitlines()[1:]] == [["EF00", "TREFOIL"], ["EF02", "GRUB"]]
    free = subprocess.run(["minfo", "-i", f"{disk}@@1M"], stdout=subprocess.PIPE, text=True).stdout
    assert 'disk type="FAT32' in free
    with open(disk, "rb") as f:
        table = f.read(512)[0x1BE:0x1FE]
    assert table[4] == 0xEE and table[0] == 0x00  # a protective partition that is not active, or UEFI takes it for no GPT


def test_two_builds_give_the_same_image(workdir, payload, tmp_path):
    conf = tmp_path / "trefoil.conf"
    conf.write_text(payload_conf("a", "hello.elf"))
    (tmp_path / "hello.elf").symlink_to(payload("hello"))
    images = [workdir / "one.img", workdir / "two.img"]
    for image, zone in zip(images, ("UTC", "Pacific/Auckland")):
        done = mkusb(image, conf, TZ=zone)
        assert done.returncode == 0, done.stdout
    same = images[0].read_bytes() == images[1].read_bytes()
    for image in images:
        image.unlink()
    assert same


@pytest.mark.parametrize("conf, message", [
    ("[vm a]\nkernel = absent\nmemory = 32M\n", "names 'absent', which is not in"),
    ("[vm a]\nkernel = /boot/vmlinuz\nmemory = 32M\n", "on the stick a name is one in"),
    ("[vm a]\nkernel = ../vmlinuz\nmemory = 32M\n", "on the stick a name is one in"),
    ("[vm a]\nkernel = a/b/c\nmemory = 32M\n", "on the stick a name is one in"),
    ("[vm a]\nkernel = KERNEL.ELF\nmemory = 32M\n", "a small letter"),
    ("[vm a]\nkernel = trefoil.elf\nmemory = 32M\n", "'trefoil.elf' is there twice"),
    ("[vm a]\nkernel = one\ninitrd = One\nmemory = 32M\n", "'One' is there twice"),
])
def test_errors(tmp_path, conf, message):
    (tmp_path / "trefoil.conf").write_text(conf)
    for name in ("one", "One", "trefoil.elf"):
        (tmp_path / name).write_bytes(b"x")
    done = mkusb(tmp_path / "stick.img", tmp_path / "trefoil.conf")
    assert done.returncode == 1
    assert done.stdout.startswith("usb: ") and message in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["One", "one", "trefoil.conf", "trefoil.elf"]


def test_errors_of_files(tmp_path):
    done = mkusb(tmp_path / "stick.img", tmp_path / "trefoil.conf")
    assert (done.returncode, done.stdout) == (1, f"usb: no file '{tmp_path / 'trefoil.conf'}'\n")
    (tmp_path / "trefoil.conf").write_text("[vm a]\nkernel = vmlinuz\nmemory = 32M\n")
    (tmp_path / "vmlinuz").mkdir()
    assert "names 'vmlinuz', which is not in" in mkusb(tmp_path / "stick.img", tmp_path / "trefoil.conf").stdout
