"""Figures with a panel per point of a sweep."""

from collections.abc import Callable, Hashable

from matplotlib.axes import Axes

from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures import style
from mtpsim.report.formatting import point_parts


def point_panels(
    result: ResultDocument,
    heading: str,
    what: str,
    draw: Callable[[Axes, PointResult], bool],
    shown: Callable[[PointResult], Hashable] | None = None,
) -> tuple[style.Frame, str, bool]:
    """Draw a panel per point, with shared y limits and values below the ticks.

    Args:
        result: the result document.
        heading: what the figure finds.
        what: what it shows.
        draw: draws a point; returns whether the values below its ticks fit.
        shown: what a panel shows of a point; points that agree in it share one. By default no
            points do.

    Returns:
        The figure, a remark on points without a panel, and whether the panels show values: all or
        none of them.
    """
    groups: dict[Hashable, list[PointResult]] = {}
    for number, point in enumerate(result.points):
        groups.setdefault(shown(point) if shown else number, []).append(point)
    drawn, names = [group[0] for group in groups.values()], _names(result, [*groups.values()])
    if len(groups) < len(result.points):
        points, remark = style.spread_evenly(drawn, "different panels")
        remark += "Equal panels of several points are drawn once. "
    else:
        points, remark = style.some_points(result)
    frame = style.Frame(heading, style.subtitle_of(result, what), panels=len(points), values=True)
    fits = [draw(axes, point) for axes, point in zip(frame.axes, points, strict=True)]
    if len(points) > 1:
        for axes, point in zip(frame.axes, points, strict=True):
            style.panel_title(axes, names[drawn.index(point)])
    if not all(fits):
        for axes in frame.axes:
            axes.xaxis.set_major_formatter("{x:.0f}")
    style.share_limits(frame.axes)
    return frame, remark, all(fits)


def _names(result: ResultDocument, groups: list[list[PointResult]]) -> list[list[str]]:
    """What all points of each group set; what the first does where that is not distinct."""
    parts = [[point_parts(result, point) for point in group] for group in groups]
    common = [[part for part in own[0] if all(part in one for one in own)] for own in parts]
    if len({*map(tuple, common)}) == len(groups):
        return common
    return [
        own[0] or [style.name_of(result, one)] for own, (one, *_) in zip(parts, groups, strict=True)
    ]
