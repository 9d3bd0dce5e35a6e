"""Run the verification suites and print a line per check.

    python verification/run.py                       # everything in full: an hour; the page
    python verification/run.py --smoke               # a small part of everything, for CI
    python verification/run.py three_ways published  # some suites
    python verification/run.py fuzz --seconds 3600   # search on, with new seeds; counts add up

Each line is one check, with the probability that correct code fails it. A negative control is code
with a deliberate fault: it passes when the fault is found. Exits with 1 if a check fails. A full
run writes verification/README.md; suites that were not run keep their rows.
"""

import argparse
import importlib
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder: its coverage.py would hide the library of that name

import mtpsim  # noqa: E402
from mtpsim.kernels.jit import kernel_hash  # noqa: E402
from verification.check import Check, added, overall, rate_text, verdict  # noqa: E402
from verification.page import write  # noqa: E402

LAST = HERE / "last_run.json"


class Suite(NamedTuple):
    """A module ``name`` of this folder, the question it answers, and the page of a full run."""

    name: str
    title: str
    page: str = ""

    def checks(self, smoke: bool) -> Iterator[Check]:
        """Run it."""
        yield from importlib.import_module(f"verification.{self.name}").checks(smoke)

    def search(self, seconds: float, number: int) -> Iterator[Check]:
        """Search for faults for so long, on seeds that differ by ``number``."""
        yield from importlib.import_module(f"verification.{self.name}").search_on(seconds, number)


SUITES = [
    Suite("three_ways", "Do kernel, naive simulator and exact solution agree?", "three_ways.md"),
    Suite("published", "Does the engine reproduce published numbers?", "published.md"),
    Suite("grid", "Do intervals of six quantities cover the exact value?", "grid.md"),
    Suite("coverage", "Do intervals of the speedup and the diagnostics?", "results.md"),
    Suite("server_coverage", "Do intervals of a server under load?", "server_coverage.md"),
    Suite("stopping", "Do intervals of runs that stop at a precision?", "stopping.md"),
    Suite("calibration", "Are decisions as right as they say?", "calibration.md"),
    Suite("fit", "Do intervals of fitted models?", "fit.md"),
    Suite("replay", "Do posterior replays hold the truth at other depths?", "replay.md"),
    Suite("fuzz", "Does damaged input end with an error message?"),
    Suite("interrupts", "Do interrupted runs end, and resume to the same numbers?"),
]


def timed(suite: Suite, checks: Iterator[Check]) -> Iterator[Check]:
    """Checks of a suite with the time that each took; an exception in a suite is a failed check."""
    begun = time.perf_counter()
    try:
        for check in checks:
            now = time.perf_counter()
            yield replace(check, seconds=now - begun)
            begun = now
    except Exception as error:
        yield Check(suite.name, suite.title, f"{type(error).__name__}: {error}", False)


def summary(checks: list[Check]) -> str:
    """Number of checks, false alarm rate and failures."""
    failed = [check.name for check in checks if not check.ok]
    controls = sum(check.control for check in checks)
    rate = overall(check.false_alarm for check in checks)
    return (
        f"{len(checks) - controls} checks and {controls} negative controls in "
        f"{sum(check.seconds for check in checks):.0f} s. Probability that correct code fails any "
        f"of them on other seeds (these are fixed): {rate_text(rate)}. "
        + (f"FAILED: {', '.join(failed)}." if failed else "All passed.")
    )


def machine() -> str:
    """Processor and versions, on one line."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", info)
    cpu = model[1] if model else platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {version(name.lower())}" for name in ("NumPy", "Numba", "SciPy"))
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def saved() -> dict[str, Any]:
    """The rows of the last full run of each suite."""
    return json.loads(LAST.read_text()) if LAST.exists() else {}


def record(name: str, checks: list[Check], *, searches: int = 0) -> None:
    """Save the rows of a full run, and write the page from all saved rows.

    Args:
        name: of the suite.
        checks: of the run.
        searches: number of the search that the run continued, whose counts are added to those
            saved; 0 for a run from the beginning.
    """
    kept = saved()
    if searches:
        before = {row["name"]: Check(**row) for row in kept.get(name, {}).get("checks", ())}
        found = {check.name: check for check in checks}
        sums = {key: added(before[key], found[key]) for key in found.keys() & before.keys()}
        checks = list((before | found | sums).values())
    kept[name] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "code": f"mtpsim {mtpsim.__version__}, kernels {kernel_hash()}",
        "searches": searches,
        "checks": [asdict(check) for check in checks],
    }
    LAST.write_text(json.dumps(kept, indent=1) + "\n")
    write(SUITES, kept)


def main() -> int:
    """Run, show, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [suite.name for suite in SUITES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--smoke", action="store_true", help="a small part of each")
    size.add_argument(
        "--seconds", type=float, help="search on for so long, and add to the counts (fuzz)"
    )
    asked = parser.parse_args()
    if asked.seconds and asked.names != ["fuzz"]:
        parser.error("--seconds needs the suite fuzz")
    if unknown := [name for name in asked.names if name not in names]:
        parser.error(f"unknown suite {unknown[0]!r}; one of {', '.join(names)}")
    os.chdir(ROOT)
    done: list[Check] = []
    for suite in SUITES:
        if asked.names and suite.name not in asked.names:
            continue
        print(f"{suite.name}: {suite.title}")
        number = saved().get(suite.name, {}).get("searches", 0) + 1 if asked.seconds else 0
        running = suite.search(asked.seconds, number) if number else suite.checks(asked.smoke)
        checks = []
        for check in timed(suite, running):
            checks.append(check)
            name = ("control: " if check.control else "") + check.name
            print(f"  {verdict(check)}  {name}: {check.found} ({check.seconds:.1f} s)", flush=True)
        if not asked.smoke:
            record(suite.name, checks, searches=number)
        done += checks
    print(summary(done))
    return int(any(not check.ok for check in done))


if __name__ == "__main__":
    sys.exit(main())
