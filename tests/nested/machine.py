"""QEMU with KVM, started by the command line that a person would type, where `tests/nested` finds VT-x for it:

* on this machine, if its KVM gives guests VT-x,
* else in a Linux that runs in Bochs, whose KVM nests (kvm-intel nested=1).

    with find_host(workdir, {"build/trefoil.iso": iso}) as host:
        machine = host.start("qemu-system-x86_64 -enable-kvm -cpu host,+vmx -cdrom build/trefoil.iso -serial stdio")
        machine.expect("event=ready")
"""
from __future__ import annotations

import shlex
import shutil
import socket
from pathlib import Path

from emulator import Bochs, Emulator, EmulatorError, ExpectError, vtx_usable
from image import make_disk

HOST_MEMORY = 1536  # MiB, of which the files take about 300
HOST_IPS = 400_000_000  # how fast its clocks run: time enough between two ticks of a guest
HOST_BOOT = 60  # seconds
MONITOR = ("127.0.0.1", 4444)


class NestedQemu(Emulator):
    """QEMU in the Linux in Bochs; its standard input and output are the outer machine's second serial line."""

    name = "nested QEMU"

    def __init__(self, host: "BochsHost", command: str, number: int):
        self.host = host
        self.workdir = host.workdir
        self.slowness = host.machine.slowness
        self.serial = host.machine.com2
        self._process = host.machine._process
        self._ended = f"--- QEMU {number} has ended"
        self._finished: str | None = None
        host.run(f"printf '%s\\r\\n' {shlex.quote(f'--- QEMU {number}: {command}')} >/dev/ttyS1")
        self.serial.expect(b"--- QEMU %d: [^\r\n]*\r\n" % number, 30 * self.slowness)
        self._start_of_log = self.serial.seen
        host.run(f"rm -f /tmp/qemu.pid; ({command} <>/dev/ttyS1 >&0 2>/tmp/qemu.err & echo $! >/tmp/qemu.pid; wait $!; "
                 f"echo '{self._ended}' >/dev/ttyS1) & while [ ! -s /tmp/qemu.pid ]; do :; done")

    @property
    def log(self) -> str:
        return self._finished if self._finished is not None else \
            bytes(self.serial.data[self._start_of_log:]).decode(errors="replace")

    def expect(self, pattern: str | bytes, timeout: float = 30, never: str = "panic: machine stopped"):
        try:
            return super().expect(pattern, timeout, f"{never}|{self._ended}")
        except ExpectError as error:
            raise ExpectError(f"{error}\n--- outer Linux:\n{self.host.describe()}") from None

    def stop(self) -> None:
        if self._finished is None:
            self.host.run("kill -9 $(cat /tmp/qemu.pid) 2>/dev/null; wait; true")
            self._finished = self.log


class BochsHost:
    """A Linux with KVM and QEMU in Bochs. Its KVM can be loaded with any parameters."""

    real = False

    def __init__(self, workdir: Path, files: dict[str, Path], memory: int = HOST_MEMORY):
        self.workdir = workdir
        workdir.mkdir(parents=True, exist_ok=True)
        self._disk = workdir / "disk.img"
        make_disk(self._disk, files, memory, HOST_IPS)
        # Linux reads MSRs that this CPU has not, before it can catch the fault; KVM does at each entry, and would fill the log.
        self.machine = Bochs(workdir, disk=self._disk, com2=True, memory=memory, ips=HOST_IPS, lax_msrs=True,
                             extra=("error: action=report, cpu0=ignore",))
        self._qemus: list[NestedQemu] = []
        self._parameters: str | None = None
        try:
            self.machine.expect("host: ready", HOST_BOOT)
        except EmulatorError:
            self.stop()
            raise

    def run(self, command: str, timeout: float = 30) -> str:
        """Runs a shell command there and returns its output."""
        self.machine.send(command + "\n")
        done = self.machine.expect(r"(?s)(.*?)host: status (\d+)\r?\n", timeout)
        output = done[1].decode(errors="replace").replace("\r\n", "\n")
        if int(done[2]):
            raise EmulatorError(f"{command!r} failed in the outer Linux ({int(done[2])}):\n{output}")
        return output

    def describe(self) -> str:
        """For a failed test: what QEMU and the kernel say, and where the guest stands."""
        address, port = MONITOR
        try:
            return self.run("cat /tmp/qemu.err; dmesg | tail -n 5; "
                            f"echo 'info registers' | nc -w 2 {address} {port} | grep -v -E '^(FPR|[XY]MM)|^.qemu'; true")
        except EmulatorError as error:
            return str(error)

    def load_kvm(self, parameters: str = "") -> None:
        """Loads kvm-intel, with nesting unless the parameters say something else."""
        wanted = f"nested=1 {parameters}"
        if self._qemus:
            self._qemus[-1].stop()
        if wanted != self._parameters:
            if self._parameters is not None:
                self.run("rmmod kvm_intel")
            self.run(f"insmod /modules/kvm-intel.ko {wanted}")
            self._parameters = wanted

    def start(self, command: str, kvm: str = "", monitor: bool = True) -> Emulator:
        """kvm: parameters of kvm-intel; monitor: adds QEMU's monitor to the command, for describe()."""
        self.load_kvm(kvm)
        command += f" -monitor tcp:{MONITOR[0]}:{MONITOR[1]},server=on,wait=off" if monitor else ""
        self._qemus.append(NestedQemu(self, command, len(self._qemus)))
        return self._qemus[-1]

    def stop(self) -> None:
        self.machine.stop()
        self._disk.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.stop()


class DirectQemu(Emulator):
    """A command of QEMU's with `-serial stdio`, run here."""

    name = "QEMU"

    def __init__(self, workdir: Path, directory: Path, command: str):
        super().__init__(workdir)
        with socket.create_connection(("127.0.0.1", self.serial.port)) as terminal:
            self._start(shlex.split(command), terminal=terminal, directory=directory)


class RealHost:
    """This machine, whose KVM is left as it is."""

    real = True

    def __init__(self, workdir: Path, files: dict[str, Path]):
        self.workdir = workdir
        self._tree = workdir / "host"
        shutil.rmtree(self._tree, ignore_errors=True)
        for name, file in files.items():
            target = self._tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file.resolve())
        self._qemus: list[DirectQemu] = []

    def start(self, command: str, kvm: str = "", monitor: bool = True) -> Emulator:
        if kvm:
            raise ValueError("the KVM of a real machine is not reloaded")
        self.stop()
        self._qemus.append(DirectQemu(self.workdir / str(len(self._qemus)), self._tree, command))
        return self._qemus[-1]

    def stop(self) -> None:
        for qemu in self._qemus:
            qemu.stop()

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.stop()


def find_host(workdir: Path, files: dict[str, Path]) -> BochsHost | RealHost:
    """files: name -> file, relative to the directory in which the commands run."""
    return (RealHost if vtx_usable() else BochsHost)(workdir, files)
