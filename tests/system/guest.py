"""What the tests say to a machine and to the guests on it: focus keys, shells, payload output."""
from __future__ import annotations

import re

from emulator import Emulator

ESCAPE = b"\x1d"  # Ctrl-], before each of the console's keys
CLOUD_BOOT = 120  # seconds, fast emulator and two tests side by side: a cloud kernel to its shell, next to another
ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def linux_conf(*names: str, extra: dict[str, str] | None = None, cmdline: str = "", memory: str = "160M", head: str = "") -> str:
    """A configuration with one Debian guest per name; extra: name -> further lines of its section."""
    sections = [head] if head else []
    for name in names:
        sections.append(f"[vm {name}]\nkernel = vmlinuz\ninitrd = {name}.img\nmemory = {memory}\n"
                        f"cmdline = console=ttyS0,115200 cryptomgr.notests quiet {cmdline}\n{(extra or {}).get(name, '')}\n")
    return "\n".join(sections)


def payload_conf(name: str, kernel: str, cmdline: str = "", memory: str = "32M", extra: str = "") -> str:
    return f"[vm {name}]\nkernel = {kernel}\nmemory = {memory}\n" + (f"cmdline = {cmdline}\n" if cmdline else "") + extra + "\n"


def key(machine: Emulator, key: str) -> None:
    """Ctrl-] and a key."""
    machine.send(ESCAPE + key.encode())


def focus(machine: Emulator, name: str, number: int) -> None:
    key(machine, str(number))
    machine.expect(rf"--- console: {name} ", 20)


class Shell:
    """The shell of a guest whose console has the focus."""

    def __init__(self, machine: Emulator, name: str):
        self.machine, self.name = machine, name
        self._serial = 0

    def wait(self, timeout: float = CLOUD_BOOT) -> None:
        gone = rf"vm={self.name} event=(refused|stopped) [^\n]*|panic: machine stopped|refused: [^\n]*"
        self.machine.expect(rf"{self.name}:\S*# ", timeout, never=gone)

    def run(self, command: str, timeout: float = 30) -> str:
        """Types a command and returns what it printed."""
        self._serial += 1
        # The echo of the typed line holds the marks in two pieces, the output holds them whole.
        begin, end = f"<{self.name}{self._serial}", f"{self.name}{self._serial}>"
        self.machine.send(f"echo '<''{begin[1:]}'; {command}; echo '{end[:-1]}''>'\r")
        self.machine.expect(re.escape(begin) + r"\r?\n", timeout)
        output = self.machine.expect(rb"(?s)(.*?)" + re.escape(end).encode() + rb"\r?\n", timeout)[1]
        self.wait(timeout)
        return ANSI.sub(b"", output).decode(errors="replace").replace("\r\n", "\n").strip("\n")


LOG_LINE = re.compile(r"\[ *\d+\.\d{6}\] cpu\d+ (error|warn|info|debug) ")


def guest_lines(text: str) -> list[str]:
    """The focused guest's own lines: without the hypervisor's, and without the pieces of lines that a log line tore
    apart, which the console prints again as a whole."""
    lines = text.replace("\r", "").split("\n")
    result: list[str] = []
    torn = None
    for i, line in enumerate(lines):
        if LOG_LINE.match(line) or line.startswith("--- "):
            continue
        if torn is not None and line.startswith(torn):
            result.pop()
        # Torn, perhaps: the next own line tells.
        torn = line if line and i + 1 < len(lines) and LOG_LINE.match(lines[i + 1]) else None
        result.append(line)
    return result


def payload_lines(machine: Emulator, timeout: float = 60) -> list[str]:
    """What a test kernel printed, from its first line to its last. Lines that start with # say what boards may differ in."""
    machine.expect(r"payload: done", timeout, never=r"event=(refused|stopped) [^\n]*|panic: machine stopped|refused: [^\n]*")
    lines = [line for line in guest_lines(machine.log) if not line.startswith("#")]
    return lines[lines.index("payload: start"):lines.index("payload: done") + 1]


def echo_answers(machine: Emulator) -> None:
    """The payload `echo`, which has the focus, gives back each key, and ends on Ctrl-D; nothing of ours has broken."""
    for letter in b"abcdefghij":
        machine.send(bytes([letter]))
        machine.expect(bytes([letter]), 20)
    machine.send(b"\x04")
    machine.expect(r"payload: done", 20)
    assert "panic:" not in machine.log
