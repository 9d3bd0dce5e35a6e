"""``drift``: acceptance that changes along the output of a request."""

from typing import Annotated, Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceChain, AcceptanceModel, compiled_once
from mtpsim.acceptance.registry import SIMPLE
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Named

Inner = Annotated[AcceptanceModel, Named(SIMPLE.including(mixture="mixture.Mixture"))]


class Drift(AcceptanceModel):
    """Another model, whose acceptance rates move by a number of logits from segment to segment.

    A request runs through the segments in order and stays in the last one. Each of the others
    lasts for a random number of ticks with a geometric distribution, so that the last one begins
    after ``over`` ticks on average. A tick is a token, or a round where the model has hidden
    states that change per round.
    """

    model: Literal["drift"]
    of: Inner = Field(description="the acceptance model at the beginning of a request")
    change: Annotated[float, Field(ge=-20, le=20)] = Field(
        description="change of the acceptance rates along the request, in logits"
    )
    over: Annotated[float, Field(ge=1)] = Field(
        description="tokens (rounds, if the model's clock is the round) in which they change"
    )
    segments: Annotated[int, Field(ge=2, le=64)] = Field(
        8, description="number of steps of the rates, the first and the last included"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.over < self.segments - 1:
            raise FieldError(
                f"{self.over:g} is given; {self.segments} segments need at least "
                f"{self.segments - 1}",
                key="over",
            )
        return self

    def input_rates(self) -> Floats | None:
        """Rates ``[K]`` at the beginning of a request."""
        return self.of.input_rates()

    def warnings(self) -> list[str]:
        """Those of the model at the beginning."""
        return self.of.warnings()

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """The states of the model, once per segment."""
        inner, count = cast(AcceptanceChain, self.of.chain()), self.segments
        leave = (count - 1) / self.over
        move = (1 - leave) * np.eye(count) + leave * np.eye(count, k=1)
        move[-1, -1] = 1
        odds = np.exp(self.change * np.arange(count) / (count - 1))[:, None, None]
        accept = odds * inner.accept / (1 - inner.accept + odds * inner.accept)
        start = np.zeros((count, inner.states))
        start[0] = inner.start
        return AcceptanceChain(
            start=start.ravel(),
            step=np.stack([np.kron(move, step) for step in inner.step]),
            accept=accept.reshape(-1, inner.depth),
            clock=inner.clock if inner.states > 1 else "token",
            slowdown=np.tile(inner.slowdown, count),
            lengths=None if inner.lengths is None else np.tile(inner.lengths, count),
        )
