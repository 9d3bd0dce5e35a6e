"""How fast single requests go at each depth: the middle, and the tails."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtpsim.report.document import Document, Floats, best_depth, numbers
from mtpsim.report.style import (
    BLUE,
    INK,
    PAPER,
    Frame,
    depth_ticks,
    label_of,
    panel_title,
    share_limits,
    some_points,
    subtitle_of,
)


def requests_figure(result: Document) -> Figure:
    """Draw the quantiles of a request's tokens a second by depth."""
    chosen, remark = some_points(result)
    subtitle = subtitle_of(result, "tokens a second of single requests")
    frame = Frame(_heading(result), subtitle, panels=len(chosen))
    for axes, number in zip(frame.axes, chosen, strict=True):
        _draw(axes, result["points"][number])
        if len(chosen) > 1:
            panel_title(axes, label_of(result, number))
    share_limits(frame.axes, "y")
    frame.name_axes("depth", "tokens a second")
    frame.note(
        f"{remark}Dot: the median request; thick: from p5 to p95; thin: from p1 to p99. Of up "
        f"to 50,000 requests{_length(result)}."
    )
    return frame.figure


def _length(result: Document) -> str:
    """Which length the quantiles are of, in words."""
    if result.get("experiment", {}).get("simulation", {}).get("as_recorded"):
        return ", each as long as it was recorded"
    return " of the length simulated: longer ones would differ less"


def _quantile(point: Document, share: str) -> Floats:
    cells = [(depth.get("request_speed") or {}).get(share) or {} for depth in point["depths"]]
    return numbers([cell.get("mean") for cell in cells])


def _draw(axes: Axes, point: Document) -> None:
    depths = np.arange(len(point["depths"]))
    for low, high, width in (("p1", "p99", 1.6), ("p5", "p95", 7.0)):
        axes.vlines(depths, _quantile(point, low), _quantile(point, high), BLUE, linewidth=width)
    middle = _quantile(point, "p50")
    axes.plot(depths, middle, "o", color=PAPER, markeredgecolor=INK, markersize=6, zorder=3)
    for depth, value in zip(depths, middle, strict=True):
        axes.annotate(
            f"{value:.3g}",
            (depth, value),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    depth_ticks(axes, 0, len(depths) - 1)


def _heading(result: Document) -> str:
    points = result["points"]
    if len(points) > 1:
        return "How fast single requests go"
    best = best_depth(points[0]) or 0
    slow, plain = _quantile(points[0], "p1")[best], _quantile(points[0], "p99")[0]
    if best and slow > plain:
        return f"The slowest 1 % at depth {best} go faster than the fastest 1 % without drafts"
    middle = _quantile(points[0], "p50")[best]
    return f"At depth {best}, 1 % of requests go {1 - slow / middle:.0%} slower than the median"
