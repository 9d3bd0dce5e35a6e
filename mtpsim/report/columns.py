"""Points of a long sweep by column, as ``result.json`` holds them: a fifth of the size, no loss.

All points have the structure of one. What is equal at all of them is written as in one point, and
what differs is ``{"each": [...]}`` with a value per point, or, where many values are equal,
``{"values": [...], "at": [...]}`` with the places of the points' values among the different ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from mtpsim.common.arrays import JsonDict
from mtpsim.config.sweep import MAX_POINTS
from mtpsim.report.document import ResultDocument
from mtpsim.report.serialization import OPTIONAL, keys_of, to_json

LAYOUT, COLUMNS, COUNT = "layout", "columns", "count"
EACH, VALUES, AT = "each", "values", "at"


def by_column(document: ResultDocument) -> JsonDict:
    """A document of several points as plain data, with its points by column."""
    found: JsonDict = {}
    for name, key in keys_of(ResultDocument):
        value = getattr(document, name)
        if name == "points":
            found |= {LAYOUT: COLUMNS, COUNT: len(value), name: _packed(value)}
        elif value is not None or name not in OPTIONAL:
            found[key] = to_json(value)
    return found


def by_point(document: JsonDict) -> JsonDict:
    """A document as plain data, with one entry per point, of either layout.

    Raises:
        ValueError: Columns do not have a value for each point.
    """
    if document.get(LAYOUT) != COLUMNS:
        return document
    found = {key: value for key, value in document.items() if key not in (LAYOUT, COUNT)}
    count = document.get(COUNT)
    if not isinstance(count, int) or not 0 < count <= MAX_POINTS:
        raise ValueError(f"count: {count!r} is given; it must be 1 to {MAX_POINTS:,} points")
    try:
        return {**found, "points": _unpacked(document["points"], count)}
    except (LookupError, TypeError) as error:
        raise ValueError(f"points: a column is damaged ({error})") from None


def _packed(values: Sequence[Any]) -> Any:
    """The column of some values of the same place, which all are of one document."""
    kind = type(values[0])
    if all(type(value) is kind for value in values):
        if kind is float:
            return _packed_floats(values)
        if is_dataclass(kind):
            columns = {key: [getattr(v, name) for v in values] for name, key in keys_of(kind)}
            return {
                key: _packed(column)
                for key, column in columns.items()
                if key not in OPTIONAL or any(value is not None for value in column)
            }
        if kind is dict and all(value.keys() == values[0].keys() for value in values):
            return {key: _packed([value[key] for value in values]) for key in values[0]}
        if kind is list and values[0] and len(set(map(len, values))) == 1:
            return [_packed(column) for column in zip(*values, strict=True)]
        if kind in (str, int, bool):
            return _encoded(values, values)
    plain = [to_json(value) for value in values]
    return _encoded(plain, [json.dumps(value) for value in plain])


def _encoded(values: Sequence[Any], keys: Sequence[str | int]) -> Any:
    """The column of values, of which those with equal keys are equal."""
    different = dict(zip(keys, values, strict=True))
    places = {key: place for place, key in enumerate(different)}
    return _column(values, list(different.values()), [places[key] for key in keys])


def _packed_floats(values: Sequence[float]) -> Any:
    """The column of floats; equal ones have equal bits, which tells 0 and -0 apart."""
    bits, at = np.unique(np.array(values).view(np.int64), return_inverse=True)
    return _column(values, bits.view(float).tolist(), at.tolist())


def _column(values: Sequence[Any], different: list[Any], at: list[int]) -> Any:
    if len(different) == 1 and (not different[0] or not isinstance(different[0], dict | list)):
        return different[0]
    if len(different) > len(values) // 2:
        return {EACH: list(values)}
    return {VALUES: different, AT: at}


def _unpacked(tree: Any, count: int) -> list[Any]:
    """The values of all points; the inverse of :func:`_packed`."""
    if isinstance(tree, dict):
        if tree.keys() == {EACH}:
            return [row[0] for row in _rows([tree[EACH]], count)]
        if tree.keys() == {VALUES, AT}:
            return [tree[VALUES][row[0]] for row in _rows([tree[AT]], count)]
        columns = [_unpacked(column, count) for column in tree.values()]
        return [dict(zip(tree, row, strict=True)) for row in _rows(columns, count)]
    if isinstance(tree, list):
        columns = [_unpacked(column, count) for column in tree]
        return [list(row) for row in _rows(columns, count)]
    return [tree] * count


def _rows(columns: list[list[Any]], count: int) -> list[tuple[Any, ...]]:
    rows = list(zip(*columns, strict=True)) if columns else [()] * count
    if len(rows) != count:
        raise ValueError(f"a column of the points has {len(rows)} values, not {count}")
    return rows
