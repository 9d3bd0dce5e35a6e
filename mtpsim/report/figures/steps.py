"""What each step of depth brings, and how many drafts a round accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtpsim.common.arrays import Floats
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    GREY,
    INK,
    MARKER,
    ORANGE,
    PAPER,
    VERMILION,
    Frame,
    depth_ticks,
    error_arms,
    in_points,
    label_of,
    panel_title,
    pitch,
    share_limits,
    some_points,
    subtitle_of,
    width_of,
)
from mtpsim.report.formatting import column, greatest_depth, level, numbers

PAYS, COSTS, UNSURE = "pays", "costs", "can't tell"
COLORS = {PAYS: BLUE, COSTS: VERMILION, UNSURE: GREY}


def marginal_figure(result: ResultDocument) -> Figure:
    """Draw speedup(k) / speedup(k - 1) as bars from 1, coloured by whether the step pays."""
    chosen, remark = some_points(result)
    frame = Frame(
        _marginal_heading(result),
        subtitle_of(result, "gain of a step, speedup(k) / speedup(k - 1)"),
        panels=len(chosen),
    )
    short = False
    for axes, number in zip(frame.axes, chosen, strict=True):
        short |= _draw_steps(axes, result["points"][number], len(chosen) == 1)
        if len(chosen) > 1:
            panel_title(axes, label_of(result, number))
    share_limits(frame.axes, "y")
    _make_room(frame.axes)
    frame.name_axes("step to depth k", "gain over depth k - 1 (x)")
    unit = "Numbers: gain in %. " if short else ""
    frame.note(
        f"{remark}{unit}Blue pays, vermilion costs, hatched: the interval holds 1. "
        f"Error bars are {level(result)} intervals, dashes the closed form."
    )
    return frame.figure


def step_kinds(point: PointResult) -> list[str]:
    """Whether each step to depth 1..K pays, judged by its interval, ``[K]``."""
    low, high = column(point, "marginal", "low")[1:], column(point, "marginal", "high")[1:]
    return [PAYS if a > 1 else COSTS if b < 1 else UNSURE for a, b in zip(low, high, strict=True)]


def _draw_steps(axes: Axes, point: PointResult, large: bool) -> bool:
    """Draw the steps of a point; tell whether their gains are written short."""
    depths = np.arange(1, greatest_depth(point) + 1)
    mean = column(point, "marginal")[1:]
    arms = error_arms(
        mean, column(point, "marginal", "low")[1:], column(point, "marginal", "high")[1:]
    )
    kinds = step_kinds(point)
    bars = axes.bar(
        depths, mean - 1, 0.62, bottom=1, color=[COLORS[kind] for kind in kinds], zorder=2
    )
    for bar, kind in zip(bars, kinds, strict=True):
        if kind == UNSURE:
            bar.set(facecolor=PAPER, edgecolor=GREY, hatch="////")
    axes.errorbar(depths, mean, arms, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3, zorder=3)
    theory = column(point, "marginal", "theory")[1:]
    axes.hlines(theory, depths - 0.38, depths + 0.38, INK, (0, (3, 2)), linewidth=1.2, zorder=3)
    axes.axhline(1, color=INK, linewidth=1)
    depth_ticks(axes, 1, len(depths), 0.6)
    tops = np.nanmax([mean + arms[1], theory, np.ones_like(mean)], 0)
    bottoms = np.nanmin([mean - arms[0], theory, np.ones_like(mean)], 0)
    axes.set_ylim(bottoms.min(), tops.max())
    return _label_steps(axes, mean, (bottoms, tops), kinds, large)


def _make_room(panels: list[Axes]) -> None:
    """Widen limits that hold the bars alone, so that labels fit at either end."""
    low, high = panels[0].get_ylim()
    room = (0.2 if len(panels) == 1 else 0.16) * (high - low)
    for axes in panels:
        axes.set_ylim(low - room * (low < 1), high + room)


def _label_steps(
    axes: Axes, mean: Floats, ends: tuple[Floats, Floats], kinds: list[str], large: bool
) -> bool:
    """Write the gain beyond all that is drawn of a bar; tell whether it was written short.

    A bar, with its error bar and the closed form, reaches between ``ends``.
    """
    gains = 100 * (mean - 1)
    texts, size = [f"{gain:+.1f} %" for gain in gains], 9.5 if large else 8.0
    short = _too_wide(texts, size, axes)
    if short:
        texts, size = [f"{gain:+.{1 if abs(gain) < 10 else 0}f}" for gain in gains], 8.0
    elif large:
        texts = [f"{text}\n{kind}" for text, kind in zip(texts, kinds, strict=True)]
    if short and _too_wide(texts, size, axes):
        return False
    for depth, (value, kind) in enumerate(zip(mean, kinds, strict=True), 1):
        if not np.isfinite(value):
            continue
        up = value >= 1
        axes.annotate(
            texts[depth - 1],
            (depth, ends[1 if up else 0][depth - 1]),
            xytext=(0, 5 if up else -5),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=size,
            color=INK if kind == UNSURE else COLORS[kind],
            parse_math=False,
        )
    return short


def _too_wide(texts: list[str], size: float, axes: Axes) -> bool:
    """Whether labels at neighbouring whole numbers would touch."""
    return max(width_of(text, size) for text in texts) + 0.04 > pitch(axes)


def _marginal_heading(result: ResultDocument) -> str:
    points = result["points"]
    if len(points) > 1:
        deepest = sorted({_paying_steps(point) for point in points})
        span = f"{deepest[0]}" if len(deepest) == 1 else f"{deepest[0]} to {deepest[-1]}"
        text = f"Each step surely pays up to depth {span}, at every point"
        if len(deepest) > 1:
            text = f"How many steps surely pay depends on the point: {span}"
        return text
    point = points[0]
    pays, total = _paying_steps(point), greatest_depth(point)
    if pays == total:
        return f"Every step pays, up to the deepest one simulated ({total})"
    change = 100 * (column(point, "marginal")[pays + 1] - 1)
    if not np.isfinite(change):
        return "Nothing was simulated"
    kind = step_kinds(point)[pays]
    much = f"{abs(change):.1f} %" if abs(change) >= 0.05 else "less than 0.1 %"
    verb = {COSTS: f"costs {much}", PAYS: f"brings {much}"}.get(
        kind, f"can't be told from no gain ({change:+.1f} %)"
    )
    start = f"Each step pays up to depth {pays}; " if pays else "No first step pays: "
    return f"{start}depth {pays + 1} {verb}"


def _paying_steps(point: PointResult) -> int:
    """How many steps surely pay before the first that doesn't."""
    kinds = step_kinds(point)
    return next((n for n, kind in enumerate(kinds) if kind != PAYS), len(kinds))


def accepted_figure(result: ResultDocument) -> Figure:
    """Draw how many drafts a round accepts at the greatest depth, against the closed form."""
    chosen, remark = some_points(result)
    depth = greatest_depth(result["points"][chosen[0]])
    frame = Frame(
        _accepted_heading(result["points"]),
        subtitle_of(result, f"drafts accepted a round at depth {depth}"),
        panels=len(chosen),
    )
    exact = False
    for axes, number in zip(frame.axes, chosen, strict=True):
        exact |= _draw_accepted(axes, result["points"][number].get("accepted") or {})
        if len(chosen) > 1:
            panel_title(axes, label_of(result, number))
    share_limits(frame.axes, "y")
    for axes, number in zip(frame.axes, chosen, strict=True):
        _label_shares(axes, result["points"][number].get("accepted") or {})
    frame.name_axes("drafts accepted", "share of rounds (%)")
    also = ", orange dots the exact solution" if exact else ""
    frame.note(
        f"{remark}Bars are simulated, with {level(result)} intervals; "
        f"diamonds are the closed form{also}."
    )
    return frame.figure


def _draw_accepted(axes: Axes, accepted: Any) -> bool:
    """Draw one distribution; tell whether the exact one differs from the closed form's."""
    count = numbers(accepted.get("count"))
    if not count.size:
        return False
    share = {f: 100 * numbers(accepted.get(f)) for f in ("theory", "exact", "mean", "low", "high")}
    mean, arms = share["mean"], error_arms(share["mean"], share["low"], share["high"])
    axes.bar(count, mean, 0.7, color=BLUE, alpha=0.85, zorder=2)
    axes.errorbar(count, mean, arms, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3, zorder=3)
    if share["theory"].size:
        axes.plot(
            count,
            share["theory"],
            "D",
            markersize=MARKER,
            markerfacecolor=PAPER,
            markeredgecolor=INK,
            zorder=4,
        )
    apart = _differ(share["exact"], share["theory"])
    if apart:
        axes.plot(count, share["exact"], "o", markersize=4, color=ORANGE, zorder=5)
    depth_ticks(axes, 0, int(count[-1]), 0.6)
    axes.margins(y=0.14)
    axes.set_ylim(bottom=0)
    return apart


def _label_shares(axes: Axes, accepted: Any) -> None:
    """Write each share above its bar, or above the diamond where that is in the way."""
    mean, high = (100 * numbers(accepted.get(field)) for field in ("mean", "high"))
    theory = 100 * numbers(accepted.get("theory"))
    texts, size = [f"{value:.1f}" for value in mean], 8.5
    if not texts or _too_wide(texts, size, axes):
        return
    tops = np.fmax(mean, high)
    if theory.size:
        above = in_points(axes, theory - tops)
        blocked = (above > -1) & (above < 21)
        tops = np.where(blocked, theory, tops)
    for place, (text, top) in enumerate(zip(texts, tops, strict=True)):
        if np.isfinite(top):
            axes.annotate(
                text,
                (place, top),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                color=BLUE,
                fontsize=size,
                parse_math=False,
            )


def _differ(exact: Floats, theory: Floats) -> bool:
    """Whether two distributions, in percent, differ by more than a marker shows."""
    return bool(exact.size == theory.size and (abs(exact - theory) > 0.1).any())


def _accepted_heading(points: list[PointResult]) -> str:
    shares = [numbers((point.get("accepted") or {}).get("mean")) for point in points]
    shares = [share for share in shares if share.size]
    if not shares:
        return "Nothing was simulated"
    none, full = [100 * s[0] for s in shares], [100 * s[-1] for s in shares]
    depth = shares[0].size - 1
    every = "the draft is" if depth == 1 else f"all {depth} drafts are"
    return (
        f"In {_span(none)} of rounds no draft is accepted, in {_span(full)} {every}"
        if depth > 1
        else f"In {_span(full)} of rounds the draft is accepted"
    )


def _span(percents: list[float]) -> str:
    low, high = f"{min(percents):.0f}", f"{max(percents):.0f}"
    return f"{low} %" if low == high else f"{low} to {high} %"
