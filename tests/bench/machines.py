"""What the benchmark runs on: Bochs, where a tick of the TSC is an instruction, or QEMU with the VT-x of this machine."""
from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from emulator import PLAIN_CPU, Bochs, Emulator, Qemu, bochs_cpus, find_bochs, vtx_usable  # noqa: E402

MEMORY = 256  # MiB
CPUS = ["corei7_skylake_x", PLAIN_CPU]  # with APIC virtualisation and without
PROTECTED_CPU = "tigerlake"  # has the microcode for what keeps guests apart, and so the price of it


@dataclass(frozen=True)
class Machine:
    name: str
    kind: str  # bochs, kvm, or bare
    cpu: str
    unit: str  # of the TSC's ticks: instructions or cycles

    def describe(self) -> dict[str, str]:
        return asdict(self)

    def start(self, workdir: Path, iso: Path, cpus: int = 1) -> Emulator:
        if self.kind == "kvm":
            return Qemu(workdir, iso, kvm=True, cpus=cpus, memory=MEMORY)
        return Bochs(workdir, iso, cpu=self.cpu, cpus=cpus, memory=MEMORY)


def measured_cpus() -> list[str]:
    return [cpu for cpu in (*CPUS, PROTECTED_CPU) if cpu in bochs_cpus()]


def bochs(cpu: str) -> Machine:
    return Machine("Bochs {}.{}".format(*find_bochs().version), "bochs", cpu, "instructions")


def read_first(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def kvm() -> Machine:
    if not vtx_usable():
        sys.exit("bench: KVM gives guests no VT-x here (kvm_intel with nested=Y, /dev/kvm)")
    model = re.search(r"^model name\s*:\s*(.*)$", read_first("/proc/cpuinfo"), re.M)
    name = " ".join(read_first(f"/sys/class/dmi/id/{field}") for field in ("sys_vendor", "product_name"))
    return Machine(name, "kvm", model[1] if model else "unknown", "cycles")


def of_log(log: str) -> Machine:
    """The machine that wrote it, by the hypervisor's own words."""
    found = re.search(r'event=machine vendor="(.*?)" product="(.*?)" .*?bios="(.*?)" .*?cpu="(.*?)"', log)
    if not found:
        sys.exit("bench: this log has no line event=machine")
    vendor, product, firmware, cpu = (field.strip() for field in found.groups())
    if firmware.startswith("Bochs"):
        return Machine(firmware, "bochs", cpu, "instructions")
    return Machine(f"{vendor} {product}".strip(), "bare", cpu, "cycles")
