"""Error of the closed form at one point, and the dependence between rounds that it neglects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from mtpsim.common.arrays import Floats
from mtpsim.report.document import Diagnostics, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    DASHED,
    DEPTH_AXIS,
    GREEN,
    GREY,
    INK,
    LINES,
    MARKER,
    PALE,
    PURPLE,
    VERMILION,
    Frame,
    by_last_value,
    depth_color,
    depth_ticks,
    error_arms,
    interval_note,
    legend_name,
    means_and_arms,
    panel_title,
    some_points,
    subtitle_of,
    write,
)
from mtpsim.report.formatting import epsilon, known, numbers, tolerance
from mtpsim.report.tables.diagnostics import row_name, worth_showing

COLORS = {
    "stated": INK,
    "conditional": BLUE,
    "survival": VERMILION,
    "pooled": PURPLE,
    "first": GREEN,
}
DASHES: dict[str | None, Any] = {
    None: "-",
    "round-pooled": "-",
    "request-mean": (0, (5, 2)),
    "every-position": (0, (1, 1.5)),
}
ERROR_AXIS = "closed-form speedup error (%)"
MAX_LINES = 6
"""Depths whose conditional rates are drawn."""
UNLABELLED = (3, 4, 7, 14, 28)
"""Lags without a tick label, which would lie on those of their neighbours."""


def theory_figure(result: ResultDocument) -> Figure:
    """Draw the relative error of the closed form with its intervals and the tolerance.

    One point shows every definition of the acceptance rate, by depth. A sweep shows the definition
    that the experiment uses, against the swept keys.
    """
    if len(result.points) == 1:
        return _one_point(result)
    from mtpsim.report.figures.sweep import theory_over_sweep

    return theory_over_sweep(result)


def theory_heading(result: ResultDocument) -> str:
    """State the greatest error of the closed form that is beyond the tolerance."""
    cells = [(d.theory_error, d.depth) for point in result.points for d in point.depths[1:]]
    errors = [(cell.mean, depth) for cell, depth in cells if cell and cell.verdict == "fails"]
    failed = [(100 * mean, depth) for mean, depth in errors if known(mean)]
    if failed:
        error, depth = max(failed, key=lambda pair: abs(pair[0]))
        verb = "overestimates" if error > 0 else "underestimates"
        return f"The closed form {verb} the speedup by {abs(error):.3g} % at depth {depth}"
    within = tolerance(result)
    if any(cell and cell.verdict == "undecided" for cell, _ in cells):
        return f"More requests are needed to decide whether the closed form is within {within}"
    where = "at every depth" if len(result.points) == 1 else "at every depth of every point"
    return f"The closed form is within {within} {where}"


def band_note(result: ResultDocument) -> str:
    """What the grey band is."""
    return f"Grey band: tolerance of {tolerance(result)}."


def tolerances(result: ResultDocument) -> Floats:
    """Tolerance of the verdict on the closed form at each point, in percent, ``[N]``."""
    return np.array([100 * epsilon(result, point) for point in result.points])


def _one_point(result: ResultDocument) -> Figure:
    point = result.points[0]
    assert point.trial is not None
    chosen = point.trial.chosen
    rates = row_name(chosen)
    if chosen.definition != "stated":
        rates += f", measured at depth {point.trial.measured_at}"
    frame = Frame(theory_heading(result), subtitle_of(result, f"rates used: {rates}"))
    axes = frame.axes[0]
    drawn = []
    for row in worth_showing(point.trial):
        mean, arms = means_and_arms([entry.speedup_error for entry in row.depths], 100)
        bars = axes.errorbar(
            [entry.depth for entry in row.depths],
            mean,
            arms,
            color=COLORS[row.definition],
            linestyle=DASHES[row.weighting],
            linewidth=2.6 if row.chosen else 1.2,
            marker="o",
            markersize=MARKER if row.chosen else 3.5,
            capsize=2,
            zorder=3 if row.chosen else 2,
            label=row_name(row),
        )
        drawn.append(bars)
    within = tolerances(result)[0]
    axes.axhspan(-within, within, color=PALE, alpha=0.6, zorder=0, linewidth=0)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    depth_ticks(axes, 1, point.depths[-1].depth)
    axes.margins(y=0.08)
    frame.name_axes(DEPTH_AXIS, ERROR_AXIS)
    frame.legend(by_last_value(drawn), "rates in the closed form")
    frame.note(
        f"Thick: the rates that the experiment uses. {band_note(result)} {interval_note(result)}"
    )
    return frame.figure


def dependence_figure(result: ResultDocument) -> Figure:
    """Draw the autocorrelation of accepted drafts by lag, beside the conditional rates.

    One point shows its rates by position, a line for each depth; a sweep shows p1 by depth.
    """
    points, remark = some_points(result)
    found = [point.diagnostics for point in points if point.diagnostics]
    frame = Frame(
        _dependence_heading(found),
        subtitle_of(result, "dependence between rounds of a request"),
        panels=2,
        size=(8.4, 4.3),
    )
    left, right = frame.axes
    panel_title(left, "autocorrelation of accepted drafts")
    left.set_xlabel("lag (rounds)", fontsize=10, color=INK)
    if len(result.points) == 1:
        limit = _draw_autocorrelation(left, found, [INK])
        panel_title(right, "conditional acceptance rate")
        right.set_xlabel("draft position", fontsize=10, color=INK)
        frame.legend([*_draw_rates(right, found[0]), *limit])
    else:
        _draw_autocorrelation(left, found, LINES)
        panel_title(right, "acceptance rate of the first draft (p1)")
        right.set_xlabel("depth at which it is measured", fontsize=10, color=INK)
        names = [legend_name(result, point) for point in points if point.diagnostics]
        frame.legend(_draw_first_rates(right, found, names))
    frame.note(f"{remark}{interval_note(result)}")
    return frame.figure


def _dependence_heading(found: Sequence[Diagnostics]) -> str:
    narrow = [d.too_narrow for d in found if d.too_narrow and known(d.too_narrow.low)]
    factors = [n.mean for n in narrow if known(n.mean) and known(n.low) and n.low > 1.05]
    if not factors:
        return "No dependence between rounds of a request detected"
    low, high = f"{min(factors):.2g}", f"{max(factors):.2g}"
    span = low if low == high else f"{low} to {high}"
    return f"Treating rounds as independent makes intervals {span} times too narrow"


def _draw_autocorrelation(
    axes: Axes, found: Sequence[Diagnostics], colors: Sequence[str]
) -> list[Line2D]:
    """Draw a line per point; of a single point also the limit at long lags, which is returned."""
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    lags, limit = [1], []
    for point, color in zip(found, colors, strict=False):
        series = point.autocorrelation
        if not series:
            continue
        mean, low, high = (numbers(values) for values in (series.mean, series.low, series.high))
        arms = error_arms(mean, low, high)
        axes.errorbar(series.lag, mean, arms, color=color, marker="o", markersize=4, capsize=2)
        lags = max(lags, series.lag, key=len)
        share = point.lasting_share
        if (
            len(found) == 1
            and share
            and known(share.mean)
            and known(share.low)
            and share.low > 0.01
        ):
            limit.append(axes.axhline(share.mean, color=INK, linestyle=DASHED, linewidth=1))
            limit[0].set_label("between-request share")
    axes.xaxis.set_major_locator(FixedLocator([lag for lag in lags if lag not in UNLABELLED]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if len(lags) == 1:
        write(axes, 1, 0, "constant counts, or one round per request", va="bottom", ha="center")
    return limit


def _draw_rates(axes: Axes, found: Diagnostics) -> list[Line2D]:
    """Draw conditional rates by position, a line for each depth that they are measured at."""
    deepest = found.rates_by_depth[-1].depth
    some = np.linspace(0, deepest - 1, min(deepest, MAX_LINES)).round().astype(int)
    drawn = []
    for rank, entry in enumerate(found.rates_by_depth[n] for n in reversed(some)):
        bold = 1 + 0.4 * (some.size - rank)  # lines that coincide show as nested
        drawn += axes.plot(
            range(1, entry.depth + 1),
            numbers(entry.mean),
            color=depth_color(entry.depth, deepest),
            marker="o",
            markersize=2 + 2 * bold,
            linewidth=bold,
            label=f"rates at depth {entry.depth}",
        )
    depth_ticks(axes, 1, deepest, margin=0.6)
    axes.margins(y=0.12)
    return drawn


def _draw_first_rates(
    axes: Axes, found: Sequence[Diagnostics], names: Sequence[str]
) -> list[Line2D]:
    drawn = []
    for point, name, color in zip(found, names, LINES, strict=False):
        rates = numbers(entry.mean[0] for entry in point.rates_by_depth)
        depths = range(1, rates.size + 1)
        drawn += axes.plot(depths, rates, color=color, marker="o", markersize=4, label=name)
    depth_ticks(axes, 1, max(len(point.rates_by_depth) for point in found))
    axes.margins(y=0.12)
    return drawn
