"""Fixtures: `build` an image of the hypervisor or of a bare kernel, `boot` it in an emulator, talk to it."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("BUILD", TOP / "build")).resolve()
sys.path.insert(0, str(TOP / "tools"))

from emulator import Bochs, Emulator, Qemu, bochs_cpus, find_bochs  # noqa: E402

TREFOIL = BUILD / "boot" / "trefoil.elf"
VARIANT = BUILD / "testhooks"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: part of `make test-all` only, which sets TEST_ALL")


def pytest_collection_modifyitems(config, items):
    if "TEST_ALL" not in os.environ:
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)


def run_tool(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        pytest.fail(f"{command[0]}: {done.stderr}")
    return done.stdout.strip()


def once(path: Path, make) -> Path:
    """A file that several test processes share: made by the first, through a lock."""
    import fcntl
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path


@pytest.fixture(scope="session")
def kernel() -> Path:
    """Debian's cloud kernel."""
    return Path(run_tool("tools/fetch-kernel.sh"))


@pytest.fixture(scope="session")
def initrd():
    """initrd(name): the demonstration's file system, with `name` as host name."""
    fresh = {}

    def make(name: str) -> Path:
        source = max((TOP / "tools" / f).stat().st_mtime_ns for f in ("mkinitrd.sh", "guest/init"))
        if name not in fresh:
            fresh[name] = once(BUILD / "system" / f"{name}-{source:x}.img", lambda out: run_tool("tools/mkinitrd.sh", name, out))
        return fresh[name]

    return make


@pytest.fixture(scope="session")
def hypervisor():
    """The hypervisor with the test hooks, built beside the ordinary one."""
    elf = VARIANT / "boot" / "trefoil.elf"
    rooms = ("include", "lib", "ept", "arch", "drivers", "vmx", "guest", "core", "boot", "tests/hooks")
    newest = max(path.stat().st_mtime_ns for room in rooms for path in (TOP / room).rglob("*"))

    def make(marker):
        run_tool("make", "-j2", "TESTHOOKS=1", f"BUILD={VARIANT}", elf)
        marker.touch()

    once(VARIANT / f"built-{newest:x}", make)
    return elf


@pytest.fixture
def workdir(request) -> Path:
    """Where this test's images and logs go."""
    name = re.sub(r"[^\w.-]+", "_", f"{request.path.stem}-{request.node.name}").strip("_")
    path = BUILD / "test-logs" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


class Images:
    def __init__(self, workdir: Path):
        self._workdir = workdir

    def trefoil(self, conf: str, files: dict[str, Path | bytes], arguments: str = "", name: str = "trefoil",
                options: tuple[str, ...] = ()) -> Path:
        """The hypervisor with this configuration; files: name in the configuration -> file, or its contents; options: of
        tools/mkiso.sh."""
        tree = self._workdir / f"{name}.files"
        tree.mkdir(exist_ok=True)
        (tree / "trefoil.conf").write_text(conf)
        for module, content in files.items():
            target = tree / module
            target.unlink(missing_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                target.symlink_to(content)
        out = self._workdir / f"{name}.iso"
        run_tool("tools/mkiso.sh", "-m", *options, out, "trefoil", TREFOIL, tree / "trefoil.conf", arguments)
        return out

    def native(self, protocol: str, kernel: Path, arguments: str = "", *modules: object, name: str = "native") -> Path:
        """A kernel on the bare machine: protocol multiboot, multiboot2 or linux; modules: file, arguments, ..."""
        out = self._workdir / f"{name}.iso"
        run_tool("tools/mkiso.sh", out, protocol, kernel, arguments, *modules)
        return out


@pytest.fixture
def images(workdir) -> Images:
    return Images(workdir)


@pytest.fixture
def boot(workdir):
    """boot(iso, **options of Bochs or Qemu): a running machine, stopped when the test ends. emulator="qemu" for QEMU."""
    machines: list[Emulator] = []

    def start(iso: Path, emulator: str = "bochs", **options) -> Emulator:
        where = workdir if not machines else workdir / str(len(machines) + 1)
        if emulator == "bochs":
            if options.get("cpu", "corei7_haswell_4770") not in bochs_cpus():
                pytest.skip(f"this Bochs has no {options['cpu']}")
            if options.get("exclude") and find_bochs().version < (3, 0):
                pytest.skip("this Bochs cannot take CPU features away")
            machines.append(Bochs(where, iso, **options))
        else:
            machines.append(Qemu(where, iso, **options))
        return machines[-1]

    yield start
    for machine in machines:
        machine.stop()
    for iso in workdir.glob("*.iso"):
        iso.unlink()


def payload(name: str) -> Path:
    return BUILD / "payload" / f"{name}.elf"


@pytest.fixture(name="payload")
def payload_fixture():
    """payload(name): the file of a test kernel."""
    return payload
