"""``histogram``: number of accepted drafts per round, as engines report it."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import (
    AcceptanceChain,
    AcceptanceModel,
    compiled_once,
    independent_rounds,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import NonNegative


class Histogram(AcceptanceModel):
    """Counts or shares of rounds by their number of accepted drafts 0..K.

    A histogram contains no dependence between rounds; in this model rounds are independent.
    """

    model: Literal["histogram"]
    rounds: Annotated[list[NonNegative], Field(min_length=2, max_length=65)] = Field(
        description="number or share of rounds that accepted exactly 0, 1, .. K drafts"
    )

    @model_validator(mode="after")
    def _some_rounds(self) -> Self:
        if max(self.rounds) <= 0:
            raise FieldError("all counts are 0; at least one round is required", key="rounds")
        return self

    def input_rates(self) -> Floats:
        """Conditional rates ``[K]``; 0 for positions that were never reached."""
        share = np.array(self.rounds, float) / max(self.rounds)
        reached = np.cumsum(share[::-1])[::-1]
        before = reached[:-1]
        return np.asarray(np.divide(reached[1:], before, out=0 * before, where=before > 0))

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state with the conditional rates of the histogram."""
        return independent_rounds(self.input_rates())
