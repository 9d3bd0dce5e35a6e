"""The ``[sweep]`` section: the points of an experiment."""

import itertools
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializeAsAny

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import FieldError

ZIP = "zip"
DOTTED_KEYS = ("sweep", "robust")  # sections whose keys are dotted keys of other sections
MAX_POINTS = 10_000  # each is validated, simulated and reported


def swept_values(sweep: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The swept keys and their values, in the order of the file: all but ``zip``."""
    return {key: values for key, values in sweep.items() if key != ZIP}


def _check_zip(sweep: dict[str, list[Any]]) -> dict[str, list[Any]]:
    known, zipped = swept_values(sweep), sweep.get(ZIP, [])
    for key in zipped:
        if not isinstance(key, str) or key not in known:
            message = f"{key!r} is given, but it is not a swept key"
            raise FieldError(message, key=ZIP, given=str(key), allowed=known)
    lengths = {key: len(known[key]) for key in zipped}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{key} has {count} values" for key, count in lengths.items())
        raise FieldError(f"zipped keys must have equally many values: {counts}", key=ZIP)
    if len(set(zipped)) < len(zipped):
        raise FieldError("a key is given twice", key=ZIP)
    points = math.prod(len(v) for key, v in known.items() if key not in zipped[1:])
    if points > MAX_POINTS:
        raise FieldError(f"{points:,} points are given; at most {MAX_POINTS:,} are possible")
    columns = {key: values for key, values in known.items() if key not in zipped}
    if zipped:
        columns[", ".join(zipped)] = list(zip(*(known[key] for key in zipped), strict=True))
    for key, values in columns.items():
        for shown, times in Counter(map(repr, values)).items():
            if times > 1:  # the same point would be simulated and tested twice
                raise FieldError(f"`{key}`: {shown} is given {times} times")
    return sweep


Sweep = Annotated[
    dict[str, Annotated[list[SerializeAsAny[Any]], Field(min_length=1)]], AfterValidator(_check_zip)
]


def combinations(sweep: Mapping[str, list[Any]]) -> Iterator[JsonDict]:
    """What each point sets: every combination, with the keys listed by ``zip`` in parallel.

    The last key of the file varies fastest; zipped keys vary at the place of the first of them.
    """
    known, zipped = swept_values(sweep), sweep.get(ZIP, [])
    first = next((key for key in known if key in zipped), None)
    steps: list[list[JsonDict]] = []
    for key, values in known.items():
        if key == first:
            rows = zip(*(known[name] for name in zipped), strict=True)
            steps.append([dict(zip(zipped, row, strict=True)) for row in rows])
        elif key not in zipped:
            steps.append([{key: value} for value in values])
    for parts in itertools.product(*steps):
        chosen = {key: value for part in parts for key, value in part.items()}
        yield {key: chosen[key] for key in known}


def parse_value(text: str) -> Any:
    """A value from the command line: TOML, or else a bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # of TOML; thousands of digits or brackets
        return text


def set_key(raw: JsonDict, path: Sequence[str], value: Any) -> JsonDict:
    """Set a key in nested tables; missing tables are created. Returns the table of the key."""
    for name in path[:-1]:
        inner = raw.get(name)
        if not isinstance(inner, dict):
            inner = raw[name] = {}
        raw = inner
    raw[path[-1]] = value
    return raw
