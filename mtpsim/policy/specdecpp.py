"""Draft until a rejection has become likely.

Source: Huang, Guo, Wang, "SpecDec++: boosting speculative decoding via adaptive candidate lengths",
2024: stop once the predicted probability of at least one rejection exceeds a threshold. As in the
authors' code, ``specdec_pp/hf_generation.py`` of Kaffaljidhmah2/SpecDec_pp, commit 937aee2, the
prediction for a draft is known when the next one has been drafted, so the last draft does not
count.
"""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Probability
from mtpsim.policy.base import Environment, PolicySpec, RoundContext

LIMIT, LEAST, MOST = range(3)  # in p


class SpecDecPP(PolicySpec):
    """Stops once 1 - product of predicted acceptance probabilities exceeds a limit."""

    reads_confidence = True
    rule: Literal["specdecpp"] = "specdecpp"
    limit: Probability = Field(0.7, description="probability of a rejection at which it stops")
    least: Annotated[int, Field(ge=1)] = Field(2, description="lowest number of drafts per round")
    most: Annotated[int, Field(ge=1)] = Field(20, description="highest number of drafts per round")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.most < self.least:
            raise FieldError(f"`most` is {self.most}, below `least` {self.least}", key="most")
        return self

    def parameters(self, environment: Environment) -> Floats:
        """LIMIT, LEAST, MOST."""
        most = min(self.most, environment.depth)
        return np.array([self.limit, min(self.least, most), most], float)


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """Drafts up to the first one before which a rejection is too likely."""
    depth, all_good = int(p[MOST]), 1.0
    for j in range(hints.size):
        if j + 1 >= p[LEAST] and 1 - all_good > p[LIMIT]:
            depth = min(depth, j + 1)
        all_good *= hints[j]
    return depth
