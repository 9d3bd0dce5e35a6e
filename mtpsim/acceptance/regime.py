"""``regime``: hidden states (easy and hard text), each with its own acceptance rates."""

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import (
    AcceptanceChain,
    AcceptanceModel,
    Clock,
    RatesAre,
    Sojourn,
    check_stochastic,
    compiled_once,
    stationary,
    step_after,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Probability, Slowdown
from mtpsim.common.text import counted
from mtpsim.formula.closed_form import conditional_from


class Regime(AcceptanceModel):
    """A hidden Markov chain."""

    model: Literal["regime"]
    clock: Clock = Field("round", description="whether the state changes per round or per token")
    rates: list[list[Probability]] = Field(
        min_length=2, max_length=1024, description="acceptance rates, one row per state"
    )
    rates_are: RatesAre = Field("conditional", description="definition of the rates")
    sojourn: list[Sojourn] | None = Field(
        None, description="mean duration of each state, in rounds or tokens"
    )
    step: list[list[Probability]] | None = Field(
        None, description="transition matrix, one row per state"
    )
    start: Literal["stationary"] | list[Probability] = Field(
        "stationary",
        description="probability of each state at the beginning of a request (default: the "
        "long-run shares of the states)",
    )
    slowdown: list[Slowdown] | None = Field(None, description="factor on the round time by state")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        states = len(self.rates)
        if len({len(row) for row in self.rates}) != 1 or not self.rates[0]:
            lengths = [len(row) for row in self.rates]
            raise FieldError(
                f"all rows must have the same length, at least 1; given {lengths}", key="rates"
            )
        if (self.sojourn is None) == (self.step is None):
            raise FieldError("give either `sojourn` or `step`")
        start = None if self.start == "stationary" else self.start
        lists = {"sojourn": self.sojourn, "slowdown": self.slowdown, "start": start}
        for name, given in lists.items():
            if given is not None and len(given) != states:
                raise FieldError(
                    f"{counted(len(given), 'entry')} given, but `rates` has "
                    f"{counted(states, 'row')}",
                    key=name,
                )
        if start is not None and abs(sum(map(float, start)) - 1) > 1e-9:
            raise FieldError(f"sums to {sum(map(float, start)):.9g}, not to 1", key="start")
        if self.step is not None:
            check_stochastic("step", self.step, size=states, row_of="state")
        for row in self.rates:
            conditional_from(np.array(row, float), self.rates_are)
        return self

    def _step(self) -> Floats:
        if self.step is not None:
            return np.array(self.step, float)
        return step_after(self.sojourn or [])

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """The given states; with `sojourn` a state moves to all others with equal probability."""
        step = self._step()
        accept = np.array(
            [conditional_from(np.array(r, float), self.rates_are) for r in self.rates]
        )
        slowdown = np.array(self.slowdown or np.ones(len(step)), float)
        return AcceptanceChain(
            start=stationary(step) if self.start == "stationary" else np.array(self.start, float),
            step=step[None],
            accept=accept,
            clock=self.clock,
            slowdown=slowdown,
        )
