"""RAM beyond what 32 bits reach, and beyond what the first page tables reach: guests live in it."""
import re

import pytest
from conftest import BUILD, TREFOIL
from emulator import find_bochs
from guest import payload_conf, payload_lines

SHIM = BUILD / "firmware" / "shim.elf"  # its option map=above-... calls the RAM below reserved
GUEST = "256M"  # more than is left below
MIB_PER_GIB = 1024


@pytest.fixture
def start(images, boot, workdir, payload):
    def run(map, mib, guest, **options):
        conf = workdir / "trefoil.conf"
        conf.write_text(payload_conf("a", "hello.elf", memory=guest))
        iso = images.native("multiboot2", SHIM, f"map={map}", TREFOIL, "", conf, "", payload("hello"), "")
        machine = boot(iso, memory=mib, **options)
        machine.expect(r"event=started", 300)  # Bochs keeps most of its RAM in a file
        assert "hello: memory ok, map sorted, image in RAM" in payload_lines(machine)
        return machine.log

    return run


# Without 1 GiB pages the first page tables end at 4 GiB, with them at 512 GiB.
@pytest.mark.parametrize("cpu", ["corei7_haswell_4770", "corei7_sandy_bridge_2600k"])
def test_above_4_gib(start, cpu):
    assert "ram-unused" not in start("above-4g", 5 * MIB_PER_GIB, GUEST, cpu=cpu)


@pytest.mark.slow
@pytest.mark.skipif(find_bochs().version < (3, 0), reason="this Bochs takes its whole memory from the machine")
def test_above_512_gib(start):
    assert "ram-unused" not in start("above-512g", 528 * MIB_PER_GIB, GUEST)


# The map speaks of RAM that is not there; the allocator takes the lowest first, so that nobody looks.
def test_too_much_to_manage(start):
    log = start("huge", 256, "32M")
    total, free = map(int, re.search(r"event=memory total-kib=(\d+) free-kib=(\d+)", log).groups())
    unused = re.search(r"event=ram-unused base=0x(\w+) size=0x(\w+)", log)
    assert total > 480 << 20
    assert int(unused[1], 16) + int(unused[2], 16) == 992 << 30
    assert 0 < free < total - (int(unused[2], 16) >> 10)


def test_too_many_pieces(start):
    log = start("pieces", 256, "32M")
    assert "zones=32" in log
    assert log.count("event=ram-unused") == 40 + 1 - 32
