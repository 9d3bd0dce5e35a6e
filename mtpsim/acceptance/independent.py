"""``independent``: drafts are accepted independently of all that happened before the round."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceModel, RatesAre
from mtpsim.acceptance.chain import AcceptanceChain, Clock, Floats
from mtpsim.spec import Depth, Probability
from mtpsim.theory import conditional_from


class Independent(AcceptanceModel):
    """One acceptance rate a draft position, the same in every round."""

    model: Literal["independent"]
    rates: list[Probability] = Field(default_factory=list, description="by position 1..K")
    rate: Probability | None = Field(None, description="one rate for every position")
    depth: Depth | None = Field(None, description="number of positions that `rate` stands for")
    rates_are: RatesAre = Field("conditional", description="which definition the rates follow")
    clock: Clock = Field("round", description="makes no difference to this model but to its cost")

    @model_validator(mode="after")
    def _one_way_to_give_rates(self) -> Independent:
        if bool(self.rates) == (self.rate is not None):
            raise ValueError("give either `rates` (a list) or `rate` with `depth`, and not both")
        if (self.rate is None) != (self.depth is None):
            raise ValueError("`rate` and `depth` go together: one rate for that many positions")
        self.stated_rates()
        return self

    def stated_rates(self) -> Floats:
        """Conditional rates ``[K]``."""
        given = self.rates or [self.rate or 0.0] * (self.depth or 0)
        return conditional_from(np.array(given, float), self.rates_are)

    def chain(self) -> AcceptanceChain:
        """One state whose rates are the stated ones."""
        one = np.ones(1)
        return AcceptanceChain(
            one, np.ones((1, 1, 1)), self.stated_rates()[None, :], self.clock, one
        )
