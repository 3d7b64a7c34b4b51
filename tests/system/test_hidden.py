"""What CPUID hides is not there: instructions, MSRs and control bits that newer CPUs have, used by a guest all the same."""
import re

import pytest
from guest import payload_conf, payload_lines

UD, GP = "6", "13"


@pytest.mark.parametrize("cpu", ["corei7_haswell_4770", "corei7_icelake_u", "sapphire_rapids", "arrow_lake"])
def test_what_is_hidden_faults(images, boot, payload, cpu):
    machine = boot(images.trefoil(payload_conf("a", "kernel.elf"), {"kernel.elf": payload("hidden")}), cpu=cpu, memory=256)
    faults = [re.fullmatch(r"hidden: (\S+) fault=(-?\d+)", line) for line in payload_lines(machine)[1:-1]]
    assert len(faults) > 100 and all(faults)
    assert not [match[0] for match in faults if match[2] not in (UD, GP)]
