"""``[sweep]``: which points an experiment has."""

from __future__ import annotations

import itertools
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializeAsAny

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import nearest

ZIP = "zip"


def axes(sweep: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The swept keys with their values, in the order of the file."""
    return {key: values for key, values in sweep.items() if key != ZIP}


def _zip_fits(sweep: dict[str, list[Any]]) -> dict[str, list[Any]]:
    known, together = axes(sweep), sweep.get(ZIP, [])
    for key in together:
        if not isinstance(key, str) or key not in known:
            raise ValueError(
                f"`zip`: {key!r} is given; it lists swept keys that go in step, from "
                f"{', '.join(known) or 'none'}{nearest(str(key), known)}"
            )
    lengths = {key: len(known[key]) for key in together}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {count} values" for key, count in lengths.items())
        raise ValueError(f"`zip`: keys that go in step need as many values each: {counts}")
    if len(set(together)) < len(together):
        raise ValueError("`zip`: a key is named twice")
    _differ(known, together)
    return sweep


def _differ(known: Mapping[str, list[Any]], together: Sequence[str]) -> None:
    """Refuse a point that is there twice: it would be simulated, and judged, as two."""
    columns = {key: values for key, values in known.items() if key not in together}
    if together:
        columns[", ".join(together)] = list(zip(*(known[key] for key in together), strict=True))
    for key, values in columns.items():
        for shown, times in Counter(map(repr, values)).items():
            if times > 1:
                raise ValueError(f"`{key}`: {shown} is given {times} times")


Sweep = Annotated[
    dict[str, Annotated[list[SerializeAsAny[Any]], Field(min_length=1)]], AfterValidator(_zip_fits)
]


def combinations(sweep: Mapping[str, list[Any]]) -> Iterator[JsonDict]:
    """What each point sets: every combination, but for keys that ``zip`` names, which go in step.

    The last key of the file moves fastest; keys in step move where the first of them stands.
    """
    known, together = axes(sweep), sweep.get(ZIP, [])
    steps: list[list[JsonDict]] = []
    for key, values in known.items():
        if key not in together:
            steps.append([{key: value} for value in values])
        elif key == next(k for k in known if k in together):
            columns = [known[k] for k in together]
            steps.append(
                [dict(zip(together, row, strict=True)) for row in zip(*columns, strict=True)]
            )
    for parts in itertools.product(*steps):
        chosen: JsonDict = {}
        for part in parts:
            chosen |= part
        yield {key: chosen[key] for key in known}


def parse_value(text: str) -> Any:
    """A value as on a command line: TOML, or else a bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # of TOML; thousands of digits or brackets
        return text


def put(raw: JsonDict, path: Sequence[str], value: Any) -> None:
    """Set a dotted key of the tables of a file; missing tables are made."""
    for name in path[:-1]:
        inner = raw.get(name)
        if not isinstance(inner, dict):
            inner = raw[name] = {}
        raw = inner
    raw[path[-1]] = value
