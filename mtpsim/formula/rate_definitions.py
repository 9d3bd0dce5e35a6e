"""How acceptance rates get from a measurement into the closed form: ``[theory]`` of the file."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Depth, Spec

Definition = Literal["conditional", "survival", "pooled", "first"]
Weighting = Literal["round-pooled", "request-mean", "every-position"]
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)


class TheorySpec(Spec):
    """How the rates were obtained that are plugged into the closed form."""

    measured_at: Depth | None = Field(
        None, description="depth at which the rates were measured (default: the greatest)"
    )
    definition: Definition = Field(
        "conditional", description="definition of the rates p1, p2, .. in the closed form"
    )
    weighting: Weighting = Field(
        "round-pooled",
        description="what rates are averages over: rounds, requests, or text positions",
    )


def plug_in(definition: Definition, survival: Floats, conditional: Floats, depth: int) -> Floats:
    """What stands for p1..pK in the closed form, ``[..., depth]``.

    Args:
        definition: ``conditional`` P(accept j | 1..j-1 accepted); ``survival`` P(accept 1..j)
            taken for it; ``pooled`` accepted over proposed drafts (A / D) and ``first`` p1, each
            for every position.
        survival: ``[..., M]`` as measured at depth M.
        conditional: ``[..., M]`` as measured.
        depth: K. Beyond M the last measured rate is carried on; short of K the rest is not used.

    """
    if definition in ("pooled", "first"):
        mean = survival.mean(-1, keepdims=True)
        one = mean if definition == "pooled" else survival[..., :1]
        return np.repeat(one, depth, axis=-1)
    rates = conditional if definition == "conditional" else survival
    beyond = np.repeat(rates[..., -1:], max(0, depth - rates.shape[-1]), axis=-1)
    return np.concatenate([rates[..., :depth], beyond], -1)
