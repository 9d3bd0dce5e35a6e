"""Texts of a figure, and those that overlap: boxes in pixels, as matplotlib draws them."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 1.5  # pixels by which boxes, which are wider than the letters, may overlap


def texts(figure: Figure) -> str:
    """Texts of a figure, a line each: around the axes, on them, in its legend."""
    found = [text.get_label() if text.get_gid() else text.get_text() for text in figure.texts]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        for child in axes.child_axes:
            found += [label.get_text() for label in child.get_yticklabels()]
    return "\n".join(found)


def overlaps(figure: Figure) -> list[str]:
    """Sentences on texts that reach out of the figure, lie on each other, or on a line."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(text, _shrunk(text.get_window_extent(renderer))) for text in _texts(figure)]
    paper = figure.bbox.padded(2)
    found = []
    for text, box in boxes:
        inside = paper.contains(*box.min) and paper.contains(*box.max)
        found += [f"{_name(text)} reaches out of the figure"] * (not inside)
    for (one, a), (other, b) in combinations(boxes, 2):
        found += [f"{_name(one)} lies on {_name(other)}"] * bool(a.overlaps(b))
    lines = [(axes, path) for axes in figure.axes for path in _lines(axes)]
    for text, box in boxes:
        if any(_crosses(path, box) for axes, path in lines if text.axes in (axes, None)):
            found.append(f"a line crosses {_name(text)}")
    return found


def _texts(figure: Figure) -> list[Text]:
    found = [*figure.texts]
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    found += [text for legend in legends if legend for text in legend.get_texts()]
    for axes in [*figure.axes, *(child for host in figure.axes for child in host.child_axes)]:
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        found += [child for child in axes.get_children() if isinstance(child, Text)]  # titles
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            found += [label for tick in ticks for label in (tick.label1, tick.label2)]
    shown = {id(text): text for text in found if text.get_visible() and text.get_text().strip()}
    return list(shown.values())


def _lines(axes: Axes) -> Iterator[np.ndarray]:
    """Every line in data coordinates, in pixels; lines across all of the axes do not count."""
    for line in axes.lines:
        if line.get_linestyle() == "None" or line.get_transform() != axes.transData:
            continue
        yield axes.transData.transform(np.asarray(line.get_xydata(), float))
    for collection in axes.collections:
        if isinstance(collection, LineCollection):
            for path in collection.get_paths():
                yield collection.get_transform().transform(path.vertices)


def _crosses(line: np.ndarray, box: Bbox) -> bool:
    """Whether a line passes through a box."""
    return bool(Path(line).intersects_bbox(box, filled=False))


def _shrunk(box: Bbox) -> Bbox:
    return Bbox([box.min + SLACK, np.maximum(box.max - SLACK, box.min + SLACK)])


def _name(text: Text) -> str:
    return repr(text.get_text())
