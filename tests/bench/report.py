#!/usr/bin/python3
"""The tables and charts of docs/performance.md, from what was measured and peers.ini.   report.py BUILD_DIR DOCS_DIR

A table stands between <!-- bench: NAME --> and <!-- /bench -->. One whose part was not measured stays as it is.
"""
from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

from machines import PLAIN_CPU

HERE = Path(__file__).resolve().parent
NATIVE = 45  # an exit takes more instructions: what takes fewer has none
PAGE = "performance.md"

Table = list[list[str]]


class Peers:
    """What others cost, and the marks."""

    def __init__(self, path: Path = HERE / "peers.ini"):
        self._ini = configparser.ConfigParser(interpolation=None)
        self._ini.read_string(path.read_text())

    def names(self, part: str) -> list[str]:
        return [words[1] for words in map(str.split, self._ini.sections()) if words[0] == part]

    def get(self, part: str, name: str, key: str) -> str:
        return self._ini.get(f"{part} {name}", key, fallback="")

    def title(self, part: str, name: str) -> str:
        return self.get(part, name, "name") or name

    def number(self, part: str, name: str, key: str) -> float | None:
        """The first number, where "native" is none."""
        found = re.match(r"[\d.]+", self.get(part, name, key))
        return float(found[0]) if found else None

    def sorted(self, part: str, found: dict) -> list[str]:
        """Those that were measured, in the file's order, and then what it does not know."""
        return [name for name in self.names(part) if name in found] + [name for name in found if name not in self.names(part)]


def spaced(number: float) -> str:
    return f"{round(number):,}".replace(",", " ")


def grouped(text: str) -> str:
    """What a person has written, its numbers as spaced() has them."""
    return re.sub(r"\d+", lambda digits: spaced(int(digits[0])), text)


def judged(text: str, met: bool) -> str:
    """What misses its mark stands out."""
    return text if met else f"**{text}**"


def lines(head: list[str], rows: Table) -> str:
    """A Markdown table: the first column is text, the others are figures."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] + ["--:"] * (len(head) - 1), *rows])


def price(record: dict) -> int:
    """What the mitigations take."""
    return record["median"] - record.get("mitigations_off", record)["median"]


def shown(record: dict, mark: str) -> str:
    """A median, and whether it would meet its mark without mitigations."""
    goal = re.match(r"\d+", mark)
    text = "native" if record["median"] < NATIVE else spaced(record["median"])
    return judged(text, not mark or record["median"] - price(record) <= (float(goal[0]) if goal else NATIVE))


def operations(found: dict[str, dict], peers: Peers) -> str:
    """The first CPU in full; of the others the median, and where mitigations cost most, their price."""
    first, *others = found
    dearest = max(found, key=lambda cpu: sum(map(price, found[cpu].values())))
    rows = []
    for name in peers.sorted("operation", found[first]):
        record, at_dearest = found[first][name], found[dearest].get(name)
        mark, plain = (peers.get("operation", name, key) for key in ("mark", "mark_plain"))
        goals = {cpu: plain if plain and cpu == PLAIN_CPU else mark for cpu in found}
        rows.append([peers.title("operation", name), shown(record, mark),
                     *(spaced(record[key]) if key in record else "" for key in ("p99", "max")),
                     *(shown(found[cpu][name], goals[cpu]) if name in found[cpu] else "" for cpu in others),
                     spaced(price(at_dearest)) if at_dearest else "",
                     *(grouped(peers.get("operation", name, key)) for key in ("kvm", "kvm_default")),
                     grouped(f"{mark}, plain {plain}" if plain else mark)])
    return lines(["operation in the guest", first, "99 %", "max", *others, f"mitigations on {dearest}", "KVM", "KVM, default", "mark"],
                 rows)


def linux(found: dict[str, dict], peers: Peers) -> str:
    rows = []
    for name in peers.sorted("linux", found):
        row, mark = found[name], peers.number("linux", name, "mark")
        rows.append([peers.title("linux", name), spaced(row["native"]), spaced(row["guest"]),
                     judged(f"{row['ratio']:.3f}", mark is None or row["ratio"] <= mark),
                     *(peers.get("linux", name, key) for key in ("kvm", "mark"))])
    return lines(["workload", "bare machine", "guest", "ratio", "KVM", "mark"], rows)


def milliseconds(us: float) -> str:
    return f"{us / 1000:.1f}"


def percent(part: float) -> str:
    return f"{100 * part:.4f}"


def guests(found: dict, peers: Peers) -> str:
    idle, slowdown = (peers.number("scale", name, "mark") for name in ("idle", "slowdown"))
    alone, rows = found["guests"][0], []
    for row in [*found["guests"], *found["ticking"]]:
        name, cost = f"{row['guests']}", ["", ""]
        if row["hz"]:
            name += f", timers of {row['hz']} Hz"
            cost = [percent(row["slowdown_per_guest"]),
                    f"{spaced(row['idle_per_second'])}: {spaced(row['idle_per_second'] / row['hz'])} a tick"]
        elif row["guests"] > 1:
            cost = [judged(percent(row["slowdown_per_guest"]), 100 * row["slowdown_per_guest"] < slowdown),
                    judged(spaced(row["idle_per_second"]), row["idle_per_second"] < idle)]
        rows.append([name, percent(row["ticks"] / alone["ticks"] - 1), *cost,
                     milliseconds(row["ready_us"]), milliseconds(row["started_us"]), spaced(row["hypervisor_kib"])])
    table = lines(["guests", "% that the one loses", "% for each other", "instructions per second for each other",
                   "ms to `event=ready`", "ms until all run", "hypervisor, KiB"], rows)
    memory, most = found["guests"][-1]["hypervisor_kib_per_guest"], peers.number("scale", "memory", "mark")
    return (f"{table}\n\nEach more of them takes {judged(str(memory), memory <= most)} KiB of the hypervisor's memory; "
            f"the mark is {most:.0f}: 64, 48 for the vCPU, and 0.4 % of its RAM.\nA Linux whose only process sleeps takes "
            f"{spaced(found['idle_linux'])} instructions per second, its own included.")


def cpus(found: dict, _: Peers) -> str:
    alone = found["cpus"][0]["us"]
    return lines(["CPUs", "ms", "times as fast as one"],
                 [[str(row["cpus"]), milliseconds(row["us"]), f"{alone / row['us']:.2f}"] for row in found["cpus"]])


def sizes(found: dict, _: Peers) -> str:
    head = ["MiB", "ms to `event=ready`", "ms to zero it and load", "ms to its first instruction", "EPT, KiB", "hypervisor, KiB"]
    return lines(head,
                 [[spaced(row["mib"]), *(milliseconds(row[key]) for key in ("ready_us", "zeroing_us", "started_us")),
                   spaced(row["tables_kib"]), spaced(row["hypervisor_kib"])] for row in found["sizes"]])


def machine(found: dict, _: Peers) -> str:
    return f"Measured on {found['name']}, in {found['unit']}."


TABLES = {"machine": ("machine", machine), "operations": ("operations", operations), "linux": ("linux", linux),
          "guests": ("scale", guests), "cpus": ("scale", cpus), "sizes": ("scale", sizes)}


def fill(page: str, results: dict, peers: Peers) -> str:
    for name, (part, table) in TABLES.items():
        if part in results:
            place = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- /bench -->)", re.S)
            page, places = place.subn(lambda at: f"{at[1]}{table(results[part], peers)}\n{at[2]}", page)
            if places != 1:
                raise ValueError(f"docs/{PAGE}: {places} places for the table {name}")
    return page


def data(path: Path, rows: list[list[object]]) -> None:
    path.write_text("".join("\t".join("?" if cell is None else str(cell) for cell in row) + "\n" for row in rows))


def charts(results: dict, peers: Peers, work: Path, docs: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    if "operations" in results:
        found = next(iter(results["operations"].values()))
        rows = [[peers.title("operation", name), found[name]["median"],
                 *(peers.number("operation", name, key) for key in ("kvm", "mark"))]
                for name in peers.names("operation") if name in found and peers.number("operation", name, "kvm")]
        data(work / "operations", sorted(rows, key=lambda row: -row[2]))
    if "linux" in results:
        def beyond(ratio: float | None) -> float | None:
            return None if ratio is None else round(100 * (ratio - 1), 3)
        data(work / "linux", [[peers.title("linux", name), beyond(results["linux"][name]["ratio"]),
                               *(beyond(peers.number("linux", name, key)) for key in ("kvm", "mark"))]
                              for name in peers.sorted("linux", results["linux"])])
    if "scale" in results:
        found, alone = results["scale"], results["scale"]["guests"][0]["ticks"]
        data(work / "guests", [[row["guests"], 100 * (row["ticks"] / alone - 1)] for row in found["guests"]])
        data(work / "sizes", [[row["mib"], row["ready_us"] / 1e6, row["started_us"] / 1e6] for row in found["sizes"]])
        data(work / "cpus", [[row["cpus"], found["cpus"][0]["us"] / row["us"]] for row in found["cpus"]])
    for chart in ("operations", "linux", "scale"):
        if chart in results:
            subprocess.run(["gnuplot", "-e", f"here='{HERE}'; data='{work}'; out='{docs}'", HERE / f"plot_{chart}.gp"], check=True)


def write(results: dict, docs: Path, work: Path) -> None:
    """Fills in docs/performance.md and draws its charts; work: where the data of the charts may be."""
    if results["machine"]["unit"] != "instructions":
        sys.exit("report: the page and its marks are in instructions, which only Bochs counts")
    peers, page = Peers(), docs / PAGE
    page.write_text(fill(page.read_text(), results, peers))
    charts(results, peers, work, docs)


def main() -> None:
    build, docs = map(Path, sys.argv[1:3])
    write(json.loads((build / "bench.json").read_text()), docs, build / "bench")


if __name__ == "__main__":
    main()
