"""``mixture``: a workload of several kinds of requests, each with its own model."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.chain import AcceptanceChain, Clock
from mtpsim.acceptance.registry import SimpleModel
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Positive, Slowdown, Spec


class Part(Spec):
    """One kind of requests."""

    weight: Positive = Field(description="share of the requests, relative to the other parts")
    slowdown: Slowdown = Field(1.0, description="factor on the round time of these requests")
    of: SimpleModel = Field(description="the acceptance model of these requests")


class Mixture(AcceptanceModel):
    """Each request is of one kind, drawn by weight, and stays so."""

    model: Literal["mixture"]
    parts: Annotated[list[Part], Field(min_length=2)] = Field(
        description="{ weight = 2, of = { model = .. } } each"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        chains = self._chains()
        depths = [chain.depth for chain in chains]
        if len(set(depths)) > 1:
            raise FieldError(f"`parts` must have one depth; theirs are {depths}", key="parts")
        self._clock(chains)
        return self

    def _chains(self) -> list[AcceptanceChain]:
        return [part.of.chain() for part in self.parts]

    @staticmethod
    def _clock(chains: list[AcceptanceChain]) -> Clock:
        """The one clock of all parts that have a clock: one state ticks as well by either."""
        clocks: set[Clock] = {chain.clock for chain in chains if chain.states > 1}
        if len(clocks) > 1:
            raise FieldError(
                "`parts` have both clocks; a mixture is by `round` or by `token` as a whole",
                key="parts",
            )
        return clocks.pop() if clocks else "round"

    def chain(self) -> AcceptanceChain:
        """The chains side by side; the start chooses among them, and no step leads across."""
        chains = self._chains()
        weights = np.array([part.weight for part in self.parts], float)
        outcomes = max(len(chain.step) for chain in chains)
        edges = np.cumsum([0, *(chain.states for chain in chains)])
        step = np.zeros((outcomes, edges[-1], edges[-1]))
        for chain, begin, end in zip(chains, edges[:-1], edges[1:], strict=True):
            step[:, begin:end, begin:end] = chain.step
        slow: list[Floats] = [
            chain.slowdown * part.slowdown for chain, part in zip(chains, self.parts, strict=True)
        ]
        starts = [c.start * w for c, w in zip(chains, weights / weights.sum(), strict=True)]
        return AcceptanceChain(
            np.concatenate(starts),
            step,
            np.concatenate([chain.accept for chain in chains]),
            self._clock(chains),
            np.concatenate(slow),
        )
