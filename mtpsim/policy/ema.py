"""A moving average of accepted drafts walks a ladder of depths.

Source: SGLang, adaptive speculative steps. The average can't exceed the depth that is being run: a
policy that sees only what it drafts is slow to find that deeper would pay.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

KEEP, WARM_UP, EVERY, SLACK_DOWN, SLACK_UP, FIRST, LADDER = range(7)  # in p; the ladder follows
AVERAGE, RUNG, ROUNDS = range(3)  # in m


class Ema(PolicySpec):
    """Steps on a ladder by the moving average of accepted drafts."""

    rule: Literal["ema"] = "ema"
    ladder: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        [1, 3, 5, 7], description="depths in rising order; those beyond the model's are left out"
    )
    start: Annotated[int, Field(ge=0)] | None = Field(
        None, description="first depth, a rung of the ladder; by default the highest"
    )
    keep: Probability = Field(0.8, description="weight of the old average in each round")
    warm_up: Annotated[int, Field(ge=0)] = Field(10, description="rounds before the first step")
    every: Annotated[int, Field(ge=1)] = Field(5, description="rounds from look to look")
    slack_down: float = Field(
        -0.25, description="h_down of the engine: -0.25 at batch 1, 0 at larger batches"
    )
    slack_up: float = Field(0.0, description="h_up of the engine")

    @model_validator(mode="after")
    def _rises(self) -> Ema:
        if sorted(set(self.ladder)) != self.ladder:
            raise ValueError(f"`ladder` is {self.ladder}; its depths must rise")
        if self.start is not None and self.start not in self.ladder:
            raise ValueError(f"`start` is {self.start}, which is no rung of `ladder` {self.ladder}")
        return self

    def _rungs(self, depth: int) -> list[int]:
        return [rung for rung in self.ladder if rung <= depth]

    def parameters(self, setting: Setting) -> Floats:
        """KEEP .. FIRST, and the ladder."""
        rungs = self._rungs(setting.depth)
        first = rungs.index(self.start) if self.start in rungs else len(rungs) - 1
        slack = self.slack_down, self.slack_up
        return np.array([self.keep, self.warm_up, self.every, *slack, first, *rungs], float)

    def memory(self, setting: Setting) -> int:
        """Average, rung and rounds."""
        return 3

    def wrong(self, depth: int, batch: float | None) -> str | None:
        """No rung that the model has, or a start that it doesn't have."""
        if not self._rungs(depth):
            return f"`ladder` is {self.ladder}, but the acceptance model has depth {depth}"
        if (self.start or 0) > depth:
            return f"`start` is {self.start}, but the acceptance model has depth {depth}"
        return None


def start(p: Floats, m: Floats) -> None:
    """As if all but one draft of the first depth had been accepted."""
    m[AVERAGE] = p[LADDER + int(p[FIRST])] - 1
    m[RUNG] = p[FIRST]
    m[ROUNDS] = 0


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The depth of the rung."""
    return int(p[LADDER + int(m[RUNG])])


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Average, and look at the ladder now and then."""
    m[AVERAGE] = p[KEEP] * m[AVERAGE] + (1 - p[KEEP]) * round.reached
    m[ROUNDS] += 1
    if m[ROUNDS] < p[WARM_UP] or (m[ROUNDS] - p[WARM_UP]) % p[EVERY] != 0:
        return
    rung, top = int(m[RUNG]), p.size - LADDER - 1
    before = rung
    while rung > 0 and m[AVERAGE] <= p[LADDER + rung - 1] - 0.5 + p[SLACK_DOWN]:
        rung -= 1
    if rung == before:
        while rung < top and m[AVERAGE] > p[LADDER + rung] - 0.5 + p[SLACK_UP]:
            rung += 1
    m[RUNG] = rung
