"""QEMU with KVM, by the command line in README.md. KVM's VMX is an implementation of its own, which checks what it is given
strictly: a second opinion. Where this machine has no VT-x, KVM runs in a Linux in Bochs (tests/nested)."""
import difflib
import re
import struct
import sys

import pytest
from conftest import BUILD, TOP, Images, payload
from emulator import OVMF, find_bochs, vtx_usable
from guest import CLOUD_BOOT, Shell, linux_conf, payload_conf, payload_lines
from test_refusals import refused

sys.path.insert(0, str(TOP / "tests/nested"))
from machine import find_host  # noqa: E402

COMMAND = re.search(r"^qemu-system-x86_64 -enable-kvm .*$", (TOP / "README.md").read_text(), re.M)[0]
PFLASH = " ".join(f"-drive if=pflash,format=raw,snapshot=on,file=/usr/share/OVMF/OVMF_{part}_4M.fd" for part in ("CODE", "VARS"))
SMALL = "-m 256 -display none"
# On the fast Bochs, next to another test
BIOS_SECONDS, UEFI_SECONDS = 120, 400  # to the first line
PAYLOAD_SECONDS = 240
ARGUMENTS = "one two"
WHERE = BUILD / "test-logs" / "test_nested"

NAMES = ["hello", "cpu", "tasks", "board", "mmio", "string", "memory", "modes"]
SMP_NAMES = ["smp_tlb", "smp_ipi"]
# What KVM makes different: it makes addresses in these MSRs canonical where a CPU faults, and takes from CPUID what the
# outer Linux does not want.
KVM_LINES = ("msr 175 noncanonical:", "msr 176 noncanonical:", "cpuid ")

# Each row costs the packaged Bochs minutes.
often = [pytest.mark.slow] if not vtx_usable() and find_bochs().debugger else []
reloads_kvm = [pytest.mark.skipif(vtx_usable(), reason="loads kvm-intel with other parameters")]
pytestmark = pytest.mark.xdist_group("nested")  # all in one process, which starts the outer Linux once


def rows(first: int, *values: object) -> list:
    """The first rows belong to `make test`, the others to `make test-all`."""
    return [pytest.param(value, marks=often if i < first else [pytest.mark.slow]) for i, value in enumerate(values)]


def command(iso: str, options: str = SMALL) -> str:
    """README.md's command with another image and more options."""
    return f"{COMMAND.replace('build/trefoil.iso', iso)} {options}"


def from_disk(iso: str, drive: str = "-drive if=virtio", options: str = SMALL) -> str:
    """The same with the image on a disk, from where loading it takes less time."""
    return command(f"{iso},format=raw,snapshot=on", options).replace("-cdrom ", f"{drive},file=")


@pytest.fixture(scope="module")
def host(kernel, initrd):
    """A machine with KVM, and on it every image of these tests."""
    WHERE.mkdir(parents=True, exist_ok=True)
    images = Images(WHERE)
    files = {"build/trefoil.iso": BUILD / "trefoil.iso"}
    for name in NAMES:
        conf = payload_conf("a", "kernel.elf", ARGUMENTS, memory="64M")
        files[f"{name}.iso"] = images.trefoil(conf, {"kernel.elf": payload(name)}, name=name)
    for name in SMP_NAMES:
        conf = payload_conf("a", "kernel.elf", "rounds=4", memory="64M", extra="vcpus = 2\n")
        files[f"{name}.iso"] = images.trefoil(conf, {"kernel.elf": payload(name)}, name=name)
    files["debian.iso"] = images.trefoil(linux_conf("alpha"), {"vmlinuz": kernel, "alpha.img": initrd("alpha")}, name="debian")
    files["spcr.bin"] = WHERE / "spcr.bin"
    files["spcr.bin"].write_bytes(spcr(0x220, 5))
    with find_host(WHERE, files) as host:
        yield host
    for iso in WHERE.glob("*.iso"):
        iso.unlink()


def spcr(port: int, irq: int) -> bytes:
    """The ACPI table of a firmware whose console is a 16550 at this port; QEMU makes its checksum right."""
    port_address = struct.pack("<BBBBQ", 1, 8, 0, 1, port)
    head = b"SPCR" + struct.pack("<IBB6s8sI4sI", 80, 2, 0, b"TEST", b"SPCR", 1, b"TEST", 1)
    return head + bytes(4) + port_address + struct.pack("<BBIB5sHH12x", 1, irq, 0, 7, b"", 0xFFFF, 0xFFFF)


def runs_hello(machine, seconds: float = BIOS_SECONDS) -> None:
    machine.expect(r"event=boot ", seconds)
    assert "hello" in "\n".join(payload_lines(machine))


@pytest.mark.parametrize("firmware", rows(1, "SeaBIOS"))
def test_readme_command(host, firmware):
    """The image of `make`, whose two guests repeat what is typed."""
    machine = host.start(COMMAND, monitor=False)
    machine.expect(r"vmx: event=enabled ", BIOS_SECONDS)
    machine.expect(r"event=ready vms=2 ", 20)
    machine.expect(r"echo: ready", 20)
    machine.send("trefoil")
    machine.expect(r"trefoil", 20)


@pytest.mark.parametrize("name", rows(3, *NAMES))
def test_payload(host, images, boot, name):
    """A guest of a Trefoil on KVM prints what the bare machine prints."""
    bare = boot(images.native("multiboot", payload(name), ARGUMENTS), memory=64)
    expected = payload_lines(bare)
    bare.stop()
    machine = host.start(command(f"{name}.iso"))
    machine.expect(r"event=boot ", BIOS_SECONDS)
    lists = [[line for line in lines if not line.startswith(KVM_LINES)] for lines in (expected, payload_lines(machine, PAYLOAD_SECONDS))]
    difference = difflib.unified_diff(*lists, "bare machine", "guest", n=1, lineterm="")
    # The bare machine is an emulated Haswell, another CPU than a real one.
    assert host.real or not (text := "\n".join(difference)), text


@pytest.mark.parametrize("options", rows(0, "-machine q35", "-smp 2", "-m 6G", "-cpu host,+vmx,-x2apic"))
def test_machine(host, options):
    runs_hello(host.start(command("hello.iso", f"{SMALL} {options}")))


@pytest.mark.parametrize("name", rows(1, *SMP_NAMES))
def test_two_cpus(host, name):
    """Of the machine and of its guest: KVM's own interrupts between them, INIT, start-up IPIs, and the flushing of its EPT."""
    machine = host.start(command(f"{name}.iso", f"{SMALL} -smp 2"))
    machine.expect(r"event=cpu-online cpu=1 apic-id=1 ", BIOS_SECONDS)
    assert any("2 of 2 CPUs" in line for line in payload_lines(machine, PAYLOAD_SECONDS))


@pytest.mark.parametrize("found, options", [pytest.param(*row, marks=pytest.mark.slow) for row in (
    ("pci", "-device pci-serial,chardev=line"),
    ("spcr", "-device isa-serial,iobase=0x220,irq=5,chardev=line -acpitable file=spcr.bin"))])
def test_serial_line(host, found, options):
    """A machine without the PC's ports: polled on a PCI card, and where the firmware says. Both ways."""
    line = f"-chardev stdio,id=line -serial none {options}"
    machine = host.start(command("hello.iso").replace("-serial stdio", line))
    machine.expect(rf"event=serial port=0x[0-9a-f]+ found={found}", BIOS_SECONDS)
    assert "hello" in "\n".join(payload_lines(machine))
    machine.send("\x1d?")
    machine.expect(r"focus that guest", 20)


@pytest.mark.parametrize("drive", rows(0, "-drive if=virtio", "-usb -device usb-storage,drive=stick -drive if=none,id=stick"),
                         ids=["disk", "usb"])
def test_disk(host, drive):
    """The ISO, written to a disk or a stick as it is."""
    runs_hello(host.start(from_disk("hello.iso", drive)))


@pytest.mark.parametrize("firmware", rows(0, f"-bios {OVMF}", PFLASH), ids=["bios", "pflash"])
def test_uefi(host, firmware):
    runs_hello(host.start(command("hello.iso", f"{SMALL} {firmware}")), UEFI_SECONDS)


@pytest.mark.parametrize("kvm", [pytest.param(value, marks=[pytest.mark.slow, *reloads_kvm]) for value in (
    "vpid=0", "preemption_timer=0", "enable_apicv=0", "enable_shadow_vmcs=0", "eptad=0", "flexpriority=0", "nested_early_check=1")])
def test_kvm_without(host, kvm):
    """KVM without one of its options, which takes the option from its guest or emulates it in another way."""
    runs_hello(host.start(command("hello.iso"), kvm=kvm))


@pytest.mark.parametrize("kvm, reason", [pytest.param(*row, marks=[pytest.mark.slow, *reloads_kvm]) for row in (
    ("nested=0", "VT-x"), ("ept=0", "EPT"), ("unrestricted_guest=0", "unrestricted guest"))])
def test_refusal(host, kvm, reason):
    machine = host.start(command("hello.iso"), kvm=kvm)
    machine.expect(r"event=boot |(?=refused: )", BIOS_SECONDS)
    refused(machine, reason)


@pytest.mark.parametrize("kernel_name", rows(0, "cloud kernel"))
def test_debian(host, kernel, kernel_name):
    """Typed at, too."""
    machine = host.start(from_disk("debian.iso", options="-m 512 -display none"))
    machine.expect(r"event=boot ", BIOS_SECONDS)
    alpha = Shell(machine, "alpha")
    alpha.wait(4 * CLOUD_BOOT)
    assert alpha.run("uname -r", 60) == kernel.name.removeprefix("vmlinuz-")
