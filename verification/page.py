"""The page verification/README.md: every suite with the rows of its last full run."""

from pathlib import Path
from typing import Any

from verification.check import Check, Table, overall, rate_text, verdict

HERE = Path(__file__).resolve().parent
INTRODUCTION = """# Verification

    python verification/run.py                       # everything in full: an hour
    python verification/run.py --smoke               # a small part of everything, as in CI
    python verification/run.py three_ways published  # some suites, in full
    python verification/run.py fuzz --seconds 3600   # search on, with new seeds; counts add up

Each row is one check. Seeds are fixed and were not selected; *false alarm* is the probability that
correct code fails the row on another seed. A *control* is code or a model with a deliberate fault:
it passes when the fault is found, by the same criterion that correct code passes. The command exits
with 1 if a check fails or a fault is not found. Full runs write this page; *kernels* is the hash of
the compiled code that they measured.

| suite | question | page |
|---|---|---|
"""
RECORDED = """
Recorded once, for version 0.1.0: [mutation testing](mutation.md) (with the command to repeat it)
and [a battery of tests of the random words](random_numbers.md). `tests/kernels/test_addresses.py`
checks the addressing of random words in every test run.
"""
PICTURES = {"calibration": "Stated probabilities and what came true"}


def write(suites: list[Any], kept: dict[str, Any]) -> None:
    """Write README.md from the rows ``kept`` by suite."""
    lines = [INTRODUCTION.rstrip("\n")]
    for suite in suites:
        page = f"[{suite.page}]({suite.page})" if suite.page else "-"
        lines.append(f"| `{suite.name}.py` | {suite.title} | {page} |")
    lines.append(RECORDED.rstrip("\n"))
    rates: list[float] = []
    for suite in suites:
        lines += ["", f"## {suite.name}", "", *_rows(kept.get(suite.name), rates)]
        if suite.name in PICTURES and (HERE / f"{suite.name}.png").exists():
            lines += ["", f"![{PICTURES[suite.name]}]({suite.name}.png)"]
    if total := overall(rates):
        lines += ["", f"Probability that correct code fails any row: {rate_text(total)}."]
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


def _rows(kept: Any, rates: list[float]) -> list[str]:
    if not kept:
        return ["No full run yet."]
    checks = [Check(**row) for row in kept["checks"]]
    rates += [check.false_alarm for check in checks]
    table = Table("check", "statement", "found", "false alarm", "s", "")
    for check in checks:
        word = verdict(check) if check.ok else "**FAILS**"
        statement = ("control: " if check.control else "") + check.statement
        cells = (check.name, statement, check.found, rate_text(check.false_alarm))
        table.add(*(cell.replace("|", "\\|") for cell in cells), f"{check.seconds:.1f}", word)
    seconds = sum(check.seconds for check in checks)
    code = f"; {kept['code']}" if "code" in kept else ""
    return [f"{kept['date']}, {seconds:.0f} s on {kept['machine']}{code}.", "", table.markdown()]
