"""``regime``: easy and hard stretches, each with its own acceptance rates."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceModel, RatesAre, check_rows
from mtpsim.acceptance.chain import AcceptanceChain, Clock, stationary
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Probability, Slowdown
from mtpsim.common.text import counted
from mtpsim.formula.closed_form import conditional_from

Sojourn = Annotated[float, Field(ge=1)]


class Regime(AcceptanceModel):
    """A hidden state that stays for a while; it starts in its stationary law."""

    model: Literal["regime"]
    clock: Clock = Field("round", description="whether the state moves once a round or a token")
    rates: list[list[Probability]] = Field(min_length=2, description="one row a state")
    rates_are: RatesAre = Field("conditional", description="which definition the rates follow")
    sojourn: list[Sojourn] | None = Field(None, description="mean stay in each state, in ticks")
    step: list[list[Probability]] | None = Field(None, description="transition matrix, by rows")
    slowdown: list[Slowdown] | None = Field(None, description="factor on the round time, by state")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        states = len(self.rates)
        if len({len(row) for row in self.rates}) != 1 or not self.rates[0]:
            lengths = [len(row) for row in self.rates]
            raise FieldError(
                f"`rates` needs rows of one length, at least 1; given {lengths}", key="rates"
            )
        if (self.sojourn is None) == (self.step is None):
            raise ValueError("give either `sojourn` or `step`, and not both")
        for name, given in (("sojourn", self.sojourn), ("slowdown", self.slowdown)):
            if given is not None and len(given) != states:
                raise ValueError(
                    f"`{name}` has {counted(len(given), 'entry')} but `rates` has "
                    f"{counted(states, 'row')}"
                )
        if self.step is not None:
            check_rows("step", self.step, states, "state of `rates`")
        for row in self.rates:
            conditional_from(np.array(row, float), self.rates_are)
        return self

    def _step(self) -> Floats:
        if self.step is not None:
            return np.array(self.step, float)
        leave = 1 / np.array(self.sojourn, float)
        others = leave.size - 1
        step = np.repeat(leave[:, None] / others, leave.size, axis=1)
        np.fill_diagonal(step, 1 - leave)
        return step

    def chain(self) -> AcceptanceChain:
        """The states as given; leaving a state, all others are equally likely with `sojourn`."""
        step = self._step()
        accept = np.array(
            [conditional_from(np.array(r, float), self.rates_are) for r in self.rates]
        )
        slowdown = np.array(self.slowdown or np.ones(len(step)), float)
        return AcceptanceChain(stationary(step), step[None], accept, self.clock, slowdown)
