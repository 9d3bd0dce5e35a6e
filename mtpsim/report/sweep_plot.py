"""The speedup over a sweep of many points: against one key, as a map of two, or as a list."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from mtpsim.report.document import (
    Document,
    Floats,
    best_depth,
    column,
    known,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.speedup_plot import Y_NAME, sweep_heading
from mtpsim.report.style import (
    BLUE,
    DARK_WORD,
    GREY,
    LIGHT_WORD,
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

MOST_ROWS = 40
MOST_WRITTEN = (13, 9)
"""A map of more rows or columns than these carries colours without numbers."""


def many_points(result: Document) -> Figure:
    """Draw the speedup of a sweep with more points than one figure has lines for."""
    keys = swept_keys(result)
    if len(keys) == 1:
        return _against_one_key(result, keys[0])
    if len(keys) == 2:
        return _map_of_two_keys(result, keys[0], keys[1])
    return _list_of_points(result)


def values_of(result: Document, key: str) -> list[Any]:
    """Value of a swept key at every point."""
    return [(point.get("set") or {}).get(key) for point in result["points"]]


def _against_one_key(result: Document, key: str) -> Figure:
    """Draw a line a depth: coloured where the depth is the best somewhere, else pale."""
    values, name = values_of(result, key), short_names([key])[key]
    numeric = all(known(v) and not isinstance(v, bool) for v in values)
    x = np.array(values, float) if numeric else np.arange(len(values), dtype=float)
    order = np.argsort(x)
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
    ticks_at(axes, x, values, numeric)
    label_ends(axes, labels)
    frame.name_axes(name, Y_NAME)
    frame.note(interval_note(result, axes, np.concatenate(all_arms, axis=1)))
    return frame.figure


def _at_depth(result: Document, depth: int) -> tuple[Floats, Floats]:
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


def ticks_at(axes: Axes, x: Floats, values: list[Any], numeric: bool) -> None:
    """Ticks at the swept values; a logarithmic axis where they span two decades."""
    if numeric and x.min() > 0 and x.max() / x.min() >= 100:
        axes.set_xscale("log")
        axes.minorticks_off()
    if not numeric or len(values) <= 12:
        axes.set_xticks(x, [shorten(value_text(v), 14) for v in values], fontsize=9)


def _map_of_two_keys(result: Document, down: str, across: str) -> Figure:
    """Draw the best depth as a colour, with its speedup, over the two swept keys."""
    rows = list(dict.fromkeys(value_text(v) for v in values_of(result, down)))
    columns = list(dict.fromkeys(value_text(v) for v in values_of(result, across)))
    depth, speed = np.full((len(rows), len(columns)), np.nan), {}
    for point in result["points"]:
        place = place_of(point, down, across, rows, columns)
        best = best_depth(point)
        if best is not None:
            depth[place] = best
            speed[place] = column(point, "speedup")[best]
    size = (min(2.4 + 0.85 * len(columns), 11), min(2.2 + 0.5 * len(rows), 9))
    size = (max(size[0], 7.2), max(size[1], 3.6))
    subtitle = subtitle_of(result, "best depth (colour, d) and its speedup (x)")
    names = short_names([down, across])
    left = 0.7 + 0.08 * max(len(shorten(row, 14)) for row in rows)
    frame = Frame(sweep_heading(result), subtitle, size=size, left=left)
    axes = frame.axes[0]
    axes.grid(visible=False)
    axes.tick_params(length=0)
    colors, norm = _depth_colors(depth)
    axes.imshow(depth, cmap=colors, norm=norm, aspect="auto")
    axes.set_xticks(range(len(columns)), [shorten(c, 14) for c in columns])
    axes.set_yticks(range(len(rows)), [shorten(r, 14) for r in rows])
    if len(rows) <= MOST_WRITTEN[0] and len(columns) <= MOST_WRITTEN[1]:
        for (row, col), value in speed.items():
            ink = ink_on(colors(norm(depth[row, col])))
            text = f"d{int(depth[row, col])}  {value:.2f}x" if depth[row, col] else "plain"
            write(axes, col, row, text, color=ink, ha="center", va="center")
    else:
        bar = frame.figure.colorbar(axes.images[0], ax=axes, label="best depth")
        bar.set_ticks(np.unique(depth[np.isfinite(depth)]).tolist())
    frame.note("plain: no depth pays; d2: depth 2 is the fastest.")
    frame.name_axes(names[across], names[down])
    return frame.figure


def place_of(
    point: Document, down: str, across: str, rows: list[str], columns: list[str]
) -> tuple[int, int]:
    """Row and column of a point in a map of two keys."""
    values = point.get("set") or {}
    return rows.index(value_text(values.get(down))), columns.index(value_text(values.get(across)))


def _depth_colors(depth: Floats) -> tuple[ListedColormap, BoundaryNorm]:
    """A shade a depth from the shallowest to the deepest best one; missing cells stay white."""
    found = depth[np.isfinite(depth)]
    low, high = (int(found.min()), int(found.max())) if found.size else (0, 0)
    count = high - low + 1
    blues = colormaps["Blues"](np.linspace(0.12, 0.9, count)) if count > 1 else [SKY]
    return ListedColormap(blues), BoundaryNorm(np.arange(low - 0.5, high + 1), max(count, 1))


def ink_on(color: tuple[float, ...]) -> str:
    """Dark or light, whichever reads better on the colour."""
    brightness = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    return DARK_WORD if brightness > 0.5 else LIGHT_WORD


def _list_of_points(result: Document) -> Figure:
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
