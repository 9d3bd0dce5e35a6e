"""Sweeps of many points, against the swept keys: speedup, and error of the closed form.

One key is an axis, two keys are a map, more keys give a row per point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mtpsim.common.arrays import Floats
from mtpsim.report.document import DepthResult, Interval, PointResult, ResultDocument, TheoryError
from mtpsim.report.figures import style
from mtpsim.report.figures.speedup import (
    ERROR_AXIS,
    SPEEDUP_AXIS,
    band_note,
    theory_heading,
    tolerances,
)
from mtpsim.report.formatting import (
    advised_depth,
    axis_names,
    column,
    distinct_values,
    fixed,
    in_percent,
    known,
    swept_keys,
    value_text,
)
from mtpsim.report.tables.sweep import sweep_heading

MAX_ROWS = 40
MAX_CELLS = (13, 9)
"""A map of more rows or columns than these has colours without numbers."""
MAX_TEXT, MAX_ROW_TEXT = 14, 36
"""Characters of a swept value below a map, and at its left."""
LINE = 0.16
"""Inches from one line of tick labels to the next."""


def values_of(result: ResultDocument, key: str) -> list[Any]:
    """Value of a swept key at every point."""
    return [point.set.get(key) for point in result.points]


@dataclass(frozen=True)
class Along:
    """A swept key as the x axis.

    Attributes:
        name: the key without its section, with its unit.
        values: value of the key at every point.
        x: ``[N]`` coordinates: the values if they are numbers, else 0, 1, 2...
        numeric: whether the values are numbers.
    """

    name: str
    values: list[Any]
    x: Floats
    numeric: bool

    @classmethod
    def of(cls, result: ResultDocument, key: str) -> Along:
        """The axis of a key."""
        values = values_of(result, key)
        numeric = all(known(v) and not isinstance(v, bool) for v in values)
        x = np.array(values if numeric else range(len(values)), float)
        return cls(axis_names([key])[0], values, x, numeric)

    @property
    def order(self) -> npt.NDArray[np.intp]:
        """Points from left to right, ``[N]``."""
        return np.argsort(self.x, kind="stable")

    def tick(self, axes: Axes) -> None:
        """Name the axis's values; a logarithmic axis for numbers over decades."""
        if not self.numeric:
            axes.get_xlim()  # matplotlib computes limits when they are asked for
            width = style.pitch(axes) - 0.05
            axes.set_xticks(self.x, [style.fit(value_text(v), width, 9) for v in self.values])
        elif self._spans_decades:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.minorticks_off()

    @property
    def _spans_decades(self) -> bool:
        """Whether values span two decades, or the smallest would overlap."""
        x = np.unique(self.x)
        if x.size < 2 or x[0] <= 0:
            return False
        crowded = np.diff(x).min() < 0.04 * (x[-1] - x[0])
        return bool(x[-1] / x[0] >= (8 if crowded else 100))


@dataclass(frozen=True)
class Grid:
    """A map over two swept keys, a cell per point.

    Attributes:
        down: key whose values are the rows.
        across: key whose values are the columns.
        rows: values of ``down`` as text, from the bottom up.
        columns: values of ``across`` as text.
    """

    down: str
    across: str
    rows: list[str]
    columns: list[str]

    @classmethod
    def of(cls, result: ResultDocument, down: str, across: str) -> Grid:
        """The grid of a sweep over two keys; the first is across where only its values fit."""
        rows, columns = (
            list(map(value_text, distinct_values(values_of(result, key)))) for key in (down, across)
        )
        if max(map(len, rows)) <= MAX_TEXT < max(map(len, columns)):
            return cls(across, down, columns, rows)
        return cls(down, across, rows, columns)

    @property
    def left(self) -> float:
        """Inches that the names of rows need."""
        return 0.7 + style.longest([style.shorten(row, MAX_ROW_TEXT) for row in self.rows])

    def size(self, width: float, height: float) -> tuple[float, float]:
        """Inches of a figure whose cells have that width and height, within limits."""
        wide, high = 1.7 + self.left + width * len(self.columns), 2.3 + height * len(self.rows)
        return max(min(wide, 11), style.WIDTH), max(min(high, 9), 3.6)

    def empty(self) -> Floats:
        """A number per cell, all NaN."""
        return np.full((len(self.rows), len(self.columns)), np.nan)

    def place(self, point: PointResult) -> tuple[int, int]:
        """Row and column of a point."""
        down, across = (value_text(point.set.get(key)) for key in (self.down, self.across))
        return self.rows.index(down), self.columns.index(across)

    @property
    def crowded(self) -> bool:
        """Whether cells are too many for texts in them."""
        return len(self.rows) > MAX_CELLS[0] or len(self.columns) > MAX_CELLS[1]

    def paint(
        self,
        axes: Axes,
        cells: Floats,
        colors: Colormap,
        norm: Normalize,
        texts: Mapping[tuple[int, int], str],
        size: float = 8.5,
    ) -> None:
        """Draw cells as colours with texts at a font size in points, or with a colour bar."""
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.imshow(cells, cmap=colors, norm=norm, aspect="auto", origin="lower")
        if self.crowded:
            _color_bar(axes, cells)
            return
        for (row, col), text in texts.items():
            value = cells[row, col]
            color = style.text_color(colors(norm(value))) if np.isfinite(value) else style.INK
            options = {"ha": "center", "va": "center", "fontsize": size}
            style.write(axes, col, row, text, color=color, **options)

    def name_axes(self, frame: style.Frame) -> None:
        """Label the axes with the keys, and the cells with as many of their values as fit."""
        down, across = axis_names([self.down, self.across])
        frame.name_axes(across, down)
        columns = [style.shorten(column, MAX_TEXT) for column in self.columns]
        rows = [style.shorten(row, MAX_ROW_TEXT) for row in self.rows]
        needed, width = style.longest(columns) + 0.08, min(map(style.pitch, frame.axes))
        # A reader fills in numbers that are left out, but not other values.
        turned = needed > width and not all(map(_is_number, columns))
        across_step = max(math.ceil((LINE if turned else needed) / width), 1)
        height = frame.axes[0].bbox.height / frame.figure.dpi / len(rows)
        down_step = max(math.ceil(LINE / height), 1)
        for number, axes in enumerate(frame.axes):
            shown = range(0, len(columns), across_step)
            axes.set_xticks(shown, columns[::across_step], rotation=90 if turned else 0)
            axes.set_yticks(range(0, len(rows), down_step), rows[::down_step])
            axes.tick_params(labelleft=number == 0)
        if turned:
            frame.deepen(max(needed - LINE, 0))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _color_bar(axes: Axes, cells: Floats) -> None:
    """A colour bar of a map: a block per depth, else the values from the least to the greatest."""
    image = axes.images[0]
    bar = axes.figure.colorbar(image, ax=axes)
    bar.ax.tick_params(colors=style.INK, labelsize=9, length=3)
    bar.outline.set_visible(False)
    cells = cells[np.isfinite(cells)]
    if isinstance(image.norm, BoundaryNorm):
        bar.minorticks_off()
        depths = [round(edge + 0.5) for edge in image.norm.boundaries[:-1]]
        bar.set_ticks(depths, labels=[str(depth) if depth else "off" for depth in depths])
    elif cells.size and cells.min() < cells.max():
        bar.ax.set_ylim(cells.min(), cells.max())


def speedup_over_sweep(result: ResultDocument) -> Figure:
    """Draw the speedup of a sweep with more points than one figure has lines for."""
    keys = swept_keys(result)
    if len(keys) == 1:
        what = "simulated speedup of each depth; markers: the best depth"
        frame = _lines(result, keys[0], sweep_heading(result), what, _speedup)
        frame.axes[0].set_ylabel(SPEEDUP_AXIS, fontsize=9, color=style.INK)
        frame.note(style.interval_note(result))
        return frame.figure
    return _speedup_map(result, keys) if _fills_a_grid(result, keys) else _speedup_rows(result)


def theory_over_sweep(result: ResultDocument) -> Figure:
    """Draw the error of the closed form against the swept keys."""
    keys = swept_keys(result)
    if len(keys) == 1:
        what = "error of the closed form at each depth"
        frame = _lines(result, keys[0], theory_heading(result), what, _theory_error)
        axes, along = frame.axes[0], Along.of(result, keys[0])
        within = tolerances(result)[along.order]
        band: dict[str, Any] = {"color": style.PALE, "alpha": 0.6, "zorder": 0, "linewidth": 0}
        axes.fill_between(along.x[along.order], -within, within, **band)
        axes.axhline(0, color=style.GREY, linewidth=0.8, zorder=1)
        axes.set_ylabel(ERROR_AXIS, fontsize=9, color=style.INK)
        frame.note(f"{band_note(result)} {style.interval_note(result)}")
        return frame.figure
    return _theory_map(result, keys) if _fills_a_grid(result, keys) else _theory_rows(result)


def _fills_a_grid(result: ResultDocument, keys: Sequence[str]) -> bool:
    """Whether there are two keys and every combination of their values is a point."""
    sizes = [len(set(map(value_text, values_of(result, key)))) for key in keys]
    return len(keys) == 2 and len(result.points) == sizes[0] * sizes[1]


def _speedup(point: PointResult, depth: int | None) -> Interval | None:
    found = _at(point, depth)
    return found.speedup if found else None


def _theory_error(point: PointResult, depth: int | None) -> TheoryError | None:
    found = _at(point, depth)
    return found.theory_error if found else None


def _at(point: PointResult, depth: int | None) -> DepthResult | None:
    return None if depth is None or depth >= len(point.depths) else point.depths[depth]


def _lines(
    result: ResultDocument,
    key: str,
    heading: str,
    what: str,
    cell: Callable[[PointResult, int], Interval | None],
) -> style.Frame:
    """A line per depth over a key: errors in percent, or speedups with markers where best."""
    along, best = Along.of(result, key), [advised_depth(point) for point in result.points]
    frame = style.Frame(heading, style.subtitle_of(result, what))
    axes, x, order = frame.axes[0], along.x, along.order
    deepest = max(len(point.depths) for point in result.points) - 1
    speedup = cell is _speedup
    drawn: list[Any] = []
    for depth in range(0 if speedup else 1, deepest + 1):
        cells = [cell(point, depth) for point in result.points]
        mean, arms = style.means_and_arms(cells, 1 if speedup else 100)
        color = style.depth_color(depth, deepest)
        drawn += axes.plot(x[order], mean[order], color=color, label=style.depth_name(depth))
        here = [n for n in order if best[n] == depth or not speedup]
        options: dict[str, Any] = {"fmt": "o", "color": color, "capsize": 3}
        axes.errorbar(x[here], mean[here], arms[:, here], markersize=5, **options)
    along.tick(axes)
    axes.set_xlabel(along.name, fontsize=9, color=style.INK, parse_math=False)
    frame.legend(style.by_last_value(drawn))
    return frame


def _speedup_map(result: ResultDocument, keys: Sequence[str]) -> Figure:
    """Draw the best depth as a colour, with its speedup, over the two swept keys.

    Cells too small for a text have their speedup as the colour of a second map.
    """
    grid = Grid.of(result, *keys)
    depths, speeds, texts = grid.empty(), grid.empty(), {}
    for point in result.points:
        best, place = advised_depth(point), grid.place(point)
        if best is not None:
            depths[place], speeds[place] = best, column(point, "speedup")[best]
            texts[place] = f"d{best}  {speeds[place]:.2f}x" if best else "off"
    heading, colors = sweep_heading(result), _depth_colors(depths)
    off = "off: plain decoding is fastest." if (depths == 0).any() else ""
    if grid.crowded:
        subtitle = style.subtitle_of(result, "best depth and its speedup")
        size = 11, grid.size(0.5, 0.3)[1]
        frame = style.Frame(heading, subtitle, panels=2, size=size, left=grid.left)
        for axes, name in zip(frame.axes, ["best depth", SPEEDUP_AXIS], strict=True):
            style.panel_title(axes, name)
        grid.paint(frame.axes[0], depths, *colors, {})
        grid.paint(frame.axes[1], speeds, colormaps["viridis"], Normalize(), {})
        frame.note(off)
    else:
        subtitle = style.subtitle_of(result, "best depth (d) and its speedup (x)")
        frame = style.Frame(heading, subtitle, size=grid.size(0.85, 0.5), left=grid.left)
        grid.paint(frame.axes[0], depths, *colors, texts, 9)
        shown = next((int(depth) for depth in np.unique(depths) if depth > 0), 0)
        depth = f"d{shown}: depth {shown} is fastest" if shown else ""
        frame.note("; ".join(filter(None, [depth, off])))
    grid.name_axes(frame)
    return frame.figure


def _theory_map(result: ResultDocument, keys: Sequence[str]) -> Figure:
    """Draw the error of the closed form at the best depth over the two swept keys."""
    grid = Grid.of(result, *keys)
    errors, texts, off = grid.empty(), {}, False
    for point in result.points:
        depth, place = advised_depth(point), grid.place(point)
        cell = _theory_error(point, depth)
        if cell:
            errors[place] = style.means_and_arms([cell], 100)[0][0]
            texts[place] = f"{fixed(errors[place], 2)}\n{cell.verdict}, d{depth}"
        elif depth == 0:
            texts[place], off = "off", True
    subtitle = style.subtitle_of(result, "error of the closed form at the best depth (%)")
    heading = theory_heading(result, best=True)
    frame = style.Frame(heading, subtitle, size=grid.size(1.0, 0.62), left=grid.left)
    least = 2 * tolerances(result).max()  # errors within the tolerance stay pale
    reach = max(float(np.nanmax(np.abs(errors), initial=0)), least)
    frame.axes[0].set_facecolor(style.PALE)
    grid.paint(frame.axes[0], errors, colormaps["RdBu_r"], Normalize(-reach, reach), texts)
    notes = ["Red: the closed form overestimates; blue: underestimates."]
    if not grid.crowded:
        notes.append("After the verdict: the best depth (d).")
    if off:
        notes.append(f"{'Grey' if grid.crowded else 'off'}: plain decoding is fastest.")
    frame.note(" ".join(notes))
    grid.name_axes(frame)
    return frame.figure


def _depth_colors(depths: Floats) -> tuple[ListedColormap, BoundaryNorm]:
    """A shade per depth from the least to the greatest best one; missing cells stay white."""
    found = depths[np.isfinite(depths)]
    low, high = (int(found.min()), int(found.max())) if found.size else (0, 0)
    count = high - low + 1
    blues = colormaps["Blues"](np.linspace(0.12, 0.9, count)) if count > 1 else [style.SKY]
    return ListedColormap(blues), BoundaryNorm(np.arange(low - 0.5, high + 1), max(count, 1))


@dataclass(frozen=True)
class Row:
    """A point of a sweep as a row of a figure.

    Attributes:
        name: the swept values.
        interval: what is drawn; None for nothing.
        text: written beside it.
    """

    name: str
    interval: Interval | None
    text: str


def _draw_rows(rows: Sequence[Row], heading: str, subtitle: str) -> style.Frame:
    """A dot with its interval per row, the first at the top, with texts in a column."""
    shown = rows[:MAX_ROWS]
    names = [style.shorten(row.name, 48) for row in shown]
    left = 0.4 + style.longest(names, 8.5)
    frame = style.Frame(heading, subtitle, size=(left + 5, 2.1 + 0.25 * len(shown)), left=left)
    axes = frame.axes[0]
    axes.grid(visible=False)
    axes.grid(axis="x", color=style.PALE, linewidth=0.6)
    mean, arms = style.means_and_arms([row.interval for row in shown])
    places = np.arange(len(shown))
    axes.errorbar(mean, places, xerr=arms, fmt="o", color=style.BLUE, markersize=style.MARKER)
    axes.set_yticks(places, names, fontsize=8.5, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=6)
    right = axes.secondary_yaxis("right")
    right.set_yticks(places, [row.text for row in shown], fontsize=8.5, parse_math=False)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    frame.widen(style.longest([row.text for row in shown], 8.5))
    return frame


def _speedup_rows(result: ResultDocument) -> Figure:
    """Draw the best speedup of each point as a row, the fastest first."""
    rows = []
    for point in result.points:
        depth = advised_depth(point)
        text = style.depth_name(depth) if depth is not None else ""
        rows.append(Row(style.name_of(result, point), _speedup(point, depth), text))
    rows.sort(key=lambda row: -(row.interval.mean or 0) if row.interval else 0)
    subtitle = style.subtitle_of(result, "speedup at the best depth of each point")
    frame = _draw_rows(rows, sweep_heading(result), subtitle)
    frame.name_axes(SPEEDUP_AXIS, "")
    part = f"The fastest {MAX_ROWS} of {len(rows)} points. " if len(rows) > MAX_ROWS else ""
    frame.note(f"{part}{style.interval_note(result)}")
    return frame.figure


def _theory_rows(result: ResultDocument) -> Figure:
    rows = []
    for point in result.points:
        depth = advised_depth(point)
        cell = _theory_error(point, depth)
        text = f"depth {depth}, {cell.verdict}" if cell else "off" if depth == 0 else ""
        rows.append(Row(style.name_of(result, point), in_percent(cell), text))
    subtitle = style.subtitle_of(result, "error of the closed form at the best depth of each point")
    frame = _draw_rows(rows, theory_heading(result), subtitle)
    axes = frame.axes[0]
    for row, within in enumerate(tolerances(result)[:MAX_ROWS]):
        band = [row - 0.5, row + 0.5]
        axes.fill_betweenx(
            band, -within, within, color=style.PALE, alpha=0.6, zorder=0, linewidth=0
        )
    frame.name_axes(ERROR_AXIS, "")
    part = f"The first {MAX_ROWS} of {len(rows)} points. " if len(rows) > MAX_ROWS else ""
    off = "off: plain decoding is fastest. " if any(row.text == "off" for row in rows) else ""
    frame.note(f"{part}{off}{band_note(result)} {style.interval_note(result)}")
    return frame.figure
