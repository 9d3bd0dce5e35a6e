"""The page of the verification: what is checked, how, and the rows of the last full runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from verification.check import Check, Table, overall, rate_in_words

HERE = Path(__file__).resolve().parent
INTRODUCTION = """# Verification

    python verification/run.py                       # everything in full: 90 minutes
    python verification/run.py --smoke               # a small part of everything, as CI does
    python verification/run.py three_ways published  # some of it, in full

Each line is a statement that was tried. Seeds are fixed, and were not chosen: *false alarm* is how
often right code would fail the line on other seeds. A *control* is code or a model with a fault put
in on purpose: it passes when the fault is found, by the very judgement that right code passes.
The command ends with 1 where a check fails or a control passes unnoticed, and writes this page.

| | asks | page |
|---|---|---|
"""
PICTURES = {
    "random_numbers": "p-values of random words, right and faulty ones",
    "three_ways": "z-scores of random chains against the normal law",
    "published": "Published numbers and ours",
}


def write(suites: list[Any], kept: dict[str, Any]) -> None:
    """Write README.md from the rows ``kept`` by suite."""
    lines = [INTRODUCTION.rstrip("\n")]
    for suite in suites:
        pages = [f"[{page}]({page})" for page in suite.pages if (HERE / page).exists()]
        lines.append(f"| `{suite.name}.py` | {suite.title} | {', '.join(pages) or '-'} |")
    rates: list[float | None] = []
    for suite in suites:
        lines += ["", f"## {suite.name}", "", *_rows(suite, kept.get(suite.name), rates)]
        picture = HERE / f"{suite.name}.png"
        if suite.name in PICTURES and picture.exists():
            lines += ["", f"![{PICTURES[suite.name]}]({picture.name})"]
    total = overall(rates)
    if total:
        silent = sum(rate is None for rate in rates)
        said = (
            f"All lines together: right code fails one of them about once in {1 / total:,.0f} runs"
        )
        lines += ["", said + (f"; {silent} do not say." if silent else ".")]
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


def _rows(suite: Any, kept: Any, rates: list[float | None]) -> list[str]:
    if not kept:
        pages = [page for page in suite.pages if (HERE / page).exists()]
        if not pages:
            return ["No full run by this command yet."]
        rates.append(suite.false_alarm)
        told = f"No full run by this command yet; its page is of {_date(pages[0])}."
        return [f"{told} False alarm: {rate_in_words(suite.false_alarm)}."]
    checks = [Check(**row) for row in kept["checks"]]
    rates += [check.false_alarm for check in checks]
    table = Table("check", "statement", "found", "false alarm", "s", "")
    for check in checks:
        word = ("found" if check.control else "holds") if check.ok else "**FAILS**"
        said = ("control: " if check.control else "") + check.statement
        cells = (check.name, said, check.result, rate_in_words(check.false_alarm))
        table.add(*(cell.replace("|", "\\|") for cell in cells), f"{check.seconds:.1f}", word)
    seconds = sum(check.seconds for check in checks)
    return [f"{kept['date']}, {seconds:.0f} s on {kept['machine']}.", "", table.markdown()]


def _date(page: str) -> str:
    """Day of the last commit that touched a page."""
    command = ["git", "log", "-1", "--format=%cs", "--", str(HERE / page)]
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=HERE).stdout.strip()
    except OSError:
        return "an unknown day"
