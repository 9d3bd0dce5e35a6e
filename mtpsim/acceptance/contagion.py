"""``contagion``: acceptance is lower for some time after a rejection."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceChain, Clock, RatesAre, RatesModel, compiled_once
from mtpsim.common.section import Probability, Slowdown
from mtpsim.formula.closed_form import conditional_from


class Contagion(RatesModel):
    """A rejection lowers the acceptance rates until the draft has recovered.

    ``rates`` are those of the normal state, in which a request starts. After a rejection the draft
    is more often wrong, so one rejection makes others more likely.
    """

    model: Literal["contagion"]
    rates_are: RatesAre = Field("conditional", description="definition of the rates")
    clock: Clock = Field("round", description="whether `duration` counts rounds or tokens")
    drop: Probability = Field(description="relative reduction of each rate after a rejection")
    duration: Annotated[float, Field(ge=1)] = Field(
        description="mean number of rounds or tokens without a rejection until recovery"
    )
    slowdown: Slowdown = Field(1.0, description="factor on the round time until recovery")

    @model_validator(mode="after")
    def _rates_convert(self) -> Self:
        conditional_from(self.rates_by_position(), self.rates_are)
        return self

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """Two states, normal and impaired; transitions depend on whether a draft was rejected."""
        normal = conditional_from(self.rates_by_position(), self.rates_are)
        rejected = [[0.0, 1.0], [0.0, 1.0]]
        recover = 1 / self.duration
        passed = [[1.0, 0.0], [recover, 1 - recover]]
        return AcceptanceChain(
            start=np.array([1.0, 0.0]),
            step=np.array([rejected, passed]),
            accept=np.stack([normal, normal * (1 - self.drop)]),
            clock=self.clock,
            slowdown=np.array([1.0, self.slowdown]),
        )
