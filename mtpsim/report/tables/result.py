"""A result on a terminal: a table per point with its advice, a summary of a sweep, warnings.

Every table is readable without colour: the best depth carries a mark, verdicts are words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mtpsim.common.text import counted
from mtpsim.report.document import BreakEvenTime, Interval, PointResult, ResultDocument
from mtpsim.report.formatting import (
    MISSING,
    Quantities,
    advised_depth,
    best_depth,
    by_quantile,
    cells_of,
    decimals_for,
    fixed,
    half_width,
    in_percent,
    indifference,
    known,
    level,
    plus_minus,
    point_label,
    shared_decimals,
    times_known,
    title,
    uncertain_choice,
)
from mtpsim.report.tables import diagnostics
from mtpsim.report.tables.terminal import (
    Column,
    Row,
    TextTable,
    VerdictText,
    print_table,
    print_warnings,
    say,
)

if TYPE_CHECKING:
    from rich.console import Console

MOST_TABLES = 12
"""Of a sweep of more points only the summary is printed."""
MOST_STEPS = 6
"""Of more steps those near the best depth stand beside the advice."""
BREAK_EVEN = "Break-even values of a step, one input at a time"
QUANTITIES: dict[str, Quantities] = {
    "length": "accept_length",
    "time": "round_time",
    "speedup": "speedup",
    "gain": "marginal",
    "objective": "objective",
}
LEAST = {"speedup": 2, "gain": 2, "objective": 2}
"""Least decimals, however wide the intervals: the closed form beside them is exact."""
HEADERS = {
    "length": "accept\nlength",
    "time": "round\ntime, ms",
    "speedup": "speedup",
    "gain": "gain over\ndepth k-1",
    "break-even": "break-\neven p",
    "step": "step\nverdict",
    "error": "closed-\nform\nerror, %",
    "verdict": "closed-\nform\nverdict",
    "theory": "closed\nform",
    "exact": "exact",
}
WIDE = (
    *("length", "length.theory", "length.exact", "time", "time.theory"),
    *("speedup", "speedup.theory", "speedup.exact", "gain", "objective"),
    *("break-even", "step", "error", "verdict"),
)
NARROW = ("length.mean", "time.mean", "speedup", "speedup.theory", "objective", "step", "verdict")
"""Fits 80 columns; ``.mean`` is an estimate without its interval."""
DROPPED = ("speedup.theory", "verdict", "length.mean", "time.mean")
"""What a narrower terminal lacks, the first first; the verdict on each step is never dropped."""
OF_MEAN_SPEED = "gain", "break-even"
"""Columns that may contradict the verdicts where depths are compared at a quantile."""
NARROW_DECIMALS = {"length": 3, "time": 2, "speedup": 4, "gain": 4, "objective": 4}


def render(result: ResultDocument, console: Console, *, every: bool = False) -> None:
    """Print the whole result; ``every``: also a row per point of a long sweep."""
    if title(result):
        say(console, title(result), "bold")
    if any(point.serving for point in result.points):
        from mtpsim.report.tables.serving import print_served

        print_served(result, console)
        return
    shown = len(result.points) <= MOST_TABLES
    for point in result.points if shown else ():
        _print_point(result, point, console)
    if result.shapes:
        from mtpsim.report.tables import shapes

        console.print()
        heading, table = shapes.titled_table(result.shapes)
        say(console, f"{heading}:", "bold")
        print_table(console, table)
        say(console, shapes.shapes_sentence(result.shapes))
    if len(result.points) > 1:
        from mtpsim.report.tables.sweep import print_summary

        print_summary(result, console, only_shared=shown, every=every)
    else:
        print_warnings(console, result.warnings or [])


def _print_point(result: ResultDocument, point: PointResult, console: Console) -> None:
    alone = len(result.points) == 1
    console.print()
    if label := point_label(result, point):
        say(console, label, "bold")
    say(console, sample_sentence(result, point), "dim")
    narrow = []
    for dropped in range(len(DROPPED) + 1):
        layout = [name for name in NARROW if name not in DROPPED[:dropped]]
        narrow.append(depth_table(point, layout, NARROW_DECIMALS))
    print_table(console, depth_table(point, WIDE), *narrow)
    console.print()
    if point.adaptive:
        from mtpsim.report.tables.policies import verdict

        say(console, verdict(point.adaptive, indifference(result, point)), "bold")
    if point.advice:
        say(console, point.advice.sentence, "bold")
        say(console, f"Why: {point.advice.why}")
    if alone and (table := break_even_table(point, around_best=True)).rows:
        console.print()
        say(console, f"{BREAK_EVEN}:")
        print_table(console, table)
    if uncertain_choice(point) or point.robust:
        from mtpsim.report.tables.uncertainty import print_uncertain

        print_uncertain(point, console)
    if point.adaptive:
        from mtpsim.report.tables.policies import print_policies

        print_policies(point.adaptive, console, with_requests=alone)
    console.print()
    if alone and point.trial:
        diagnostics.print_definitions(point.trial, best_depth(point), console)
    of_one = [
        diagnostics.request_sentence(point),
        diagnostics.mean_sentence(point),
        diagnostics.variance_sentence(point),
    ]
    sentences = [*diagnostics.dependence_sentences(point), *(of_one if alone else ())]
    for sentence in [*sentences, undecided_sentence(point)]:
        if sentence:
            say(console, sentence)
    print_warnings(console, [text for text in point.warnings if alone or not _shared(text, result)])


def _shared(warning: str, result: ResultDocument) -> bool:
    """Whether every point has the warning, which the summary of a sweep prints once."""
    return all(warning in point.warnings for point in result.points)


def sample_sentence(result: ResultDocument, point: PointResult) -> str:
    """Sample size and confidence level of a point, and whether it was cut short."""
    text = f"{counted(point.requests, 'request')}, {counted(point.rounds, 'round')}, "
    text += f"{level(result, [point])} intervals"
    text += "; speedups and gains over uncertain inputs" * bool(point.uncertainty)
    replayed = bool(point.diagnostics and point.diagnostics.recorded)
    if not point.uncertainty and (replayed or result.experiment.get("uncertainty")):
        text += " without input uncertainty"
    if point.interrupted:
        return text + "; interrupted before the end"
    # None means that no precision was asked for.
    return text + "; precision not reached" if point.precision_reached is False else text


def undecided_sentence(point: PointResult) -> str:
    """Depths at which the verdict on the closed form is undecided; empty where there are none."""
    found = [(depth.depth, depth.theory_error) for depth in point.depths]
    undecided = {k: error for k, error in found if error and error.verdict == "undecided"}
    if not undecided:
        return ""
    noun = "depths" if len(undecided) > 1 else "depth"
    text = f"Closed-form verdict undecided at {noun} {', '.join(map(str, undecided))}"
    needed = [error.requests_needed or 0 for error in undecided.values()]
    more = f"; about {counted(max(needed), 'more request')} needed" if all(needed) else ""
    return f"{text}{more}."


def depth_table(
    point: PointResult, layout: Sequence[str], most_decimals: Mapping[str, int] | None = None
) -> TextTable:
    """A row per depth, with the columns of a layout; the advised depth is marked."""
    best = advised_depth(point)
    hidden = OF_MEAN_SPEED if by_quantile(point) else ("objective",)
    layout = [name for name in layout if name not in hidden]
    cells = [_cells(point, name, most_decimals or {}) for name in layout]
    rows = []
    for depth, *texts in zip(point.depths, *cells, strict=True):
        advised = depth.depth == best
        rows.append(Row([str(depth.depth), *texts], "best" if advised else "", advised))
    columns = [_column(name, point) for name in layout]
    return TextTable([Column("depth"), *columns], rows)


def _column(name: str, point: PointResult) -> Column:
    """A closed-form or exact column stands behind the simulated one that names the quantity."""
    if name == "objective" and point.advice:
        return Column(f"speedup\nat {point.advice.objective}")
    group, _, field = name.partition(".")
    if field in ("", "mean"):
        return Column(HEADERS[group])
    full = f"{Column(HEADERS[group]).name}, {Column(HEADERS[field]).name}"
    return Column(HEADERS[field], full, faint=True)


def _cells(point: PointResult, name: str, most_decimals: Mapping[str, int]) -> list[str]:
    """Texts of a column, one per depth."""
    depths = point.depths
    if name == "break-even":
        return [_rate(depth.break_even_rate) for depth in depths]
    if name == "verdict":
        return [verdict_text(depth.theory_error) for depth in depths]
    if name == "step":
        return [VerdictText(""), *step_texts(point)]
    if name == "error":
        return error_cells([depth.theory_error for depth in depths])
    group, _, field = name.partition(".")
    cells = cells_of(point, QUANTITIES[group])
    decimals = max(shared_decimals(cells), LEAST.get(group, 0))
    decimals = min(decimals, most_decimals.get(group, decimals))
    if field:
        return [fixed(getattr(cell, field, None), decimals) for cell in cells]
    return [plus_minus(cell, decimals) for cell in cells]


def step_texts(point: PointResult) -> list[VerdictText]:
    """Gain and verdict of each step, ``[K]``: ``+10.4 %, optional``; whole percents if rough.

    Where times were not measured there is no verdict: ``+69.9 %, no times``.
    """
    if not point.advice:
        return [VerdictText("")] * (len(point.depths) - 1)
    if not times_known(point):
        gains = [in_percent(cell, zero=1) for cell in cells_of(point, "marginal")[1:]]
        return [VerdictText("no times", gain_text(gain)) for gain in gains]
    if not point.advice.steps:
        return [VerdictText(verdict) for verdict in point.advice.verdicts]
    return [
        VerdictText(step.verdict, gain_text(in_percent(step)) if known(step.mean) else "")
        for step in point.advice.steps
    ]


def step_table(point: PointResult) -> TextTable:
    """A row per step of depth: gain with verdict, break-even rate, and the rate now.

    Of more than six steps only those near the best depth. Where depths are compared at a quantile
    there are no rates: break-even points are of mean speeds.
    """
    near, at_quantile = best_depth(point) or 0, by_quantile(point)
    rows = []
    for depth, verdict in zip(point.depths[1:], step_texts(point), strict=True):
        k = depth.depth
        if len(point.depths) > MOST_STEPS + 1 and not near - 1 <= k <= near + 2:
            continue
        now = depth.break_even.rate.now if depth.break_even else None
        rate = MISSING if now is None else f"{now:.3g}"
        rates = [] if at_quantile else [_rate(depth.break_even_rate), rate]
        rows.append(Row([f"{k - 1} to {k}", verdict, *rates]))
    gain = f"gain at {point.advice.objective}" if at_quantile and point.advice else "gain"
    headers = f"{gain}, verdict", *([] if at_quantile else ["break-even p", "p now"])
    return TextTable([Column("step"), *map(Column, headers)], rows)


def gain_text(percent: Interval | None) -> str:
    """A gain in percent, signed, with one decimal unless its interval is wider: ``+10.4 %``."""
    if not percent or not known(percent.mean):
        return MISSING
    half = half_width(percent)
    decimals = min(decimals_for(half), 1) if known(half) else 1
    return f"{percent.mean:+z.{decimals}f} %"


def verdict_text(error: Interval | None) -> VerdictText:
    """The verdict on a quantity; ``-`` where there is none."""
    return VerdictText(getattr(error, "verdict", ""))


def error_cells(errors: Sequence[Interval | None]) -> list[str]:
    """Relative errors in percent, with half of their intervals."""
    scaled = [in_percent(error) for error in errors]
    decimals = min(shared_decimals(scaled), 3)  # an identity has an error of 1e-14
    return [plus_minus(cell, decimals) for cell in scaled]


def _rate(rate: float | None) -> str:
    """A break-even rate; ``none`` above 1, which no rate exceeds."""
    return "none" if known(rate) and rate > 1 else fixed(rate, 3)


def break_even_table(point: PointResult, *, around_best: bool = False) -> TextTable:
    """A row per step of depth: the value of each input at which its gain is 1, and its value now.

    These are of mean speeds: there are no rows where depths are compared at a quantile.

    Args:
        point: the point.
        around_best: only the first step, which drafts at all, and the steps to the best depth and
            to the one after it.
    """
    best = advised_depth(point)
    rows = []
    for depth in () if by_quantile(point) else point.depths:
        found, k = depth.break_even, depth.depth
        if not found or (around_best and (best is None or k not in (1, best, best + 1))):
            continue
        now = MISSING if found.rate.now is None else f"{found.rate.now:.3g}"
        times = [text for time in (found.verify, found.draft) for text in _times(time)]
        rows.append(Row([f"{k - 1} to {k}", _rate(found.rate.at), now, *times]))
    columns = [Column("step"), Column("break-\neven p"), Column("now", "p now")]
    for name in ("verify", "draft"):
        columns.append(Column(f"break-even\n{name}, ms"))
        columns.append(Column("now", f"{name} now, ms"))
    return TextTable(columns, rows)


def _times(time: BreakEvenTime) -> tuple[str, str]:
    """The break-even time, ``none`` where it would be negative, and the time now."""
    now = f"{time.now:.4g}"
    if not known(time.at) or time.at <= 0:
        return "none" if known(time.at) else MISSING, now
    half = half_width(Interval(mean=time.at, low=time.low, high=time.high))
    return fixed(time.at, decimals_for(half)) if half > 0 else f"{time.at:.4g}", now
