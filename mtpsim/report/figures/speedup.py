"""Speedup by depth, gain of each step, error of the closed form, dependence between rounds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from mtpsim.common.arrays import Floats
from mtpsim.common.text import span
from mtpsim.report.document import Diagnostics, PointResult, ResultDocument
from mtpsim.report.figures import style
from mtpsim.report.figures.panels import point_panels, some_points
from mtpsim.report.formatting import (
    advised_depth,
    as_compared,
    best_depth,
    cells_of,
    column,
    compared_at,
    epsilon,
    fixed,
    greatest_depth,
    in_percent,
    known,
    level,
    numbers,
    times_known,
    tolerance,
)
from mtpsim.report.tables.diagnostics import row_name, worth_showing
from mtpsim.report.tables.result import gain_text
from mtpsim.report.tables.sweep import sweep_heading

SPEEDUP_AXIS = "speedup over plain decoding (x)"
UNDECIDED, NO_TIMES = "undecided", "no times"
PAYING = "essential", "optional"
ERROR_AXIS = "closed-form speedup error (%)"
STYLES: dict[str, dict[str, Any]] = {
    "essential": {"color": style.BLUE},
    "optional": {"color": style.SKY},
    "negligible": {"color": style.GREY},
    "harmful": {"color": style.VERMILION},
    UNDECIDED: {"facecolor": style.PAPER, "edgecolor": style.GREY, "hatch": "////"},
    NO_TIMES: {"facecolor": style.PAPER, "edgecolor": style.GREY},
}
"""By the verdict on a step."""
COLORS = {
    "stated": style.INK,
    "conditional": style.BLUE,
    "survival": style.VERMILION,
    "pooled": style.PURPLE,
    "first": style.GREEN,
}
DASHES: dict[str | None, Any] = {
    None: "-",
    "round-pooled": "-",
    "request-mean": (0, (5, 2)),
    "every-position": (0, (1, 1.5)),
}
MAX_LINES = 6
"""Depths whose conditional rates are drawn."""
UNLABELLED = (3, 4, 7, 14, 28, 56, 112)
"""Lags without a tick label, which would lie on those of their neighbours."""


def speedup_figure(result: ResultDocument) -> Figure:
    """Draw speedup by depth with its intervals, over the closed form and the exact solution.

    Up to six points of a sweep are lines of one figure; more are drawn against the swept keys.
    """
    result = as_compared(result)
    if len(result.points) == 1:
        return _one_point(result)
    if len(result.points) <= style.MAX_PANELS:
        return _few_points(result)
    from mtpsim.report.figures.sweep import speedup_over_sweep

    return speedup_over_sweep(result)


def speedup_heading(point: PointResult) -> str:
    """State which depth is the fastest, and which others may be."""
    if not times_known(point):
        return "No times are known: the speedup is the accept length"
    best = best_depth(point)
    if best is None:
        return "Nothing was simulated"
    candidates = point.advice.candidates if point.advice else [best]
    speed = f"{column(point, 'speedup')[best]:.2f}x"
    if len(candidates) > 1:
        others = " or ".join(str(k) for k in candidates if k != best)
        return f"Depth {best} is ahead at {speed}, but depth {others} may be as fast"
    if best == 0:
        return "No depth pays: plain decoding is fastest"
    return f"Depth {best} is fastest: {speed}"


def _has_theory(points: Sequence[PointResult]) -> bool:
    return any(np.isfinite(column(point, "speedup", "theory")).any() for point in points)


def _one_point(result: ResultDocument) -> Figure:
    point = result.points[0]
    frame = style.Frame(
        speedup_heading(point),
        style.subtitle_of(result, f"speedup by depth{compared_at(result)}"),
        values=True,
    )
    axes = frame.axes[0]
    simulated = _draw_simulated(axes, point, style.BLUE, label="simulated", fmt="o")
    exact = column(point, "speedup", "exact")
    if np.isfinite(exact).any():
        axes.plot(exact, color=style.ORANGE, linewidth=2.6, zorder=2, label="exact solution")
    if _has_theory([point]):
        _draw_closed_form(axes, point, style.INK, label="closed form")
    axes.axhline(1, color=style.GREY, linewidth=1, zorder=1, label="plain decoding")
    decimals = 2 if point.uncertainty else 3
    texts = [f"{fixed(speed, decimals)}x" for speed in column(point, "speedup")]
    shown = "Below each depth: its simulated speedup. " * style.value_ticks(
        axes, 0, texts, advised_depth(point)
    )
    axes.margins(y=0.1)
    frame.name_axes(style.DEPTH_AXIS, SPEEDUP_AXIS)
    frame.legend([simulated, *axes.get_legend_handles_labels()[0][:-1], *_ring_key([point])])
    frame.note(f"{shown}{_inputs_note(result)}{style.interval_note(result)}")
    return frame.figure


def _inputs_note(result: ResultDocument) -> str:
    uncertain = any(point.uncertainty for point in result.points)
    return "Intervals include input uncertainty. " * uncertain


def _few_points(result: ResultDocument) -> Figure:
    frame = style.Frame(
        sweep_heading(result),
        style.subtitle_of(result, f"simulated speedup by depth{compared_at(result)}"),
    )
    axes, points = frame.axes[0], result.points
    theories = [column(point, "speedup", "theory") for point in points]
    same = all(
        t.shape == theories[0].shape and np.allclose(t, theories[0], rtol=1e-9) for t in theories
    )
    drawn: list[Any] = []
    for point, color in zip(points, style.LINES, strict=False):
        name = style.legend_name(result, point)
        drawn.append(_draw_simulated(axes, point, color, label=name, fmt="o-"))
        if not same:
            _draw_closed_form(axes, point, color)
    if same:
        _draw_closed_form(axes, points[0], style.INK)
    axes.axhline(1, color=style.GREY, linewidth=1, zorder=1)
    style.depth_ticks(axes, 0, max(map(greatest_depth, points)))
    axes.margins(y=0.1)
    frame.name_axes(style.DEPTH_AXIS, SPEEDUP_AXIS)
    options: dict[str, Any] = {"color": style.INK, "linewidth": 1.2}
    closed = [Line2D([], [], linestyle=style.DASHED, label="closed form", **options)]
    closed *= _has_theory(points)
    plain = Line2D([], [], label="plain decoding", **{**options, "color": style.GREY})
    frame.legend([*style.by_last_value(drawn), *closed, plain, *_ring_key(points, style.INK)])
    frame.note(f"{_inputs_note(result)}{style.interval_note(result)}")
    return frame.figure


def _draw_simulated(axes: Axes, point: PointResult, color: str, *, label: str, fmt: str) -> Any:
    """Draw simulated speedups with error bars, the best depth ringed; returns the error bars."""
    mean, low, high = (column(point, "speedup", end) for end in ("mean", "low", "high"))
    bars = axes.errorbar(
        np.arange(mean.size),
        mean,
        style.error_arms(mean, low, high),
        fmt=fmt,
        color=color,
        linewidth=1.4,
        markersize=style.MARKER,
        capsize=3,
        zorder=3,
        label=label,
    )
    best = advised_depth(point)
    if best is not None:
        axes.plot([best], [mean[best]], "o", **_ring(color), zorder=4)
    return bars


def _ring_key(points: Sequence[PointResult], color: str = style.BLUE) -> list[Line2D]:
    """The entry of the ring in a legend; empty where no depth of any point is advised."""
    if all(advised_depth(point) is None for point in points):
        return []
    options = {**_ring(color), "markersize": 9}
    return [Line2D([], [], linestyle="", marker="o", label="best depth", **options)]


def _ring(color: str) -> dict[str, Any]:
    face = {"markerfacecolor": "none", "markeredgecolor": color, "markeredgewidth": 1.6}
    return {"markersize": 2.2 * style.MARKER, **face}


def _draw_closed_form(axes: Axes, point: PointResult, color: str, label: str = "") -> None:
    theory = column(point, "speedup", "theory")
    axes.plot(theory, color=color, linewidth=1.2, linestyle=style.DASHED, zorder=2.5, label=label)


def marginal_figure(result: ResultDocument) -> Figure:
    """Draw speedup(k) / speedup(k - 1) as bars from 1, coloured by the verdict on the step."""
    result = as_compared(result)
    what = f"gain of each step, speedup(k) / speedup(k - 1){compared_at(result)}"
    frame, remark, shown = point_panels(result, _marginal_heading(result), what, _draw_steps)
    kinds = {kind for point in some_points(result)[0] for kind in step_kinds(point)}
    frame.name_axes("step to depth k", "gain of the step (ratio)")
    named = [Patch(**options, label=kind) for kind, options in STYLES.items() if kind in kinds]
    closed = Line2D(
        [], [], color=style.INK, linewidth=1.2, linestyle=style.DASHED, label="closed form"
    )
    frame.legend([*named, *[closed] * _has_theory(result.points)])
    undecided = "Undecided: the interval contains 1. " * (UNDECIDED in kinds)
    below = "Below each step: its gain. " * shown
    undecided += "No times: times were not measured. " * (NO_TIMES in kinds)
    undecided += _inputs_note(result)
    frame.note(f"{remark}{undecided}{below}Error bars: {level(result)} intervals.")
    return frame.figure


def step_kinds(point: PointResult) -> list[str]:
    """Verdict on each step to depth 1..K, ``[K]``."""
    if not times_known(point):
        return [NO_TIMES] * greatest_depth(point)
    verdicts = point.advice.verdicts if point.advice else [""] * greatest_depth(point)
    return [verdict if verdict in STYLES else UNDECIDED for verdict in verdicts]


def _draw_steps(axes: Axes, point: PointResult) -> bool:
    """Draw the steps of a point; returns whether their gains are written below them."""
    depths = np.arange(1, greatest_depth(point) + 1)
    mean, low, high, theory = (
        column(point, "marginal", end)[1:] for end in ("mean", "low", "high", "theory")
    )
    bars = axes.bar(depths, mean - 1, 0.62, bottom=1, zorder=2)
    for bar, kind in zip(bars, step_kinds(point), strict=True):
        bar.set(**STYLES[kind])
    arms = style.error_arms(mean, low, high)
    axes.errorbar(depths, mean, arms, **style.ON_BARS)
    axes.axhline(1, color=style.INK, linewidth=1)
    axes.margins(y=0.08)
    gains = [in_percent(cell, zero=1) for cell in cells_of(point, "marginal")[1:]]
    shown = style.value_ticks(axes, 1, [gain_text(gain) for gain in gains])
    dashes = style.whole_dashes(0.76 * style.pitch(axes), 1.2)
    axes.hlines(theory, depths - 0.38, depths + 0.38, style.INK, dashes, linewidth=1.2, zorder=3)
    return shown


def _marginal_heading(result: ResultDocument) -> str:
    points = result.points
    if not any(map(times_known, points)):
        return "No times are known: the gain is that of the accept length"
    if len(points) > 1:
        return _steps_by_point(points)
    point = points[0]
    pays, total = _paying_steps(point), greatest_depth(point)
    if pays == total:
        return f"Every step pays, up to the greatest simulated depth ({total})"
    change = 100 * (column(point, "marginal")[pays + 1] - 1)
    if not np.isfinite(change):
        return "Nothing was simulated"
    start = f"Steps up to depth {pays} pay; " if pays else "The first step does not pay: "
    if step_kinds(point)[pays] == "harmful":
        much = f"{abs(change):.1f} %" if abs(change) >= 0.05 else "less than 0.1 %"
        return f"{start}depth {pays + 1} is {much} slower than depth {pays}"
    if step_kinds(point)[pays] == "negligible":
        return f"{start}the gain of depth {pays + 1} is negligible ({change:+.1f} %)"
    return f"{start}the gain of depth {pays + 1} is not significant ({change:+.1f} %)"


def _steps_by_point(points: Sequence[PointResult]) -> str:
    """How many steps pay; beside the best depths where negligible steps make them differ."""
    pairs = [(_paying_steps(point), advised_depth(point)) for point in points]
    pays, best = [pay for pay, _ in pairs], [depth for _, depth in pairs if depth is not None]
    steps, depths = (
        " to ".join(map(str, dict.fromkeys((min(found), max(found)))))
        for found in (pays, best or [0])
    )
    if any(depth not in (None, pay) for pay, depth in pairs):
        return f"Essential or optional steps by point: {steps}; best depth: {depths}"
    if len(set(pays)) > 1:
        return f"Number of steps that pay: {steps}, depending on the point"
    return f"Steps up to depth {steps} pay at every point"


def _paying_steps(point: PointResult) -> int:
    """How many steps are essential or optional before the first that is not."""
    kinds = step_kinds(point)
    return next((n for n, kind in enumerate(kinds) if kind not in PAYING), len(kinds))


def theory_figure(result: ResultDocument) -> Figure:
    """Draw the relative error of the closed form with its intervals and the tolerance.

    One point shows every definition of the acceptance rate, by depth. A sweep shows the definition
    that the experiment uses, against the swept keys.
    """
    if len(result.points) == 1:
        return _definitions_figure(result)
    from mtpsim.report.figures.sweep import theory_over_sweep

    return theory_over_sweep(result)


def theory_heading(result: ResultDocument, *, best: bool = False) -> str:
    """State the greatest error of the closed form that is beyond the tolerance.

    Args:
        result (ResultDocument): A result.
        best (bool): Only of the best depth of each point.
    """
    every = [(point, d) for point in result.points for d in point.depths[1:]]
    cells = [(d.theory_error, d.depth) for p, d in every if not best or d.depth == advised_depth(p)]
    errors = [(cell.mean, depth) for cell, depth in cells if cell and cell.verdict == "fails"]
    failed = [(100 * mean, depth) for mean, depth in errors if known(mean)]
    if failed:
        error, depth = max(failed, key=lambda pair: abs(pair[0]))
        low, high = min(failed)[0], max(failed)[0]
        if len(result.points) > 1 and low < 0 < high:
            return f"Errors of the closed form's speedup reach from {low:.3g} % to {high:.3g} %"
        verb = "overestimates" if error > 0 else "underestimates"
        by = "up to " * (len(result.points) > 1) + f"{abs(error):.3g} %"
        return f"The closed form {verb} the speedup by {by} at depth {depth}"
    within = tolerance(result)
    if all(cell and cell.verdict == "identity" for cell, _ in cells):
        return "Recorded rounds cut short have the closed form's accept lengths by identity"
    if any(cell and cell.verdict == "undecided" for cell, _ in cells):
        return f"More requests are needed to decide whether the closed form is within {within}"
    where = f"at {'the best' if best else 'every'} depth"
    where += " of every point" if len(result.points) > 1 else ""
    return f"The closed form is within {within} {where}"


def band_note(result: ResultDocument) -> str:
    """What the grey band is."""
    return f"Grey band: tolerance of {tolerance(result)}."


def tolerances(result: ResultDocument) -> Floats:
    """Tolerance of the verdict on the closed form at each point, in percent, ``[N]``."""
    return np.array([100 * epsilon(result, point) for point in result.points])


def _definitions_figure(result: ResultDocument) -> Figure:
    point = result.points[0]
    assert point.trial is not None
    chosen = point.trial.chosen
    rates = row_name(chosen)
    if chosen.definition != "stated":
        rates += f", measured at depth {point.trial.measured_at}"
    frame = style.Frame(theory_heading(result), style.subtitle_of(result, f"rates used: {rates}"))
    axes = frame.axes[0]
    drawn = []
    for row in worth_showing(point.trial):
        mean, arms = style.means_and_arms([entry.speedup_error for entry in row.depths], 100)
        bars = axes.errorbar(
            [entry.depth for entry in row.depths],
            mean,
            arms,
            color=COLORS[row.definition],
            linestyle=DASHES[row.weighting],
            linewidth=2.6 if row.chosen else 1.2,
            marker="o",
            markersize=style.MARKER if row.chosen else 3.5,
            capsize=2,
            zorder=2 if row.chosen else 3,  # lines that coincide show as nested
            label=row_name(row),
        )
        drawn.append(bars)
    within = tolerances(result)[0]
    axes.axhspan(-within, within, color=style.PALE, alpha=0.6, zorder=0, linewidth=0)
    axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=1)
    style.depth_ticks(axes, 1, point.depths[-1].depth)
    axes.margins(y=0.08)
    frame.name_axes(style.DEPTH_AXIS, ERROR_AXIS)
    frame.legend(style.by_last_value(drawn), "rates in the closed form")
    thick = "Thick: the rates that the experiment uses."
    frame.note(f"{thick} {band_note(result)} {style.interval_note(result)}")
    return frame.figure


def dependence_figure(result: ResultDocument) -> Figure:
    """Draw the autocorrelation of accepted drafts by lag, beside the conditional rates.

    One point shows its rates by position, a line for each depth; a sweep shows p1 by depth.
    """
    points, remark = some_points(result)
    found = [point.diagnostics for point in points if point.diagnostics]
    frame = style.Frame(
        _dependence_heading(found),
        style.subtitle_of(result, "dependence between rounds of a request"),
        panels=2,
        size=(8.4, 4.3),
    )
    left, right = frame.axes
    style.panel_title(left, "autocorrelation of accepted drafts")
    left.set_xlabel("lag (rounds)", fontsize=10, color=style.INK)
    if len(result.points) == 1:
        limit = _draw_autocorrelation(left, found, [style.INK])
        style.panel_title(right, "conditional acceptance rate")
        right.set_xlabel("draft position", fontsize=10, color=style.INK)
        frame.legend([*_draw_rates(right, found[0]), *limit])
    else:
        _draw_autocorrelation(left, found, style.LINES)
        style.panel_title(right, "acceptance rate of the first draft (p1)")
        right.set_xlabel("depth at which it is measured", fontsize=10, color=style.INK)
        names = [style.legend_name(result, point) for point in points if point.diagnostics]
        frame.legend(_draw_first_rates(right, found, names))
    frame.note(f"{remark}{style.interval_note(result)}")
    return frame.figure


def _dependence_heading(found: Sequence[Diagnostics]) -> str:
    narrow = [d.too_narrow for d in found if d.too_narrow and known(d.too_narrow.low)]
    factors = [n.mean for n in narrow if known(n.mean) and known(n.low) and n.low > 1.05]
    if not factors:
        return "No dependence between rounds of a request detected"
    by = span(factors, ".2g")
    return f"Treating rounds as independent makes intervals {by} times too narrow"


def _draw_autocorrelation(
    axes: Axes, found: Sequence[Diagnostics], colors: Sequence[str]
) -> list[Line2D]:
    """Draw a line per point; of a single point also the limit at long lags, which is returned."""
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.set_xscale("log")
    lags, limit = [1], []
    for point, color in zip(found, colors, strict=False):
        series = point.autocorrelation
        if not series:
            continue
        mean, low, high = (numbers(values) for values in (series.mean, series.low, series.high))
        arms = style.error_arms(mean, low, high)
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
            limit.append(
                axes.axhline(share.mean, color=style.INK, linestyle=style.DASHED, linewidth=1)
            )
            limit[0].set_label("between-request share")
    axes.xaxis.set_major_locator(FixedLocator([lag for lag in lags if lag not in UNLABELLED]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if len(lags) == 1:
        style.write(
            axes, 1, 0, "constant counts, or one round per request", va="bottom", ha="center"
        )
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
            color=style.depth_color(entry.depth, deepest),
            marker="o",
            markersize=2 + 2 * bold,
            linewidth=bold,
            label=f"rates at depth {entry.depth}",
        )
    style.depth_ticks(axes, 1, deepest, margin=0.6)
    axes.margins(y=0.12)
    return drawn


def _draw_first_rates(
    axes: Axes, found: Sequence[Diagnostics], names: Sequence[str]
) -> list[Line2D]:
    drawn = []
    for point, name, color in zip(found, names, style.LINES, strict=False):
        rates = numbers(entry.mean[0] for entry in point.rates_by_depth)
        depths = range(1, rates.size + 1)
        drawn += axes.plot(depths, rates, color=color, marker="o", markersize=4, label=name)
    style.depth_ticks(axes, 1, max(len(point.rates_by_depth) for point in found))
    axes.margins(y=0.12)
    return drawn
