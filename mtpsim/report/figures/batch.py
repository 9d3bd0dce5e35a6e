"""Speedup over the batch size: a line per depth from the cost model, simulated points on it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mtpsim.common.text import counted
from mtpsim.report.document import BatchGroup, PointResult, ResultDocument
from mtpsim.report.figures import style
from mtpsim.report.figures.speedup import SPEEDUP_AXIS
from mtpsim.report.formatting import column, known, set_parts, short_names
from mtpsim.report.tables.shapes import shapes_sentence
from mtpsim.report.tables.sweep import ERRORS, group_label, turn_text

KEY = "latency.batch"


def batch_figure(result: ResultDocument) -> Figure:
    """Draw every group of points that differ in the batch size, a panel each."""
    groups = result.by_batch[: style.MAX_PANELS]
    subtitle = style.subtitle_of(result, "markers: simulated; lines: cost model")
    frame = style.Frame(_heading(result, groups), subtitle, panels=len(groups))
    for axes, group in zip(frame.axes, groups, strict=True):
        if len(groups) > 1:
            style.panel_title(axes, set_parts(group.set, short_names(list(group.set))))
        _draw(axes, group, _points_of(result, group))
    style.share_limits(frame.axes)
    frame.name_axes("batch size (requests)", SPEEDUP_AXIS)
    lines = [axes.get_legend_handles_labels()[0] for axes in frame.axes]
    frame.legend(style.by_last_value(max(lines, key=len)))  # trees may differ in their depth
    rest = len(result.by_batch) - len(groups)
    note = "Bar at the bottom: the fastest depth. "
    if any(group.turns for group in groups):
        note += "Dashed: batch size at which drafting starts or stops to pay, with its interval. "
        note += f"{ERRORS[next(group.turns[0].over for group in groups if group.turns)]} "
    if any(point.advice and point.advice.faster_shape for point in result.points):
        note += "Other shapes of drafts are faster at some batches, as the table of shapes lists. "
    frame.note(note + (f"{counted(rest, 'more group', 'are')} not shown." if rest else ""))
    return frame.figure


def _heading(result: ResultDocument, groups: Sequence[BatchGroup]) -> str:
    of_shapes = all(key.startswith("draft") for group in groups for key in group.set)
    if len(groups) > 1 and result.shapes and of_shapes:
        return shapes_sentence(result.shapes).removesuffix(".")
    if len(groups) == 1 and groups[0].turns:
        return turn_text(groups[0].turns[-1])
    turned = [group for group in groups if group.turns]
    if not turned:
        off = max(speedup[0] for speedup in groups[0].curves.speedup[1:]) < 1
        every = "no batch size" if off else "every batch size"
        return f"Drafting pays at {every} of the sweep"
    return f"{turn_text(turned[0].turns[-1])} ({group_label(turned[0])})"


def _points_of(result: ResultDocument, group: BatchGroup) -> list[PointResult]:
    def fits(point: PointResult) -> bool:
        others = {key: value for key, value in point.set.items() if key != KEY}
        return KEY in point.set and bool(others == group.set)

    return [point for point in result.points if fits(point)]


def _draw(axes: Axes, group: BatchGroup, points: Sequence[PointResult]) -> None:
    batches = np.array(group.curves.batch)
    swept = [float(point.set[KEY]) for point in points]
    deepest = len(group.curves.speedup) - 1
    axes.set_xscale("log", base=2)
    for depth, speedup in enumerate(group.curves.speedup):
        color = style.depth_color(depth, deepest)
        axes.plot(batches, speedup, color=color, linewidth=1.6, label=style.depth_name(depth))
        if depth:
            simulated = [column(point, "speedup")[depth] for point in points]
            axes.plot(swept, simulated, "o", color=color, markersize=style.MARKER * 0.8)
    for turn in group.turns:
        axes.axvline(turn.batch, color=style.INK, linewidth=1, linestyle=style.DASHED)
        if known(turn.low) and known(turn.high):
            axes.axvspan(turn.low, turn.high, color=style.PALE)
    for entry in group.schedule:
        color = style.depth_color(entry.depth, deepest)
        axes.axvspan(entry.from_, entry.to + 1, 0, 0.03, color=color)
    axes.set_xlim(batches[0], batches[-1])
    axes.xaxis.set_major_locator(FixedLocator(_spaced(swept)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _spaced(values: Sequence[float]) -> list[float]:
    """Values whose numbers fit side by side on a logarithmic axis."""
    ordered = sorted(values)
    gap = np.log(ordered[-1] / ordered[0]) / 9
    kept = ordered[:1]
    for value in ordered[1:]:
        if np.log(value / kept[-1]) > gap:
            kept.append(value)
    return kept
