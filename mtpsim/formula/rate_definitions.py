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
    """How the rates used in the closed form were measured."""

    measured_at: Depth | None = Field(
        None, description="depth at which the rates were measured; default: the greatest"
    )
    definition: Definition = Field(
        "conditional", description="rates used as p1, p2, ... in the closed form"
    )
    weighting: Weighting = Field(
        "round-pooled", description="what is averaged over: rounds, requests, or text positions"
    )


def plug_in(definition: Definition, survival: Floats, conditional: Floats, depth: int) -> Floats:
    """The rates used as p1..pK in the closed form, from rates measured at depth M.

    Args:
        definition (str): ``"conditional"``: P(accept j | 1..j-1 accepted); ``"survival"``:
            P(accept 1..j), used as if conditional; ``"pooled"``: accepted over proposed drafts
            (A / D), at every position; ``"first"``: p1 at every position.
        survival (Floats): ``[..., M]`` measured survival rates.
        conditional (Floats): ``[..., M]`` measured conditional rates.
        depth (int): Greatest depth K of the closed form. Beyond M the last measured rate is used;
            if K is smaller than M, the deeper rates are not used.

    Returns:
        Floats: ``[..., K]`` rates.

    Examples:
        >>> reach, rates = np.array([0.8, 0.6]), np.array([0.8, 0.75])
        >>> plug_in("conditional", reach, rates, depth=3)
        array([0.8 , 0.75, 0.75])
        >>> plug_in("pooled", reach, rates, depth=3)
        array([0.7, 0.7, 0.7])
    """
    if definition in ("pooled", "first"):
        mean = survival.mean(-1, keepdims=True)
        one = mean if definition == "pooled" else survival[..., :1]
        return np.repeat(one, depth, axis=-1)
    rates = conditional if definition == "conditional" else survival
    beyond = np.repeat(rates[..., -1:], max(0, depth - rates.shape[-1]), axis=-1)
    return np.concatenate([rates[..., :depth], beyond], -1)
