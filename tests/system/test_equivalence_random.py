"""Random instruction sequences in every mode of the CPU: what they leave is the same on the bare machine and as a guest.

SEQUENCES in the environment: how many, in all modes together. tests/equivalence/shrink.py finds out what a difference is about."""
import os

import pytest
from emulator import DEFAULT_CPU, find_bochs
from equivalence import run_both

LONG = ["64cpl0", "64cpl3", "compat32cpl0", "compat32cpl3", "compat16cpl0", "compat16cpl3"]
LEGACY = ["legacy32cpl0", "legacy32cpl3", "legacy16cpl0", "legacy16cpl3", "plain32cpl0", "plain32cpl3", "v86", "v86vme",
          "unpaged32", "unpaged16"]
REAL = ["real", "bigreal"]
MODES = LONG + LEGACY + REAL
SEQUENCES = int(os.environ.get("SEQUENCES", 5000))
SEED = 1
PER_MODE = -(-SEQUENCES // len(MODES))
CHUNK = 1500  # in one run: half a minute where others want the CPU too

# On the bare machine 2.7 pushes no RF between the single steps of REP INS and OUTS, as it has to (SDM 3B, "Instruction-Breakpoint
# Exception Condition"); and its guests find DR6.BS set by an ICEBP under TF behind MOV SS. 3.0 has neither.
pytestmark = pytest.mark.skipif(find_bochs().version < (3, 0), reason="Bochs 2.7: DR6 of ICEBP, RF of REP INS under single-step")


def assert_same_sequences(images, boot, payload, mode: str, cpu: str, count: int) -> None:
    file = payload("random" if mode in LONG else "random_real" if mode in REAL else "random32")
    for first in range(0, count, CHUNK):
        words = f"mode={mode} seed={SEED} from={first} count={min(CHUNK, count - first)}"
        bare, guest = run_both(images, boot, file, cpu, words, timeout=900)
        different = [line for line, other in zip(bare, guest) if line != other]
        assert bare == guest, f"{different[:4]}: tests/equivalence/shrink.py BUILD {mode} --seed {SEED} --from {first} --count {CHUNK}"
        assert len(bare) > min(CHUNK, count - first) // 25, "the sequences were not run"


@pytest.mark.parametrize("mode", MODES)
def test_random_sequences(images, boot, payload, mode):
    assert_same_sequences(images, boot, payload, mode, DEFAULT_CPU, PER_MODE)


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["corei7_sandy_bridge_2600k", "corei7_skylake_x"])
@pytest.mark.parametrize("mode", ["64cpl0", "compat32cpl3", "legacy32cpl0", "v86vme", "real"])
def test_random_sequences_on_other_cpus(images, boot, payload, mode, cpu):
    assert_same_sequences(images, boot, payload, mode, cpu, 1000)
