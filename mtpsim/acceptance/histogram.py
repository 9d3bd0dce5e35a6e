"""``histogram``: how many drafts a round accepted, as engines count it."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceModel, within_round
from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import NonNegative


class Histogram(AcceptanceModel):
    """Rounds by their number of accepted drafts 0..K, as counts or as shares.

    A histogram can't show dependence between rounds; the model has none.
    """

    model: Literal["histogram"]
    rounds: Annotated[list[NonNegative], Field(min_length=2, max_length=65)] = Field(
        description="rounds that accepted exactly 0, 1, .. K drafts"
    )

    @model_validator(mode="after")
    def _some_rounds(self) -> Self:
        if max(self.rounds) <= 0:
            raise FieldError("`rounds` are all 0; at least one round is needed", key="rounds")
        return self

    def stated_rates(self) -> Floats:
        """Conditional rates ``[K]``; 0 after a position that was never reached."""
        share = np.array(self.rounds, float) / max(self.rounds)
        reached = np.cumsum(share[::-1])[::-1]
        before = reached[:-1]
        return np.asarray(np.divide(reached[1:], before, out=0 * before, where=before > 0))

    def chain(self) -> AcceptanceChain:
        """One state with the conditional rates of the histogram: it has that very law."""
        return within_round(self.stated_rates())
