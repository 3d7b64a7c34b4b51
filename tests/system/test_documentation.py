"""What docs/ says is so: events of the log, keys of trefoil.conf, names of files. Reads the sources, boots nothing."""
import re

import pytest
from conftest import TOP

ROOMS = ["boot", "core", "guest", "guest/dev", "vmx", "ept", "arch/x86_64", "drivers", "lib", "include/tf"]
SOURCES = sorted(path for room in ROOMS for suffix in ("c", "h", "asm") for path in (TOP / room).glob(f"*.{suffix}"))
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
LITERAL = r'"((?:[^"\\]|\\.)*)"'
LOG_CALL = re.compile(rf"\blog_(error|warn|info|debug)\(\s*{LITERAL},\s*((?:{LITERAL}|\w+|\s)+)")
GENERAL = {"event", "vm", "vcpu"}  # fields that the page explains once for all


def rows(document, columns):
    """The cells of each row, of all tables with this many columns."""
    lines = (line.strip().strip("|").split("|") for line in (TOP / document).read_text().splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line] for line in lines if len(line) == columns and line[0].strip(" -")]


def logged():
    """(file, level, module, event, fields) of each line that the hypervisor can log; event is None if it has none."""
    for path in SOURCES:
        for level, module, text, _ in LOG_CALL.findall(path.read_text()):
            text = "".join(re.findall(LITERAL, text))
            event = re.search(r"\bevent=([a-z-]+)", text)
            yield path.relative_to(TOP), level, module, event and event[1], set(re.findall(r"(?:^| )([a-z0-9-]+)=", text))


def events():
    return {(row[0].strip("`"), module): (row[2], set(re.findall(r"`([a-z0-9-]+)", row[3])))
            for row in rows("docs/serial-log.md", 4) for module in row[1].split(", ")}


def test_every_event_is_documented():
    documented, seen, wrong = events(), set(), []
    for path, level, module, event, fields in logged():
        seen.add((event, module))
        if (event, module) not in documented:
            wrong.append(f"{path}: event={event} of {module} is not in docs/serial-log.md")
            continue
        doc_level, doc_fields = documented[event, module]
        if level != doc_level:
            wrong.append(f"{path}: event={event} is {level}, documented as {doc_level}")
        wrong += [f"{path}: event={event}: field {field} is not documented" for field in fields - doc_fields - GENERAL]
    wrong += [f"docs/serial-log.md: nothing logs event={event} of {module}"
              for event, module in documented.keys() - seen if event != "event"]
    assert len(seen) > 20 and not wrong, "\n".join(wrong)


def test_every_key_is_documented():
    source = re.sub(r"#ifdef TF_TEST_HOOKS.*?#endif", "", (TOP / "core/config_keys.c").read_text(), flags=re.S)
    keys = re.findall(r'^\t\{ "(\w+)", ', source, re.M)
    documented = [row[0].strip("`") for row in rows("docs/trefoil.conf.md", 4)]
    assert sorted(keys) == sorted(set(documented) - {"key"})


def exists(name):
    return any(TOP.glob(name)) if "*" in name else (TOP / name).exists()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_documents_name_exist(document):
    tops = "|".join(sorted({room.split("/")[0] for room in ROOMS} | {"tests", "tools", "docs"}))
    named = set(re.findall(rf"(?<![\w/.])(?:{tops})/[\w/.*-]*[\w*/]", document.read_text()))
    missing = sorted(name for name in named if not exists(name) and not re.search("NAME|SUBJECT", name))
    assert not missing, missing


def test_reading_order_names_real_files():
    """In a list, a name without a directory is in that of the name before it."""
    missing, count = [], 0
    text = (TOP / "docs/reading-order.md").read_text()
    for line in [row[0] for row in rows("docs/reading-order.md", 2)] + re.findall(r"^\* .*", text, re.M):
        directory = ""
        for name in re.findall(r"`([\w/*.-]+\.(?:c|h|asm|ld|md)|[\w/-]+/)`", line):
            directory, name = (name[:name.rindex("/") + 1], name) if "/" in name else (directory, directory + name)
            count += 1
            if not exists(name):
                missing.append(name)
    assert count > 40 and not missing, missing


def test_files_that_comments_name_exist():
    tops = "|".join(re.escape(room) for room in [*ROOMS, "tests", "tools", "docs"])
    named = {(path, name) for path in SOURCES
             for name in re.findall(rf"(?<![\w/.])(?:{tops})/[\w/.-]*\.(?:c|h|asm|md|py|sh)\b", path.read_text())}
    missing = [f"{path.relative_to(TOP)}: {name}" for path, name in sorted(named) if not exists(name)]
    assert len(named) > 100 and not missing, "\n".join(missing)
