"""``independent``: rounds are independent, with one acceptance rate per position."""

from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, model_validator

from mtpsim.acceptance.base import (
    AcceptanceChain,
    Clock,
    RatesAre,
    RatesModel,
    compiled_once,
    independent_rounds,
)
from mtpsim.common.arrays import Floats
from mtpsim.formula.closed_form import conditional_from


class Independent(RatesModel):
    """One acceptance rate per draft position, the same in every round."""

    model: Literal["independent"]
    rates_are: RatesAre = Field("conditional", description="definition of the rates")
    clock: Clock = Field("round", description="no effect on the results of this model")

    @model_validator(mode="after")
    def _rates_convert(self) -> Self:
        self.input_rates()
        return self

    def input_rates(self) -> Floats:
        """Conditional rates ``[K]``."""
        return conditional_from(self.rates_by_position(), self.rates_are)

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state with these rates."""
        return replace(independent_rounds(self.input_rates()), clock=self.clock)
