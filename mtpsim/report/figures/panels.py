"""Figures with a panel per point of a sweep."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from matplotlib.axes import Axes

from mtpsim.common.arrays import Floats
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures import style
from mtpsim.report.formatting import advised_depth, distinct_values, point_parts, value_text


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
        points, remark = spread_out(drawn, "different panels")
        remark += "Equal panels of several points are drawn once. "
    else:
        points, remark = some_points(result)
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


def some_points(result: ResultDocument) -> tuple[list[PointResult], str]:
    """Points that get a panel, and a remark where some have none."""
    return spread_out(result.points, "points")


def spread_out(points: list[PointResult], name: str) -> tuple[list[PointResult], str]:
    """At most as many points as there are panels, and a remark where that is not all.

    Those of one swept key are evenly spread. Of several keys each next one is the farthest from
    those before, in steps along the keys; the last ones are of best depths that are missing.
    """
    total = len(points)
    if total <= style.MAX_PANELS:
        return points, ""
    places = _places(points)
    if places.shape[1] < 2:
        chosen = np.linspace(0, total - 1, style.MAX_PANELS).round().astype(int).tolist()
    else:
        depths, chosen = [advised_depth(point) for point in points], [0]
        while len(chosen) < style.MAX_PANELS:
            distances = np.linalg.norm(places[:, None] - places[chosen], axis=2).min(axis=1)
            missing = {*depths} - {depths[n] for n in chosen} - {None}
            if len(missing) >= style.MAX_PANELS - len(chosen):
                distances *= [depth in missing for depth in depths]
            chosen.append(int(np.argmax(distances)))
    return [points[n] for n in sorted(chosen)], f"{style.MAX_PANELS} of the {total} {name}. "


def _places(points: Sequence[PointResult]) -> Floats:
    """Places of points along the swept keys that differ among them, from 0 to 1, ``[N, keys]``."""
    found = []
    for key in dict.fromkeys(key for point in points for key in point.set):
        values = [point.set.get(key) for point in points]
        ranks = {value_text(value): n for n, value in enumerate(distinct_values(values))}
        if len(ranks) > 1:
            found.append([ranks[value_text(value)] / (len(ranks) - 1) for value in values])
    return np.array(found, float).reshape(len(found), len(points)).T


def _names(result: ResultDocument, groups: list[list[PointResult]]) -> list[list[str]]:
    """What all points of each group set; what the first does where that is not distinct."""
    parts = [[point_parts(result, point) for point in group] for group in groups]
    common = [[part for part in own[0] if all(part in one for one in own)] for own in parts]
    if len({*map(tuple, common)}) == len(groups):
        return common
    return [
        own[0] or [style.name_of(result, one)] for own, (one, *_) in zip(parts, groups, strict=True)
    ]
