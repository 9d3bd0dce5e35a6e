"""The ``[robust]`` section: values that inputs may take instead, in every combination."""

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, SerializeAsAny, Tag

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import nearest
from mtpsim.common.section import Spec

MAX_SCENARIOS = 1000  # each is validated and simulated
NOT_IN_SCENARIOS = ("sweep", "uncertainty", "robust", "adaptive")  # sections without their effect


class PlusMinus(Spec):
    """Three scenarios: the value of the file, and this much less and more."""

    plus_minus: Annotated[float, Field(gt=0)] = Field(
        description="difference to the value of the file"
    )


def _scenario_form(value: Any) -> str:
    return "around" if isinstance(value, dict | PlusMinus) else "values"


ScenarioValues = Annotated[
    Annotated[PlusMinus, Tag("around")]
    | Annotated[list[SerializeAsAny[Any]], Field(min_length=1), Tag("values")],
    Discriminator(_scenario_form),
]
Robust = Annotated[dict[str, ScenarioValues], Field(min_length=1)]


def value_at(raw: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key.

    Raises:
        ValueError: The key is not in the tables.
    """
    here: Any = raw
    for part in key.split("."):
        if not isinstance(here, Mapping) or part not in here:
            known = list(here) if isinstance(here, Mapping) else []
            raise ValueError(f"{key} is not in the file{nearest(part, known)}")
        here = here[part]
    return here


def numbers_at(raw: JsonDict, key: str) -> Floats:
    """The numbers ``[n]`` of a dotted key, lists row by row.

    Raises:
        ValueError: The key is not in the tables, or has other values than numbers.
    """
    if not key.startswith(("acceptance.", "latency.")) and key != "draft.lengths":
        message = f"{key} is not a key of acceptance or latency; only these and draft.lengths"
        raise ValueError(f"{message} can vary")
    value = value_at(raw, key)
    values = list(_flat(value))
    if not values or not all(type(v) in (int, float) for v in values):
        raise ValueError(f"{key} is {value!r}; only numbers and lists of numbers can vary")
    return np.array(values, float)


def _flat(value: Any) -> Iterator[Any]:
    """Entries of nested lists, row by row."""
    if not isinstance(value, list):
        yield value
        return
    for part in value:
        yield from _flat(part)


def scenarios(raw: JsonDict, robust: Mapping[str, Any]) -> Iterator[JsonDict]:
    """Dotted keys and values of each scenario: every combination of the declared values."""
    columns = [_choices(raw, key, given) for key, given in robust.items()]
    count = prod(map(len, columns))
    if count > MAX_SCENARIOS:
        raise ValueError(f"{count:,} scenarios are given; at most {MAX_SCENARIOS:,} are possible")
    for row in product(*columns):
        yield dict(zip(robust, row, strict=True))


def _choices(raw: JsonDict, key: str, given: Any) -> list[Any]:
    if not isinstance(given, PlusMinus):
        return list(given)
    values, step = numbers_at(raw, key), given.plus_minus
    top = 1.0 if key.startswith("acceptance.") and (values <= 1).all() else np.inf
    moved = [np.clip(values + sign * step, 0, top).round(12).tolist() for sign in (-1, 0, 1)]
    return moved if isinstance(value_at(raw, key), list) else [row[0] for row in moved]
