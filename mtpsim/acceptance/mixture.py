"""``mixture``: several classes of requests, each with its own acceptance model."""

from typing import Annotated, Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceChain, AcceptanceModel, Clock, compiled_once
from mtpsim.acceptance.ranks import padded
from mtpsim.acceptance.registry import SimpleModel
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Positive, Slowdown, Spec
from mtpsim.common.text import counted


class Part(Spec):
    """One class of requests."""

    name: str = Field("", description="name of the class, for texts")
    weight: Positive = Field(description="share of the requests, relative to other parts")
    tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        None, description="tokens of these requests (default: simulation.tokens)"
    )
    slowdown: Slowdown = Field(1.0, description="factor on the round time of these requests")
    of: SimpleModel = Field(description="the acceptance model of these requests")


class Mixture(AcceptanceModel):
    """Each request belongs to one class, drawn by weight."""

    model: Literal["mixture"]
    parts: Annotated[list[Part], Field(min_length=2, max_length=64)] = Field(
        description="list of tables { weight = 2, of = { model = .. } }"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        chains = self._chains()
        depths = [chain.depth for chain in chains]
        if len(set(depths)) > 1:
            raise FieldError(f"all parts must have the same depth; given {depths}", key="parts")
        self._clock(chains)
        return self

    def _chains(self) -> list[AcceptanceChain]:
        return [cast(AcceptanceChain, part.of.chain()) for part in self.parts]

    @staticmethod
    def _clock(chains: list[AcceptanceChain]) -> Clock:
        """The common clock of all parts; parts with one state fit either clock."""
        clocks: set[Clock] = {chain.clock for chain in chains if chain.states > 1}
        if len(clocks) > 1:
            raise FieldError("all parts must have the same clock, 'round' or 'token'", key="parts")
        return clocks.pop() if clocks else "round"

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """A block-diagonal chain; the first state selects the part."""
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
        tokens = [part.tokens or 0 for part in self.parts]
        return AcceptanceChain(
            start=np.concatenate(starts),
            step=step,
            accept=np.concatenate([chain.accept for chain in chains]),
            clock=self._clock(chains),
            slowdown=np.concatenate(slow),
            lengths=np.repeat(tokens, np.diff(edges)) if any(tokens) else None,
            candidates=_candidates(chains),
        )

    def describe(self) -> list[str]:
        """A line per class: its share of the requests, its model and its length."""
        total = sum(part.weight for part in self.parts)
        return [
            f"{part.name or f'class {number}'}: {100 * part.weight / total:.3g} % of the requests, "
            + f"{part.of.model}"
            + (f", {counted(part.tokens, 'token')}" if part.tokens else "")
            for number, part in enumerate(self.parts, 1)
        ]


def _candidates(chains: list[AcceptanceChain]) -> Floats | None:
    """``[S, K, W]`` candidates of all parts; None unless every part has some."""
    tables = [chain.candidates for chain in chains if chain.candidates is not None]
    return padded(tables) if len(tables) == len(chains) else None
