"""What tests/bench reads out of a serial log. What it measures is held by test_contract.py."""
import sys

import pytest
from conftest import TOP

sys.path.insert(0, str(TOP / "tests/bench"))
import bench  # noqa: E402

LOG = """[    0.000000] cpu0 info core: event=machine vendor="Some Maker" product="Box 3" board="B" bios="1.2" date="04/01/2024" \
firmware=uefi cpu="Some CPU @ 3.40GHz" signature=306c3 microcode=1\r
payload: start\r
........\r
bench name=cpuid median={} p99=1300 max=9000 n=200\r
[    0.400000] cpu0 info guest: event=else\r
bench name=self-ipi-hlt-xapic median=2 p99=2 max=3 n=200\r
payload: done\r
"""


@pytest.fixture
def logs(tmp_path):
    def write(*texts: str):
        paths = [tmp_path / str(number) for number in range(len(texts))]
        for path, text in zip(paths, texts):
            path.write_text(text)
        return paths

    return write


def test_the_log_of_a_bare_machine(logs):
    found = bench.from_logs(logs(LOG.format(1200)))
    assert found["machine"] == {"name": "Some Maker Box 3", "kind": "bare", "cpu": "Some CPU @ 3.40GHz", "unit": "cycles"}
    assert found["operations"] == {"Some CPU @ 3.40GHz": {
        "cpuid": {"median": 1200, "p99": 1300, "max": 9000, "n": 200},
        "self-ipi-hlt-xapic": {"median": 2, "p99": 2, "max": 3, "n": 200},
    }}


def test_a_second_log_is_the_one_without_mitigations(logs):
    operations = bench.from_logs(logs(LOG.format(1200), LOG.format(900)))["operations"]["Some CPU @ 3.40GHz"]
    assert operations["cpuid"]["median"] == 1200
    assert operations["cpuid"]["mitigations_off"] == {"median": 900, "p99": 1300, "max": 9000, "n": 200}


@pytest.mark.parametrize("text", ["", LOG.split("bench")[0], "payload: start\n"])
def test_a_log_without_figures_is_refused(logs, text):
    with pytest.raises(SystemExit, match="^bench: "):
        bench.from_logs(logs(text))
