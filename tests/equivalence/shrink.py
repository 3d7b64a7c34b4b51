#!/usr/bin/python3
"""Random instruction sequences of which bare machine and guest differ: which ones, and the smallest part that still does.

    shrink.py BUILD MODE [--seed N] [--from N] [--count N]     finds the first that differs, shrinks it, shows both traces
    shrink.py BUILD MODE --seed N --only N                     this one
"""
from __future__ import annotations

import argparse
import difflib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TOP / "tools"), str(TOP / "tests" / "system")]

from emulator import DEFAULT_CPU, Bochs, EmulatorError  # noqa: E402
from guest import guest_lines, payload_conf  # noqa: E402

BITS = {"64": "x86-64", "32": "i386", "16": "i8086"}
ALL = 0xffff
END = r"payload: done|(random|trap): [^\n]*vector=[^\n]*|event=(refused|stopped) [^\n]*|panic: [^\n]*"


class Pair:
    """The payload on the bare machine and as a guest."""

    def __init__(self, build: Path, mode: str, seed: int, cpu: str, workdir: Path, timeout: float):
        self.build, self.mode, self.seed, self.cpu, self.workdir, self.timeout = build, mode, seed, cpu, workdir, timeout
        name = "random" if mode.startswith(("64", "compat")) else "random_real" if mode.endswith("real") else "random32"
        self.kernel = build / "payload" / f"{name}.elf"

    def _run(self, guest: bool, arguments: str) -> list[str]:
        iso = self.workdir / "run.iso"
        if guest:
            shutil.copy(self.kernel, self.workdir / "kernel.elf")
            conf = self.workdir / "trefoil.conf"
            conf.write_text(payload_conf("a", "kernel.elf", arguments, memory="64M"))
            words = ["-m", iso, "trefoil", self.build / "boot" / "trefoil.elf", conf, ""]
        else:
            words = [iso, "multiboot", self.kernel, arguments]
        subprocess.run([TOP / "tools" / "mkiso.sh", *words], cwd=TOP, check=True, stdout=subprocess.DEVNULL)
        with Bochs(self.workdir, iso, cpu=self.cpu, memory=256 if guest else 64) as machine:
            try:
                machine.expect(END, self.timeout)
            except EmulatorError as e:
                return [*guest_lines(machine.log), f"the end: {str(e).splitlines()[0]}"]
            lines = guest_lines(machine.log)
        ends = re.findall(r"event=(?:refused|stopped) [^\n]*|panic: [^\n]*", machine.log)
        return (lines[lines.index("payload: start"):] if "payload: start" in lines else lines) + ends

    def lines(self, number: int, count: int, keep: int = ALL, trace: bool = False) -> list[list[str]]:
        arguments = f"mode={self.mode} seed={self.seed} from={number} count={count} batch=1 keep={keep}" + " trace" * trace
        return [self._run(guest, arguments) for guest in (False, True)]

    def differences(self, number: int, count: int) -> list[int]:
        """The sequences that differ; a run that ends early ends with one."""
        bare, guest = ({int(m[1]): line for line in lines if (m := re.match(r"\S+ (\d+): ", line))}
                       for lines in self.lines(number, count))
        both = bare.keys() & guest.keys()
        found = sorted(n for n in both if bare[n] != guest[n])
        if len(both) < count:
            found.append(max(both, default=number - 1) + 1)
        return found

    def differs(self, number: int, keep: int) -> bool:
        bare, guest = self.lines(number, 1, keep)
        return bare != guest

    def shrink(self, number: int) -> int:
        """Takes away one instruction after the other, as long as the rest still differs."""
        keep = ALL
        size = 8
        while size:
            for first in range(0, 16, size):
                without = keep & ~(((1 << size) - 1) << first)
                if without != keep and self.differs(number, without):
                    keep = without
            size //= 2
        return keep

    def show(self, number: int, keep: int) -> str:
        bare, guest = self.lines(number, 1, keep, trace=True)
        text = []
        for line in bare:
            if found := re.match(r"#  code (\d+): (.*)", line):
                code = self.workdir / "code.bin"
                code.write_bytes(bytes.fromhex(found[2]))
                machine = BITS["64" if self.mode.startswith("64") else "16" if re.search("16|real|v86", self.mode) else "32"]
                listing = subprocess.run(["objdump", "-D", "-b", "binary", "-m", "i386", "-M", f"intel,{machine}", code],
                                         stdout=subprocess.PIPE, text=True).stdout
                text += [f"item {found[1]}", *re.findall(r"^ .*", listing, re.M)]
        return "\n".join([*text, *difflib.unified_diff(bare, guest, "bare machine", "guest", n=30, lineterm="")])


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("build", type=Path)
    arguments.add_argument("mode")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--from", type=int, default=0, dest="first")
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--only", type=int)
    arguments.add_argument("--list", action="store_true", help="do not shrink, say which differ")
    arguments.add_argument("--cpu", default=DEFAULT_CPU)
    arguments.add_argument("--timeout", type=float, default=60)
    a = arguments.parse_args()
    with tempfile.TemporaryDirectory() as work:
        pair = Pair(a.build.resolve(), a.mode, a.seed, a.cpu, Path(work), a.timeout)
        numbers = [a.only] if a.only is not None else pair.differences(a.first, a.count)
        if a.only is None:
            print(f"{a.mode}: {len(numbers)} of {a.count} differ: {numbers}")
        if not numbers or a.list:
            return bool(numbers)
        number = numbers[0]
        keep = pair.shrink(number)
        print(f"mode={a.mode} seed={a.seed} from={number} count=1 keep={keep}")
        print(pair.show(number, keep))
    return 1


if __name__ == "__main__":
    sys.exit(main())
