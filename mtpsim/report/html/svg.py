"""Figures as SVG in a page, with the colours and the font of the page.

Heading, subtitle and note of a figure become text of the page, which wraps and can be read aloud.
"""

import io
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from mtpsim.report.figures import style
from mtpsim.report.figures.style import save
from mtpsim.report.formatting import legible

SALT = "mtpsim"
MOST_MARKS = 2500
"""Greatest number of markers and bars drawn as elements; more are drawn as an image."""
MOST_POINTS = 400
"""Greatest number of points of a figure that show their values under the pointer."""
HALF = 640
"""Greatest width in CSS pixels of a figure that half a page holds."""
MOST_VERTICES = 40
"""Greatest number of points of a line without markers that show theirs."""
RASTER_DPI = 200
NAMES = {
    **{style.BLUE: "blue", style.VERMILION: "vermilion", style.GREEN: "green"},
    **{style.ORANGE: "orange", style.SKY: "sky", style.PURPLE: "purple"},
    **{style.INK: "ink", style.GREY: "grey", style.PALE: "pale", style.PAPER: "paper"},
}
ON_CELLS = (style.DARK_TEXT.lower(), style.LIGHT_TEXT.lower())
VARIABLES = {color.lower(): name for color, name in NAMES.items()}
COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")
POINTER = re.compile(r"url\(#([^)]+)\)")
HREF = "{http://www.w3.org/1999/xlink}href"
PLACES = ("d", "x", "y", "width", "height")
LONG = re.compile(r"(\.\d\d)\d+")
DROPPED = ("metadata", "style")


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        name: unique in the page; used as an id.
        svg: the SVG element, without a namespace, for HTML.
        heading: finding of the figure.
        subtitle: content of the figure.
        note: how to read it; may be empty.
        width: width in CSS pixels at which its text has the size of small print.
    """

    name: str
    svg: str
    heading: str
    subtitle: str
    note: str
    width: int

    @property
    def wide(self) -> bool:
        """Whether half the width of a page is too little for it."""
        return self.width > HALF


def picture(name: str, figure: Figure, title: str = "") -> Picture:
    """Draw a figure for a page with a title; hides heading, subtitle and note of the figure."""
    texts = {kind: _hide_text(figure, kind) for kind in style.TEXTS}
    texts["subtitle"] = texts["subtitle"].removeprefix(f"{' '.join(title.split())} · ")
    _rasterize_crowds(figure)
    box = _without_texts(figure)
    text = _drawn(figure, box)
    root = ElementTree.fromstring(legible(text))
    axes = [label for part in figure.axes if (label := _axes_text(part))]
    _describe(root, name, [texts["heading"], texts["subtitle"], *axes, texts["note"]])
    width = round(float(root.get("viewBox", "0 0 500 300").split()[2]) * 4 / 3)
    _adapt(root, name)
    _add_values(root, figure, box)
    svg = ElementTree.tostring(root, encoding="unicode")
    return Picture(name, svg, texts["heading"], texts["subtitle"], texts["note"], width)


def _hide_text(figure: Figure, kind: str) -> str:
    found = [text for text in figure.texts if text.get_gid() == kind]
    for text in found:
        text.set_visible(False)
    return " ".join(" ".join(str(text.get_label()) for text in found).split())


def _drawn(figure: Figure, box: Bbox) -> str:
    file = io.StringIO()
    with rc_context({"svg.hashsalt": SALT, "svg.fonttype": "none"}):
        save(
            figure,
            file,
            format="svg",
            bbox_inches=box,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
            transparent=True,
            dpi=RASTER_DPI,
        )
    return file.getvalue()


def _without_texts(figure: Figure) -> Bbox:
    """The part of a figure without heading, subtitle and note, in inches."""
    width, height = figure.get_size_inches()
    top = max(axes.get_position().y1 for axes in figure.axes) * height
    titles = [axes.get_title(loc=side) for axes in figure.axes for side in ("left", "right")]
    top += 0.28 if any(titles) else 0.1
    notes = [text.get_position()[1] for text in figure.texts if text.get_gid() == "note"]
    return Bbox([[0, max(notes, default=0) * height], [width, min(top, height)]])


def _rasterize_crowds(figure: Figure) -> None:
    """Draw many markers as an image: as elements they would take megabytes."""
    crowds = [
        artist
        for axes in figure.axes
        for artist in [*axes.lines, *axes.collections]
        if _marks(artist) > 1
    ]
    if sum(map(_marks, crowds)) > MOST_MARKS:
        for artist in crowds:
            artist.set_rasterized(True)


def _marks(artist: object) -> int:
    """Number of elements of an artist; 1 for a line without markers."""
    marker = getattr(artist, "get_marker", lambda: None)()
    if marker is not None:
        return 1 if marker in ("None", "", " ", "none") else int(np.size(artist.get_xdata()))  # type: ignore[attr-defined]
    return len(artist.get_paths())  # type: ignore[attr-defined]


def _add_values(root: ElementTree.Element, figure: Figure, box: Bbox) -> None:
    """Add an invisible circle with its values as title at each point of lines and bars."""
    found = [(axes, *point) for axes in figure.axes for point in _points(axes)]
    if len(found) > MOST_POINTS:
        return
    for axes, x, y, text in found:
        right, up = axes.transData.transform((x, y)) / figure.dpi
        place = {"cx": f"{72 * (right - box.x0):.1f}", "cy": f"{72 * (box.y1 - up):.1f}"}
        circle = ElementTree.SubElement(root, "circle", {"class": "value", **place, "r": "5"})
        ElementTree.SubElement(circle, "title").text = legible(text)


def _points(axes: Axes) -> list[tuple[float, float, str]]:
    """Finite points of an axes' error bars, bars and lines, with the text of their values."""
    found: list[tuple[float, float, str]] = []
    covered = set()
    for container in axes.containers:
        name = str(container.get_label())
        if isinstance(container, BarContainer):
            for bar in container.patches:
                end = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()
                found.append((*end, _value_text(axes, name, *end)))
        elif isinstance(container, ErrorbarContainer) and container.lines[0]:
            line, _, arms = container.lines
            covered.add(line)
            ends = [arm.get_segments() for arm in arms][-1:] if container.has_yerr else []
            found += _line_points(axes, line, name, ends[0] if ends else [])
    for line in axes.lines:
        few = _marks(line) > 1 or np.size(line.get_xdata()) <= MOST_VERTICES
        if line not in covered and few and line.get_transform() == axes.transData:
            found += _line_points(axes, line, str(line.get_label()), [])
    return [point for point in found if np.isfinite(point[:2]).all()]


def _line_points(axes: Axes, line: Any, name: str, arms: Any) -> list[tuple[float, float, str]]:
    points = np.column_stack([line.get_xdata(orig=False), line.get_ydata(orig=False)])
    ends = [(arm[0][1], arm[-1][1]) if len(arm) else () for arm in arms]
    ends = ends if len(ends) == len(points) else []
    return [
        (x, y, _value_text(axes, name, x, y, *(ends[n] if ends else ())))
        for n, (x, y) in enumerate(points.astype(float).tolist())
    ]


def _value_text(axes: Axes, name: str, x: float, y: float, *ends: float) -> str:
    """Name of a series, and both coordinates with the names of their axes, a line each."""
    within = f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends and ends[0] < ends[1] else ""
    panels = [axes, *axes.figure.axes]  # of several panels only the outer ones name their axes
    down = next(filter(None, (panel.get_ylabel() for panel in panels)), "value")
    across = next(filter(None, (panel.get_xlabel() for panel in panels)), "at")
    lines = [f"{down}: {y:.4g}{within}", f"{across}: {x:.4g}"]
    return "\n".join(lines if name.startswith("_") or not name else [name, *lines])


def _axes_text(axes: object) -> str:
    x, y = axes.get_xlabel(), axes.get_ylabel()  # type: ignore[attr-defined]
    return f"{y} by {x}" if x and y else x or y


def _describe(root: ElementTree.Element, name: str, sentences: list[str]) -> None:
    """Set the text that a screen reader reads for the image."""
    text = ". ".join(s.rstrip(".") for s in dict.fromkeys(sentences) if s) + "."
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", legible(text))
    root.set("class", "plot")
    root.set("id", name)


def _adapt(root: ElementTree.Element, name: str) -> None:
    """Rename ids so that figures do not clash, drop unused ones, and name colours."""
    targets = set(POINTER.findall(" ".join(_values(root))))
    targets |= {value[1:] for e in root.iter() if (value := e.get(HREF, "")).startswith("#")}
    for parent in list(root.iter()):
        for child in [c for c in parent if _local(c.tag) in DROPPED]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        if element is not root and element.get("id") not in targets:
            element.attrib.pop("id", None)
        elif element is not root:
            element.set("id", f"{name}-{element.get('id')}")
        for key, value in list(element.attrib.items()):
            element.set(key, POINTER.sub(rf"url(#{name}-\1)", value))
        href = element.attrib.pop(HREF, None)
        if href is not None:
            element.set("href", f"#{name}-{href[1:]}" if href.startswith("#") else href)
        for key in PLACES:  # a hundredth of a point is enough, and half of the bytes
            if key in element.attrib:
                element.set(key, LONG.sub(r"\1", element.get(key, "")))
        if "style" in element.attrib:
            element.set("style", _with_variables(element.get("style", ""), element.tag == "text"))


def _values(root: ElementTree.Element) -> list[str]:
    return [value for element in root.iter() for value in element.attrib.values()]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _with_variables(text: str, is_text: bool) -> str:
    """A style with the page's colours and, for text, its font."""
    if not is_text:
        return COLOR.sub(_color, text)
    text = re.sub(r"font: ([^']*?)'.*?(?=;|$)", r"font: \1var(--font)", text)
    return COLOR.sub(_color_of_text, text)


def _color(found: re.Match[str]) -> str:
    name = VARIABLES.get(found[0].lower())
    return f"var(--{name})" if name else found[0]


def _color_of_text(found: re.Match[str]) -> str:
    """Text has a darker tone of its colour; text in a shade has the colour of plain text."""
    if found[0].lower() in ON_CELLS:
        return found[0]
    return f"var(--{VARIABLES.get(found[0].lower(), 'ink')}-text)"
