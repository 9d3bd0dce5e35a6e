"""``tokens``: a target and a draft language model over a small alphabet; acceptance emerges."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceModel, check_rows
from mtpsim.acceptance.chain import AcceptanceChain, stationary
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Probability
from mtpsim.common.text import counted

Rows = list[list[Probability]]
MOST_LETTERS = 16


class Tokens(AcceptanceModel):
    """Speculative sampling between two Markov language models (Leviathan et al. 2023).

    After the letter x the draft proposes y with probability q(y | x). The target accepts it with
    probability min(1, p(y | x) / q(y | x)), and else draws from the residual, proportional to
    max(0, p - q). So the text follows the target, and a letter y of it was an accepted draft with
    probability min(1, q / p): that is all the chain needs. Its state is a pair of letters.
    """

    model: Literal["tokens"]
    target: Annotated[Rows, Field(min_length=2, max_length=MOST_LETTERS)] = Field(
        description="p(next letter | letter), a row a letter"
    )
    draft: Annotated[Rows, Field(min_length=2, max_length=MOST_LETTERS)] = Field(
        description="q(next letter | letter), a row a letter"
    )
    depth: Depth = Field(description="number of draft positions")
    blur: Probability | list[Probability] = Field(
        0.0, description="share of guesses at random that the draft mixes in, or by position"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("target", "draft"):
            check_rows(name, getattr(self, name), len(self.target), "letter")
        if isinstance(self.blur, list) and len(self.blur) != self.depth:
            raise FieldError(
                f"`blur` has {counted(len(self.blur), 'entry')} but `depth` is {self.depth}",
                key="blur",
            )
        return self

    def drafts(self) -> Floats:
        """``[K, V, V]`` what the draft proposes at each position: q blurred."""
        blur = np.broadcast_to(np.array(self.blur, float), self.depth)[:, None, None]
        return np.asarray((1 - blur) * np.array(self.draft) + blur / len(self.draft))

    def chain(self) -> AcceptanceChain:
        """States are the pairs (letter, next letter) that the target can emit; token clock."""
        target = np.array(self.target, float)
        before, after = np.nonzero(target)
        chance = target[before, after]
        step = (after[:, None] == before[None, :]) * chance[None, :]
        law = stationary(target)
        accept = np.minimum(1, self.drafts()[:, before, after] / chance).T
        start = law[before] * chance
        return AcceptanceChain(
            start / start.sum(), step[None], accept, "token", np.ones(chance.size)
        )
