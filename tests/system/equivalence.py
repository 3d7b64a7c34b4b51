"""The same test kernel on the bare machine and as a guest: what it prints must be the same, but for the differences that
intended_differences.ini names."""
from __future__ import annotations

import configparser
import difflib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from guest import payload_conf, payload_lines

LIST = Path(__file__).with_name("intended_differences.ini")


@dataclass
class Difference:
    what: str
    payloads: list[str]
    cpus: list[str]
    line: re.Pattern

    def applies(self, payload: str, cpu: str) -> bool:
        return any(fnmatchcase(payload, p) for p in self.payloads) and any(fnmatchcase(cpu, c) for c in self.cpus)


def intended_differences(path: Path = LIST) -> list[Difference]:
    ini = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    ini.read_string(path.read_text())
    for what in ini.sections():
        assert set(ini[what]) <= {"payloads", "cpus", "line", "reason"} and ini[what]["reason"], f"{path.name}: [{what}]"
    return [Difference(what, ini[what]["payloads"].split(), ini[what].get("cpus", "*").split(), re.compile(ini[what]["line"]))
            for what in ini.sections()]


def differ(payload: str, cpu: str, bare: list[str], guest: list[str], intended: list[Difference]) -> str:
    """What is wrong with the guest's lines, as text: differences that nobody intended, and intended ones that are not there."""
    wrong = []
    for entry in intended:
        if entry.applies(payload, cpu):
            meant = [[line for line in lines if entry.line.fullmatch(line)] for lines in (bare, guest)]
            if meant[0] == meant[1]:
                wrong.append(f"{LIST.name}: [{entry.what}] is stale: {payload} prints the same on {cpu}")
            bare, guest = ([line for line in lines if not entry.line.fullmatch(line)] for lines in (bare, guest))
    wrong += difflib.unified_diff(bare, guest, "bare machine", "guest", n=1, lineterm="")
    return "\n".join(wrong)


def run_both(images, boot, file: Path, cpu: str, arguments: str = "", extra: str = "", timeout: float = 60, cpus: int = 1,
             host_cpus: int = 1) -> tuple[list[str], list[str]]:
    """The lines of a test kernel on the bare machine and as a guest; extra: more lines of the guest's configuration; cpus:
    of the bare machine and of the guest; host_cpus: of the machine that the guest is on."""
    machine = boot(images.native("multiboot", file, arguments), cpu=cpu, memory=64, cpus=cpus)
    bare = payload_lines(machine, timeout)
    machine.stop()
    if cpus > 1:
        extra += f"vcpus = {cpus}\n"
    conf = payload_conf("a", "kernel.elf", arguments, memory="64M", extra=extra)
    machine = boot(images.trefoil(conf, {"kernel.elf": file}), cpu=cpu, memory=256, cpus=host_cpus)
    guest = payload_lines(machine, timeout)
    machine.stop()
    return bare, guest


def assert_same(images, boot, file: Path, cpu: str, arguments: str = "", extra: str = "", timeout: float = 60, cpus: int = 1,
                host_cpus: int = 1) -> None:
    lists = run_both(images, boot, file, cpu, arguments, extra, timeout, cpus, host_cpus)
    assert not (text := differ(file.stem, cpu, *lists, intended_differences())), text
