#!/usr/bin/python3
"""Starts an ISO and makes this terminal its serial console: raw, both ways. Ctrl-\\ twice ends the machine.

    run.py ISO [--memory MIB] [--cpu MODEL] [--firmware bios|uefi] [--workdir DIR]

QEMU with KVM where the machine really offers VT-x, else Bochs. One Ctrl-\\ goes to the machine with the next key.
"""
from __future__ import annotations

import argparse
import os
import re
import select
import signal
import sys
import termios
import threading
import time
import tty

from emulator import BIOS, DEFAULT_CPU, OVMF, PLAIN_CPU, Bochs, Emulator, EmulatorError, Qemu, find_bochs, vtx_usable

QUIT_KEY = b"\x1c"
PROGRESS_SECONDS = 0.5
STOPPED = re.compile(rb"(core: event=halted|panic: machine stopped)\r?\n\Z")
# Emulated instructions per emulated second: about what each build does, so that guests' clocks run at about our pace.
IPS_FAST, IPS_PACKAGED = 150_000_000, 50_000_000


class Progress:
    """One line on the terminal that says what is waited for, until it is taken away."""

    def __init__(self, what: str):
        self._what = what
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._terminal = sys.stderr.isatty()
        if self._terminal:
            threading.Thread(target=self._tick, daemon=True).start()
        else:
            print(what, file=sys.stderr, flush=True)

    def _tick(self) -> None:
        start = time.monotonic()
        while not self._done.is_set():
            with self._lock:
                if not self._done.is_set():
                    sys.stderr.write(f"\r\x1b[K{self._what} {time.monotonic() - start:.0f} s")
                    sys.stderr.flush()
            self._done.wait(PROGRESS_SECONDS)

    def clear(self) -> None:
        with self._lock:
            if not self._done.is_set():
                self._done.set()
                if self._terminal:
                    sys.stderr.write("\r\x1b[K")
                    sys.stderr.flush()


def start(arguments: argparse.Namespace) -> Emulator:
    uefi = arguments.firmware == "uefi"
    if uefi and not os.path.exists(OVMF):
        raise EmulatorError("OVMF is missing: tools/setup.sh nested")
    if vtx_usable():
        return Qemu(arguments.workdir, arguments.iso, kvm=True, cpus=arguments.cpus, memory=arguments.memory,
                    bios=OVMF if uefi else "")
    build = find_bochs()
    ips = IPS_PACKAGED if build.debugger else IPS_FAST
    cpu = arguments.cpu or (DEFAULT_CPU if build.patched else PLAIN_CPU)
    return Bochs(arguments.workdir, arguments.iso, cpu=cpu, cpus=arguments.cpus, memory=arguments.memory, ips=ips, sync="slowdown",
                 bios=OVMF if uefi else BIOS)


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data):]


def to_terminal(machine: Emulator, progress: Progress, wake: int) -> None:
    """Copies what the machine says to the terminal until its line ends, then ends the other direction through `wake`."""
    shown = 0
    while True:
        machine.serial.wait(lambda: len(machine.serial.data) > shown, None)
        new = bytes(machine.serial.data[shown:])
        if not new:
            break
        progress.clear()
        write_all(sys.stdout.fileno(), new)
        shown += len(new)
        if STOPPED.search(bytes(machine.serial.data[max(shown - 100, 0):shown])):
            write_all(sys.stderr.fileno(), b"\r\nrun: Trefoil has stopped, and the machine stands still; Ctrl-\\ twice ends it\r\n")
    os.write(wake, b"x")


def to_machine(machine: Emulator, woken: int) -> None:
    """Copies keys to the machine until the quit key comes twice, or `woken` says that the machine has ended."""
    sources = [sys.stdin.fileno(), woken]
    quit_pending = False
    while True:
        ready, _, _ = select.select(sources, [], [])
        if woken in ready:
            return
        keys = os.read(sys.stdin.fileno(), 4096)
        if not keys:  # end of input; the machine goes on
            sources.remove(sys.stdin.fileno())
            continue
        if quit_pending:
            keys = QUIT_KEY + keys
        if QUIT_KEY * 2 in keys:
            return
        quit_pending = keys.endswith(QUIT_KEY)
        machine.send(keys[:-1] if quit_pending else keys)


def main() -> int:
    parser = argparse.ArgumentParser(description="Starts an ISO with this terminal as its serial console.")
    parser.add_argument("iso")
    parser.add_argument("--memory", type=int, default=2048, help="MiB (default 2048)")
    parser.add_argument("--cpu", help="Bochs CPU model")
    parser.add_argument("--cpus", type=int, default=1, help="how many (default 1)")
    parser.add_argument("--firmware", choices=["bios", "uefi"], default="bios")
    parser.add_argument("--workdir", default="build/run", help="where the emulator's files and logs go")
    arguments = parser.parse_args()

    # A signal must pass through the "finally" below, or the terminal would stay raw.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        machine = start(arguments)
    except EmulatorError as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    print("Ctrl-] ? lists Trefoil's keys; Ctrl-\\ twice ends the machine.", file=sys.stderr)
    progress = Progress(f"waiting for {machine.name}: firmware, GRUB, then the hypervisor ...")
    woken, wake = os.pipe()
    saved = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None
    try:
        if saved:
            tty.setraw(sys.stdin)
        threading.Thread(target=to_terminal, args=(machine, progress, wake), daemon=True).start()
        to_machine(machine, woken)
    except KeyboardInterrupt:
        pass
    finally:
        progress.clear()
        ended_itself = not machine.running or machine.serial.closed
        machine.stop()
        if saved:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
    if machine.log and ended_itself:
        print(f"\nrun: the machine has ended ({machine.end_reason()})", file=sys.stderr)
    elif not machine.log:
        print(f"run: {machine.name} said nothing; see {machine.workdir}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
