"""Uncertain inputs and declared scenarios: which depth, and which input to measure first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mtpsim.common.text import counted
from mtpsim.report.document import PointResult, Robust, Uncertainty
from mtpsim.report.formatting import (
    MISSING,
    ROUNDING,
    bracketed,
    decimals_for,
    fixed,
    shared_decimals,
    short_names,
    uncertain_choice,
    value_text,
)
from mtpsim.report.tables.terminal import Column, Row, TextTable, print_table, say

if TYPE_CHECKING:
    from rich.console import Console

WORTH_SAYING = 1e-4
"""Relative gain below which better knowledge of an input would not change the choice."""


def print_uncertain(point: PointResult, console: Console) -> None:
    """Print what uncertain inputs and scenarios mean for the choice of depth."""
    console.print()
    if found := uncertain_choice(point):
        say(console, uncertain_sentence(point, found), "bold")
        print_table(console, uncertain_table(point, found))
        console.print()
        say(console, worth_sentence(found))
    if point.robust:
        say(console, robust_sentence(point.robust))


def uncertain_sentence(point: PointResult, found: Uncertainty) -> str:
    """The depth of lowest expected regret, and how much it may lose."""
    depth = found.depths[found.depth]
    loss = point.depths[found.depth].loss
    high = loss.high if loss else None
    most = MISSING if high is None else f"{max(100 * high, 0.01):.2f} %"
    what = f"{found.draws:,} draws"
    if found.replayed:
        what += " of what the log does not show, and the sample of its requests"
    return (
        f"Including input uncertainty ({what}), depth {found.depth} has the lowest "
        f"expected regret, {percent_text(depth.regret)} (at most {most})."
    )


def greatest_loss(point: PointResult, depth: int) -> str:
    """The upper bound, in %, of what a depth loses against the best one."""
    loss = point.depths[depth].loss
    return MISSING if loss is None or loss.high is None else fixed(100 * loss.high, 2)


def uncertain_table(point: PointResult, found: Uncertainty) -> TextTable:
    """A row per depth: its speedup over uncertain inputs, its expected regret and its bound."""
    names = (
        "depth",
        "speedup, inputs uncertain",
        "± simulation, x",
        "expected regret, %",
        "at most, %",
    )
    rows, decimals = [], max(shared_decimals([entry.speedup for entry in found.depths]), 2)
    simulation = decimals_for(min(entry.simulation for entry in found.depths[1:]))
    for entry in found.depths:
        cells = [
            str(entry.depth),
            bracketed(entry.speedup, decimals),
            fixed(entry.simulation, simulation),
            fixed(100 * entry.regret, 2),
            greatest_loss(point, entry.depth),
        ]
        rows.append(Row(cells, "best" if entry.depth == found.depth else ""))
    return TextTable([Column(name) for name in names], rows)


def input_table(found: Uncertainty) -> TextTable:
    """A row per input, the one of greatest value of information first."""
    names = short_names([entry.key for entry in found.inputs])
    at = f"speedup at depth {found.depth}"
    headers = f"{at}, input low", f"{at}, input high", "best depth there", "value of knowing it, %"
    rows = []
    for entry in found.inputs:
        ends = [fixed(end, 3) for end in (entry.speedup.low, entry.speedup.high)]
        low, high = entry.depth.low, entry.depth.high
        best = str(low) if low == high else f"{low} to {high}"
        rows.append(Row([names[entry.key], *ends, best, fixed(100 * entry.worth, 2)]))
    return TextTable([Column("input", left=True), *map(Column, headers)], rows)


def robust_table(declared: Robust) -> TextTable:
    """A row per depth: its regret in its worst scenario."""
    headers = "depth", "worst regret, %", "upper bound, %", "least speedup"
    rows = []
    for entry in declared.depths:
        regret, safest = entry.regret, entry.depth == declared.depth
        cells = [str(entry.depth), *(fixed(100 * end, 2) for end in (regret.mean, regret.high))]
        cells += [fixed(entry.least_speedup, 3), scenario_text(entry.where)]
        rows.append(Row(cells, "best" if safest else "", safest))
    return TextTable([*map(Column, headers), Column("scenario", left=True)], rows)


def scenario_text(where: Mapping[str, Any]) -> str:
    """The values that a scenario sets."""
    names = short_names(list(where))
    return ", ".join(f"{names[key]} = {value_text(value)}" for key, value in where.items())


def worth_sentence(found: Uncertainty) -> str:
    """The value of perfect information on all inputs, and on each alone."""
    names = short_names([entry.key for entry in found.inputs])
    replay = ["the replay"] if found.replayed else []
    worth = [
        f"{names[entry.key]} {100 * entry.worth:.2f} %"
        for entry in found.inputs
        if entry.worth >= WORTH_SAYING
    ]
    exact = f"Inputs other than {', '.join([*names.values(), *replay])} are taken as exact."
    if found.perfect < ROUNDING:
        return f"No other depth is faster in any of the {found.draws:,} draws. {exact}"
    one = f"one alone: {', '.join(worth)}" if worth else "one alone less than 0.01 %"
    gain = percent_text(found.perfect)
    if not found.inputs:
        return f"Knowing all positions of the replay would gain {gain} on average. {exact}"
    return f"Knowing all of these inputs exactly would gain {gain} on average; {one}. {exact}"


def percent_text(share: float) -> str:
    """A share that isn't negative in percent with two decimals; ``less than 0.01 %``."""
    return f"{100 * share:.2f} %" if share >= WORTH_SAYING / 2 else "less than 0.01 %"


def robust_sentence(declared: Robust) -> str:
    """The depth of least worst-case regret, and its worst scenario."""
    depth = declared.depths[declared.depth]
    return (
        f"Over {counted(declared.scenarios, 'scenario')}, depth {declared.depth} has the smallest "
        f"worst-case regret: {100 * depth.regret.mean:.2f} % (upper bound "
        f"{100 * depth.regret.high:.2f} %), with {scenario_text(depth.where)}."
    )
