"""Uncertain inputs and declared scenarios on a terminal: which depth, and what to measure first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtpsim.report.document import Document, fixed, short_names, value_text
from mtpsim.report.terminal import new_table, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WORTH_SAYING = 1e-4
"""Relative gain below which knowing an input better would not move the choice."""


def print_uncertain(point: Document, console: Console) -> None:
    """Print what uncertain inputs and scenarios say, where there are any."""
    found, declared = point.get("uncertainty"), point.get("robust")
    if found:
        console.print()
        say(console, uncertain_sentence(found), "bold")
        console.print(_table(found))
        console.print()
        say(console, worth_sentence(found))
    if declared:
        say(console, robust_sentence(declared))


def uncertain_sentence(found: Document) -> str:
    """``With inputs as uncertain as stated ... run depth 2``."""
    depth = found["depths"][found["depth"]]
    return (
        f"With inputs as uncertain as stated ({found['draws']:,} draws), depth {found['depth']} "
        f"loses least: {100 * depth['regret']:.2f} % on average; it is the fastest with "
        f"probability {depth['best']:.2f}."
    )


def _table(found: Document) -> Table:
    table = new_table()
    for name in ("depth", "speedup, inputs uncertain", "± simulation", "P(best)", "regret, %"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in found["depths"]:
        gain = entry["speedup"]
        certain = gain["low"] == gain["high"]
        interval = "" if certain else f" [{gain['low']:.3f}, {gain['high']:.3f}]"
        table.add_row(
            str(entry["depth"]),
            f"{gain['mean']:.3f}{interval}",
            fixed(entry["simulation"], 4),
            fixed(entry["best"], 2),
            fixed(100 * entry["regret"], 2),
            style="bold green" if entry["depth"] == found["depth"] else None,
        )
    return table


def worth_sentence(found: Document) -> str:
    """What it would be worth to know each input for sure."""
    names = short_names([entry["key"] for entry in found["inputs"]])
    worth = [
        f"{names[entry['key']]} {100 * entry['worth']:.2f} %"
        for entry in found["inputs"]
        if entry["worth"] >= WORTH_SAYING
    ]
    if not worth:
        return "No input needs to be known better to choose the depth."
    return (
        f"Knowing all inputs for sure would gain {100 * found['perfect']:.2f} % on average; one "
        f"alone: {', '.join(worth)}."
    )


def robust_sentence(declared: Document) -> str:
    """The depth that loses least in its worst scenario, and where that is."""
    depth = declared["depths"][declared["depth"]]
    names = short_names(list(depth["where"]))
    where = ", ".join(f"{names[key]} = {value_text(v)}" for key, v in depth["where"].items())
    return (
        f"Over {declared['scenarios']:,} scenarios depth {declared['depth']} is safest: it loses "
        f"at most {100 * depth['regret']['mean']:.2f} % (surely below "
        f"{100 * depth['regret']['high']:.2f} %), where {where}."
    )
