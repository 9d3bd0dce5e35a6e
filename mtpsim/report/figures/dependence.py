"""How rounds depend on each other, and how rates move with position and depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    GREY,
    INK,
    LINES,
    Frame,
    depth_ticks,
    error_arms,
    height_for,
    interval_note,
    label_ends,
    label_of,
    longest,
    panel_title,
    shorten,
    some_points,
    subtitle_of,
    write,
)
from mtpsim.report.formatting import known, numbers

ALIKE = 0.005  # rates closer than this are one line
UNNAMED = (3, 4, 7, 14, 28, 56)
"""Lags without a tick, which would crowd the others."""


def dependence_figure(result: ResultDocument) -> Figure:
    """Draw the autocorrelation of accepted drafts by lag, beside the conditional rates.

    One point shows its rates by position, a line for each depth; a sweep shows p1 by depth.
    """
    points = result["points"]
    shown, remark = some_points(result)
    single = len(points) == 1
    labels = [shorten(label_of(result, n), 60).replace(", ", "\n") for n in shown]
    ends = [f"depth {len(points[0]['depths']) - 1}"] if single else labels
    beside = 0.3 + longest(ends)
    frame = Frame(
        _heading([points[n] for n in shown]),
        subtitle_of(result, "accepted drafts of a round"),
        panels=2,
        size=(8.55 + beside, height_for(ends, 4.3)),
        right=beside,
    )
    left, right = frame.axes
    arms = _draw_autocorrelation(left, [points[n] for n in shown])
    panel_title(left, "correlation of rounds some apart")
    if single:
        _draw_rates(right, points[0])
        panel_title(right, "conditional rate, by depth measured at")
    else:
        _draw_first_rates(right, [points[n] for n in shown], labels)
        panel_title(right, "p1, by the depth it is measured at")
    left.set_xlabel("rounds apart", fontsize=10, color=INK)
    right.set_xlabel("draft position" if single else "depth", fontsize=10, color=INK)
    note = interval_note(result, left, arms) if arms.size else ""
    if single:
        note = f"{_of_depths(points[0]['diagnostics']['rates_by_depth'])}{note}"
    frame.note(f"{remark}{note}")
    return frame.figure


def _of_depths(rates: list[Any]) -> str:
    """What the lines at the right are, where they are more than one."""
    if len(rates) < 2:
        return ""
    deepest = numbers(rates[-1]["mean"])
    apart = [np.abs(numbers(r["mean"]) - deepest[: r["depth"]]).max() for r in rates]
    if max(apart) <= ALIKE:
        return "Right: all depths measure the same rates. "
    return "Right: the fainter, the smaller the depth. "


def _heading(points: list[PointResult]) -> str:
    narrow = [p["diagnostics"]["too_narrow"] for p in points]
    factors = [n["mean"] for n in narrow if n and known(n.get("mean")) and n["low"] > 1.05]
    if not factors:
        return "Rounds of a request are as good as independent"
    low, high = f"{min(factors):.2g}", f"{max(factors):.2g}"
    span = low if low == high else f"{low} to {high}"
    return f"Intervals that took rounds as independent would be {span} times too narrow"


def _draw_autocorrelation(axes: Axes, points: list[PointResult]) -> np.ndarray:
    """Draw a line a point; give the error arms ``[2, N]``."""
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xscale("log")
    all_arms, lags = [], [1]
    for point, color in zip(points, LINES, strict=False):
        found = point["diagnostics"]["autocorrelation"]
        if not found:
            continue
        mean, low, high = (numbers(found[field]) for field in ("mean", "low", "high"))
        arms = error_arms(mean, low, high)
        axes.errorbar(found["lag"], mean, arms, color=color, marker="o", markersize=4, capsize=2)
        all_arms.append(arms)
        lags = max(lags, found["lag"], key=len)
        lasting = point["diagnostics"]["lasting_share"]
        if len(points) == 1 and lasting and lasting["low"] > 0.01:
            axes.axhline(lasting["mean"], color=INK, linestyle=(0, (4, 3)), linewidth=1)
            axes.annotate(
                "lasts for good",
                (1, lasting["mean"]),
                xytext=(0, -24),
                textcoords="offset points",
                fontsize=9,
                color=INK,
            )
    axes.xaxis.set_major_locator(
        FixedLocator([lag for lag in lags if lag not in (3, 4, 7, 14, 28)])
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if not all_arms:
        write(axes, 1, 0, "counts never vary, or requests have one round", va="bottom")
        return np.zeros((2, 0))
    return np.concatenate(all_arms, axis=1)


def _draw_rates(axes: Axes, point: PointResult) -> None:
    """Draw conditional rates by position, a line for each depth that they are measured at."""
    by_depth = point["diagnostics"]["rates_by_depth"]
    labels = []
    for entry in by_depth:
        depth, rates = entry["depth"], numbers(entry["mean"])
        shade = 0.25 + 0.75 * depth / by_depth[-1]["depth"]
        last = depth == by_depth[-1]["depth"]
        axes.plot(
            range(1, depth + 1),
            rates,
            color=BLUE,
            alpha=shade,
            marker="o",
            markersize=5 if last else 3.5,
            linewidth=2 if last else 1,
        )
        if last:
            labels.append((rates[-1], f"depth {depth}", BLUE))
        elif depth == 1 and abs(rates[0] - numbers(by_depth[-1]["mean"])[0]) > ALIKE:
            axes.annotate(
                "depth 1",
                (1, rates[0]),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=INK,
            )
    depth_ticks(axes, 1, len(by_depth), margin=0.6)
    axes.margins(y=0.12)
    label_ends(axes, labels)


def _draw_first_rates(axes: Axes, points: list[PointResult], names: list[str]) -> None:
    labels, deepest = [], 1
    for point, name, color in zip(points, names, LINES, strict=False):
        by_depth = point["diagnostics"]["rates_by_depth"]
        rates = numbers(entry["mean"][0] for entry in by_depth)
        axes.plot(range(1, len(rates) + 1), rates, color=color, marker="o", markersize=4)
        labels.append((rates[-1], name, color))
        deepest = max(deepest, len(rates))
    depth_ticks(axes, 1, deepest)
    axes.margins(y=0.12)
    label_ends(axes, labels)
