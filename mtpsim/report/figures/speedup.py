"""Speedup by depth, and the gain of each step of depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    DASHED,
    DEPTH_AXIS,
    GREY,
    INK,
    LINES,
    MARKER,
    MAX_PANELS,
    ORANGE,
    PAPER,
    SKY,
    VERMILION,
    Frame,
    by_last_value,
    depth_ticks,
    error_arms,
    interval_note,
    legend_name,
    point_panels,
    some_points,
    subtitle_of,
    value_ticks,
)
from mtpsim.report.formatting import best_depth, column, fixed, greatest_depth, known, level
from mtpsim.report.tables.sweep import sweep_heading

SPEEDUP_AXIS = "speedup over plain decoding (x)"
UNDECIDED = "undecided"
PAYING = "essential", "optional"
STYLES: dict[str, dict[str, Any]] = {
    "essential": {"color": BLUE},
    "optional": {"color": SKY},
    "negligible": {"color": GREY},
    "harmful": {"color": VERMILION},
    UNDECIDED: {"facecolor": PAPER, "edgecolor": GREY, "hatch": "////"},
}
"""By the verdict on a step."""


def speedup_figure(result: ResultDocument) -> Figure:
    """Draw speedup by depth with its intervals, over the closed form and the exact solution.

    Up to six points of a sweep are lines of one figure; more are drawn against the swept keys.
    """
    if len(result.points) == 1:
        return _one_point(result)
    if len(result.points) <= MAX_PANELS:
        return _few_points(result)
    from mtpsim.report.figures.sweep import speedup_over_sweep

    return speedup_over_sweep(result)


def speedup_heading(point: PointResult) -> str:
    """State which depth is the fastest, and which others may be."""
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


def _one_point(result: ResultDocument) -> Figure:
    point = result.points[0]
    frame = Frame(speedup_heading(point), subtitle_of(result, "speedup by depth"), values=True)
    axes = frame.axes[0]
    simulated = _draw_simulated(axes, point, BLUE, label="simulated", fmt="o")
    exact = column(point, "speedup", "exact")
    if np.isfinite(exact).any():
        axes.plot(exact, color=ORANGE, linewidth=2.6, zorder=2, label="exact solution")
    _draw_closed_form(axes, point, INK, label="closed form")
    axes.axhline(1, color=GREY, linewidth=1, zorder=1, label="plain decoding")
    axes.plot([], [], "o", **{**_ring(BLUE), "markersize": 9}, label="best depth")
    texts = [f"{fixed(speed, 3)}x" for speed in column(point, "speedup")]
    shown = "Below each depth: its simulated speedup. " * value_ticks(
        axes, 0, texts, best_depth(point)
    )
    axes.margins(y=0.1)
    frame.name_axes(DEPTH_AXIS, SPEEDUP_AXIS)
    frame.legend([simulated, *axes.get_legend_handles_labels()[0][:-1]])
    frame.note(f"{shown}{interval_note(result)}")
    return frame.figure


def _few_points(result: ResultDocument) -> Figure:
    frame = Frame(sweep_heading(result), subtitle_of(result, "simulated speedup by depth"))
    axes, points = frame.axes[0], result.points
    theories = [column(point, "speedup", "theory") for point in points]
    same = all(
        t.shape == theories[0].shape and np.allclose(t, theories[0], rtol=1e-9) for t in theories
    )
    drawn: list[Any] = []
    for point, color in zip(points, LINES, strict=False):
        name = legend_name(result, point)
        drawn.append(_draw_simulated(axes, point, color, label=name, fmt="o-"))
        if not same:
            _draw_closed_form(axes, point, color)
    if same:
        _draw_closed_form(axes, points[0], INK)
    axes.axhline(1, color=GREY, linewidth=1, zorder=1)
    depth_ticks(axes, 0, max(map(greatest_depth, points)))
    axes.margins(y=0.1)
    frame.name_axes(DEPTH_AXIS, SPEEDUP_AXIS)
    style: dict[str, Any] = {"color": INK, "linewidth": 1.2}
    closed = Line2D([], [], linestyle=DASHED, label="closed form", **style)
    plain = Line2D([], [], label="plain decoding", **{**style, "color": GREY})
    ring = {**_ring(INK), "markersize": 9}
    best = Line2D([], [], linestyle="", marker="o", label="best depth", **ring)
    frame.legend([*by_last_value(drawn), closed, plain, best])
    frame.note(interval_note(result))
    return frame.figure


def _draw_simulated(axes: Axes, point: PointResult, color: str, *, label: str, fmt: str) -> Any:
    """Draw simulated speedups with error bars, the best depth ringed; returns the error bars."""
    mean, low, high = (column(point, "speedup", end) for end in ("mean", "low", "high"))
    bars = axes.errorbar(
        np.arange(mean.size),
        mean,
        error_arms(mean, low, high),
        fmt=fmt,
        color=color,
        linewidth=1.4,
        markersize=MARKER,
        capsize=3,
        zorder=3,
        label=label,
    )
    best = best_depth(point)
    if best is not None:
        axes.plot([best], [mean[best]], "o", **_ring(color), zorder=4)
    return bars


def _ring(color: str) -> dict[str, Any]:
    face = {"markerfacecolor": "none", "markeredgecolor": color, "markeredgewidth": 1.6}
    return {"markersize": 2.2 * MARKER, **face}


def _draw_closed_form(axes: Axes, point: PointResult, color: str, label: str = "") -> None:
    theory = column(point, "speedup", "theory")
    axes.plot(theory, color=color, linewidth=1.2, linestyle=DASHED, zorder=2.5, label=label)


def marginal_figure(result: ResultDocument) -> Figure:
    """Draw speedup(k) / speedup(k - 1) as bars from 1, coloured by the verdict on the step."""
    what = "gain of each step, speedup(k) / speedup(k - 1)"
    frame, remark, shown = point_panels(result, _marginal_heading(result), what, _draw_steps)
    kinds = {kind for point in some_points(result)[0] for kind in step_kinds(point)}
    frame.name_axes("step to depth k", "speedup(k) / speedup(k - 1)")
    named = [Patch(**style, label=kind) for kind, style in STYLES.items() if kind in kinds]
    closed = Line2D([], [], color=INK, linewidth=1.2, linestyle=DASHED, label="closed form")
    frame.legend([*named, closed])
    undecided = "Undecided: the interval contains 1. " * (UNDECIDED in kinds)
    below = "Below each step: its gain. " * shown
    frame.note(f"{remark}{undecided}{below}Error bars: {level(result)} intervals.")
    return frame.figure


def step_kinds(point: PointResult) -> list[str]:
    """Verdict on each step to depth 1..K, ``[K]``."""
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
    arms = error_arms(mean, low, high)
    axes.errorbar(depths, mean, arms, fmt="none", ecolor=INK, elinewidth=1.3, capsize=3, zorder=3)
    axes.hlines(theory, depths - 0.38, depths + 0.38, INK, DASHED, linewidth=1.2, zorder=3)
    axes.axhline(1, color=INK, linewidth=1)
    axes.margins(y=0.08)
    texts = [f"{100 * (gain - 1):+.1f} %" if known(gain) else "-" for gain in mean]
    return value_ticks(axes, 1, texts)


def _marginal_heading(result: ResultDocument) -> str:
    points = result.points
    if len(points) > 1:
        deepest = sorted({_paying_steps(point) for point in points})
        if len(deepest) > 1:
            return (
                f"Number of steps that pay: {deepest[0]} to {deepest[-1]}, depending on the point"
            )
        return f"Steps up to depth {deepest[0]} pay at every point"
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


def _paying_steps(point: PointResult) -> int:
    """How many steps are essential or optional before the first that is not."""
    kinds = step_kinds(point)
    return next((n for n, kind in enumerate(kinds) if kind not in PAYING), len(kinds))
