"""Distributions: accepted drafts per round, speed of single requests, time of a round."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mtpsim.common.arrays import Floats
from mtpsim.common.text import span
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures import style
from mtpsim.report.figures.panels import point_panels, some_points
from mtpsim.report.formatting import (
    advised_depth,
    best_depth,
    column,
    fixed,
    greatest_depth,
    numbers,
    point_parts,
)

RoundTimes = Sequence[Sequence[Floats | Sequence[float]]]
"""A sample of round times in ms for each point and depth."""
GRID = 400
VISIBLE = 0.002  # share of the peak
RIDGE = 0.82
"""Height of a density; rows are 1 apart."""
MAX_RIDGES = 17
MAX_VALUES = 40
"""Different times of a sample up to which each is a line, in single precision."""
EXACT_DIFFERS = 0.1
"""Difference in percentage points from which the exact solution is drawn beside the closed form."""


def accepted_figure(result: ResultDocument) -> Figure:
    """Draw how many drafts a round accepts at the greatest depth, against the closed form."""
    heading = _accepted_heading(result.points)
    what = f"accepted drafts per round at {_greatest(result.points)}"
    frame, remark, shown = point_panels(result, heading, what, _draw_accepted, _shares)
    frame.name_axes("accepted drafts", "share of rounds (%)")
    frame.legend()
    below = "Below each number: its simulated share in %. " * shown
    frame.note(f"{remark}{below}{style.interval_note(result)}")
    return frame.figure


def _shares(point: PointResult) -> tuple[str, ...]:
    """The shares of accepted drafts in the digits that a picture shows."""
    found = point.accepted
    values = [*found.mean, *found.theory] if found else []
    return tuple(fixed(None if share is None else 100 * share, 1) for share in values)


def _greatest(points: Sequence[PointResult]) -> str:
    """The greatest depth in words: shapes of drafts may differ in theirs."""
    depths = {greatest_depth(point) for point in points}
    return f"the greatest depth ({span(depths)})" if len(depths) > 1 else f"depth {span(depths)}"


def _draw_accepted(axes: Axes, point: PointResult) -> bool:
    """Draw one distribution; returns whether its shares are written below the bars."""
    accepted = point.accepted
    if not accepted:
        return False
    mean, low, high, theory, exact = (
        100 * numbers(values)
        for values in (
            *(accepted.mean, accepted.low, accepted.high),
            *(accepted.theory, accepted.exact),
        )
    )
    arms = style.error_arms(mean, low, high)
    axes.bar(accepted.count, mean, 0.7, color=style.BLUE, alpha=0.85, zorder=2, label="simulated")
    axes.errorbar(accepted.count, mean, arms, **style.ON_BARS)
    if theory.size:
        diamond: dict[str, Any] = {"markerfacecolor": style.PAPER, "markeredgecolor": style.INK}
        axes.plot(
            accepted.count,
            theory,
            "D",
            **diamond,
            markersize=style.MARKER,
            zorder=4,
            label="closed form",
        )
    if exact.size == theory.size and (abs(exact - theory) > EXACT_DIFFERS).any():
        axes.plot(
            accepted.count,
            exact,
            "o",
            markersize=4,
            color=style.ORANGE,
            zorder=5,
            label="exact solution",
        )
    axes.margins(y=0.08)
    axes.set_ylim(bottom=0)
    return style.value_ticks(axes, 0, [fixed(share, 1) for share in mean])


def _accepted_heading(points: list[PointResult]) -> str:
    shares = [numbers(point.accepted.mean) for point in points if point.accepted]
    if not shares:
        return "Nothing was simulated"
    full = span((100 * share[-1] for share in shares), ".0f", " %")
    depths = {share.size - 1 for share in shares}
    tree = any(point.tree and not point.tree.is_chain for point in points)
    if depths == {1} and not tree:
        return f"{full} of rounds accept the draft"
    most = f"all {max(depths)}"
    if len(depths) > 1:
        most = f"the most possible ({span(depths)})"
    elif tree:
        most = f"{max(depths)}, one per level"
    none = span((100 * share[0] for share in shares), ".0f", " %")
    return f"{none} of rounds accept no draft, {full} accept {most}"


def requests_figure(result: ResultDocument) -> Figure:
    """Draw the quantiles of a request's tokens per second by depth."""
    heading, what = _request_heading(result), "tokens per second of single requests"
    frame, remark, shown = point_panels(result, heading, what, _draw_speeds)
    frame.name_axes(style.DEPTH_AXIS, "tokens per second")
    frame.legend()
    below = "Below each depth: the median. " * shown
    requests = f"up to 50,000 requests{_request_length(result)}"
    frame.note(f"{remark}{below}Quantiles over {requests}.")
    return frame.figure


def _request_length(result: ResultDocument) -> str:
    """Which length the quantiles are of, in words."""
    if result.experiment.get("simulation", {}).get("as_recorded"):
        return ", each as long as recorded"
    return " of the simulated length; longer requests differ less"


def _quantile(point: PointResult, share: str) -> Floats:
    cells = [(depth.request_speed or {}).get(share) for depth in point.depths]
    return numbers(cell.mean if cell else None for cell in cells)


def _draw_speeds(axes: Axes, point: PointResult) -> bool:
    """Draw the quantiles of a point; returns whether medians are written below the depths."""
    depths = np.arange(len(point.depths))
    for low, high, width in (("p1", "p99", 1.6), ("p5", "p95", 7.0)):
        axes.vlines(
            depths,
            _quantile(point, low),
            _quantile(point, high),
            style.BLUE,
            linewidth=width,
            label=f"{low} to {high}",
        )
    median = _quantile(point, "p50")
    axes.plot(
        depths,
        median,
        "o",
        color=style.PAPER,
        markeredgecolor=style.INK,
        markersize=6,
        zorder=3,
        label="median",
    )
    return style.value_ticks(axes, 0, _three_digits(median), advised_depth(point))


def _request_heading(result: ResultDocument) -> str:
    points = result.points
    behind = [share for share in map(_behind_median, points) if np.isfinite(share)]
    if not behind:
        return "Speed of single requests"
    if len(points) > 1:
        by = span((100 * share for share in behind), ".0f", " %")
        return f"1 % of requests are at least {by} slower than the median, at the best depth"
    best = best_depth(points[0]) or 0
    slow, plain = _quantile(points[0], "p1")[best], _quantile(points[0], "p99")[0]
    if best and slow > plain:
        return f"99 % of requests at depth {best} are faster than 99 % of requests without drafts"
    if behind[0] < 0.005:
        return f"All requests at depth {best} are equally fast"
    much = f"{100 * behind[0]:.0f} %"
    return f"1 % of requests at depth {best} are at least {much} slower than the median"


def _behind_median(point: PointResult) -> float:
    """How far the 1 % quantile of request speed is below the median at the best depth."""
    best = best_depth(point) or 0
    return float(1 - _quantile(point, "p1")[best] / _quantile(point, "p50")[best])


def latency_figure(result: ResultDocument, round_times: RoundTimes) -> Figure:
    """Draw the distribution of the round time at each depth.

    Args:
        result: the result document.
        round_times: a sample in ms for each point and depth, in any order.
    """
    points, remark = some_points(result)
    places = [n for n, point in enumerate(result.points) if any(point is one for one in points)]
    samples = [[np.asarray(sample, float) for sample in round_times[n]] for n in places]
    rows = max(len(_shown(own)) for own in samples)
    alone = len(points) == 1
    frame = style.Frame(
        _time_heading(result.points),
        style.subtitle_of(result, "distribution of the round time by depth"),
        panels=len(points),
        size=(style.WIDTH, max(3.6, 1.9 + 0.42 * rows)) if alone else None,
        left=1.6 if alone else 0.75,
    )
    few, limits = False, _range([sample for own in samples for sample in own])
    for axes, point, own in zip(frame.axes, points, samples, strict=True):
        _draw_ridges(axes, point, own, limits, with_means=alone)
        few |= any(isinstance(drawn, LineCollection) for drawn in axes.collections)
        if not alone:
            style.panel_title(axes, point_parts(result, point) or style.name_of(result, point))
    frame.name_axes("time of a round (ms)", "" if alone else "depth")
    frame.note(
        f"{remark}Dots: means. Dark: the best depth. Densities are scaled to the same height."
        + few * " Vertical lines: a depth with only a few different times, by how often each is."
    )
    return frame.figure


def _time_heading(points: list[PointResult]) -> str:
    """Compare the mean round time at the greatest depth with a plain step."""
    points = [p for p in points if np.isfinite(column(p, "round_time")[[0, -1]]).all()]
    times = [column(point, "round_time") for point in points]
    if not times:
        return "Time of a round by depth"
    where, ratios = _greatest(points), [t[-1] / t[0] for t in times]
    if len(times) > 1:
        return f"A round at {where} takes {span(ratios, '.2f')} times as long as a plain step"
    greatest, plain = _three_digits(times[0][[-1, 0]])
    return f"A round at {where} takes {greatest} ms, a plain step {plain} ms"


def _three_digits(values: Floats) -> list[str]:
    """Numbers with the decimals that give the greatest three digits."""
    greatest = max(np.nan_to_num(values).max(), 1e-9)
    decimals = min(max(2 - math.floor(math.log10(greatest)), 0), 6)
    return [fixed(float(value), decimals) for value in values]


def _shown(samples: Sequence[Floats]) -> list[int]:
    """Depths that get a row: all, or an even spread of them."""
    last = len(samples) - 1
    return sorted({round(depth) for depth in np.linspace(0, last, min(last + 1, MAX_RIDGES))})


def _draw_ridges(
    axes: Axes,
    point: PointResult,
    samples: Sequence[Floats],
    limits: tuple[float, float],
    *,
    with_means: bool,
) -> None:
    depths, best, means = _shown(samples), advised_depth(point), column(point, "round_time")
    grid = np.linspace(*limits, GRID)
    for row, depth in enumerate(depths):
        sample = samples[depth]
        if not sample.size:
            continue
        mean = means[depth] if np.isfinite(means[depth]) else float(sample.mean())
        _draw_ridge(axes, grid, sample, -row, style.BLUE if depth == best else style.SKY)
        axes.plot([mean], [-row], "o", color=style.INK, markersize=4.5, zorder=6 + row)
    axes.set_xlim(limits)
    axes.set_ylim(0.3 - len(depths), 1)
    times = _three_digits(means)
    names = [f"depth {depth}: {times[depth]} ms" if with_means else f"{depth}" for depth in depths]
    for depth, tick in zip(
        depths, axes.set_yticks([-row for row in range(len(depths))], names), strict=True
    ):
        tick.label1.set_fontweight("bold" if depth == best else "normal")
    axes.tick_params(axis="y", length=0, pad=6)
    axes.spines["left"].set_visible(False)


def _draw_ridge(axes: Axes, grid: Floats, sample: Floats, base: float, color: str) -> None:
    values, counts = np.unique(sample.astype(np.float32), return_counts=True)
    if values.size <= max(1, min(MAX_VALUES, sample.size / 10)):
        tops = base + RIDGE * counts / counts.max()
        axes.vlines(values, base, tops, color, linewidth=2.4, zorder=5 - base)
        return
    share = density(sample, grid)
    visible = np.flatnonzero(share > VISIBLE)
    inner = slice(max(visible[0] - 1, 0), visible[-1] + 2)  # the rest is flat, and bytes of a page
    grid, height = grid[inner], base + RIDGE * share[inner]
    axes.fill_between(grid, base, height, color=color, alpha=0.8, linewidth=0, zorder=5 - base)
    axes.plot(grid, height, color=style.PAPER, linewidth=0.8, zorder=5 - base)


def _range(samples: list[Floats]) -> tuple[float, float]:
    """Limits that show nearly all of every sample, without the far tail."""
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
