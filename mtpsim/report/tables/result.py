"""The result as tables on a terminal; the widest layout that the console has room for.

Every table is readable without colour: the best depth carries a mark, verdicts are words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mtpsim.common.text import counted
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.formatting import (
    MISSING,
    best_depth,
    bracketed,
    fixed,
    in_percent,
    known,
    level,
    plus_minus,
    point_label,
    shared_decimals,
    short_names,
    swept_keys,
    title,
    value_text,
)
from mtpsim.report.tables.batch_text import batch_sentences, sweep_heading
from mtpsim.report.tables.break_even_text import margins
from mtpsim.report.tables.definitions import findings, print_sweep_trial, print_trial
from mtpsim.report.tables.policies import print_policies, print_sweep_policies
from mtpsim.report.tables.request_text import policy_tail_sentence, tail_sentence, variance_sentence
from mtpsim.report.tables.table_model import Column, Row, Sheet
from mtpsim.report.tables.terminal import drawn, say, show_widest
from mtpsim.report.tables.uncertainty import print_uncertain

if TYPE_CHECKING:
    from rich.console import Console

Cells = list[str]
Interval = Callable[[Any | None, int], str]

MOST_TABLES = 12
"""A sweep of more points shows its summary alone."""

GROUPS = {"length": "accept_length", "time": "round_time", "speedup": "speedup", "gain": "marginal"}
LEAST = {"speedup": 2, "gain": 2}
"""Decimals, however wide the intervals: the closed form beside them has its own."""
HEADERS = {
    "length": "accept\nlength",
    "time": "round\ntime, ms",
    "speedup": "speedup",
    "gain": "marginal\ngain",
    "break-even": "break-\neven p",
    "error": "theory\nerror, %",
    "verdict": "theory\nverdict",
    "advice": "advice",
}
LAYOUTS: tuple[tuple[str, ...], ...] = (
    (
        *("length[]", "length.theory", "length.exact", "time[]", "time.theory"),
        *("speedup[]", "speedup.theory", "speedup.exact", "gain[]"),
        *("break-even", "advice", "error[]", "verdict"),
    ),
    (
        *("length±", "length.theory", "length.exact", "time±", "time.theory"),
        *("speedup[]", "speedup.theory", "speedup.exact", "gain±"),
        *("break-even", "advice", "error±", "verdict"),
    ),
    (
        *("length±", "length.theory", "length.exact", "time±", "speedup[]", "speedup.theory"),
        *("speedup.exact", "gain±", "break-even", "verdict"),
    ),
    (
        *("length±", "time±", "speedup[]", "speedup.theory", "speedup.exact", "gain±"),
        *("break-even", "verdict"),
    ),
    ("length±", "time±", "speedup[]", "speedup.theory", "gain±", "break-even", "verdict"),
    ("length±", "time±", "speedup±", "speedup.theory", "gain±", "break-even", "verdict"),
    ("length±", "speedup±", "speedup.theory", "gain±", "break-even", "verdict"),
    ("length±", "speedup±", "speedup.theory", "gain±", "verdict"),
    ("speedup±", "speedup.theory", "verdict"),
    ("speedup±",),
)
"""From the richest to the barest: ``[]`` and ``±`` are the two ways to write an interval."""


def render(result: ResultDocument, console: Console) -> None:
    """Print the whole result: a table a point with its advice, a summary of a sweep, warnings."""
    points = result["points"]
    if title(result):
        console.print(title(result), style="bold", markup=False, highlight=False)
    shown = points if len(points) <= MOST_TABLES else []
    for point in shown:
        _print_point(result, point, console)
    if len(points) > 1:
        _print_summary(result, console, bool(shown))
    _print_warnings(result.get("warnings") or [], console)


def _print_point(result: ResultDocument, point: PointResult, console: Console) -> None:
    alone = len(result["points"]) == 1
    label = point_label(result, point)
    console.print()
    if label:
        say(console, label, "bold")
    say(console, sample_sentence(result, point), "dim")
    show_widest(console, LAYOUTS, lambda layout: drawn(depth_sheet(point, layout), console))
    console.print()
    advice = point.get("advice") or {}
    if advice.get("sentence"):
        say(console, advice["sentence"], "bold")
    if advice.get("why"):
        say(console, f"Why: {advice['why']}")
    if alone and margins(point):
        say(console, " ".join(margins(point)))
    print_uncertain(point, console)
    print_policies(point, console)
    if alone and point.get("trial"):
        console.print()
        print_trial(point, console)
    of_one = tail_sentence(point), policy_tail_sentence(point), variance_sentence(point)
    for sentence in [*findings(point), *(of_one if alone else ()), undecided_sentence(point)]:
        if sentence:
            say(console, sentence)
    _print_warnings(point.get("warnings") or [], console)


def sample_sentence(result: ResultDocument, point: PointResult) -> str:
    """What the numbers rest on."""
    text = f"{counted(point['requests'], 'request')}, {counted(point['rounds'], 'round')}, "
    text += f"{level(result, [point])} intervals"
    if point.get("interrupted"):
        return text + "; interrupted before the end"
    # None means that no precision was asked for.
    missed = point.get("precision_reached") is False
    return text + "; precision not reached" if missed else text


def undecided_sentence(point: PointResult) -> str:
    """A sentence on the depths whose verdict is open, with what would settle them all."""
    errors = {depth["depth"]: depth.get("theory_error") or {} for depth in point["depths"]}
    undecided = {k: e for k, e in errors.items() if e.get("verdict") == "undecided"}
    if not undecided:
        return ""
    depths = ", ".join(str(k) for k in undecided)
    text = f"Whether the theory holds is undecided at depth {depths}"
    needed = [int(error.get("requests_needed") or 0) for error in undecided.values()]
    if not all(needed):
        return text + "."
    return text + f"; {counted(max(needed), 'more request')} would settle it."


def _print_warnings(warnings: Sequence[str], console: Console) -> None:
    for warning in warnings:
        say(console, f"warning: {warning}", "yellow")


def depth_sheet(point: PointResult, layout: Sequence[str]) -> Sheet:
    """A row a depth, with the columns of a layout; the depth to run is marked."""
    best = best_depth(point)
    columns = [Column("\ndepth"), *(_column(name) for name in layout)]
    cells = [_cells(point, name) for name in layout]
    rows = []
    for row, depth in enumerate(point["depths"]):
        number = depth["depth"]
        texts = [str(number), *(column[row] for column in cells)]
        rows.append(Row(texts, "best" if number == best else "", number == best))
    return Sheet(columns, rows)


def _column(name: str) -> Column:
    """A theory or exact column stands behind the simulated one that carries the group's name."""
    group, _, field = name.partition(".")
    plain = HEADERS[group.rstrip("[]±")]
    header = field or plain
    header = header if "\n" in header else f"\n{header}"
    full = f"{Column(plain).name}, {field}" if field else ""
    return Column(header, full, faint=bool(field))


def _cells(point: PointResult, name: str) -> Cells:
    """Texts of a column, one a depth."""
    depths = point["depths"]
    if name == "break-even":
        return [_rate_that_pays(depth.get("break_even_rate")) for depth in depths]
    if name == "verdict":
        return [(depth.get("theory_error") or {}).get("verdict") or MISSING for depth in depths]
    if name == "advice":
        return [
            MISSING,
            *(point.get("advice") or {}).get("verdicts", [MISSING] * (len(depths) - 1)),
        ]
    if name.startswith("error"):
        return _percent_cells([depth.get("theory_error") for depth in depths], name)
    group, _, field = name.partition(".")
    quantity = [depth.get(GROUPS[group.rstrip("[]±")]) for depth in depths]
    decimals = max(shared_decimals(quantity), LEAST.get(group.rstrip("[]±"), 0))
    if field:
        return [fixed((cell or {}).get(field), decimals) for cell in quantity]
    return [_interval(name)(cell, decimals) for cell in quantity]


def _rate_that_pays(rate: Any) -> str:
    """A rate; ``none`` where it would have to be above 1, which no rate is."""
    return "none" if known(rate) and rate > 1 else fixed(rate, 3)


def _interval(name: str) -> Interval:
    return bracketed if name.endswith("[]") else plus_minus


def _percent_cells(errors: Sequence[Any | None], name: str) -> Cells:
    """Relative errors in percent, with the interval that the column's name asks for."""
    scaled = [in_percent(error) for error in errors]
    decimals = min(shared_decimals(scaled), 3)  # an identity has an error of 1e-14
    return [_interval(name)(cell, decimals) for cell in scaled]


def _print_summary(result: ResultDocument, console: Console, tables_above: bool) -> None:
    """One row a point: what it sets, its best depth, how fast, and whether the theory holds."""
    console.print()
    say(console, f"All {len(result['points'])} points", "bold")
    show_widest(console, ("[]", "±"), lambda kind: drawn(summary_sheet(result, kind), console))
    console.print()
    if any(point.get("trial") for point in result["points"]):
        print_sweep_trial(result, console)
        console.print()
    print_sweep_policies(result, console)
    for sentence in [f"{sweep_heading(result)}.", *batch_sentences(result)]:
        say(console, sentence, "bold")
    if result.get("by_batch"):
        console.print()
    say(console, judged_together(result), "dim")
    warnings = [] if tables_above else warnings_of_points(result)
    if warnings:
        console.print()
    _print_warnings(warnings, console)


def judged_together(result: ResultDocument) -> str:
    """How many verdicts on the theory a sweep gives at once."""
    judged = sum(len(point["depths"]) - 1 for point in result["points"])
    return f"Verdicts on the theory are judged together, {judged} of them (Holm)."


def summary_sheet(result: ResultDocument, kind: str = "[]") -> Sheet:
    """A row a point of a sweep: its best depth, how fast, and whether the theory holds there.

    Args:
        result: of a sweep.
        kind: how intervals are written, ``[]`` or ``±``.

    """
    names = short_names(swept_keys(result))
    headers = "best\ndepth", "\nspeedup", "theory\nerror, %", "\ntheory"
    columns = [Column(f"\n{name}", folds=True) for name in names.values()]
    columns += map(Column, headers)
    best = [_best_entry(point) for point in result["points"]]
    speedups = [entry.get("speedup") for entry in best]
    decimals = shared_decimals(speedups)
    errors = _percent_cells([entry.get("theory_error") for entry in best], f"error{kind}")
    rows = []
    for point, entry, speedup, error in zip(result["points"], best, speedups, errors, strict=True):
        values = point.get("set") or {}
        row = [value_text(values.get(key)) for key in names]
        row += [str(entry.get("depth", MISSING)), _interval(kind)(speedup, decimals), error]
        rows.append(Row([*row, (entry.get("theory_error") or {}).get("verdict") or MISSING]))
    return Sheet(columns, rows)


def _best_entry(point: PointResult) -> Any:
    """The entry of the best depth; empty where no depth is best."""
    best = best_depth(point)
    return next((depth for depth in point["depths"] if depth["depth"] == best), {})


def warnings_of_points(result: ResultDocument) -> list[str]:
    """Each warning once, with the points that it belongs to."""
    labels: dict[str, list[str]] = {}
    for point in result["points"]:
        for warning in point.get("warnings") or []:
            labels.setdefault(warning, []).append(point_label(result, point))
    total = len(result["points"])
    where = {w: "every point" if len(ls) == total else "; ".join(ls) for w, ls in labels.items()}
    return [f"{warning} ({place})" for warning, place in where.items()]
