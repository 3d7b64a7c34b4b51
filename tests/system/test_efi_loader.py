"""BOOTX64.EFI: what it is, what it starts, and what it says when it cannot."""
import os
import re
import shutil
import subprocess

import pefile
import pytest
from conftest import BUILD, TOP, TREFOIL, run_tool
from emulator import OVMF
from guest import payload_conf, payload_lines

LOADER = BUILD / "BOOTX64.EFI"
EFI_APPLICATION = 10
UEFI_START = 60  # seconds, fast emulator
CLUSTER = 512
# A firmware that starts what is signed with this key only
SECURE = "/usr/share/OVMF/OVMF_{}_4M.snakeoil.fd"
KEY = "/usr/share/ovmf/PkKek-1-snakeoil"
IN_FAT = b"TREFOIL ELF"  # how a FAT directory writes the name


def edit(image, *command):
    """Runs one of mtools' programs on the stick's file system."""
    env = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run([command[0], "-i", f"{image}@@1M", *map(str, command[1:])], check=True, env=env, stdin=subprocess.DEVNULL)


@pytest.fixture
def stick(workdir, payload):
    """stick(conf): an image with the hypervisor, this configuration and the payload hello."""
    out = workdir / "stick.img"

    def make(conf=payload_conf("a", "hello.elf"), elf=TREFOIL, loader=LOADER):
        (workdir / "trefoil.conf").write_text(conf)
        shutil.copy(payload("hello"), workdir / "hello.elf")
        run_tool("tools/mkusb.sh", "-m", "-f", "0", out, elf, loader, workdir / "trefoil.conf")
        return out

    yield make
    out.unlink(missing_ok=True)


def start(boot, disk):
    return boot(None, emulator="qemu", bios=OVMF, disk=disk, memory=256, cpu="Nehalem")


def returns_to_the_firmware(machine, message):
    machine.expect("trefoil: EFI loader", UEFI_START)
    machine.expect(r"trefoil: error: " + message, 20)
    machine.expect(r"trefoil: not started \(.*Press a key", 10)
    machine.send("\r")
    machine.expect(r"BdsDxe: failed to start Boot\d+", 10)  # what the firmware says when an application gave back an error


def test_image_rules():
    """No section is writable and executable, each has its own pages, and the header keeps what Secure Boot measures."""
    pe = pefile.PE(str(LOADER))
    assert pe.OPTIONAL_HEADER.Magic == pefile.OPTIONAL_HEADER_MAGIC_PE_PLUS
    assert pe.FILE_HEADER.Machine == pefile.MACHINE_TYPE["IMAGE_FILE_MACHINE_AMD64"]
    assert pe.OPTIONAL_HEADER.Subsystem == EFI_APPLICATION
    assert pe.OPTIONAL_HEADER.SectionAlignment == 4096
    assert pe.OPTIONAL_HEADER.IMAGE_DLLCHARACTERISTICS_NX_COMPAT
    assert not pe.FILE_HEADER.IMAGE_FILE_RELOCS_STRIPPED
    assert pe.OPTIONAL_HEADER.DATA_DIRECTORY[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_BASERELOC"]].Size
    assert pe.FILE_HEADER.TimeDateStamp == 0
    assert pe.verify_checksum()
    end = pe.OPTIONAL_HEADER.SizeOfHeaders
    executable = []
    for section in pe.sections:
        assert section.VirtualAddress % 4096 == 0 and section.VirtualAddress >= end
        assert not (section.IMAGE_SCN_MEM_WRITE and section.IMAGE_SCN_MEM_EXECUTE), section.Name
        assert not section.IMAGE_SCN_MEM_DISCARDABLE or section.Name.startswith(b".reloc")
        executable += [section] if section.IMAGE_SCN_MEM_EXECUTE else []
        end = section.VirtualAddress + section.Misc_VirtualSize
    entry = pe.OPTIONAL_HEADER.AddressOfEntryPoint
    assert [s.VirtualAddress <= entry < s.VirtualAddress + s.Misc_VirtualSize for s in executable] == [True]


@pytest.mark.parametrize("signed", [True, False])
def test_secure_boot(stick, boot, workdir, signed):
    """The loader can be signed with a key of one's own; without a signature it does not start."""
    loader = LOADER
    if signed:
        loader = workdir / "signed.efi"
        loader.unlink(missing_ok=True)
        run_tool("osslsigncode", "sign", "-certs", f"{KEY}.pem", "-key", f"{KEY}.key", "-pass", "snakeoil", "-h", "sha256",
                 "-in", LOADER, "-out", loader)
    flash = [f"if=pflash,format=raw,snapshot=on,file={SECURE.format(part)}" for part in ("CODE", "VARS")]
    machine = boot(None, emulator="qemu", disk=stick(loader=loader), memory=256, cpu="Nehalem", machine="q35,smm=on",
                   extra=("-global", "driver=cfi.pflash01,property=secure,value=on", "-drive", flash[0], "-drive", flash[1]))
    if signed:
        machine.expect("event=boot loader=Trefoil EFI loader", UEFI_START)
    else:
        machine.expect(r"BdsDxe: failed to load Boot\d+ [^\r\n]*: Access Denied", UEFI_START, never="trefoil: EFI loader")


def test_refusal_of_the_hypervisor(stick, boot):
    """The hypervisor starts, and says in its own words why it cannot go on."""
    machine = start(boot, stick())
    machine.expect(r"trefoil: loaded trefoil\.elf at 0x[0-9a-f]+", UEFI_START)
    machine.expect(r"trefoil: loaded trefoil\.conf, \d+ bytes", 10)
    machine.expect(r"trefoil: loaded hello\.elf, \d+ bytes", 10)
    machine.expect(r"event=boot loader=Trefoil EFI loader", 10)
    machine.expect(r"event=refused missing=VT-x", 10)


@pytest.mark.parametrize("name", ["trefoil.conf", "trefoil.elf"])
def test_missing_file(stick, boot, name):
    disk = stick()
    edit(disk, "mdel", f"::/trefoil/{name}")
    returns_to_the_firmware(start(boot, disk), rf"cannot open \\trefoil\\{re.escape(name)}: not found")


def test_directory_instead_of_a_file(stick, boot):
    disk = stick()
    edit(disk, "mdel", "::/trefoil/trefoil.conf")
    edit(disk, "mmd", "::/trefoil/trefoil.conf")
    returns_to_the_firmware(start(boot, disk), r"cannot read \\trefoil\\trefoil\.conf: ")


@pytest.mark.parametrize("size, message", [(40, "shorter than an ELF header"), (20000, "cut off")])
def test_truncated_elf(stick, boot, workdir, size, message):
    short = workdir / "short.elf"
    short.write_bytes(TREFOIL.read_bytes()[:size])
    returns_to_the_firmware(start(boot, stick(elf=short)), rf"\\trefoil\\trefoil\.elf: [^\r\n]*{message}")


MULTIBOOT2 = b"\xd6\x50\x52\xe8"  # the header's magic


@pytest.mark.parametrize("where, offset, content, message", [
    (b"\x7fELF", 0, b"MZ", "no ELF file"),
    (b"\x7fELF", 18, b"\x03", "no ELF file for x86-64"),
    (MULTIBOOT2, 12, b"\x00\x00", "multiboot2 header's checksum"),
], ids=["magic", "machine", "multiboot2"])
def test_wrong_elf(stick, boot, workdir, where, offset, content, message):
    data = bytearray(TREFOIL.read_bytes())
    offset += data.index(where)
    data[offset:offset + len(content)] = content
    bad = workdir / "bad.elf"
    bad.write_bytes(data)
    returns_to_the_firmware(start(boot, stick(elf=bad)), rf"\\trefoil\\trefoil\.elf: [^\r\n]*{message}")


def test_damaged_file_system(stick, boot):
    """The directory promises more bytes than the file has clusters."""
    disk = stick()
    data = disk.read_bytes()
    entry = data.index(IN_FAT)
    assert data.count(IN_FAT) == 1
    with open(disk, "r+b") as f:
        f.seek(entry + 28)  # the file's size
        f.write((TREFOIL.stat().st_size + 64 * CLUSTER).to_bytes(4, "little"))
    returns_to_the_firmware(start(boot, disk), r"\\trefoil\\trefoil\.elf: (short read|cannot read)")


def test_missing_module_is_left_out(stick, boot):
    machine = start(boot, stick(payload_conf("lost", "lost.elf") + payload_conf("a", "hello.elf")))
    machine.expect(r"trefoil: warning: trefoil\.conf names 'lost\.elf', which is not in \\trefoil; it is left out", UEFI_START)
    machine.expect(r"trefoil: loaded hello\.elf", 10)
    machine.expect("event=boot", 10)


def test_configuration_with_errors(stick, boot):
    """The VM that is wrong is named; the others' files are loaded."""
    machine = start(boot, stick("[vm bad]\nkernel = bad.elf\nmemory = much\n" + payload_conf("a", "hello.elf")))
    machine.expect(r"warning: trefoil\.conf line 3: vm bad key memory, expected 4M to", UEFI_START)
    machine.expect(r"loaded hello\.elf", 20)
    machine.expect("event=boot", 20)
    assert "bad.elf" not in machine.log


def test_edited_on_another_machine(stick, boot, workdir, payload):
    """A person opens the stick, adds a kernel and edits the configuration; in a directory, with CR LF."""
    disk = stick()
    (workdir / "trefoil.conf").write_bytes(b"\xef\xbb\xbf[vm a]\r\nkernel = mine/Kernel-1.elf\r\nmemory = 32M\r\n")
    edit(disk, "mmd", "::/trefoil/mine")
    edit(disk, "mcopy", payload("hello"), "::/trefoil/mine/Kernel-1.elf")
    edit(disk, "mcopy", "-o", workdir / "trefoil.conf", "::/trefoil/trefoil.conf")
    machine = start(boot, disk)
    machine.expect(r"trefoil: loaded mine/Kernel-1\.elf, \d+ bytes", UEFI_START)
    machine.expect("event=boot", 20)


def behind_future(disk):
    """FUTURE.EFI starts the loader."""
    edit(disk, "mcopy", LOADER, "::/EFI/BOOT/LOADER.EFI")
    edit(disk, "mcopy", "-o", BUILD / "tests" / "FUTURE.EFI", "::/EFI/BOOT/BOOTX64.EFI")
    return disk


def test_the_memory_map_changes_at_the_last_moment(stick, boot):
    """The first key for ExitBootServices() is an old one."""
    machine = start(boot, behind_future(stick()))
    machine.expect("trefoil: starting the hypervisor", UEFI_START)
    machine.expect("future: the memory map has changed", 10)
    machine.expect("event=boot loader=Trefoil EFI loader", 20)


def test_memory_is_given_back(stick, boot):
    """A file that is a directory ends it when hypervisor, configuration and another file have been loaded."""
    disk = behind_future(stick(payload_conf("a", "hello.elf") + payload_conf("b", "folder")))
    edit(disk, "mmd", "::/trefoil/folder")
    machine = start(boot, disk)
    machine.expect(r"trefoil: loaded hello\.elf", UEFI_START)
    machine.expect(r"error: cannot read \\trefoil\\folder: ", 10)
    machine.expect("Press a key", 10)
    machine.send("\r")
    machine.expect("future: all memory is back", 40, never="future: memory is left")


@pytest.mark.parametrize("cpu, exclude, features", [("corei7_haswell_4770", "", ["pcide"]),
                                                    ("sapphire_rapids", "cet", ["la57", "pcide", "pke"])])
def test_what_newer_firmware_leaves_on(stick, boot, cpu, exclude, features):
    """5-level paging, PCIDs and protection keys are on when boot services end. Not CET: OVMF and Bochs disagree on it."""
    machine = boot(None, disk=behind_future(stick()), bios=OVMF, memory=256, cpu=cpu, exclude=exclude)
    for feature in features:
        machine.expect(f"future: {feature}", UEFI_START)
    machine.expect("event=boot loader=Trefoil EFI loader", 20)
    assert payload_lines(machine)[-1] == "payload: done"


def test_two_builds_give_the_same_loader(tmp_path):
    """Wherever the sources are."""
    for name in ("one", "two"):
        tree = tmp_path / name
        tree.mkdir()
        for part in ("Makefile", "boot", "core", "guest", "include", "lib", "tools", "linker.ld"):
            (shutil.copytree if (TOP / part).is_dir() else shutil.copy)(TOP / part, tree / part)
        made = subprocess.run(["make", f"BUILD=out-{name}", "efi"], cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert made.returncode == 0, made.stdout
    assert (tmp_path / "one/out-one/BOOTX64.EFI").read_bytes() == (tmp_path / "two/out-two/BOOTX64.EFI").read_bytes()
