"""Speedup over the batch: a line a depth from the cost model, the simulated points on it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mtpsim.common.text import counted
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.speedup import Y_NAME
from mtpsim.report.figures.style import (
    GREY,
    INK,
    LINES,
    MARKER,
    MOST_PANELS,
    PALE,
    Frame,
    label_ends,
    panel_title,
    share_limits,
    subtitle_of,
)
from mtpsim.report.formatting import column, known
from mtpsim.report.tables.batch_text import group_label, turn_text

KEY = "latency.batch"


def batch_figure(result: ResultDocument) -> Figure:
    """Draw every group of points that differ in the batch, a panel each."""
    groups = result["by_batch"][:MOST_PANELS]
    what = "markers simulated, lines by the cost model"
    frame = Frame(_heading(groups), subtitle_of(result, what), panels=len(groups), right=0.95)
    for axes, group in zip(frame.axes, groups, strict=True):
        if len(groups) > 1:
            panel_title(axes, group_label(group))
        _draw(axes, group, _points_of(result, group))
    share_limits(frame.axes, "y")
    _label(frame.axes[-1], groups[-1])
    frame.name_axes("requests that decode together (batch)", Y_NAME)
    rest = len(result["by_batch"]) - len(groups)
    note = "The bar at the foot is the fastest depth; grey: off. "
    if any(group["turns"] for group in groups):
        note += "Dashed: where drafting starts or stops to pay, with its interval. "
    frame.note(note + (f"{counted(rest, 'more group', 'are')} not shown." if rest else ""))
    return frame.figure


def _heading(groups: list[Any]) -> str:
    if len(groups) == 1 and groups[0]["turns"]:
        return turn_text(groups[0]["turns"][-1])
    turned = [group for group in groups if group["turns"]]
    if not turned:
        off = max(speedup[0] for speedup in groups[0]["curves"]["speedup"][1:]) < 1
        return "Drafting pays at no batch" if off else "Drafting pays at every batch of the sweep"
    return f"{turn_text(turned[0]['turns'][-1])} ({group_label(turned[0])})"


def _points_of(result: ResultDocument, group: Any) -> list[Any]:
    def fits(point: PointResult) -> bool:
        others = {key: value for key, value in point["set"].items() if key != KEY}
        return KEY in point["set"] and bool(others == group["set"])

    return [point for point in result["points"] if fits(point)]


def _draw(axes: Axes, group: Any, points: list[PointResult]) -> None:
    batches = np.array(group["curves"]["batch"])
    swept = np.array([float(point["set"][KEY]) for point in points])
    axes.set_xscale("log", base=2)
    for depth, speedup in enumerate(group["curves"]["speedup"]):
        color = _color(depth)
        axes.plot(batches, speedup, color=color, linewidth=1.6 if depth else 1.0)
        if depth:
            simulated = [column(point, "speedup")[depth] for point in points]
            axes.plot(swept, simulated, "o", color=color, markersize=MARKER * 0.8)
    for turn in group["turns"]:
        axes.axvline(turn["batch"], color=INK, linewidth=1, linestyle=(0, (3, 3)))
        if known(turn["low"]) and known(turn["high"]):
            axes.axvspan(turn["low"], turn["high"], color=PALE)
    for entry in group["schedule"]:
        axes.axvspan(entry["from"], entry["to"] + 1, 0, 0.03, color=_color(entry["depth"]))
    axes.set_xlim(batches[0], batches[-1])
    axes.xaxis.set_major_locator(FixedLocator(_apart(swept)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _apart(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
    """Those of the ascending values that have room for their number on a log axis."""
    ordered = sorted(values)
    room = np.log(ordered[-1] / ordered[0]) / 9
    kept = [ordered[0]]
    kept += [b for a, b in pairwise(ordered) if np.log(b / kept[-1]) > room or not room]
    return kept


def _color(depth: int) -> str:
    return LINES[(depth - 1) % len(LINES)] if depth else GREY


def _label(axes: Axes, group: Any) -> None:
    label_ends(
        axes,
        [
            (speedup[-1], f"depth {depth}" if depth else "plain", _color(depth))
            for depth, speedup in enumerate(group["curves"]["speedup"])
        ],
    )
