"""Reads the tables of docs/cpu-contract.md, and says what a guest must print by them, given what the bare machine prints. The
page explains its words; here they are calculated. The lines are those of the payloads `contract` and `contract32`."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "cpu-contract.md"
REGISTERS = ["eax", "ebx", "ecx", "edx"]
ALL64 = (1 << 64) - 1
XSAVE_LEGACY = 576
TABLES = {"leaf": "cpuid", "MSR": "msr", "register": "register"}  # by the title of the first column


def bits(text: str) -> int:
    """"0-1 9": a mask."""
    mask = 0
    for word in text.split():
        first, _, last = word.partition("-")
        mask |= (2 << int(last or first)) - (1 << int(first))
    return mask


def numbers(text: str) -> list[tuple[int, int]]:
    """"17 200-20f": ranges, hexadecimal."""
    pairs = [word.partition("-") for word in text.split()]
    return [(int(first, 16), int(last or first, 16)) for first, _, last in pairs]


@dataclass
class Row:
    table: str
    cells: list[str]
    shown: bool = False

    def __str__(self) -> str:
        return " | ".join(self.cells[:3])


@dataclass
class Seen:
    """What a payload printed."""
    cpuid: dict[tuple[int, int, str], list[int]] = field(default_factory=dict)  # leaf, subleaf, state -> registers
    msrs: dict[tuple[int, str], tuple[int, int, int] | None] = field(default_factory=dict)  # -> value, keeps, faults
    registers: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    def bit(self, leaf: int, subleaf: int, register: str, mask: int) -> bool:
        return bool(self.cpuid[leaf, subleaf, ""][REGISTERS.index(register)] & mask)


def read(lines: list[str]) -> Seen:
    seen = Seen()
    for line in lines:
        if m := re.fullmatch(r"cpuid (\w+)\.(\w+)(?: (\S+))?: (.*)", line):
            seen.cpuid[int(m[1], 16), int(m[2], 16), m[3] or ""] = [int(word, 16) for word in m[4].split()]
        elif m := re.fullmatch(r"msr( x2apic)? (\w+): (\w+) keeps (\w+) faults (\w+)", line):
            seen.msrs[int(m[2], 16), (m[1] or "").strip()] = int(m[3], 16), int(m[4], 16), int(m[5], 16)
        elif m := re.fullmatch(r"msr( x2apic)? (\w+): write only", line):
            seen.msrs[int(m[2], 16), (m[1] or "").strip()] = None
        elif m := re.fullmatch(r"(\w+)( [\w ]+)?: (?:(\w+) )?keeps (\w+) faults (\w+)", line):
            seen.registers.setdefault(m[1], []).append(tuple(int(word or "0", 16) for word in m.groups()[2:]))
    return seen


class Contract:
    def __init__(self, text: str | None = None):
        """The page; or another text, to see that a mistake in it is found."""
        self.rows: list[Row] = []
        table = None
        for line in (text or PAGE.read_text()).splitlines():
            if not line.startswith("|"):
                table = None
                continue
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if table is None:
                table = TABLES.get(cells[0], "")
            elif table and not set(cells[0]) <= {"-", " "}:
                self.rows.append(Row(table, cells))

    def wrong(self, bare: Seen, guest: Seen, hypervisor: bool, hz: int) -> str:
        """What the guest shows otherwise than the page says, as text."""
        return "\n".join(self._cpuid(bare, guest, hypervisor, hz) + self._msrs(bare, guest) + self._registers(bare, guest))

    def wrong_registers(self, bare: Seen, guest: Seen) -> str:
        return "\n".join(self._registers(bare, guest))

    def unseen(self) -> list[str]:
        """Rows that no prediction has used."""
        return [str(row) for row in self.rows if not row.shown]

    # --- CPUID

    def _leaf_rows(self, leaf: int, subleaf: int, hypervisor: bool) -> list[Row]:
        found = []
        for row in self.rows:
            where, _, condition = row.cells[0].partition(" if ")
            if row.table != "cpuid" or (condition == "hypervisor" and not hypervisor):
                continue
            for word in where.split():
                leaves, _, subleaves = word.partition(".")
                if any(a <= leaf <= b for a, b in numbers(leaves)) and (
                        not subleaves or any(a <= subleaf <= b for a, b in numbers(subleaves))):
                    found.append(row)
        return found

    def _cpuid(self, bare: Seen, guest: Seen, hypervisor: bool, hz: int) -> list[str]:
        wrong = []
        if bare.cpuid.keys() != guest.cpuid.keys():
            return [f"CPUID: not the same leaves and states: {bare.cpuid.keys() ^ guest.cpuid.keys()}"]
        last = guest.cpuid[0, 0, ""][0]
        ends = {0: bare.cpuid[0, 0, ""][0], 1: bare.cpuid[0x80000000, 0, ""][0]}
        known = [i for i in range(2, 64) if guest.cpuid[0xd, i, ""][0]]
        component = {i: guest.cpuid[0xd, i, ""] for i in known}

        for (leaf, subleaf, state), got in guest.cpuid.items():
            rows = [] if last < leaf < 0x40000000 else self._leaf_rows(leaf, subleaf, hypervisor)
            source = (leaf, subleaf, state)
            if not rows:  # beyond: as the last basic leaf
                rows, source = self._leaf_rows(last, subleaf, hypervisor), (last, subleaf, "")
            xcr0 = int(state[5:], 16) if state.startswith("xcr0=") else 1
            has_xsave = guest.bit(1, 0, "ecx", 1 << 26)
            # what the CPU answers beyond its last leaf is not the leaf's
            absent = source[0] > ends[source[0] >> 31] and source[0] >> 28 in (0, 8)

            def area(mask: int, compacted: bool = False) -> int:
                size = XSAVE_LEGACY
                for i in known:
                    if mask >> i & 1 and compacted:
                        size = (-(-size // 64) * 64 if component[i][2] & 2 else size) + component[i][0]
                    elif mask >> i & 1:
                        size = max(size, component[i][0] + component[i][1])
                return size if has_xsave else 0

            env = {"hypervisor": int(hypervisor), "hz": hz, "xcr0": xcr0, "subleaf": subleaf, "min": min, "max": max,
                   "area": area, "compact": lambda m: area(m, True) if guest.bit(0xd, 1, "eax", 2) else 0,
                   "all_xcr0": guest.cpuid[0xd, 0, ""][0]}
            for i, register in enumerate(REGISTERS):
                of = [row for row in rows if register in row.cells[1].split() or row.cells[1] == "all"]
                if len(of) != 1:
                    wrong.append(f"CPUID {leaf:x}.{subleaf:x} {register}: {len(of)} rows: {[str(r) for r in of]}")
                    continue
                of[0].shown = True
                native = 0 if absent else bare.cpuid.get(source, [0] * 4)[i]
                wanted = evaluate(of[0].cells[2], native, env)
                if got[i] != wanted:
                    wrong.append(f"CPUID {leaf:x}.{subleaf:x} {state} {register}: {got[i]:x}, the page says {wanted:x} ({of[0]})")
        return wrong

    # --- MSRs

    def _msrs(self, bare: Seen, guest: Seen) -> list[str]:
        wrong = []
        claimed = set()
        env = {"phys": guest.cpuid[0x80000008, 0, ""][0] & 0xff}
        for row in (row for row in self.rows if row.table == "msr"):
            where, _, state = row.cells[0].partition(" in ")
            condition = re.fullmatch(r"(\w+)\.(\w+)\.(\w+) ([\d -]+)|()", row.cells[2])
            present = not condition[1] or guest.bit(int(condition[1], 16), int(condition[2], 16), condition[3], bits(condition[4]))
            row.shown |= present
            for msr in (n for first, last in numbers(where) for n in range(first, last + 1)):
                name, got, native = f"MSR {msr:x} {state}", guest.msrs.get((msr, state)), bare.msrs.get((msr, state))
                claimed.add((msr, state))
                if not present or row.cells[4] == "not tried":
                    if (msr, state) in guest.msrs:
                        wrong.append(f"{name}: is there, and the page says that it is not ({row})")
                    continue
                if (msr, state) not in guest.msrs:
                    wrong.append(f"{name}: #GP ({row})")
                elif row.cells[3] == "#GP" or got is None:
                    if row.cells[3] != "#GP" or got is not None:
                        wrong.append(f"{name}: {got} ({row})")
                else:
                    wrong += self._msr(name, row, got, native, env)
        wrong += [f"MSR {msr:x} {state}: a guest has it, and the page has not" for msr, state in guest.msrs.keys() - claimed]
        return wrong

    def _msr(self, name: str, row: Row, got, native, env) -> list[str]:
        wrong = []
        reads, writes = row.cells[3], row.cells[4]
        if "native" in (reads, writes) and not native:
            return [f"{name}: the bare machine has none ({row})"]
        if reads != "any" and got[0] != (wanted := evaluate(reads, native[0] if native else 0, env)):
            wrong.append(f"{name}: {got[0]:x}, the page says {wanted:x} ({row})")
        if writes == "native":
            keeps, faults = native[1:]
        elif writes == "time":
            return wrong
        else:
            mask = {"keeps": 0, "ignores": 0}
            for clause in writes.split(";") if writes != "#GP" else []:
                verb, _, which = clause.strip().partition(" ")
                mask[verb] = bits(which)
            keeps, faults = mask["keeps"], ALL64 & ~(mask["keeps"] | mask["ignores"])
        if got[1:] != (keeps, faults):
            wrong.append(f"{name}: keeps {got[1]:x} faults {got[2]:x}, the page says {keeps:x} {faults:x} ({row})")
        return wrong

    # --- control and debug registers

    def _registers(self, bare: Seen, guest: Seen) -> list[str]:
        wrong = []
        rows = {name.lower(): row for row in self.rows if row.table == "register" for name in row.cells[0].split()}
        for name, lines in guest.registers.items():
            row = rows.get(name)
            if not row:
                wrong.append(f"{name}: not on the page")
                continue
            row.shown = True
            hidden = bits(row.cells[1]) if row.cells[1] != "none" else 0
            others = bare.registers.get(name, [])
            wanted = [(base, keeps & ~hidden, faults | hidden & mask_of(faults)) for base, keeps, faults in others]
            if lines != wanted:
                wrong.append(f"{name}: {hexadecimal(lines)}, the page says {hexadecimal(wanted)} ({row})")
        return wrong


def mask_of(faults: int) -> int:
    """The 32-bit payload tries 32 bits."""
    return ALL64 if faults >> 32 else (1 << 32) - 1


def hexadecimal(lines: list[tuple[int, ...]]) -> str:
    return ", ".join("/".join(f"{n:x}" for n in line) for line in lines)


def evaluate(cell: str, native: int, env: dict) -> int:
    """"native 0-1 9; ones 21; 16-23 = 1": a register's value. Bits that are not named are 0."""
    value = 0
    for clause in (c.strip() for c in cell.split(";")):
        if clause == "native":
            value |= native
        elif clause.startswith("native "):
            value |= native & bits(clause[7:])
        elif clause.startswith("ones "):
            value |= bits(clause[5:])
        else:
            where, _, expression = clause.rpartition("= ")
            first, _, _ = where.strip().partition("-")
            shift = int(first or 0)
            names = {**env, "native": native >> shift}
            value |= int(eval(expression, {"__builtins__": {}}, names)) << shift
    return value
