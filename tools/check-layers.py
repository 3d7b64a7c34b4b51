#!/usr/bin/python3
"""Checks who includes whom, and who calls whom: the rooms and their order are those of the architecture page.

    check-layers.py BUILD_DIR PURE_FILE...

Includes are checked in the sources, calls in the objects under BUILD_DIR (none there: not checked). A room may call what
a header declares that it may include, wherever that is defined: so a lower room states what it wants from above. Pure files further include only the vocabulary, lib and
their own room or another pure one, and their objects hold no writable data and no instruction that is privileged or
tells the time or the CPU.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

ORDER = {"include/tf": 1, "lib": 1, "ept": 2, "guest/dev": 2, "arch/x86_64": 3, "drivers": 4, "vmx": 4, "guest": 5,
         "core": 6, "boot": 7, "boot/efi": 8}
VOCABULARY = {"include/tf", "lib"}
PURE_ROOMS = {"lib", "ept", "guest/dev"}
# Downwards, and forbidden all the same.
NEVER = {("vmx", "ept"): "the guest layer hands the EPT pointer down"}
# Pure files that need one header from outside their room.
PURE_EXCEPTIONS = {("core/config.h", "guest/vmconfig.h"), ("core/runq.h", "arch/x86_64/lock.h"),
                   ("core/stats_table.h", "guest/stats.h"),
                   ("boot/efi/names.h", "core/config.h"), ("boot/efi/efi_map.c", "boot/efi_memory.h"),
                   ("boot/efi/tags.c", "boot/multiboot2_tags.h")}
# Headers of others that one room stands on.
FOREIGN_HEADERS = {("boot/efi", "efi.h")}
COMPILER_HEADERS = {"stdarg.h", "stdbool.h", "stddef.h", "stdint.h"}
IMPURE = re.compile(r"\t(in[bwl]?|out[bwl]?|[re]?ins[bwl]|outs[bwl]|hlt|cli|sti|(rd|wr)msr|rdtscp?|rdpmc|cpuid|x[gs]etbv|"
                    r"l[gi]dt|s[gi]dt|lldt|ltr|lmsw|clts|invd|wbinvd|invlpg|invept|invvpid|vm\w+|swapgs|sysret\w?|"
                    r"rdrand|rdseed|monitor|mwait)\b|\tmov\w?\s.*%[cd]b?r\d")
SUFFIXES = {".c", ".h", ".asm", ".inc"}


def room_of(path: str) -> str | None:
    """The room of a file: the longest room name that its path starts with."""
    best = max((r for r in ORDER if path.startswith(r + "/")), key=len, default=None)
    return best


def may_use(user: str, used: str) -> str | None:
    """Why `user` may not use `used`; None if it may."""
    if user == used or (user, used) == ("lib", "include/tf"):
        return None
    if (user, used) in NEVER:
        return f"{user} does not use {used}: {NEVER[user, used]}"
    if user in ("ept", "guest/dev") and used not in VOCABULARY:
        return f"{user} uses only include/tf and lib"
    if user == "include/tf":
        return "include/tf uses nothing but itself"
    if ORDER[used] >= ORDER[user]:
        return f"{used} is not below {user}"
    return None


def includes(path: Path) -> list[tuple[int, str]]:
    """(line, included file) as written, with <tf/...> resolved."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := re.match(r'\s*[#%]\s*include\s+(["<])([^">]+)[">]', line):
            bracket, name = match.groups()
            found.append((number, f"include/{name}" if bracket == "<" or name.startswith("tf/") else name))
    return found


def resolve(source: str, name: str) -> str:
    """An include is written from the top; beside the including file is tolerated only for what really is there."""
    beside = str(PurePosixPath(source).parent / name)
    return beside if not os.path.exists(name) and os.path.exists(beside) else name


def check_includes(pure: set[str]) -> list[str]:
    errors = []
    pure_headers = {str(PurePosixPath(p).with_suffix(".h")) for p in pure}
    for path in sorted(p for room in ORDER for p in Path(room).glob("*") if p.suffix in SUFFIXES):
        source = str(path)
        room = room_of(source)
        is_pure = source in pure or source in pure_headers or room in PURE_ROOMS
        for line, name in includes(path):
            if name.removeprefix("include/") in COMPILER_HEADERS or (room, name.removeprefix("include/")) in FOREIGN_HEADERS:
                continue
            target = resolve(source, name)
            used = room_of(target)
            if used is None:
                if not name.endswith(".inc"):
                    errors.append(f"{source}:{line}: {name} is in no room")
                continue
            if why := may_use(room, used):
                errors.append(f"{source}:{line}: includes {target}: {why}")
            elif is_pure and used not in PURE_ROOMS | {"include/tf", room} and (source, target) not in PURE_EXCEPTIONS:
                errors.append(f"{source}:{line}: includes {target}: a pure file uses only pure ones")
    return errors


def symbols(objects: list[Path]) -> dict[str, list[tuple[str, str]]]:
    """Object name -> (type, symbol) pairs, by one run of nm."""
    result: dict[str, list[tuple[str, str]]] = {}
    output = subprocess.run(["nm", "-A", "-P", *map(str, objects)], check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        name, symbol, kind, *_ = line.split()
        result.setdefault(name.rstrip(":"), []).append((kind, symbol))
    return result


def check_objects(build: Path, pure: set[str]) -> list[str]:
    objects = [p for room in ORDER for p in (build / room).glob("*.o")]
    if not objects:
        return []
    words = {room: set(re.findall(r"\b\w+\b", " ".join(p.read_text() for p in Path(room).glob("*.h")))) for room in ORDER}
    declared = {user: set().union(*(words[used] for used in ORDER if not may_use(user, used))) for user in ORDER}
    table = symbols(objects)
    owner: dict[str, str] = {}
    for name, entries in table.items():
        for kind, symbol in entries:
            if kind in "TDBRCVW":
                owner[symbol] = str(PurePosixPath(name).relative_to(build))
    errors = []
    for name, entries in table.items():
        source = str(PurePosixPath(name).relative_to(build))
        room = room_of(source)
        is_pure = source.removesuffix(".o") + ".c" in pure
        if is_pure:
            code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", name], check=True, capture_output=True, text=True)
            errors += [f"{source}: impure instruction '{hit[0].strip()}'" for hit in IMPURE.finditer(code.stdout)]
        for kind, symbol in entries:
            if kind == "U" and symbol in owner and symbol not in declared[room] and not symbol.startswith("__stack_chk_"):
                used = room_of(owner[symbol])
                if why := may_use(room, used):
                    errors.append(f"{source}: refers to {symbol} of {owner[symbol]}: {why}")
            elif is_pure and kind in "dDbBC" and not symbol.startswith("."):
                errors.append(f"{source}: {symbol} is writable data in a pure file")
    return errors


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    os.chdir(Path(__file__).resolve().parent.parent)
    build, pure = Path(sys.argv[1]), set(sys.argv[2:])
    errors = check_includes(pure) + check_objects(build, pure)
    for error in errors:
        print(f"layers: {error}")
    print(f"layers: {len(errors)} violations" if errors else "layers: ok")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
