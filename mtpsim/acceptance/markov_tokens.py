"""``tokens``: speculative sampling between two small Markov language models."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import (
    AcceptanceChain,
    AcceptanceModel,
    check_stochastic,
    compiled_once,
    stationary,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Probability
from mtpsim.common.text import counted

Rows = list[list[Probability]]
MAX_VOCABULARY = 16


class Tokens(AcceptanceModel):
    """Speculative sampling between two Markov language models (Leviathan et al. 2023).

    After token x the draft proposes y with probability q(y | x). The target accepts it with
    probability min(1, p(y | x) / q(y | x)), and otherwise samples from the residual distribution,
    proportional to max(0, p - q). The text follows the target, and a token y of it was an accepted
    draft with probability min(1, q / p). The state of the chain is a pair of tokens.
    """

    model: Literal["tokens"]
    target: Annotated[Rows, Field(min_length=2, max_length=MAX_VOCABULARY)] = Field(
        description="p(next token | token) of the target, one row per token"
    )
    draft: Annotated[Rows, Field(min_length=2, max_length=MAX_VOCABULARY)] = Field(
        description="q(next token | token) of the draft, one row per token"
    )
    depth: Depth = Field(description="number of draft positions")
    blur: Probability | list[Probability] = Field(
        0.0, description="share of uniform random proposals of the draft: a number or a list"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("target", "draft"):
            check_stochastic(name, getattr(self, name), size=len(self.target), row_of="token")
        if isinstance(self.blur, list) and len(self.blur) != self.depth:
            raise FieldError(
                f"{counted(len(self.blur), 'entry')} given, but `depth` is {self.depth}", key="blur"
            )
        return self

    def drafts(self) -> Floats:
        """``[K, V, V]`` proposal distribution at each position: q mixed with uniform proposals."""
        blur = np.broadcast_to(np.array(self.blur, float), self.depth)[:, None, None]
        return np.asarray((1 - blur) * np.array(self.draft) + blur / len(self.draft))

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """States are the pairs (token, next token) that the target can emit; token clock."""
        target = np.array(self.target, float)
        before, after = np.nonzero(target)
        chance = target[before, after]
        step = (after[:, None] == before[None, :]) * chance[None, :]
        distribution = stationary(target)
        accept = np.minimum(1, self.drafts()[:, before, after] / chance).T
        start = distribution[before] * chance
        return AcceptanceChain(
            start=start / start.sum(),
            step=step[None],
            accept=accept,
            clock="token",
            slowdown=np.ones(chance.size),
        )
