"""``independent``: drafts are accepted independently of all that happened before the round."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import Rated, RatesAre, compiled_once
from mtpsim.acceptance.chain import AcceptanceChain, Clock
from mtpsim.common.arrays import Floats
from mtpsim.formula.closed_form import conditional_from


class Independent(Rated):
    """One acceptance rate a draft position, the same in every round."""

    model: Literal["independent"]
    rates_are: RatesAre = Field("conditional", description="which definition the rates follow")
    clock: Clock = Field("round", description="makes no difference to this model but to its cost")

    @model_validator(mode="after")
    def _rates_convert(self) -> Self:
        self.stated_rates()
        return self

    def stated_rates(self) -> Floats:
        """Conditional rates ``[K]``."""
        return conditional_from(self.given(), self.rates_are)

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state whose rates are the stated ones."""
        one = np.ones(1)
        return AcceptanceChain(
            one, np.ones((1, 1, 1)), self.stated_rates()[None, :], self.clock, one
        )
