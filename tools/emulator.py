"""Starts a PC in an emulator and talks to its serial line: for `make run`, for the system tests and for experiments.

    with Bochs(iso="build/trefoil.iso", workdir="build/x") as machine:
        machine.expect(rb"event=ready", 30)
        machine.send(b"\\x1d?")

The emulator connects to a socket on which we listen already, so that no free port has to be guessed, and it is started
through setpriv, so that it dies with us in any case. One thread keeps the serial line empty: an emulator that cannot
write stands still.
"""
from __future__ import annotations

import functools
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trefoil"
BIOS = "/usr/share/bochs/BIOS-bochs-latest"
OVMF = "/usr/share/ovmf/OVMF.fd"
VGA_BIOS = "/usr/share/vgabios/vgabios.bin"
PATCH = Path(__file__).resolve().parent / "bochs" / "extint.patch"
DEFAULT_CPU = "corei7_haswell_4770"
PLAIN_CPU = "corei7_sandy_bridge_2600k"  # without virtual-interrupt delivery
GATHER_SECONDS = 0.005  # the emulators send byte by byte: let a few come together before looking at them again
DEBUGGER_CONTINUES = 100  # one "c" per machine reset, and a few to spare


class EmulatorError(Exception):
    pass


class ExpectError(EmulatorError):
    """What was waited for did not come."""


@dataclass(frozen=True)
class BochsBuild:
    path: str
    version: tuple[int, int]
    debugger: bool
    plugins: bool
    patched: bool  # with tools/bochs/extint.patch; others sometimes deliver a virtual interrupt to a guest with IF=0

    @property
    def slowness(self) -> float:
        """How many times longer than in the fast build a run takes; timeouts are multiplied by it."""
        return 4.0 if self.debugger else 1.0


def is_patched(program: Path) -> bool:
    """Whether `make bochs` built it, with the patch as it is now."""
    stamp = Path(f"{program}.patch")
    return os.access(program, os.X_OK) and stamp.exists() and stamp.read_bytes() == PATCH.read_bytes()


@functools.cache
def find_bochs() -> BochsBuild:
    """$BOCHS, else the fast build of `make bochs` if it is of today's patch, else the installed one."""
    fast = CACHE / "bochs-3.0" / "bochs"
    path = os.environ.get("BOCHS") or (str(fast) if is_patched(fast) else shutil.which("bochs"))
    if not path:
        raise EmulatorError("Bochs is missing: tools/setup.sh run")
    text = subprocess.run([path, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True).stdout
    found = re.search(r"Bochs x86 Emulator (\d+)\.(\d+)", text)
    if not found:
        raise EmulatorError(f"{path} is not a Bochs that runs here")
    return BochsBuild(path, (int(found[1]), int(found[2])), debugger="-rc filename" in text, plugins="LTDL" in text,
                      patched=is_patched(Path(path)))


@functools.cache
def bochs_cpus() -> frozenset[str]:
    """The CPU models that this Bochs knows."""
    run = subprocess.run([find_bochs().path, "--help", "cpu"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    return frozenset(re.findall(r"^(\w+)$", run.stdout, re.M))


class SerialLine:
    """Our end of one serial port: everything received is kept, and can be waited for."""

    def __init__(self, log: Path):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.port = self._listener.getsockname()[1]
        self.data = bytearray()
        self.closed = False
        self._seen = 0
        self._changed = threading.Condition()
        self._log = open(log, "wb", buffering=0)
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        try:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._socket = connection
                self._changed.notify_all()
            while chunk := connection.recv(65536):
                self._log.write(chunk)
                with self._changed:
                    self.data += chunk
                    self._changed.notify_all()
                time.sleep(GATHER_SECONDS)
        except OSError:
            pass
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    @property
    def seen(self) -> int:
        """How much of `data` expect() has passed."""
        return self._seen

    def send(self, data: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._socket or self.closed, 30)
        if not self._socket:
            raise EmulatorError("the emulator has not connected its serial line")
        self._socket.sendall(data)

    def wait(self, condition, timeout: float | None):
        """Returns condition(), called again whenever bytes arrive, once it is true, the line ends or time is up."""
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.closed, timeout)
            return condition()

    def expect(self, pattern: bytes, timeout: float, never: bytes = b"(?!)") -> re.Match:
        """Waits for a match behind the last one, and gives up when `never` matches there."""
        wanted, bad = re.compile(pattern), re.compile(never)

        def look() -> re.Match | None:
            data = bytes(self.data)  # a match object must not change when the buffer grows
            return wanted.search(data, self._seen) or bad.search(data, self._seen)

        match = self.wait(look, timeout)
        if match and match.re is wanted:
            self._seen = match.end()
            return match
        why = f"but there is {match[0]!r}" if match else "the line ended" if self.closed else f"not within {timeout:.0f} s"
        tail = bytes(self.data[-2000:]).decode(errors="replace")
        raise ExpectError(f"expected {pattern!r}: {why}\n--- end of the serial line:\n{tail}")

    def close(self) -> None:
        for end in (self._socket, self._listener):
            if end:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
        self._thread.join(5)
        self._log.close()


class Emulator:
    """A running machine. The subclasses say how it is started."""

    name = "emulator"
    slowness = 1.0

    def __init__(self, workdir: str | Path):
        self.workdir = Path(workdir).resolve()
        self.workdir.mkdir(parents=True, exist_ok=True)
        self.serial = SerialLine(self.workdir / "serial.log")
        self._process: subprocess.Popen | None = None

    def _start(self, command: list[str], *, terminal: socket.socket | None = None, directory: Path | None = None) -> None:
        """terminal: what is to be the command's standard input and output; directory: where it starts."""
        with open(self.workdir / "emulator.out", "wb") as out:
            self._process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command],
                                             cwd=directory or self.workdir, stdin=terminal or subprocess.DEVNULL,
                                             stdout=terminal or out, stderr=out)
        threading.Thread(target=self._reap, daemon=True).start()

    def _reap(self) -> None:
        """An emulator that ends before it connected leaves nobody else to end the wait for its serial line."""
        self._process.wait()
        if not self.serial._socket:
            self.serial.close()

    @property
    def log(self) -> str:
        """Everything the serial line has said so far."""
        return bytes(self.serial.data).decode(errors="replace")

    def expect(self, pattern: str | bytes, timeout: float = 30, never: str = "panic: machine stopped") -> re.Match:
        """Waits until the serial line says `pattern`, after what was matched before; seconds of the fast emulator.
        Regular expressions. Does not wait on when it says `never` instead."""
        pattern = pattern.encode() if isinstance(pattern, str) else pattern
        try:
            return self.serial.expect(pattern, timeout * self.slowness, never.encode())
        except ExpectError as error:
            if not self.serial.closed and self.running:
                raise
            out = (self.workdir / "emulator.out").read_text(errors="replace")[-1000:]
            raise ExpectError(f"{error}\n--- {self.name} has ended ({self.end_reason()}):\n{out}") from None

    def send(self, data: str | bytes) -> None:
        self.serial.send(data.encode() if isinstance(data, str) else data)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_end(self, timeout: float = 30) -> str:
        """Waits until the emulator has ended by itself, and says why (end_reason)."""
        try:
            self._process.wait(timeout * self.slowness)
        except subprocess.TimeoutExpired:
            raise ExpectError(f"{self.name} still runs after {timeout * self.slowness:.0f} s") from None
        return self.end_reason()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end_reason(self) -> str:
        """"power off", "triple fault", or "unknown"."""
        return "unknown"

    def stop(self) -> None:
        if self._process:
            if self.running:
                self._process.kill()
            self._process.wait()
        self.serial.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.stop()


class Bochs(Emulator):
    name = "Bochs"

    def __init__(self, workdir: str | Path, iso: str | Path | None = None, *, cpu: str = DEFAULT_CPU, cpus: int = 1,
                 memory: int = 1024, exclude: str = "", bios: str = BIOS, com2: bool = False, disk: str | Path | None = None,
                 ips: int = 100_000_000, reset_on_triple_fault: bool = False, sync: str = "none", lax_msrs: bool = False,
                 line: str = "com1", extra: tuple[str, ...] = ()):
        """memory in MiB; exclude: CPU features to take away (Bochs 3.0); disk: a flat image, of whole cylinders of
        16 heads and 63 sectors; com2: a second serial line, self.com2; line: the port
        that self.serial is at, com1 to com4, or "" for a machine without; sync: "slowdown" keeps its clock from
        running ahead of ours, which an idle machine's otherwise does."""
        super().__init__(workdir)
        self.build = find_bochs()
        self.slowness = self.build.slowness
        self.ips = ips
        self._locks: list[Path] = []
        lax_msrs |= bios == OVMF  # it reads MSRs that every Intel CPU has, and Bochs has not
        features = "" if lax_msrs else ", ignore_bad_msrs=0"
        features += f', exclude_features="{exclude}"' if exclude else ""
        host_memory = min(memory, 2048)
        lines = [
            f"cpu: model={cpu}, count={cpus}, ips={ips}, reset_on_triple_fault={int(reset_on_triple_fault)}{features}",
            f"memory: guest={memory}, host={host_memory}" + (", block_size=8192" if self.build.version >= (3, 0) else ""),
            # "fastboot" skips the waits of the Bochs BIOS.
            f"romimage: file={bios}" + (", options=fastboot" if bios == BIOS else ""),
            f"vgaromimage: file={VGA_BIOS}",
            *(["com1: enabled=0"] if line != "com1" else []),
            *([f"{line}: enabled=1, mode=socket-client, dev=127.0.0.1:{self.serial.port}"] if line else []),
            "log: bochs.log",
            f"clock: sync={sync}, time0=1700000000",
            # What the log holds decides what end_reason() can say.
            "panic: action=fatal" + (", rfb=report" if bios == OVMF and self.build.plugins else ""),
            "port_e9_hack: enabled=1",
        ]
        if bios == OVMF:
            lines += ["pci: enabled=1, chipset=i440fx", "vga: extension=none"]
        if iso:
            lines += ["boot: cdrom", f"ata0-slave: type=cdrom, path={Path(iso).resolve()}, status=inserted"]
        if disk:
            disk = Path(disk).resolve()
            cylinders = disk.stat().st_size // (16 * 63 * 512)
            lines += [f"ata0-master: type=disk, mode=flat, path={disk}, cylinders={cylinders}, heads=16, spt=63"]
            lines += [] if iso else ["boot: disk"]
            self._locks.append(Path(f"{disk}.lock"))
        self.com2 = SerialLine(self.workdir / "com2.log") if com2 else None
        if self.com2:
            lines += [f"com2: enabled=1, mode=socket-client, dev=127.0.0.1:{self.com2.port}"]
        if self.build.plugins:
            lines += ['display_library: rfb, options="timeout=0"',
                      "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy",
                      "plugin_ctrl: unmapped=1, biosdev=1, speaker=0, e1000=0, es1370=0, parallel=0, extfpuirq=1"]
        else:
            lines += ["display_library: nogui"]
        (self.workdir / "bochs.log").unlink(missing_ok=True)
        (self.workdir / "bochsrc").write_text("\n".join([*lines, *extra]) + "\n")
        command = [self.build.path, "-q", "-f", "bochsrc"]
        if self.build.debugger:
            (self.workdir / "debugger.rc").write_text("c\n" * DEBUGGER_CONTINUES)
            command += ["-rc", "debugger.rc"]
        self._start(command)

    def _bochs_log(self) -> str:
        path = self.workdir / "bochs.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def end_reason(self) -> str:
        log = self._bochs_log()
        for message, reason in (("ACPI control: soft power off", "power off"),
                                ("Shutdown port: shutdown requested", "power off"),
                                ("exception with no resolution", "triple fault")):
            if message in log:
                return reason
        return "unknown"

    def ticks(self) -> int:
        """The emulated time, in ticks, of the last line in the emulator's own log: after the end, the run's length."""
        stamps = re.findall(r"^(\d{11})", self._bochs_log(), re.M)
        return int(stamps[-1]) if stamps else 0

    def stop(self) -> None:
        super().stop()
        if self.com2:
            self.com2.close()
        for lock in self._locks:
            lock.unlink(missing_ok=True)


class Qemu(Emulator):
    name = "QEMU"

    def __init__(self, workdir: str | Path, iso: str | Path | None = None, *, kvm: bool = False, cpu: str = "qemu64",
                 cpus: int = 1, memory: int = 1024, machine: str = "pc", bios: str = "", disk: str | Path | None = None,
                 bus: str = "ide", card: str = "", extra: tuple[str, ...] = ()):
        """memory in MiB; bios: a firmware other than SeaBIOS; disk: a raw image, which stays as it is; bus: where the disk
        is, ide, virtio or usb; card: self.serial is on this PCI card, and the board has no serial port."""
        super().__init__(workdir)
        qemu = shutil.which("qemu-system-x86_64")
        if not qemu:
            self.serial.close()
            raise EmulatorError("QEMU is missing: tools/setup.sh kvm")
        command = [qemu, "-M", machine, "-nodefaults", "-no-user-config", "-display", "none", "-vga", "std", "-m", str(memory),
                   "-smp", str(cpus), "-chardev", f"socket,id=line,host=127.0.0.1,port={self.serial.port},nodelay=on"]
        command += ["-device", card] if card else ["-serial", "chardev:line"]
        command += ["-enable-kvm", "-cpu", "host,+vmx"] if kvm else ["-accel", "tcg", "-cpu", cpu]
        command += ["-bios", bios] if bios else []
        command += ["-cdrom", str(Path(iso).resolve()), "-boot", "d"] if iso else []
        if disk:
            interface = "none,id=stick" if bus == "usb" else bus
            command += ["-drive", f"file={Path(disk).resolve()},format=raw,snapshot=on,if={interface}"]
            command += ["-device", "qemu-xhci", "-device", "usb-storage,drive=stick"] if bus == "usb" else []
        self._start([*command, *extra])

    def end_reason(self) -> str:
        return "power off" if self._process.returncode == 0 else "unknown"


def vtx_usable() -> bool:
    """Whether KVM here really gives a guest VT-x: an Intel CPU with VMX, kvm_intel with nesting, /dev/kvm ours to use."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
        nested = Path("/sys/module/kvm_intel/parameters/nested").read_text().strip()
    except OSError:
        return False
    return bool(flags) and "vmx" in flags[1].split() and nested in ("Y", "1") and os.access("/dev/kvm", os.R_OK | os.W_OK)
