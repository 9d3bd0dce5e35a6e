"""How fast single requests go at each depth: the middle, and the tails."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtpsim.common.arrays import Floats
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    INK,
    PAPER,
    Frame,
    depth_ticks,
    label_of,
    panel_title,
    pitch,
    share_limits,
    some_points,
    subtitle_of,
    width_of,
)
from mtpsim.report.formatting import best_depth, numbers

BAR, SIZE, GAP = 7.0, 9.0, 9.0  # points: width of a bar, of letters, from a dot to its number


def requests_figure(result: ResultDocument) -> Figure:
    """Draw the quantiles of a request's tokens a second by depth."""
    chosen, remark = some_points(result)
    subtitle = subtitle_of(result, "tokens a second of single requests")
    frame = Frame(_heading(result), subtitle, panels=len(chosen))
    for axes, number in zip(frame.axes, chosen, strict=True):
        _draw(axes, result["points"][number])
        if len(chosen) > 1:
            panel_title(axes, label_of(result, number))
    _make_room(frame.axes)
    for axes, number in zip(frame.axes, chosen, strict=True):
        _label(axes, result["points"][number])
    frame.name_axes("depth", "tokens a second")
    frame.note(
        f"{remark}Dot and number: the median request; thick: from p5 to p95; thin: from p1 to p99. "
        f"Of up to 50,000 requests{_length(result)}."
    )
    return frame.figure


def _length(result: ResultDocument) -> str:
    """Which length the quantiles are of, in words."""
    if result.get("experiment", {}).get("simulation", {}).get("as_recorded"):
        return ", each as long as it was recorded"
    return " of the length simulated: longer ones would differ less"


def _quantile(point: PointResult, share: str) -> Floats:
    cells = [(depth.get("request_speed") or {}).get(share) or {} for depth in point["depths"]]
    return numbers([cell.get("mean") for cell in cells])


def _draw(axes: Axes, point: PointResult) -> None:
    depths = np.arange(len(point["depths"]))
    for low, high, width in (("p1", "p99", 1.6), ("p5", "p95", BAR)):
        axes.vlines(depths, _quantile(point, low), _quantile(point, high), BLUE, linewidth=width)
    middle = _quantile(point, "p50")
    axes.plot(depths, middle, "o", color=PAPER, markeredgecolor=INK, markersize=6, zorder=3)
    depth_ticks(axes, 0, len(depths) - 1)


def _make_room(panels: list[Axes]) -> None:
    """Shared limits with room for markers at the foot and numbers at the top."""
    share_limits(panels, "y")
    low, high = panels[0].get_ylim()
    room = 0.05 * (high - low)
    for axes in panels:
        axes.set_ylim(low - room, high + 2 * room)


def _label(axes: Axes, point: PointResult) -> None:
    """Write the medians beside their dots, else above the bars, else that of the best depth."""
    middle, tops = _quantile(point, "p50"), _quantile(point, "p99")
    texts = [f"{value:.3g}" for value in middle]
    room = pitch(axes) - max(width_of(text, SIZE) for text in texts)
    beside = room > (1.5 * BAR + GAP) / 72
    for depth, text in enumerate(texts):
        if np.isfinite(middle[depth]) and (room > 0.03 or depth == (best_depth(point) or 0)):
            axes.annotate(
                text,
                (depth, middle[depth] if beside else np.nanmax([tops[depth], middle[depth]])),
                xytext=(GAP, 0) if beside else (0, GAP / 2),
                textcoords="offset points",
                ha="left" if beside else "center",
                va="center" if beside else "bottom",
                fontsize=SIZE,
            )


def _heading(result: ResultDocument) -> str:
    points = result["points"]
    slower = [share for share in map(_slower, points) if np.isfinite(share)]
    if not slower:
        return "How fast single requests go"
    if len(points) > 1:
        low, high = f"{100 * min(slower):.0f}", f"{100 * max(slower):.0f}"
        span = f"{low} %" if low == high else f"{low} to {high} %"
        return f"At each point's best depth, 1 % of requests go {span} slower than the median"
    best = best_depth(points[0]) or 0
    slow, plain = _quantile(points[0], "p1")[best], _quantile(points[0], "p99")[0]
    if best and slow > plain:
        return f"The slowest 1 % at depth {best} go faster than the fastest 1 % without drafts"
    if slower[0] < 0.005:
        return f"At depth {best}, requests go as fast as each other"
    return f"At depth {best}, 1 % of requests go {100 * slower[0]:.0f} % slower than the median"


def _slower(point: PointResult) -> float:
    """The share by which the fastest of the slowest 1 % of requests is behind the median."""
    best = best_depth(point) or 0
    return float(1 - _quantile(point, "p1")[best] / _quantile(point, "p50")[best])
