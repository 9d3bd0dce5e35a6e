"""``contagion``: after a rejection, drafts are accepted less often for a while."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import Rated, RatesAre, compiled_once
from mtpsim.acceptance.chain import AcceptanceChain, Clock
from mtpsim.common.section import Probability, Slowdown
from mtpsim.formula.closed_form import conditional_from


class Contagion(Rated):
    """A rejection shakes the draft: its rates are lower until it has recovered.

    The ``rates`` are those of a calm draft, and a request starts calm. A draft that has lost the
    thread gets its next proposals wrong more often, so one rejection brings others.
    """

    model: Literal["contagion"]
    rates_are: RatesAre = Field("conditional", description="which definition the rates follow")
    clock: Clock = Field("round", description="whether it recovers by rounds or by tokens")
    drop: Probability = Field(description="share of each rate that is lost while shaken")
    duration: Annotated[float, Field(ge=1)] = Field(
        description="mean number of ticks without a rejection until it has recovered"
    )
    slowdown: Slowdown = Field(1.0, description="factor on the round time while shaken")

    @model_validator(mode="after")
    def _rates_convert(self) -> Self:
        conditional_from(self.given(), self.rates_are)
        return self

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """Calm and shaken; where it goes depends on whether the tick had a rejection."""
        calm = conditional_from(self.given(), self.rates_are)
        rejected = [[0.0, 1.0], [0.0, 1.0]]
        recover = 1 / self.duration
        passed = [[1.0, 0.0], [recover, 1 - recover]]
        return AcceptanceChain(
            np.array([1.0, 0.0]),
            np.array([rejected, passed]),
            np.stack([calm, calm * (1 - self.drop)]),
            self.clock,
            np.array([1.0, self.slowdown]),
        )
