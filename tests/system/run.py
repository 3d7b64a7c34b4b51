#!/usr/bin/python3
"""Runs the system tests and ends with "system: N passed, N failed".   run.py BUILD_DIR [PROCESSES [PYTEST-ARGUMENT...]]"""
from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    build = Path(sys.argv[1]).resolve()
    processes = sys.argv[2] if len(sys.argv) > 2 else "2"
    report = build / "test-logs" / "system.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    # "loadgroup" hands out test by test, so that a long one does not hold up a queue behind it.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rfEs", "--tb=short", "--durations=15",
               "-n", processes, "--dist", "loadgroup", f"--junitxml={report}", str(HERE), *sys.argv[3:]]
    subprocess.run(command, cwd=HERE.parent.parent, env={**os.environ, "BUILD": str(build), "PYTHONDONTWRITEBYTECODE": "1"})
    passed = failed = 0
    try:
        for case in ET.parse(report).iter("testcase"):
            outcomes = {child.tag for child in case}
            if outcomes & {"failure", "error"}:
                failed += 1
            elif "skipped" not in outcomes:
                passed += 1
    except (OSError, ET.ParseError):
        failed = 1
    if not passed and not failed:
        failed = 1
    print(f"system: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
