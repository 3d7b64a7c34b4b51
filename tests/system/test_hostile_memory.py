"""A guest that looks at every address finds its own RAM, its board, and nothing else: no neighbour, no hypervisor, no file."""
import re
from pathlib import Path

import pytest
from conftest import TREFOIL
from emulator import PLAIN_CPU
from guest import payload_conf
from hostile import SECRETS, finish, neighbour_conf, secret

OURS = [b"panic: machine stopped", b"--- power the machine off?"]  # tests/payload/probe_search.c looks for them
PROBE = r"(?m)^bad\| probe: (.*?)\r?$"
SEARCHED = ["neighbour", "module", "configuration", "earlier life", "hypervisor's messages", "hypervisor's help"]


def start(images, boot, payload, cmdline, rounds, memory="16M", **options):
    """The probe beside the neighbour, with secrets in the neighbour's RAM, a boot module of it and the configuration."""
    conf = f"[trefoil]\nshow_all = on\n# {secret(SECRETS['configuration'])}\n" \
        + neighbour_conf(rounds, extra="module = data.bin\n") + payload_conf("bad", "probe.elf", cmdline, memory=memory)
    files = {"neighbour.elf": payload("neighbour"), "probe.elf": payload("probe"),
             "data.bin": (secret(SECRETS["module"]) * 2048).encode()}
    return boot(images.trefoil(conf, files), memory=256, **options)


def check(said: list[str]) -> None:
    found = dict(re.fullmatch(r"(.*): found (\d+)", line).groups() for line in said if ": found " in line)
    assert {name: found[name] for name in SEARCHED} == dict.fromkeys(SEARCHED, "0")
    assert found["own"] == "1"  # the search does find


def probe(machine, pages, timeout):
    machine.expect(r"bad\| payload: done", timeout)
    said = re.findall(PROBE, machine.log)
    check(said)
    assert said[-1] == "foreign 0 stuck 0 executed 0"
    assert {"page of the local APIC, off: absent", "page of the local APIC, in MSRs: absent", "ports that answer: 0"} <= set(said)
    assert int(re.search(r"bad\| # probe: (\d+) pages", machine.log)[1]) >= pages


def test_the_words_are_the_hypervisors():
    image = Path(TREFOIL).read_bytes()
    assert all(word in image for word in OURS)


def test_edges_and_a_sample(images, boot, payload):
    machine = start(images, boot, payload, "step=512 count=1000", 100)
    probe(machine, 5000, 60)
    finish(machine, 100)


@pytest.mark.slow
def test_every_page(images, boot, payload):
    """Each page below 4 GiB and behind the end of RAM; 20,000 up to the limit of the CPU's addresses."""
    machine = start(images, boot, payload, "step=1 count=20000", 3000)
    probe(machine, 1_060_000, 1000)
    finish(machine, 3000)


@pytest.mark.slow
def test_without_apic_virtualisation(images, boot, payload):
    machine = start(images, boot, payload, "step=512 count=1000", 100, cpu=PLAIN_CPU)
    probe(machine, 5000, 60)
    finish(machine, 100, cpu=PLAIN_CPU)


def test_a_restart_leaves_nothing(images, boot, payload):
    machine = start(images, boot, payload, "fill exit=reset", 100, memory="4M")
    for _ in range(3):
        machine.expect(r"bad\| probe: filled", 60)
    check(re.findall(PROBE, machine.log))
    assert {line for line in re.findall(PROBE, machine.log) if line.startswith("earlier")} == {"earlier life: found 0"}
    finish(machine, 100)
