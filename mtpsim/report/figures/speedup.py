"""The speedup by depth: one point, a few as lines, many against what was swept."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from mtpsim.common.arrays import Floats
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.label_placement import ABOVE, AROUND, BELOW, Room
from mtpsim.report.figures.style import (
    BLUE,
    GREY,
    INK,
    LINES,
    MARKER,
    MOST_PANELS,
    ORANGE,
    PAPER,
    WIDTH,
    Frame,
    depth_ticks,
    error_arms,
    height_for,
    in_points,
    interval_note,
    label_ends,
    label_of,
    longest,
    shorten,
    subtitle_of,
)
from mtpsim.report.formatting import best_depth, column
from mtpsim.report.tables.batch_text import sweep_heading

SAME = 1e-3
"""Relative difference below which two lines can't be told apart in the figure."""
MOST_VALUES = 9
"""More depths than these have their values labelled at the best one alone."""
Y_NAME = "speedup over plain decoding (x)"


def speedup_figure(result: ResultDocument) -> Figure:
    """Draw speedup by depth with its intervals, over the closed form and the exact solution.

    Up to six points of a sweep are lines of one figure; more are drawn against what was swept.
    """
    points = result["points"]
    if len(points) == 1:
        return _one_point(result)
    if len(points) <= MOST_PANELS:
        return _few_points(result)
    from mtpsim.report.figures.sweep import many_points

    return many_points(result)


def speedup_heading(point: PointResult) -> str:
    """State which depth is the fastest, and whether that is sure."""
    best = best_depth(point)
    if best is None:
        return "Nothing was simulated"
    candidates = (point.get("advice") or {}).get("candidates") or [best]
    speed = f"{column(point, 'speedup')[best]:.2f}x"
    if len(candidates) > 1:
        others = " or ".join(str(k) for k in candidates if k != best)
        return f"Depth {best} is ahead at {speed}, but depth {others} may be as fast"
    if best == 0:
        return "No depth pays: plain decoding is fastest"
    return f"Depth {best} is fastest: {speed}"


def _one_point(result: ResultDocument) -> Figure:
    point = result["points"][0]
    frame = Frame(speedup_heading(point), subtitle_of(result, "speedup by depth"), right=1.35)
    axes = frame.axes[0]
    mean, arms = draw_simulated(axes, point, BLUE)
    theory, exact = column(point, "speedup", "theory"), column(point, "speedup", "exact")
    depths = np.arange(len(mean))
    axes.plot(depths, exact, color=ORANGE, linewidth=2.6, zorder=2)
    axes.plot(depths, theory, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2.5)
    _baseline(axes)
    _ring(axes, point, mean, BLUE)
    depth_ticks(axes, 0, depths[-1])
    axes.margins(y=0.14)
    _value_labels(axes, point, mean, arms, [theory, exact, np.ones_like(mean)])
    labels = [(1.0, "plain decoding", GREY), (mean[-1], "simulated", BLUE)]
    if np.isnan(exact / theory).all():
        labels.append((theory[-1], "closed form", INK))
    elif np.nanmax(np.abs(exact / theory - 1)) < SAME:
        labels.append((theory[-1], "closed form\nand exact", INK))
    else:
        labels += [(theory[-1], "closed form", INK), (exact[-1], "exact", ORANGE)]
    label_ends(axes, labels)
    frame.name_axes("depth (drafts a round)", Y_NAME)
    frame.note(interval_note(result, axes, arms))
    return frame.figure


def draw_simulated(axes: Axes, point: PointResult, color: str) -> tuple[Floats, Floats]:
    """Draw simulated speedups as markers with error bars; give their means and arms."""
    mean = column(point, "speedup")
    arms = error_arms(mean, column(point, "speedup", "low"), column(point, "speedup", "high"))
    axes.errorbar(
        np.arange(len(mean)),
        mean,
        arms,
        fmt="o",
        color=color,
        markersize=MARKER,
        elinewidth=1.4,
        capsize=3,
        zorder=3,
    )
    return mean, arms


def _baseline(axes: Axes) -> None:
    axes.axhline(1, color=GREY, linewidth=1, zorder=1)


def _ring(axes: Axes, point: PointResult, mean: Floats, color: str) -> None:
    """Mark the best depth."""
    best = best_depth(point)
    if best is not None:
        axes.plot(
            [best],
            [mean[best]],
            "o",
            markersize=2.2 * MARKER,
            markerfacecolor="none",
            markeredgecolor=color,
            markeredgewidth=1.6,
            zorder=4,
        )


def _value_labels(
    axes: Axes, point: PointResult, mean: Floats, arms: Floats, lines: list[Floats]
) -> None:
    """Write the values beside their markers, where no line passes."""
    best, last = best_depth(point), len(mean) - 1
    depths = np.arange(last + 1)
    drawn = [np.column_stack([depths, values]) for values in lines]
    drawn += [np.array([(k, mean[k] - arms[0, k]), (k, mean[k] + arms[1, k])]) for k in depths]
    room = Room(axes, drawn, np.column_stack([depths, mean]))
    for depth in range(1, last + 1):
        bold = depth == best
        if not np.isfinite(mean[depth]) or (last >= MOST_VALUES and not bold):
            continue
        rises = mean[depth] >= mean[depth - 1]
        places = [*AROUND] if rises else [*AROUND[1::-1], *AROUND[2:]]
        if bold or depth == last:
            down, up = in_points(axes, arms[:, depth])
            beyond = ABOVE._replace(y=ABOVE.y + up), BELOW._replace(y=BELOW.y - down)
            places = [*(beyond if rises else beyond[::-1]), *places]
        text, size = f"{mean[depth]:.3f}x", 10.5 if bold else 9.0
        place = room.find((depth, mean[depth]), text, size, places)
        axes.annotate(
            text,
            (depth, mean[depth]),
            xytext=place[:2],
            textcoords="offset points",
            ha=place.ha,
            va=place.va,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=BLUE,
            path_effects=[withStroke(linewidth=3, foreground=PAPER)],
            zorder=6,
            parse_math=False,
        )


def _few_points(result: ResultDocument) -> Figure:
    points = result["points"]
    names = [shorten(label_of(result, n), 60).replace(", ", "\n") for n in range(len(points))]
    ends = [*names, "plain decoding", "closed form"]
    right = 0.3 + longest(ends)
    frame = Frame(
        sweep_heading(result),
        subtitle_of(result, "simulated speedup by depth; the best depth is ringed"),
        size=(max(WIDTH, right + 4.4), height_for(ends)),
        right=right,
    )
    axes = frame.axes[0]
    drawn = [draw_simulated(axes, p, c) for p, c in zip(points, LINES, strict=False)]
    for point, color, (mean, _) in zip(points, LINES, drawn, strict=False):
        axes.plot(mean, color=color, linewidth=1.4)
        _ring(axes, point, mean, color)
    labels = [
        (mean[-1], name, color) for name, color, (mean, _) in zip(names, LINES, drawn, strict=False)
    ]
    theory = _closed_forms(axes, points)
    labels += [*theory, (1.0, "plain decoding", GREY)]
    _baseline(axes)
    depth_ticks(axes, 0, max(len(mean) for mean, _ in drawn) - 1)
    axes.margins(y=0.1)
    label_ends(axes, labels)
    frame.name_axes("depth (drafts a round)", Y_NAME)
    note = interval_note(result, axes, np.concatenate([arms for _, arms in drawn], axis=1))
    frame.note(note if theory else f"Dashed: the closed form. {note}")
    return frame.figure


def _closed_forms(axes: Axes, points: list[PointResult]) -> list[tuple[float, str, str]]:
    """Draw the closed form of every point; a label where one line is that of all."""
    theories = [column(point, "speedup", "theory") for point in points]
    style: dict[str, Any] = {"linestyle": (0, (4, 3)), "linewidth": 1.1, "zorder": 2.5}
    first = theories[0]
    if all(t.shape == first.shape and np.allclose(t, first, rtol=1e-9) for t in theories):
        axes.plot(first, color=INK, **style)
        return [(first[-1], "closed form", INK)]
    for theory, color in zip(theories, LINES, strict=False):
        axes.plot(theory, color=color, **style)
    return []
