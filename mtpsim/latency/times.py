"""Mean times by depth, as an experiment file gives them: a number, a list, or a line."""

from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Spec
from mtpsim.common.text import counted

Milliseconds = Annotated[float, Field(ge=0, le=1e12)]


class Slope(Spec):
    """A time that grows linearly with the depth: ``base + per_token * depth``."""

    base: Milliseconds = Field(description="ms at depth 0")
    per_token: Milliseconds = Field(description="ms per drafted token")


def _form(value: Any) -> str:
    if isinstance(value, list):
        return "list"
    return "slope" if isinstance(value, dict | Slope) else "number"


Times = Annotated[
    Annotated[Milliseconds, Tag("number")]
    | Annotated[list[Milliseconds], Field(min_length=1), Tag("list")]
    | Annotated[Slope, Tag("slope")],
    Discriminator(_form),
]


def by_depth(times: Times, depth: int, drafted: Floats | None = None) -> Floats:
    """Mean times at depths 1 to ``depth``.

    Args:
        times (Times): One number for all depths, a list with one time per depth, or a line.
        depth (int): Greatest depth of the acceptance model.
        drafted (Floats | None): ``[depth + 1]`` tokens that a line counts; None: the depth.

    Returns:
        Floats: ``[depth]`` mean times in ms.

    Raises:
        ValueError: The list has another length.
    """
    if isinstance(times, Slope):
        return np.asarray(times.base + times.per_token * tokens_by_depth(depth, drafted)[1:])
    if not isinstance(times, list):
        return np.full(depth, float(times))
    if len(times) != depth:
        zero = "; leave out depth 0, the plain step" if len(times) == depth + 1 else ""
        raise ValueError(
            f"{counted(len(times), 'time', 'are')} given, but the acceptance model has depth "
            f"{depth}: give {depth}, one per depth, or a single number for all depths{zero}"
        )
    return np.array(times, float)


def tokens_by_depth(depth: int, drafted: Floats | None) -> Floats:
    """``[depth + 1]`` drafted tokens of a round; None: one per depth."""
    return np.arange(depth + 1.0) if drafted is None else drafted


def describe(times: Times) -> str:
    """The times as text: ``90, 104, 117 ms``."""
    if isinstance(times, Slope):
        return f"{times.base:g} + {times.per_token:g} per drafted token ms"
    if isinstance(times, list):
        return ", ".join(f"{t:g}" for t in times) + " ms"
    return f"{times:g} ms at every depth"
