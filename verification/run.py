"""All of the verification: one command, one table.

    python verification/run.py                       # everything in full: 90 minutes; the page
    python verification/run.py --smoke               # a small part of everything, for CI
    python verification/run.py three_ways published  # some of it

Each line is a statement that was tried, with the chance that right code fails it. A negative
control is code with a fault put in on purpose: it passes when the fault is found. Ends with 1 where
a check fails. The full run writes verification/README.md; suites that were not run keep their rows.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder: its coverage.py would hide the library of that name
sys.path.append(str(ROOT / "tests"))  # the slow twins

from verification.check import Check, overall, rate_in_words  # noqa: E402

LAST = HERE / "last_run.json"


@dataclass(frozen=True)
class Suite:
    """A module ``NAME.py`` of this folder, with ``checks(smoke)`` or else run as a script.

    Attributes:
        name: of the module.
        title: what it asks.
        pages: what a full run of it writes.
        false_alarm: of a script as a whole, by its own account.

    """

    name: str
    title: str
    pages: tuple[str, ...] = ()
    false_alarm: float | None = None

    @property
    def path(self) -> Path:
        """The module's file."""
        return HERE / f"{self.name}.py"

    def checks(self, smoke: bool) -> Iterator[Check]:
        """Run it."""
        if "def checks(" in self.path.read_text():
            yield from importlib.import_module(f"verification.{self.name}").checks(smoke)
        else:
            yield self._script(smoke)

    def _script(self, smoke: bool) -> Check:
        """A script is one check: it ends with 0 where no row of its table is an alarm."""
        command = [sys.executable, str(self.path), *["--smoke"] * smoke]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        ended = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        alarms = [line for line in ended.stderr.splitlines() if line.startswith("ALARM")]
        rows = sum(line.startswith("|") and "---" not in line for line in ended.stdout.splitlines())
        result = "; ".join(alarms) or f"{rows} rows without an alarm"
        if ended.returncode and not alarms:
            result = f"ended with {ended.returncode}: {(ended.stderr or ended.stdout)[-300:]}"
        return Check(self.name, self.title, result, ended.returncode == 0, self.false_alarm)


SUITES = [
    Suite("random_numbers", "Are the random words right, and independent?", ("random_numbers.md",)),
    Suite("three_ways", "Kernel = slow twin = exact, on random chains", ("three_ways.md",)),
    Suite("published", "Does the engine give what was published?", ("published.md",)),
    Suite("grid", "Coverage over models, tails, lengths and quantities", ("grid.md",)),
    # A row of the scripts alarms once in 15,000 (coverage, fit) or 10,000 (stopping).
    Suite("coverage", "Do intervals hold the truth as often as they say?", ("results.md",), 3e-3),
    Suite("stopping", "Also of runs that stop at a precision?", ("stopping.md",), 8e-4),
    Suite("fit", "Also of fitted models?", ("fit.md",), 7e-4),
    Suite("mutation", "Do the tests notice faults in the code?", ("mutation.md",)),
    Suite("fuzz", "Does strange input end with a sentence?", ("fuzz.md",)),
]


def present() -> list[Suite]:
    """Suites whose module is there."""
    return [suite for suite in SUITES if suite.path.exists()]


def timed(suite: Suite, smoke: bool) -> Iterator[Check]:
    """Checks with the time that each took; a suite that breaks is a check that failed."""
    begun = time.perf_counter()
    checks = suite.checks(smoke)
    while True:
        try:
            check = next(checks)
        except StopIteration:
            return
        except Exception as error:
            broken = f"{type(error).__name__}: {error}"
            yield Check(suite.name, suite.title, broken, False, 0.0, False)
            return
        now = time.perf_counter()
        yield replace(check, seconds=now - begun)
        begun = now


def show(done: dict[str, list[Check]]) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Verification", title_justify="left", show_lines=False)
    for name, how in {"check": "left", "statement": "left", "found": "left"}.items():
        table.add_column(name, justify=how, overflow="fold")  # type: ignore[arg-type]
    for name in ("false alarm", "s", ""):
        table.add_column(name, justify="right")
    for name, checks in done.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]")
        for check in checks:
            control = "control: " if check.control else ""
            table.add_row(
                f"  {check.name}",
                control + check.statement,
                check.result,
                rate_in_words(check.false_alarm),
                f"{check.seconds:.1f}",
                verdict(check),
            )
    Console(width=None if sys.stdout.isatty() else 170).print(table)
    print(summary([check for checks in done.values() for check in checks]))


def verdict(check: Check) -> str:
    """In a word."""
    return ("found" if check.control else "holds") if check.ok else "FAILS"


def summary(checks: list[Check]) -> str:
    """How many of what, and how often right code would fail."""
    failed = [check.name for check in checks if not check.ok]
    controls = sum(check.control for check in checks)
    rate = overall(check.false_alarm for check in checks)
    silent = sum(check.false_alarm is None for check in checks)
    text = f"{len(checks) - controls} checks and {controls} negative controls in "
    text += f"{sum(check.seconds for check in checks):.0f} s. Right code fails one of them by "
    text += f"chance about once in {1 / rate:,.0f} runs" if rate else "chance never"
    text += f" ({silent} do not say)" if silent else ""
    text += " (on other seeds; these are fixed)."
    return text + (f" FAILED: {', '.join(failed)}." if failed else " All hold.")


def machine() -> str:
    """Processor and versions, in a line."""
    import numba
    import numpy
    import scipy

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    versions = f"NumPy {numpy.__version__}, Numba {numba.__version__}, SciPy {scipy.__version__}"
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def record(name: str, checks: list[Check]) -> None:
    """Keep the rows of a full run, and write the page from all that were ever kept."""
    from verification.page import write

    kept = json.loads(LAST.read_text()) if LAST.exists() else {}
    kept[name] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "checks": [asdict(check) for check in checks],
    }
    LAST.write_text(json.dumps(kept, indent=1) + "\n")
    write(present(), kept)


def main() -> int:
    """Run, show, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [suite.name for suite in present()]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--smoke", action="store_true", help="a small part of each")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in names]:
        parser.error(f"there is no {unknown[0]!r}; there are {', '.join(names)}")
    os.chdir(ROOT)
    done: dict[str, list[Check]] = {}
    for suite in present():
        if asked.names and suite.name not in asked.names:
            continue
        done[suite.name] = []
        for check in timed(suite, asked.smoke):
            done[suite.name].append(check)
            line = f"{suite.name}: {check.name}: {verdict(check)} ({check.seconds:.1f} s)"
            print(line, file=sys.stderr, flush=True)
        if not asked.smoke:
            record(suite.name, done[suite.name])
    show(done)
    return int(any(not check.ok for checks in done.values() for check in checks))


if __name__ == "__main__":
    sys.exit(main())
