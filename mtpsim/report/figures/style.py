"""How every figure looks: colours, title and axes, legend, text widths, and saving to a file.

Colours are of Okabe and Ito (2008), which colour-blind readers can distinguish. Figures use
matplotlib's objects and never pyplot, which is slow to import and keeps figures alive. Text is
never parsed as mathematics, so that a title may hold a dollar sign.
"""

import logging
import textwrap
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.engine.interrupts import interrupts
from mtpsim.report.document import Interval, PointResult, ResultDocument
from mtpsim.report.formatting import level, numbers, point_label, point_parts, preset_note, title

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
)
INK, GREY, PALE, PAPER = "#222222", "#6B6B6B", "#D9D9D9", "#FFFFFF"
DARK_TEXT, LIGHT_TEXT = "#1A1A1A", "#FDFDFD"
"""Text on a coloured cell, which keeps its colour where a page turns dark."""
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
COOL, WARM = (BLUE, GREEN, SKY), (VERMILION, ORANGE, PURPLE, "#8C4A1F")
DASHED = (0, (4, 3))
MARKER = 6.0
MAX_PANELS = 6
WIDTH, HEIGHT = 4.8, 3.6
ON_BARS: dict[str, Any] = {
    "fmt": "none", "ecolor": INK, "elinewidth": 1.3, "capsize": 3, "zorder": 3
}  # fmt: skip
"""Error bars of bars."""
TEXTS = ("heading", "subtitle", "note")
"""Texts around the axes, by their ``gid`` in the figure."""
FOOT, VALUE_ROW, NOTE_HEIGHT, NOTE_LINE = 0.82, 0.15, 0.26, 0.13
"""Inches below the axes, more for values below ticks, and what a note of a line and each of its
further lines take up of them."""
LEGEND_LINE, LEGEND_HANDLE, LEGEND_GAP = 0.18, 0.62, 0.17
"""Height of a line of the legend, width of the rest of an entry, and the gap to the note below, in
inches."""
Handle = Artist | Container
"""What a legend has an entry for."""
DEPTH_AXIS = "depth (drafts per round)"
CJK = "\u2e80"  # where East Asian scripts begin; DejaVu Sans has no glyphs from here on
CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei", "SimHei"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS"),
)


class Frame:
    """A figure with a title that states the finding, and a grid of plain axes below it.

    Attributes:
        figure: the matplotlib figure.
        axes: panels, row by row; as many as asked for.
    """

    def __init__(
        self,
        heading: str,
        subtitle: str,
        *,
        panels: int = 1,
        panel: tuple[float, float] = (2.9, 2.4),
        size: tuple[float, float] | None = None,
        left: float = 0.75,
        values: bool = False,
    ) -> None:
        """Lay out the figure.

        Args:
            heading: what the figure finds.
            subtitle: what it shows.
            panels: number of panels.
            panel: width and height of one of several panels in inches, with its margins.
            size: width and height in inches, without the legend.
            left: left margin in inches.
            values: whether ticks have values below them (:func:`value_ticks`).
        """
        self._columns = min(panels, 3 if panels > 4 or panels == 3 else 2)
        rows = -(-panels // self._columns)
        default = (panel[0] * self._columns + 0.6, panel[1] * rows + 1.2)
        width, height = size or ((WIDTH, HEIGHT) if panels == 1 else default)
        self._left, self._right, self._foot = left, 0.3, FOOT + values * VALUE_ROW
        self._head = 0.62 if panels > 1 else 0.4  # space above the axes besides lines of text
        self._top = 0.0
        self.figure = Figure((width, height), facecolor=PAPER)
        grid = list(self.figure.subplots(rows, self._columns, squeeze=False).flat)
        self.axes: list[Axes] = grid[:panels]
        self._texts = {
            "heading": self._write("heading", heading, 13, INK, "bold"),
            "subtitle": self._write("subtitle", subtitle, 9.5, GREY),
            "note": self._write("note", "", 8, GREY),
        }
        self._lay_out(width, height)
        wrapped = self._top - self._head - 0.43  # more than a line each of heading and subtitle
        self._lay_out(width, height + wrapped)
        for unused in grid[panels:]:
            unused.remove()
        for axes in self.axes:
            plain_axes(axes)

    def _write(self, kind: str, text: str, size: float, color: str, weight: str = "normal") -> Text:
        style = {"fontsize": size, "color": color, "fontweight": weight}
        return self.figure.text(
            0, 0, "", style, label=text, gid=kind, va="top", linespacing=1.15, parse_math=False
        )

    def _lay_out(self, width: float, height: float) -> None:
        """Place texts and panels in a figure of this size in inches."""
        self.figure.set_size_inches(width, height)
        for text in self._texts.values():
            bold = text.get_fontweight() == "bold"
            size = float(text.get_fontsize())
            lines = _wrap(str(text.get_label()), width - 0.3, size, bold=bold)
            text.set_text("\n".join(lines))
        heading, subtitle, note = (text.get_text().count("\n") + 1 for text in self._texts.values())
        self._top = self._head + 0.25 * heading + 0.18 * subtitle
        note_height = NOTE_HEIGHT + NOTE_LINE * (note - 1)
        tops = height - 0.16, height - 0.24 - 0.25 * heading, note_height
        for text, top in zip(self._texts.values(), tops, strict=True):
            text.set_position((0.16 / width, top / height))
        self.figure.subplots_adjust(
            left=self._left / width,
            right=1 - self._right / width,
            bottom=(self._foot + note_height - NOTE_HEIGHT) / height,
            top=1 - self._top / height,
            wspace=0.28,
            hspace=0.6,
        )
        for legend in self.figure.legends:
            place = 0.2 / width, (note_height + LEGEND_GAP) / height
            legend.set_bbox_to_anchor(place, self.figure.transSubfigure)

    def note(self, text: str) -> None:
        """Write a small remark at the foot of the figure."""
        self._texts["note"].set_label(text)
        width, height = self.figure.get_size_inches()
        self._lay_out(width, height)
        lines = self._texts["note"].get_text().count("\n")
        self._lay_out(width, height + NOTE_LINE * lines)

    def legend(self, handles: Sequence[Handle] = (), title: str = "") -> None:
        """Name lines and bars below the panels; the figure grows, the panels keep their size.

        Args:
            handles: labelled artists in order; by default those of all panels.
            title: of the legend.
        """
        found = handles or [h for axes in self.axes for h in axes.get_legend_handles_labels()[0]]
        named: dict[str, Any] = {str(handle.get_label()): handle for handle in found}
        names = list(named)
        if not names:
            return
        width, height = self.figure.get_size_inches()
        entry = longest(names) + LEGEND_HANDLE
        columns = min(max(int((width - 0.3) / entry), 1), len(names))
        rows = -(-len(names) // columns)
        columns = -(-len(names) // rows)
        # matplotlib fills one column after the other, as even as possible
        heights = np.array_split([1 + name.count("\n") for name in names], columns)
        lines = max(column.sum() for column in heights) + bool(title)
        foot = self._foot
        self._foot += LEGEND_LINE * lines + LEGEND_GAP
        legend = self.figure.legend(
            list(named.values()),
            names,
            loc="lower left",
            bbox_to_anchor=(0, 0),
            ncols=columns,
            title=title or None,
            alignment="left",
            fontsize=9,
            title_fontsize=9,
            labelcolor=INK,
            frameon=False,
            borderaxespad=0,
            borderpad=0,
            handlelength=1.9,
            columnspacing=1.5,
            labelspacing=0.3,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        self._lay_out(width, height + self._foot - foot)

    def widen(self, extra: float) -> None:
        """Add inches at the right of the panels."""
        width, height = self.figure.get_size_inches()
        self._right += extra
        self._lay_out(width + extra, height)

    def deepen(self, extra: float) -> None:
        """Add inches below the panels."""
        width, height = self.figure.get_size_inches()
        self._foot += extra
        self._lay_out(width, height + extra)

    def name_axes(self, x: str, y: str) -> None:
        """Label the axes: ``x`` of every panel, ``y`` of those at the left."""
        for number, axes in enumerate(self.axes):
            beside = number % self._columns
            axes.set_xlabel(x, fontsize=9, color=INK, parse_math=False)
            axes.set_ylabel("" if beside else y, fontsize=9, color=INK, parse_math=False)


def _wrap(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Lines of at most this width in inches; a number keeps its percent sign."""
    most, kept = int(width * 145 / size), text.replace(" %", "\N{NO-BREAK SPACE}%")
    lines = textwrap.wrap(kept, most)
    while most > 20 and longest(lines, size, bold=bold) > width:
        most -= 1
        lines = textwrap.wrap(kept, most)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def plain_axes(axes: Axes) -> None:
    """Two spines and faint horizontal lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    # A stated height saves matplotlib a layout of all tick labels.
    axes.set_title("", y=1.0, loc="left")


def depth_ticks(axes: Axes, first: int, last: int, margin: float = 0.5) -> None:
    """Whole numbers on the x axis, thinned out where there are many."""
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(FixedLocator(range(first, last + 1), nbins=17))


def value_ticks(axes: Axes, first: int, texts: Sequence[str], bold: int | None = None) -> bool:
    """Ticks from ``first`` on with a value below each, where all values fit side by side.

    Args:
        axes: of final size.
        first: the first tick.
        texts: values of the ticks.
        bold: tick whose value is bold; None for none.

    Returns:
        Whether the values are shown.
    """
    last = first + len(texts) - 1
    depth_ticks(axes, first, last)
    if longest(texts, 9, bold=bold is not None) + 0.06 > pitch(axes):
        return False
    labels = [f"{tick}\n{text}" for tick, text in enumerate(texts, first)]
    drawn = axes.set_xticks(range(first, last + 1), labels, parse_math=False)
    if bold is not None and first <= bold <= last:
        drawn[bold - first].label1.set_fontweight("bold")
    return True


def share_limits(panels: Sequence[Axes]) -> None:
    """Give all panels the y limits that hold what each of them shows."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def write(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write text at data coordinates; further options are matplotlib's."""
    axes.text(x, y, text, parse_math=False, **{"fontsize": 9, "color": INK, **options})


def panel_title(axes: Axes, text: str | Sequence[str]) -> None:
    """Title of one of several panels, at 7 to 9 points.

    Args:
        axes (Axes): The panel, of final size.
        text (str | Sequence[str]): The title, or its parts, which two lines share where one is too
            narrow; a line that is still wider is shortened.
    """
    width = axes.bbox.width / axes.figure.dpi + 0.1
    lines = _title_lines([text] if isinstance(text, str) else text, width)
    size = float(np.clip(9 * width / max(longest(lines, 9, bold=True), width), 7, 9))
    style = {"fontsize": size, "color": INK, "fontweight": "bold"}
    lines = [fit(line, width + 0.01, size, bold=True) for line in lines]  # may fit up to rounding
    axes.set_title("\n".join(lines), style, loc="left", y=1.0, parse_math=False)


def _title_lines(parts: Sequence[str], width: float) -> list[str]:
    """The parts of a title on one line if it fits in this width in inches, else on two."""
    line = ", ".join(parts)
    if width_of(line, 7, bold=True) <= width or len(parts) < 2:
        return [line]
    pairs = ([", ".join(parts[:n]), ", ".join(parts[n:])] for n in range(1, len(parts)))
    return min(pairs, key=longest)


def depth_color(depth: int, deepest: int) -> str:
    """Colour of a depth: grey for 0; shades from dark to light where depths outnumber colours."""
    if depth == 0:
        return GREY
    if deepest <= len(LINES):
        return LINES[depth - 1]
    shade = colormaps["viridis"](0.35 + 0.33 * (depth - 1) / (deepest - 1))
    return "#{:02x}{:02x}{:02x}".format(*(int(255 * part) for part in shade[:3]))


def depth_name(depth: int) -> str:
    """``depth 2``; of 0, ``plain decoding``."""
    return f"depth {depth}" if depth else "plain decoding"


def text_color(background: tuple[float, ...]) -> str:
    """Dark or light, whichever reads better on the background."""
    brightness = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2]
    return DARK_TEXT if brightness > 0.5 else LIGHT_TEXT


def by_last_value(handles: Sequence[Handle]) -> list[Handle]:
    """Lines, or error bars along lines, in the order of their right ends from the top down."""

    def last(handle: Any) -> float:
        line = handle[0] if isinstance(handle, Container) else handle
        values = np.asarray(line.get_ydata(), float)
        known = values[np.isfinite(values)]
        return float(known[-1]) if known.size else -np.inf

    return sorted(handles, key=last, reverse=True)


def shorten(text: str, most: int) -> str:
    """Shorten text to at most this number of characters, ending in an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def fit(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Shorten a line of text to at most this width in inches, ending in an ellipsis."""
    most = len(text)
    while most > 1 and width_of(shorten(text, most), size, bold=bold) > width:
        most -= 1
    return shorten(text, most)


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Width in inches of the widest line of a text at a font size in points."""
    widths = (sum(_advance(letter, bold) for letter in line) for line in text.split("\n"))
    return max(widths) * size / 72


def longest(names: Sequence[str], size: float = 9, *, bold: bool = False) -> float:
    """Width in inches of the widest of some names."""
    return max((width_of(name, size, bold=bold) for name in names), default=0.0)


@lru_cache(2048)
def _advance(letter: str, bold: bool) -> float:
    """Width of a letter, as a share of its size."""
    if letter >= CJK or not letter.isprintable():
        return 1.0  # of a font that has it, or of the box that stands for it
    font = get_font(findfont(FontProperties(weight="bold" if bold else "normal")))
    font.set_size(100, 72)
    return float(font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100)


def whole_dashes(length: float, width: float) -> tuple[float, tuple[float, float]]:
    """Dashes, as long as those of ``DASHED`` or nearly, that end where a line of a length ends.

    Args:
        length (float): Length of the line in inches.
        width (float): Its width in points, which scales the dashes.
    """
    dash, gap = DASHED[1]
    count = max(round((72 * length / width + gap) / (dash + gap)), 1)
    scale = 72 * length / width / (count * (dash + gap) - gap)
    return 0, (scale * dash, scale * gap)


def pitch(axes: Axes) -> float:
    """Inches from one whole number of the x axis to the next."""
    low, high = axes.get_xlim()
    return float(axes.bbox.width / axes.figure.dpi / (high - low))


def error_arms(mean: Floats, low: Floats, high: Floats) -> Floats:
    """Lengths of error bars below and above, ``[2, N]``; 0 where an end is missing."""
    return np.asarray(np.nan_to_num(np.clip([mean - low, high - mean], 0, None)))


def means_and_arms(cells: Sequence[Interval | None], scale: float = 1) -> tuple[Floats, Floats]:
    """Scaled means ``[N]``, NaN where missing, and lengths of error bars ``[2, N]``."""
    mean, low, high = (
        scale * numbers(getattr(cell, end, None) for cell in cells)
        for end in ("mean", "low", "high")
    )
    return mean, error_arms(mean, low, high)


def interval_note(result: ResultDocument) -> str:
    """What the error bars are."""
    return f"Error bars: {level(result)} intervals (hidden where smaller than the marker)."


def subtitle_of(result: ResultDocument, what: str) -> str:
    """Title, what is shown, requests of a single point, and whether times are a preset."""
    parts = [title(result), what]
    if len(result.points) == 1:
        parts.append(counted(result.points[0].requests, "request"))
    parts.append(preset_note(result).rstrip("."))
    return " · ".join(part for part in parts if part)


def name_of(result: ResultDocument, point: PointResult) -> str:
    """What a point sets, or its number where it sets nothing."""
    return point_label(result, point) or f"point {result.points.index(point)}"


def legend_name(result: ResultDocument, point: PointResult) -> str:
    """Name of a point, a line per swept key."""
    lines = point_parts(result, point) or [name_of(result, point)]
    return "\n".join(shorten(line, 60) for line in lines)


def save(figure: Figure, file: Path | IO[str], **options: Any) -> None:
    """Save a figure; a character missing from all fonts becomes a box, without a warning."""
    interrupts.check()
    for text in figure.findobj(Text):
        if isinstance(text, Text) and max(text.get_text(), default="") >= CJK:
            text.set_fontfamily([*text.get_fontfamily(), *_cjk_fonts()])
    logger = logging.getLogger("matplotlib.font_manager")  # warns where a font lacks bold
    before = logger.level
    # Hinting glyphs would take a fifth of the time, and is for lower resolutions.
    with warnings.catch_warnings(), rc_context({"text.hinting": "none"}):
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        logger.setLevel(logging.ERROR)
        try:
            figure.savefig(file, **options)
        finally:
            logger.setLevel(before)


@lru_cache
def _cjk_fonts() -> list[str]:
    known = set(fontManager.get_font_names())
    return [name for name in CJK_FONTS if name in known]
