"""``mtpsim compare``: what differs between two runs, in their inputs and in their answers."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtpsim.cli.run import completeness
from mtpsim.common.text import counted
from mtpsim.report.document import Interval
from mtpsim.report.formatting import (
    decimals_for,
    fixed,
    known,
    set_label,
    shared_decimals,
    value_text,
)
from mtpsim.report.tables.terminal import Column, Row, TextTable, console_on, print_table, say
from mtpsim.results.comparison import PointChange, ResultComparison, compare
from mtpsim.runs import directory as store

if TYPE_CHECKING:
    from rich.console import Console

MANY_POINTS = 50  # of which all are printed
INDEPENDENT = "Intervals of the change are of independent runs."
UNPAIRED = (
    "Unpaired: intervals of the change are of independent runs. Both have the same seed, so they "
    "are wider than needed where the acceptance model is the same too."
)


def run(options: argparse.Namespace) -> int:
    """Print what differs; returns the exit code."""
    folders = [Path(name) for name in (options.before, options.after)]
    before, after = (store.read_finished(folder)[1] for folder in folders)
    found = compare(before.data, after.data)
    if options.json:
        print(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        _print(found, every_point=options.all)
    return max(map(completeness, folders, (before, after)))


def _print(found: ResultComparison, *, every_point: bool) -> None:
    console = console_on(sys.stdout)
    if not found.inputs:
        say(console, "The inputs are the same.")
    else:
        columns = [Column("input", left=True), Column("before"), Column("after")]
        rows = [Row([c.key, _text(c.before), _text(c.after)]) for c in found.inputs]
        print_table(console, TextTable(columns, rows))
    points = found.points
    if len(points) > 1:
        say(console, _summary(points))
    if len(points) > MANY_POINTS and not every_point:
        points = [point for point in points if point.changed]
        say(
            console, "Only points whose recommendation changes are printed; --all prints every one."
        )
    for point in points:
        say(console, "")
        _print_point(point, console, named=len(found.points) > 1)
    if found.points:
        seeds_differ = any(change.key == "simulation.seed" for change in found.inputs)
        say(console, INDEPENDENT if seeds_differ else UNPAIRED)
    if found.only_one:
        say(console, f"Points that only one of the runs has: {found.only_one}.")


def _summary(points: list[PointChange]) -> str:
    """How many points change their recommendation, and how many differences are significant."""
    changed = sum(point.changed for point in points)
    significant = [one for point in points for one in point.significant]
    return (
        f"{changed:,} of {counted(len(points), 'point')} change the recommendation; "
        f"{sum(significant):,} of {counted(len(significant), 'difference')} are significant (the "
        "interval excludes 0, each taken alone)."
    )


def _text(value: Any) -> str:
    return "not given" if value is None else value_text(value)


def _print_point(point: PointChange, console: Console, *, named: bool) -> None:
    if named:
        say(console, f"{set_label(point.set)}:")
    if point.best:
        _print_served(point, point.best, console)
        return
    columns = [Column(name) for name in ("depth", "speedup before", "speedup after")]
    columns += [Column("change, %"), Column("exact change, %", faint=True)]
    pairs = zip(("before", "after"), point.objectives, strict=True)
    quantiles = {f"at {at} {run}": f"objective_{run}" for run, at in pairs if at != "mean"}
    columns += [Column(name) for name in quantiles]
    rows = [
        Row(
            [
                str(depth.depth),
                fixed(depth.before.mean, 4),
                fixed(depth.after.mean, 4),
                _percent(depth.change.mean, depth.change.low, depth.change.high),
                _percent(depth.exact),
                *(_mean(getattr(depth, field)) for field in quantiles.values()),
            ],
            tone="best" if depth.depth == point.after else "",
        )
        for depth in point.depths
    ]
    print_table(console, TextTable(columns, rows))
    say(console, f"{_depths(point)}{_selection(point)}")


def _print_served(point: PointChange, best: tuple[str, str], console: Console) -> None:
    columns = [Column("depth", left=True), Column("quantity", left=True)]
    columns += [Column(name) for name in ("before", "after", "change, %")]
    rows = []
    for one in point.served:
        digits = shared_decimals([one.before, one.after])
        cells = [fixed(cell.mean, digits) for cell in (one.before, one.after)]
        change = _percent(one.change.mean, one.change.low, one.change.high)
        rows.append(Row([one.name, one.quantity, *cells, change]))
    print_table(console, TextTable(columns, rows))
    before, after = best
    text = f"changes from {before} to {after}." if before != after else f"is {after} in both."
    say(console, f"What is recommended {text}")


def _mean(cell: Interval | None) -> str:
    return fixed(cell.mean if cell else None, 4)


def _percent(*ends: float | None) -> str:
    """``+1.23 [1.20, 1.26]``, or ``+1.23`` for a number without an interval."""
    given = [100 * end for end in ends if known(end)]
    if len(given) < len(ends):
        return "-"
    decimals = max(decimals_for((given[2] - given[1]) / 2), 2) if len(given) > 1 else 2
    mean, *interval = (f"{value:z.{decimals}f}" for value in given)
    sign = "+" if given[0] > 0 and float(mean) else ""
    return f"{sign}{mean}" + (f" [{', '.join(interval)}]" if interval else "")


def _selection(point: PointChange) -> str:
    """What depths are selected by; empty where it is the mean speed in both."""
    if set(point.objectives) == {"mean"}:
        return ""
    before, after = (
        "mean speed" if name == "mean" else f"the {name} of request times"
        for name in point.objectives
    )
    return f" It is selected by {before}" + (f", then by {after}." if after != before else ".")


def _depths(point: PointChange) -> str:
    if point.before is None or point.after is None:
        return "No depth is recommended in at least one of the runs."
    if point.before == point.after:
        return f"Depth {point.after} is recommended in both."
    return f"The recommended depth changes from {point.before} to {point.after}."
