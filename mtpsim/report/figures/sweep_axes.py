"""Points of a sweep on axes: along one swept key, or as a map over two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize

from mtpsim.common.arrays import Floats
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import DARK_WORD, LIGHT_WORD, Frame, shorten, width_of
from mtpsim.report.formatting import known, short_names, value_text


def values_of(result: ResultDocument, key: str) -> list[Any]:
    """Value of a swept key at every point."""
    return [(point.get("set") or {}).get(key) for point in result["points"]]


@dataclass(frozen=True)
class Along:
    """A swept key along an axis.

    Attributes:
        name: of the key, as short as it may be.
        values: of the key at every point.
        x: where they stand ``[N]``: at themselves if they are numbers, else one after the other.
        numeric: they are numbers.

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
        return cls(short_names([key])[key], values, x, numeric)

    @property
    def order(self) -> npt.NDArray[np.intp]:
        """Points from left to right ``[N]``."""
        return np.argsort(self.x, kind="stable")

    def tick(self, axes: Axes) -> None:
        """Ticks at the swept values that have room; on a logarithmic axis where they need one."""
        if self.numeric and self._by_factors:
            axes.set_xscale("log")
            axes.minorticks_off()
        if self.numeric and len(self.values) > 12:
            return
        texts = {x: shorten(value_text(v), 14) for x, v in zip(self.x, self.values, strict=True)}
        at, inches = axes.transData.transform, axes.figure.dpi
        axes.get_xlim()  # matplotlib finds limits when they are asked for
        kept: list[tuple[float, float]] = []  # a tick, and where its text ends
        for x in sorted(texts):
            center, half = at((x, 1))[0] / inches, width_of(texts[x], 9) / 2
            if not kept or center - half > kept[-1][1] + 0.05:
                kept.append((x, center + half))
        shown = [x for x, _ in kept]
        axes.set_xticks(shown, [texts[x] for x in shown], fontsize=9, parse_math=False)

    @property
    def _by_factors(self) -> bool:
        """They span two decades, or so much that the smallest would crowd."""
        x = np.unique(self.x)
        if x.size < 2 or x[0] <= 0:
            return False
        crowded = np.diff(x).min() < 0.04 * (x[-1] - x[0])
        return bool(x[-1] / x[0] >= (8 if crowded else 100))


@dataclass(frozen=True)
class Grid:
    """A map over two swept keys, a cell a point.

    Attributes:
        down: key whose values are the rows.
        across: key whose values are the columns.
        rows: the values, as they are written.
        columns: likewise.

    """

    down: str
    across: str
    rows: list[str]
    columns: list[str]

    @classmethod
    def of(cls, result: ResultDocument, down: str, across: str) -> Grid:
        """The grid of a sweep over two keys."""
        rows, columns = (
            list(dict.fromkeys(value_text(v) for v in values_of(result, key)))
            for key in (down, across)
        )
        return cls(down, across, rows, columns)

    @property
    def left(self) -> float:
        """Inches that the names of rows need."""
        return 0.7 + 0.08 * max(len(shorten(row, 14)) for row in self.rows)

    def empty(self) -> Floats:
        """A number a cell, all unknown."""
        return np.full((len(self.rows), len(self.columns)), np.nan)

    def place(self, point: PointResult) -> tuple[int, int]:
        """Row and column of a point."""
        down, across = (
            value_text((point.get("set") or {}).get(k)) for k in (self.down, self.across)
        )
        return self.rows.index(down), self.columns.index(across)

    def paint(self, axes: Axes, cells: Floats, colors: Colormap, norm: Normalize) -> None:
        """Draw the cells as colours, with rows and columns named."""
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.imshow(cells, cmap=colors, norm=norm, aspect="auto")
        axes.set_xticks(range(len(self.columns)), [shorten(c, 14) for c in self.columns])
        axes.set_yticks(range(len(self.rows)), [shorten(r, 14) for r in self.rows])

    def name_axes(self, frame: Frame) -> None:
        """Say which keys the columns and the rows are of."""
        names = short_names([self.down, self.across])
        frame.name_axes(names[self.across], names[self.down])


def ink_on(color: tuple[float, ...]) -> str:
    """Dark or light, whichever reads better on the colour."""
    brightness = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    return DARK_WORD if brightness > 0.5 else LIGHT_WORD
