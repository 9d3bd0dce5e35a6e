"""Draft on while it is likely that nothing will be rejected.

Source: Huang, Guo, Wang, "SpecDec++: boosting speculative decoding via adaptive candidate lengths",
2024: stop once the predicted probability of at least one rejection exceeds a threshold.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

LIMIT, LEAST, MOST = range(3)  # in p


class SpecDecPP(PolicySpec):
    """Stops once 1 - product of predicted accept probabilities exceeds a limit."""

    reads_confidence = True
    rule: Literal["specdecpp"] = "specdecpp"
    limit: Probability = Field(0.7, description="probability of a rejection at which it stops")
    least: Annotated[int, Field(ge=1)] = Field(2, description="never fewer drafts")
    most: Annotated[int, Field(ge=1)] = Field(20, description="never more drafts")

    @model_validator(mode="after")
    def _ordered(self) -> SpecDecPP:
        if self.most < self.least:
            raise ValueError(f"`most` is {self.most}, below `least` {self.least}")
        return self

    def parameters(self, setting: Setting) -> Floats:
        """LIMIT, LEAST, MOST."""
        most = min(self.most, setting.depth)
        return np.array([self.limit, min(self.least, most), most], float)

    def memory(self, setting: Setting) -> int:
        """None."""
        return 0


def start(p: Floats, m: Floats) -> None:
    """Nothing to remember."""


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The first draft at which a rejection has become too likely is the last one."""
    most, all_good = int(p[MOST]), 1.0
    for j in range(most):
        all_good *= hints[j]
        if j + 1 >= p[LEAST] and 1 - all_good > p[LIMIT]:
            return j + 1
    return most


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Nothing to learn."""
