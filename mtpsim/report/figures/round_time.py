"""How long a round takes at each depth: a row of densities above each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtpsim.common.arrays import Floats
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    INK,
    PAPER,
    SKY,
    Frame,
    label_of,
    panel_title,
    some_points,
    subtitle_of,
    write,
)
from mtpsim.report.formatting import best_depth, column, fixed

RoundTimes = Sequence[Sequence[Floats | Sequence[float]]]
"""A sample of round times in ms for each point and depth."""

GRID = 400
RIDGE = 0.82
"""Height of a ridge; rows are 1 apart."""
MOST_RIDGES = 17
CONSTANT = 1e-9
"""Relative range of a sample below which the time counts as constant."""


def latency_figure(result: ResultDocument, round_times: RoundTimes) -> Figure:
    """Draw the distribution of the round time at each depth.

    Args:
        result: the result document.
        round_times: a sample in ms for each point and depth, in any order.

    """
    chosen, remark = some_points(result)
    rows = max(len(_shown(round_times[number])) for number in chosen)
    alone = len(chosen) == 1
    frame = Frame(
        _heading(result["points"]),
        subtitle_of(result, "distribution of the round time by depth"),
        panels=len(chosen),
        size=(7.2, max(3.6, 1.9 + 0.42 * rows)) if alone else None,
        right=1.0 if alone else 0.3,
    )
    limits = _range([np.asarray(s, float) for n in chosen for s in round_times[n]])
    for axes, number in zip(frame.axes, chosen, strict=True):
        _draw_ridges(axes, result["points"][number], round_times[number], limits, alone)
        if not alone:
            panel_title(axes, label_of(result, number))
    frame.name_axes("time of a round (ms)", "depth")
    frame.note(
        f"{remark}Dots mark the means, the best depth is darker, a constant time is a line; "
        "every row has its own height."
    )
    return frame.figure


def _heading(points: list[PointResult]) -> str:
    """Compare the mean round time at the greatest depth with a plain step."""
    times = [column(point, "round_time") for point in points]
    times = [t for t in times if np.isfinite(t[[0, -1]]).all()]
    if not times:
        return "Time of a round by depth"
    depth, ratios = len(times[0]) - 1, [t[-1] / t[0] for t in times]
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    span = low if low == high else f"{low} to {high}"
    if len(times) > 1:
        return f"A round at depth {depth} takes {span} times as long as a plain step"
    longest, plain = _milliseconds(times[0][[-1, 0]])
    return f"A round at depth {depth} takes {longest} ms, a plain step {plain} ms"


def _milliseconds(times: Floats) -> list[str]:
    """Times with the decimals that give the longest three digits."""
    longest = max(np.nan_to_num(times).max(), 1e-9)
    decimals = min(max(2 - math.floor(math.log10(longest)), 0), 6)
    return [fixed(float(time), decimals) for time in times]


def _shown(samples: Sequence[Floats | Sequence[float]]) -> list[int]:
    """Depths that get a row: all, or an even spread of them."""
    last = len(samples) - 1
    if last < MOST_RIDGES:
        return list(range(last + 1))
    return sorted({round(depth) for depth in np.linspace(0, last, MOST_RIDGES)})


def _draw_ridges(
    axes: Axes,
    point: PointResult,
    samples: Sequence[Floats | Sequence[float]],
    limits: tuple[float, float],
    alone: bool,
) -> None:
    depths, best = _shown(samples), best_depth(point)
    means = column(point, "round_time")
    texts = _milliseconds(means)
    grid = np.linspace(*limits, GRID if alone else GRID // 2)
    for row, depth in enumerate(depths):
        sample = np.asarray(samples[depth], float)
        if not sample.size:
            continue
        color = BLUE if depth == best else SKY
        mean = means[depth] if np.isfinite(means[depth]) else float(sample.mean())
        _draw_ridge(axes, grid, sample, -row, color)
        axes.plot([mean], [-row], "o", color=INK, markersize=4.5, zorder=6 + row)
        if alone:
            bold = "bold" if depth == best else "normal"
            at = axes.get_yaxis_transform()
            write(
                axes, 1.02, -row, f"{texts[depth]} ms", transform=at, fontweight=bold, va="center"
            )
    axes.set_xlim(limits)
    axes.set_ylim(0.3 - len(depths), 1)
    axes.set_yticks([-row for row in range(len(depths))], [str(depth) for depth in depths])
    axes.tick_params(axis="y", length=0, pad=6)
    axes.yaxis.labelpad = 8
    axes.spines["left"].set_visible(False)


def _draw_ridge(axes: Axes, grid: Floats, sample: Floats, base: float, color: str) -> None:
    if np.ptp(sample) <= CONSTANT * abs(sample.mean()):
        axes.vlines(sample[0], base, base + RIDGE, color, linewidth=2.4, zorder=5 - base)
        return
    height = base + RIDGE * density(sample, grid)
    axes.fill_between(grid, base, height, color=color, alpha=0.8, linewidth=0, zorder=5 - base)
    axes.plot(grid, height, color=PAPER, linewidth=0.8, zorder=5 - base)


def _range(samples: list[Floats]) -> tuple[float, float]:
    """Limits that show nearly all of every sample, without the farthest tail."""
    found = [sample for sample in samples if sample.size]
    low = min((float(np.quantile(sample, 0.001)) for sample in found), default=0.0)
    high = max((float(np.quantile(sample, 0.997)) for sample in found), default=1.0)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def density(sample: Floats, grid: Floats) -> Floats:
    """Kernel density estimate on an even grid, scaled to a peak of 1.

    A histogram on the grid, smoothed by a Gaussian kernel whose bandwidth is Silverman's rule of
    thumb, 0.9 min(sd, IQR / 1.34) n^(-1/5) (Silverman 1986, 3.31).
    """
    step = grid[1] - grid[0]
    edges = np.append(grid - step / 2, grid[-1] + step / 2)
    counts = np.histogram(sample, edges)[0].astype(float)
    quarter, three_quarters = np.quantile(sample, [0.25, 0.75])
    spread = min(sample.std(), (three_quarters - quarter) / 1.34) or sample.std()
    width = max(0.9 * spread * sample.size**-0.2 / step, 0.7)
    reach = min(int(np.ceil(4 * width)), (grid.size - 1) // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    smooth = np.convolve(counts, kernel, mode="same")
    return np.asarray(smooth / (smooth.max() or 1.0))
