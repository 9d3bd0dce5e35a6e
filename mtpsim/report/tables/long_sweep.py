"""Where each depth is the best in a sweep, and what many points say in one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from mtpsim.common.text import listed, span
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.formatting import (
    MISSING,
    advised_depth,
    as_compared,
    column,
    point_label,
    set_label,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.tables.terminal import Column, Row, TextTable

MOST_POINTS = 50
"""Of a sweep of more points no table has a row per point; result.json then is by column."""
MOST_LINES = 4
"""Most groups of points whose best depths a sentence states; more are in a table."""
FEW = 3
"""Points or texts of a warning that are listed one by one."""
NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Group:
    """Points along one swept key, at values of the other keys.

    Attributes:
        label: the other values, from the first to the last of neighbours with the same depths.
        runs: best depth, None for none, and the swept values from the first to the last with it.
        points: the points.
    """

    label: str
    runs: list[tuple[int | None, str]]
    points: list[PointResult]


def depth_text(depth: int | None) -> str:
    """``depth 2``, ``off``, or ``no best depth``."""
    return "no best depth" if depth is None else f"depth {depth}" if depth else "off"


def _order(depth: int | None) -> int:
    return -1 if depth is None else depth


def _ends(texts: Sequence[str]) -> str:
    return " to ".join(dict.fromkeys([texts[0], texts[-1]]))


def depth_groups(result: ResultDocument) -> tuple[str, list[Group]]:
    """The key along which depths are listed, or "" for points in order, and the groups."""
    result = as_compared(result)
    keys, points = swept_keys(result), result.points
    many = {key: len({str(point.set.get(key)) for point in points}) for key in keys}
    along = max(reversed(keys), key=lambda key: many[key])
    others = {key: name for key, name in short_names(keys).items() if key != along}
    groups: dict[str, list[PointResult]] = {}
    for point in points:
        rest = {key: point.set.get(key) for key in others}
        groups.setdefault(set_label(rest, others), []).append(point)
    if len(groups) == len(points):  # keys that move together
        along, groups = "", {"": points}
    found = []
    for label, some in groups.items():
        texts = [value_text(p.set.get(along)) if along else point_label(result, p) for p in some]
        runs = [
            (depth, _ends([text for _, text in run]))
            for depth, run in groupby(
                zip(map(advised_depth, some), texts, strict=True), key=lambda pair: pair[0]
            )
        ]
        found.append(Group(label, runs, some))
    return along, _merged(found)


def _merged(groups: list[Group]) -> list[Group]:
    """Neighbours with the same depths as one group."""
    found = []
    for _, same in groupby(groups, key=lambda group: group.runs):
        some = list(same)
        label = _ends([group.label for group in some])
        found.append(Group(label, some[0].runs, [p for group in some for p in group.points]))
    return found


def _speedups(points: Sequence[PointResult]) -> str:
    found = [column(p, "speedup")[depth] for p in points if (depth := advised_depth(p)) is not None]
    return span(found, ".2f", "x") if found else MISSING


def where_sentence(result: ResultDocument) -> str:
    """Where each depth is the best: ``Depth 2 at target = 8 to 13, depth 3 at 14 to 27.``"""
    along, groups = depth_groups(result)
    depths = Counter(map(advised_depth, as_compared(result).points))
    if len(depths) == 1:
        return ""
    lines, at = [], f"{short_names(swept_keys(result))[along]} = " if along else ""
    for group in groups:
        runs = ", ".join(f"{depth_text(depth)} at {at}{where}" for depth, where in group.runs)
        if len(group.runs) == 1 and at:
            runs = depth_text(group.runs[0][0])
        lines.append(f"{group.label}: {runs}" if group.label else runs)
    if len(groups) > MOST_LINES or max(len(group.runs) for group in groups) > 2 * MOST_LINES:
        ordered = sorted(depths, key=_order)
        counts = listed(f"{depth_text(depth)} at {depths[depth]:,}" for depth in ordered)
        return f"Best depths of {len(result.points):,} points: {counts} (table above)."
    text = "; ".join(lines)
    return f"{text[:1].upper()}{text[1:]}." if not groups[0].label else f"{text}."


def where_table(result: ResultDocument) -> TextTable:
    """The swept values at which each depth is the best, and the range of its speedup.

    A row per value of the other keys; without others, one per range of values.
    """
    along, groups = depth_groups(result)
    name = short_names(swept_keys(result)).get(along, "points")
    if len(groups) == 1:
        rows = []
        for depth, same in groupby(as_compared(result).points, key=advised_depth):
            some = list(same)
            ends = [value_text(p.set.get(along)) if along else point_label(result, p) for p in some]
            rows.append(Row([_ends(ends), depth_text(depth), f"{len(some)}", _speedups(some)]))
        columns = [Column(name, left=True, folds=True), Column("best", left=True)]
        return TextTable([*columns, Column("points"), Column("speedup")], rows)
    depths = sorted({depth for group in groups for depth, _ in group.runs}, key=_order)
    rows = []
    for group in groups:
        cells = [", ".join(where for d, where in group.runs if d == depth) for depth in depths]
        rows.append(Row([group.label, *(c or MISSING for c in cells), _speedups(group.points)]))
    columns = [Column("", left=True, folds=True)]
    columns += [Column(f"{depth_text(d)}\nat {name}", left=True, folds=True) for d in depths]
    return TextTable([*columns, Column("speedup")], rows)


def folded_warnings(result: ResultDocument) -> dict[str, list[PointResult]]:
    """Warnings with their points; many that differ in numbers alone are one, with their ranges."""
    points: dict[str, list[PointResult]] = {}
    for point in result.points:
        for text in point.warnings:
            points.setdefault(text, []).append(point)
    kinds: dict[str, list[str]] = {}
    for text in points:
        kinds.setdefault(NUMBER.sub("#", text), []).append(text)
    found: dict[str, list[PointResult]] = {}
    for texts in kinds.values():
        if len(texts) <= FEW:
            found |= {text: points[text] for text in texts}
        else:
            numbers = {id(point): point for text in texts for point in points[text]}
            found[_ranges(texts)] = list(numbers.values())
    return found


def _ranges(texts: Sequence[str]) -> str:
    """Texts that differ in numbers as one, with the least and the greatest of each number."""
    ranges = iter(
        _ends(sorted(set(numbers), key=lambda number: float(number.replace(",", ""))))
        for numbers in zip(*(NUMBER.findall(text) for text in texts), strict=True)
    )
    return NUMBER.sub(lambda _: next(ranges), texts[0])


def places(result: ResultDocument, points: Sequence[PointResult]) -> str:
    """Some points: ``every point``, a few listed, or how many and at which values."""
    if len(points) == len(result.points):
        return "every point"
    if len(points) <= FEW or len(result.points) <= MOST_POINTS:
        return "; ".join(point_label(result, point) for point in points)
    parts = [f"{len(points):,} of {len(result.points):,} points"]
    for key, name in short_names(swept_keys(result)).items():
        every, here = (
            list(dict.fromkeys(value_text(point.set.get(key)) for point in some))
            for some in (result.points, points)
        )
        if len(here) < len(every):
            parts.append(f"{name} = {_ends(here)}")
    return ", ".join(parts)
