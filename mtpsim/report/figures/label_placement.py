"""Where there is room to write beside a marker: no line passes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from mtpsim.common.arrays import Floats
from mtpsim.report.figures.style import width_of

SHARES = {"left": 0.0, "bottom": 0.0, "center": 0.5, "right": 1.0, "top": 1.0}
"""Of a box, what lies before the point that it is aligned by."""


class Place(NamedTuple):
    """Offset in points from a marker, and the side of the text that stands there."""

    x: float
    y: float
    ha: str
    va: str


ABOVE, BELOW = Place(0, 10, "center", "bottom"), Place(0, -10, "center", "top")
AROUND = (
    *(Place(8, -3, "left", "top"), Place(8, 3, "left", "bottom")),
    *(Place(-8, -3, "right", "top"), Place(-8, 3, "right", "bottom"), ABOVE, BELOW),
)


class Room:
    """What is drawn on axes and written so far, in pixels."""

    def __init__(self, axes: Axes, lines: Sequence[Floats], markers: Floats) -> None:
        """Take in what is drawn, once the limits are final.

        Args:
            axes: with final limits.
            lines: ``[N, 2]`` each, in data coordinates.
            markers: ``[N, 2]``, likewise.

        """
        axes.get_ylim()  # matplotlib finds limits when they are asked for, not when it transforms
        self._axes, self._point = axes, axes.figure.dpi / 72
        known = [line[np.isfinite(line).all(1)] for line in lines]
        self._lines = [Path(axes.transData.transform(line)) for line in known if len(line)]
        dots = axes.transData.transform(markers[np.isfinite(markers).all(1)])
        self._taken = [Bbox([dot - 4 * self._point, dot + 4 * self._point]) for dot in dots]

    def find(
        self, at: tuple[float, float], text: str, size: float, liked: Sequence[Place]
    ) -> Place:
        """Take the first of the places where a text lies on nothing, or else on the least.

        Args:
            at: the marker, in data coordinates.
            text: of one line.
            size: of its letters, in points.
            liked: places, the best first.

        """
        shape = np.array([72 * width_of(text, size, bold=True), size]) * self._point
        marker = self._axes.transData.transform(at)
        boxes = []
        for place in liked:
            side = np.array([SHARES[place.ha], SHARES[place.va]])
            corner = marker + self._point * np.array(place[:2]) - shape * side
            boxes.append(Bbox([corner - self._point, corner + shape + self._point]))
        best = min(range(len(boxes)), key=lambda n: self._collisions(boxes[n]))
        self._taken.append(boxes[best])
        return liked[best]

    def _collisions(self, box: Bbox) -> int:
        crossed = sum(path.intersects_bbox(box, filled=False) for path in self._lines)
        covered = sum(box.overlaps(other) for other in self._taken)
        inside = self._axes.bbox.contains(*box.min) and self._axes.bbox.contains(*box.max)
        return int(crossed + covered + (not inside))
