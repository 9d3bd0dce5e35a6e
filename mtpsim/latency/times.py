"""Mean times by depth, as an experiment file gives them: a number, a list, or a line."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Spec
from mtpsim.common.text import counted

SHORTEST_STEP = 0.2  # ms; a shorter plain step may have been given in seconds
LARGEST_RATIO = 10.0  # of a verify to a plain step; beyond it the units may differ
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
    | Annotated[list[Milliseconds], Tag("list")]
    | Annotated[Slope, Tag("slope")],
    Discriminator(_form),
]


def by_depth(times: Times, depth: int) -> Floats:
    """Mean times at depths 1 to ``depth``.

    Args:
        times (Times): One number for all depths, a list with one time per depth, or a line.
        depth (int): Greatest depth of the acceptance model.

    Returns:
        Floats: ``[depth]`` mean times in ms.

    Raises:
        ValueError: The list has another length.
    """
    if isinstance(times, Slope):
        return np.asarray(times.base + times.per_token * np.arange(1, depth + 1))
    if not isinstance(times, list):
        return np.full(depth, float(times))
    if len(times) != depth:
        raise ValueError(
            f"{counted(len(times), 'time', 'are')} given, but the acceptance model has depth "
            f"{depth}: give {depth}, one per depth, or a single number for all depths"
        )
    return np.array(times, float)


def describe(times: Times) -> str:
    """The times as text: ``90, 104, 117 ms``."""
    if isinstance(times, Slope):
        return f"{times.base:g} + {times.per_token:g} per drafted token ms"
    return ", ".join(f"{t:g}" for t in (times if isinstance(times, list) else [times])) + " ms"


def drafts_are_free(verify: Floats, draft: Floats) -> bool:
    """Whether a round takes as long as a plain step, as where no time was measured.

    Args:
        verify: ``[K + 1]`` ms.
        draft: ``[K + 1]`` ms.
    """
    return len(verify) > 1 and bool((verify == verify[0]).all()) and not draft.any()


def time_warnings(verify: Floats, draft: Floats) -> list[str]:
    """Warnings on times ``[K + 1]`` in ms that are not plausible, or in another unit."""
    found = []
    if drafts_are_free(verify, draft):
        found.append(
            "drafting costs no time: a verify takes as long as a plain step, so the greatest depth "
            "always wins; measure both times before you rely on the depth"
        )
    if verify[0] < SHORTEST_STEP:
        found.append(f"a plain step takes {verify[0]:g} ms; was it given in seconds?")
    for depth in range(1, len(verify)):
        if not 1 / LARGEST_RATIO < verify[depth] / verify[0] < LARGEST_RATIO:
            found.append(
                f"a verify at depth {depth} takes {verify[depth]:g} ms, a plain step "
                f"{verify[0]:g} ms; was one of them given in seconds?"
            )
            break
    return found
