"""How every figure looks: colours, the frame around the axes, labels that stand by their lines.

Colours are of Okabe and Ito (2008), which colour-blind readers can tell apart. Figures use
matplotlib's objects and never pyplot, which is slow to import and keeps figures alive. Text is
never parsed as mathematics, so that a title may hold a dollar sign.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FixedLocator

from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.report.document import ResultDocument
from mtpsim.report.figures.save import BEYOND
from mtpsim.report.formatting import level, point_label, title

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
)
INK, GREY, PALE, PAPER = "#222222", "#6B6B6B", "#D9D9D9", "#FFFFFF"
DARK_WORD, LIGHT_WORD = "#1A1A1A", "#FDFDFD"
"""Ink on a coloured cell, which keeps its colour where a page turns dark."""
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKER = 6.0
MOST_PANELS = 6
WIDTH, HEIGHT = 7.2, 4.5
WORDS = ("heading", "subtitle", "note")
"""Texts around the axes, by the name that they carry in the figure."""
AT_END = ("axes fraction", "data")
"""Where labels at the ends of lines stand, which may reach beyond the axes."""
LABEL = 0.165
"""Height in inches of a line of a label at the end of a line."""
NOTE_ROOM = 0.3
"""Height in inches at the foot of a figure where a note of a line or two stands."""


class Frame:
    """A figure with a title that states the finding, and a grid of plain axes below it.

    Attributes:
        figure: what is drawn on.
        axes: panels, row by row; as many as asked for.

    """

    def __init__(
        self,
        heading: str,
        subtitle: str,
        *,
        panels: int = 1,
        size: tuple[float, float] | None = None,
        left: float = 0.75,
        right: float = 0.3,
    ) -> None:
        """Lay out the figure; ``size`` and margins are in inches."""
        columns = min(panels, 3 if panels > 4 or panels == 3 else 2)
        rows = -(-panels // columns)
        default = (WIDTH, HEIGHT) if panels == 1 else (3.6 * columns + 0.6, 2.75 * rows + 1.2)
        width, height = size or default
        self.figure = Figure((width, height), facecolor=PAPER)
        lines = _wrap(heading, width - 0.3, 13, bold=True)
        below = _wrap(subtitle, width - 0.3, 9.5)
        top = 0.28 + 0.25 * len(lines) + 0.18 * len(below) + (0.34 if panels > 1 else 0.12)
        self._write("heading", heading, height - 0.16, lines, 13, INK)
        self._write("subtitle", subtitle, height - 0.24 - 0.25 * len(lines), below, 9.5, GREY)
        grid = self.figure.subplots(
            rows,
            columns,
            squeeze=False,
            gridspec_kw={
                "left": left / width,
                "right": 1 - right / width,
                "bottom": 0.82 / height,
                "top": 1 - top / height,
                "wspace": 0.28,
                "hspace": 0.5,
            },
        )
        self._columns = columns
        self.axes: list[Axes] = list(grid.flat)[:panels]
        for unused in list(grid.flat)[panels:]:
            unused.remove()
        for axes in self.axes:
            plain_axes(axes)

    def _write(
        self, name: str, text: str, y: float, lines: list[str], size: float, color: str
    ) -> None:
        width, height = self.figure.get_size_inches()
        self.figure.text(
            *(0.16 / width, y / height, "\n".join(lines)),
            fontsize=size,
            color=color,
            fontweight="bold" if name == "heading" else "normal",
            va="top",
            linespacing=1.15,
            parse_math=False,
            gid=name,
            label=text,  # as it was before it was broken into lines
        )

    def note(self, text: str) -> None:
        """Write a small remark at the foot of the figure."""
        width = self.figure.get_size_inches()[0]
        lines = _wrap(text, width - 0.3, 8)
        self._write("note", text, 0.11 + 0.13 * len(lines), lines, 8, GREY)

    def name_axes(self, x: str, y: str) -> None:
        """Label the outer axes: ``y`` at the left, ``x`` where no panel is below."""
        for number, axes in enumerate(self.axes):
            below = number + self._columns < len(self.axes)
            beside = number % self._columns
            axes.set_xlabel("" if below else x, fontsize=10, color=INK, parse_math=False)
            axes.set_ylabel("" if beside else y, fontsize=10, color=INK, parse_math=False)


def _wrap(text: str, room: float, size: float, *, bold: bool = False) -> list[str]:
    """Lines as wide as there is room, that leave a number together with its percent sign."""
    most, kept = int(room * 145 / size), text.replace(" %", "\N{NO-BREAK SPACE}%")
    lines = textwrap.wrap(kept, most)
    while most > 20 and longest(lines, size, bold=bold) > room:
        most -= 1
        lines = textwrap.wrap(kept, most)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def shades(count: int) -> list[str]:
    """So many colours in order, none too faint for white paper nor for black."""
    found = colormaps["viridis"](np.linspace(0.35, 0.68, count))
    return ["#{:02x}{:02x}{:02x}".format(*(int(255 * part) for part in c[:3])) for c in found]


def plain_axes(axes: Axes) -> None:
    """Leave of the axes what helps to read values: two spines and faint horizontal lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    # A stated height spares matplotlib a layout of all tick labels, to look for a better one.
    axes.set_title("", y=1.0, loc="left")


def depth_ticks(axes: Axes, first: int, last: int, margin: float = 0.5) -> None:
    """Whole numbers on the x axis, each of them where there is room."""
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(FixedLocator(range(first, last + 1), nbins=17))


def share_limits(panels: Sequence[Axes], axis: Literal["x", "y"]) -> None:
    """Give all panels the limits that hold what each of them shows."""
    limits = [axes.get_xlim() if axis == "x" else axes.get_ylim() for axes in panels]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for axes in panels:
        axes.set(**{f"{axis}lim": (low, high)})


def write(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write text at data coordinates; further options are matplotlib's."""
    axes.text(x, y, text, parse_math=False, **{"fontsize": 9, "color": INK, **options})


def panel_title(axes: Axes, text: str) -> None:
    """Head one of several panels, in letters small enough for it."""
    room = axes.bbox.width / axes.figure.dpi + 0.1
    size = float(np.clip(9.5 * room / max(width_of(text, 9.5, bold=True), room), 7, 9.5))
    text = fit(text, room, size, bold=True)
    style = {"fontsize": size, "color": INK, "fontweight": "bold"}
    axes.set_title(text, style, loc="left", y=1.0, parse_math=False)


def shorten(text: str, most: int) -> str:
    """Cut text that is too long, and show that it was."""
    return text if len(text) <= most else text[: most - 1] + "…"


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Inches that the widest line of a text takes in letters of so many points."""
    widths = (sum(_advance(letter, bold) for letter in line) for line in text.split("\n"))
    return max(widths) * size / 72


@lru_cache(2048)
def _advance(letter: str, bold: bool) -> float:
    """Width of a letter, as a share of the size."""
    if letter >= BEYOND or not letter.isprintable():
        return 1.0  # of a font that has it, or of the box that stands for it
    font = get_font(findfont(FontProperties(weight="bold" if bold else "normal")))
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100)


def fit(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """Cut a text of one line that is wider than so many inches, and show that it was."""
    most = len(text)
    while most > 1 and width_of(shorten(text, most), size, bold=bold) > room:
        most -= 1
    return shorten(text, most)


def longest(names: Sequence[str], size: float = 9, *, bold: bool = False) -> float:
    """Inches that the widest of some names takes."""
    return max((width_of(name, size, bold=bold) for name in names), default=0.0)


def pitch(axes: Axes) -> float:
    """Inches from one whole number of the x axis to the next."""
    low, high = axes.get_xlim()
    return float(axes.bbox.width / axes.figure.dpi / (high - low))


def _height_in_points(axes: Axes) -> float:
    return float(72 * axes.bbox.height / axes.figure.dpi)


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Label lines at the right edge, in the order of their ends and without overlap.

    Args:
        axes: with final limits.
        labels: end of the line in data coordinates, text, colour.

    """
    shown = sorted((end, text, color) for end, text, color in labels if np.isfinite(end))
    if not shown:
        return
    low, high = axes.get_ylim()
    per_inch = (high - low) / (_height_in_points(axes) / 72)
    heights = [LABEL * per_inch * (1 + text.count("\n")) for _, text, _ in shown]
    places = spread(np.array([end for end, _, _ in shown]), np.array(heights))
    if sum(heights) <= high - low:
        places = below(high, places, np.array(heights))
    for (_, text, color), place in zip(shown, places, strict=True):
        axes.annotate(
            text,
            (1, place),
            xycoords=AT_END,
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=color,
            parse_math=False,
            annotation_clip=False,
        )


def height_for(names: Sequence[str], least: float = HEIGHT) -> float:
    """Inches of a figure whose axes are as high as the heap of labels at their right."""
    return max(least, 2.05 + LABEL * sum(1 + name.count("\n") for name in names))


def spread(ends: Floats, heights: Floats) -> Floats:
    """Move sorted label centres apart, as little as needed, until none overlap.

    Args:
        ends: ``[N]`` wanted centres, ascending.
        heights: ``[N]`` room that each label takes.

    Returns:
        ``[N]`` centres whose distances are at least the mean height of the two neighbours.

    """
    gaps = np.concatenate([[0.0], (heights[1:] + heights[:-1]) / 2])
    offset = np.cumsum(gaps)
    # Centres minus offsets must not decrease: isotonic regression, by pooling neighbours.
    pools: list[list[float]] = []
    for value in ends - offset:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    flat = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools])
    return np.asarray(flat + offset)


def below(top: float, places: Floats, heights: Floats) -> Floats:
    """Push the sorted label centres down, as little as needed, until none reaches above ``top``."""
    edges = top - np.cumsum(heights[::-1])[::-1]  # least reach of each, were all heaped at the top
    return np.minimum(places, edges + heights / 2)


def error_arms(mean: Floats, low: Floats, high: Floats) -> Floats:
    """Lengths of error bars below and above, ``[2, N]``; 0 where an end is missing."""
    return np.asarray(np.nan_to_num(np.clip([mean - low, high - mean], 0, None)))


def in_points(axes: Axes, heights: Floats) -> Floats:
    """Heights in data coordinates, of axes with final limits, as points."""
    low, high = axes.get_ylim()
    return np.asarray(_height_in_points(axes) * heights / (high - low))


def interval_note(result: ResultDocument, axes: Axes, arms: Floats) -> str:
    """Say what the error bars are, if any, and when they hide behind the markers."""
    points = in_points(axes, arms)
    if not points.any():
        return ""
    if points.max() < MARKER / 2:
        return f"The {level(result)} intervals are smaller than the markers."
    return f"Error bars are {level(result)} intervals."


def subtitle_of(result: ResultDocument, what: str) -> str:
    """Say what is shown and on how much it rests."""
    parts = [title(result), what]
    if len(result["points"]) == 1:
        parts.append(counted(result["points"][0]["requests"], "request"))
    return " · ".join(part for part in parts if part)


def some_points(result: ResultDocument) -> tuple[list[int], str]:
    """Numbers of the points that get a panel, evenly spread, and a remark where some have none."""
    total = len(result["points"])
    if total <= MOST_PANELS:
        return list(range(total)), ""
    chosen = np.linspace(0, total - 1, MOST_PANELS).round().astype(int)
    return chosen.tolist(), f"{MOST_PANELS} of the {total} points. "


def label_of(result: ResultDocument, number: int) -> str:
    """Name a point by what it sets, or by its number where it sets nothing."""
    return point_label(result, result["points"][number]) or f"point {number}"
