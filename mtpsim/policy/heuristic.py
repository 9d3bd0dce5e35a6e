"""Two deeper after a full round, one shallower after a rejection.

Source: Hugging Face transformers, assisted generation, ``num_assistant_tokens_schedule =
"heuristic"``. There the depth may grow without end; here it stays within the acceptance model's.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

START, UP, DOWN, LEAST, MOST = range(5)  # in p
DEPTH = 0  # in m


class Heuristic(PolicySpec):
    """Up after all was accepted, down after a rejection."""

    rule: Literal["heuristic"] = "heuristic"
    start: Annotated[int, Field(ge=0)] = Field(
        20, description="depth of the first round (at most the model's)"
    )
    up: Annotated[int, Field(ge=1)] = Field(2, description="deeper after a fully accepted round")
    down: Annotated[int, Field(ge=1)] = Field(1, description="shallower after a rejection")
    least: Annotated[int, Field(ge=0)] = Field(1, description="never shallower")

    def parameters(self, setting: Setting) -> Floats:
        """START .. MOST."""
        most = setting.depth
        first = min(max(self.start, self.least), most)
        return np.array([first, self.up, self.down, min(self.least, most), most], float)

    def memory(self, setting: Setting) -> int:
        """The depth."""
        return 1


def start(p: Floats, m: Floats) -> None:
    """The first depth."""
    m[DEPTH] = p[START]


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The depth in memory."""
    return int(m[DEPTH])


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Up or down."""
    if round.accepted == round.depth:
        m[DEPTH] = min(m[DEPTH] + p[UP], p[MOST])
    else:
        m[DEPTH] = max(m[DEPTH] - p[DOWN], p[LEAST])
