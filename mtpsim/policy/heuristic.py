"""Depth + 2 after a fully accepted round, - 1 after a rejection.

Source: Hugging Face transformers, assisted generation, ``num_assistant_tokens_schedule =
"heuristic"``. There the depth is unbounded; here it stays within the acceptance model's.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome

START, UP, DOWN, LEAST, MOST = range(5)  # in p
DEPTH = 0  # in m


class Heuristic(PolicySpec):
    """Increases the depth after a fully accepted round, decreases it after a rejection."""

    rule: Literal["heuristic"] = "heuristic"
    start: Annotated[int, Field(ge=0)] = Field(
        20, description="depth of the first round (at most the model's)"
    )
    up: Annotated[int, Field(ge=1)] = Field(2, description="increase after a fully accepted round")
    down: Annotated[int, Field(ge=1)] = Field(1, description="decrease after a rejection")
    least: Annotated[int, Field(ge=0)] = Field(1, description="lowest depth")

    def parameters(self, environment: Environment) -> Floats:
        """START .. MOST."""
        most = environment.depth
        first = min(max(self.start, self.least), most)
        return np.array([first, self.up, self.down, min(self.least, most), most], float)

    def memory_size(self, environment: Environment) -> int:
        """The depth."""
        return 1


def start(p: Floats, m: Floats) -> None:
    """The initial depth."""
    m[DEPTH] = p[START]


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The current depth."""
    return int(m[DEPTH])


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Increase or decrease the depth."""
    if outcome.accepted == outcome.depth:
        m[DEPTH] = min(m[DEPTH] + p[UP], p[MOST])
    else:
        m[DEPTH] = max(m[DEPTH] - p[DOWN], p[LEAST])
