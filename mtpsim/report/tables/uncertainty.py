"""Uncertain inputs and declared scenarios on a terminal: which depth, and what to measure first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtpsim.common.text import counted
from mtpsim.report.document import PointResult
from mtpsim.report.formatting import fixed, short_names, value_text
from mtpsim.report.tables.table_model import Column, Row, Sheet
from mtpsim.report.tables.terminal import drawn, say, show_table

if TYPE_CHECKING:
    from rich.console import Console

WORTH_SAYING = 1e-4
"""Relative gain below which knowing an input better would not move the choice."""


def print_uncertain(point: PointResult, console: Console) -> None:
    """Print what uncertain inputs and scenarios say, where there are any."""
    found, declared = point.get("uncertainty"), point.get("robust")
    if found:
        console.print()
        say(console, uncertain_sentence(found), "bold")
        show_table(console, drawn(uncertain_sheet(found), console))
        console.print()
        say(console, worth_sentence(found))
    if declared:
        say(console, robust_sentence(declared))


def uncertain_sentence(found: Any) -> str:
    """``With inputs as uncertain as stated ... run depth 2``."""
    depth = found["depths"][found["depth"]]
    return (
        f"With inputs as uncertain as stated ({found['draws']:,} draws), depth {found['depth']} "
        f"loses least: {100 * depth['regret']:.2f} % on average; it is the fastest with "
        f"probability {depth['best']:.2f}."
    )


def uncertain_sheet(found: Any) -> Sheet:
    """A row a depth: its speedup over uncertain inputs, and its expected loss."""
    names = "depth", "speedup, inputs uncertain", "± simulation", "P(best)", "regret, %"
    rows = []
    for entry in found["depths"]:
        gain = entry["speedup"]
        certain = gain["low"] == gain["high"]
        interval = "" if certain else f" [{gain['low']:.3f}, {gain['high']:.3f}]"
        cells = [
            str(entry["depth"]),
            f"{gain['mean']:.3f}{interval}",
            fixed(entry["simulation"], 4),
            fixed(entry["best"], 2),
            fixed(100 * entry["regret"], 2),
        ]
        rows.append(Row(cells, "best" if entry["depth"] == found["depth"] else ""))
    return Sheet([Column(name) for name in names], rows)


def input_sheet(found: Any) -> Sheet:
    """A row an input, the most worth knowing first."""
    names = short_names([entry["key"] for entry in found["inputs"]])
    at = f"speedup at depth {found['depth']}"
    headers = f"{at}, input low", f"{at}, input high", "best depth there", "worth, %"
    rows = []
    for entry in found["inputs"]:
        ends = [f"{entry['speedup'][end]:.3f}" for end in ("low", "high")]
        best = [str(entry["depth"][end]) for end in ("low", "high")]
        depths = best[0] if best[0] == best[1] else f"{best[0]} to {best[1]}"
        rows.append(Row([names[entry["key"]], *ends, depths, fixed(100 * entry["worth"], 2)]))
    return Sheet([Column("input", left=True), *map(Column, headers)], rows)


def robust_sheet(declared: Any) -> Sheet:
    """A row a depth: what it loses in its worst scenario."""
    headers = "depth", "worst loss, %", "surely below, %", "least speedup"
    rows = []
    for entry in declared["depths"]:
        regret, safest = entry["regret"], entry["depth"] == declared["depth"]
        cells = [str(entry["depth"]), *(fixed(100 * regret[f], 2) for f in ("mean", "high"))]
        cells += [fixed(entry["least_speedup"], 3), where_text(entry["where"])]
        rows.append(Row(cells, "best" if safest else "", safest))
    return Sheet([*map(Column, headers), Column("where", left=True)], rows)


def where_text(where: Any) -> str:
    """What a scenario sets."""
    names = short_names(list(where))
    return ", ".join(f"{names[key]} = {value_text(value)}" for key, value in where.items())


def worth_sentence(found: Any) -> str:
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


def robust_sentence(declared: Any) -> str:
    """The depth that loses least in its worst scenario, and where that is."""
    depth = declared["depths"][declared["depth"]]
    where = where_text(depth["where"])
    return (
        f"Over {counted(declared['scenarios'], 'scenario')} depth {declared['depth']} is safest: "
        f"it loses at most {100 * depth['regret']['mean']:.2f} % (surely below "
        f"{100 * depth['regret']['high']:.2f} %), where {where}."
    )
