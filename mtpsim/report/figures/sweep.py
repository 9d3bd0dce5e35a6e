"""The speedup over a sweep of many points: against one key, as a map of two, or as a list."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from mtpsim.common.arrays import Floats
from mtpsim.report.document import ResultDocument
from mtpsim.report.figures.speedup import Y_NAME
from mtpsim.report.figures.style import (
    BLUE,
    GREY,
    LINES,
    MARKER,
    PALE,
    SKY,
    Frame,
    error_arms,
    interval_note,
    label_ends,
    label_of,
    shades,
    shorten,
    subtitle_of,
    write,
)
from mtpsim.report.figures.sweep_axes import Along, Grid, ink_on
from mtpsim.report.formatting import (
    best_depth,
    column,
    swept_keys,
)
from mtpsim.report.tables.batch_text import sweep_heading

MOST_ROWS = 40
MOST_WRITTEN = (13, 9)
"""A map of more rows or columns than these carries colours without numbers."""


def many_points(result: ResultDocument) -> Figure:
    """Draw the speedup of a sweep with more points than one figure has lines for."""
    keys = swept_keys(result)
    if len(keys) == 1:
        return _against_one_key(result, keys[0])
    if len(keys) == 2:
        return _map_of_two_keys(result, keys[0], keys[1])
    return _list_of_points(result)


def _against_one_key(result: ResultDocument, key: str) -> Figure:
    """Draw a line a depth: coloured where the depth is the best somewhere, else pale."""
    along = Along.of(result, key)
    x, order = along.x, along.order
    what = "speedup of each depth; markers show the best"
    frame = Frame(sweep_heading(result), subtitle_of(result, what), right=1.0)
    axes = frame.axes[0]
    best = [best_depth(point) for point in result["points"]]
    colors = _colors_of_depths(best)
    deepest = max(len(point["depths"]) for point in result["points"])
    labels, all_arms = [], []
    for depth in range(deepest):
        mean, arms = _at_depth(result, depth)
        color = colors.get(depth, PALE)
        axes.plot(x[order], mean[order], color=color, linewidth=1.6 if depth in colors else 1)
        here = [n for n in order if best[n] == depth]
        axes.errorbar(
            x[here], mean[here], arms[:, here], fmt="o", color=color, markersize=MARKER, capsize=3
        )
        all_arms.append(arms[:, here])
        if depth in colors or deepest <= MOST_WRITTEN[1]:
            text = f"depth {depth}" if depth else "plain"
            labels.append((mean[order[-1]], text, color if depth in colors else GREY))
    along.tick(axes)
    label_ends(axes, labels)
    frame.name_axes(along.name, Y_NAME)
    frame.note(interval_note(result, axes, np.concatenate(all_arms, axis=1)))
    return frame.figure


def _at_depth(result: ResultDocument, depth: int) -> tuple[Floats, Floats]:
    """Speedup of a depth at every point ``[N]`` and its error arms ``[2, N]``."""
    fields = {
        field: np.array(
            [
                values[depth] if depth < len(values := column(p, "speedup", field)) else np.nan
                for p in result["points"]
            ]
        )
        for field in ("mean", "low", "high")
    }
    return fields["mean"], error_arms(fields["mean"], fields["low"], fields["high"])


def _colors_of_depths(best: list[int | None]) -> dict[int, str]:
    winners = sorted({depth for depth in best if depth is not None})
    if len(winners) <= len(LINES):
        return dict(zip(winners, LINES, strict=False))
    return dict(zip(winners, shades(len(winners)), strict=True))


def _map_of_two_keys(result: ResultDocument, down: str, across: str) -> Figure:
    """Draw the best depth as a colour, with its speedup, over the two swept keys."""
    grid = Grid.of(result, down, across)
    rows, columns = grid.rows, grid.columns
    depth, speed = grid.empty(), {}
    for point in result["points"]:
        place = grid.place(point)
        best = best_depth(point)
        if best is not None:
            depth[place] = best
            speed[place] = column(point, "speedup")[best]
    size = (min(2.4 + 0.85 * len(columns), 11), min(2.2 + 0.5 * len(rows), 9))
    size = (max(size[0], 7.2), max(size[1], 3.6))
    subtitle = subtitle_of(result, "best depth (colour, d) and its speedup (x)")
    frame = Frame(sweep_heading(result), subtitle, size=size, left=grid.left)
    axes = frame.axes[0]
    colors, norm = _depth_colors(depth)
    grid.paint(axes, depth, colors, norm)
    if len(rows) <= MOST_WRITTEN[0] and len(columns) <= MOST_WRITTEN[1]:
        for (row, col), value in speed.items():
            ink = ink_on(colors(norm(depth[row, col])))
            text = f"d{int(depth[row, col])}  {value:.2f}x" if depth[row, col] else "plain"
            write(axes, col, row, text, color=ink, ha="center", va="center")
    else:
        bar = frame.figure.colorbar(axes.images[0], ax=axes, label="best depth")
        bar.set_ticks(np.unique(depth[np.isfinite(depth)]).tolist())
    frame.note("plain: no depth pays; d2: depth 2 is the fastest.")
    grid.name_axes(frame)
    return frame.figure


def _depth_colors(depth: Floats) -> tuple[ListedColormap, BoundaryNorm]:
    """A shade a depth from the shallowest to the deepest best one; missing cells stay white."""
    found = depth[np.isfinite(depth)]
    low, high = (int(found.min()), int(found.max())) if found.size else (0, 0)
    count = high - low + 1
    blues = colormaps["Blues"](np.linspace(0.12, 0.9, count)) if count > 1 else [SKY]
    return ListedColormap(blues), BoundaryNorm(np.arange(low - 0.5, high + 1), max(count, 1))


def _list_of_points(result: ResultDocument) -> Figure:
    """Draw the best speedup of each point as a row; the fastest where there are too many."""
    points = result["points"]
    best = [best_depth(point) for point in points]
    speeds = [
        column(p, "speedup")[k] if k is not None else np.nan
        for p, k in zip(points, best, strict=True)
    ]
    order = np.argsort(-np.nan_to_num(np.array(speeds)), kind="stable")[:MOST_ROWS]
    subtitle = subtitle_of(result, "speedup at the best depth of each point")
    names = [shorten(label_of(result, n), 48) for n in order]
    left = 0.4 + 0.075 * max(len(name) for name in names)
    frame = Frame(
        sweep_heading(result), subtitle, size=(left + 5, 1.9 + 0.24 * len(order)), left=left
    )
    axes = frame.axes[0]
    axes.grid(visible=False)
    for row, number in enumerate(order):
        depth = best[number]
        if depth is None:
            continue
        mean, arms = _at_depth(result, depth)
        axes.errorbar(
            mean[number], row, xerr=arms[:, [number]], fmt="o", color=BLUE, markersize=MARKER
        )
        write(
            axes, mean[number] + arms[1, number], row, f"  depth {depth}", va="center", fontsize=8
        )
    axes.set_yticks(range(len(order)), names, fontsize=8.5)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.locator_params(axis="x", nbins=6)
    frame.name_axes(Y_NAME, "")
    if len(points) > len(order):
        frame.note(f"The fastest {len(order)} of {len(points)} points.")
    return frame.figure
