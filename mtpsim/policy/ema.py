"""Move up and down a ladder of depths by a moving average of accepted drafts.

Source: SGLang, adaptive speculative steps. The average cannot exceed the current depth, so a
policy without full feedback is slow to find that a greater depth would pay.
"""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Probability
from mtpsim.policy.base import (
    Environment,
    PolicySpec,
    RoundContext,
    RoundOutcome,
    depth_mismatch,
)

KEEP, WARM_UP, EVERY, SLACK_DOWN, SLACK_UP, FIRST, LADDER = range(7)  # in p; the ladder follows
AVERAGE, RUNG, ROUNDS = range(3)  # in m


class Ema(PolicySpec):
    """Moves on a ladder of depths by an exponential moving average of accepted drafts."""

    rule: Literal["ema"] = "ema"
    ladder: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        [1, 3, 5, 7],
        description="depths in increasing order; those above the model's depth are ignored",
    )
    start: Annotated[int, Field(ge=0)] | None = Field(
        None, description="initial depth, one of the ladder (default: the greatest)"
    )
    keep: Probability = Field(0.8, description="weight of the previous average in each round")
    warm_up: Annotated[int, Field(ge=0)] = Field(10, description="rounds before the first change")
    every: Annotated[int, Field(ge=1)] = Field(5, description="rounds between changes")
    slack_down: float = Field(
        -0.25, description="h_down of SGLang: -0.25 at batch 1, 0 at larger batches"
    )
    slack_up: float = Field(0.0, description="h_up of SGLang")

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if sorted(set(self.ladder)) != self.ladder:
            raise FieldError(f"{self.ladder} is given; depths must increase", key="ladder")
        if self.start is not None and self.start not in self.ladder:
            raise FieldError(
                f"{self.start} is given, which is not in `ladder` {self.ladder}", key="start"
            )
        return self

    def _rungs(self, depth: int) -> list[int]:
        return [rung for rung in self.ladder if rung <= depth]

    def parameters(self, environment: Environment) -> Floats:
        """KEEP .. FIRST, and the ladder."""
        rungs = self._rungs(environment.depth)
        first = rungs.index(self.start) if self.start in rungs else len(rungs) - 1
        slack = self.slack_down, self.slack_up
        return np.array([self.keep, self.warm_up, self.every, *slack, first, *rungs], float)

    def memory_size(self, environment: Environment) -> int:
        """Average, position on the ladder and number of rounds."""
        return 3

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """At least one depth of the ladder, and the initial depth, must be within the model's."""
        if not self._rungs(depth):
            return f"`ladder` is {self.ladder}, but the acceptance model has depth {depth}"
        return depth_mismatch("start", self.start, depth)


def start(p: Floats, m: Floats) -> None:
    """The average starts at the initial depth minus 1."""
    m[AVERAGE] = p[LADDER + int(p[FIRST])] - 1
    m[RUNG] = p[FIRST]
    m[ROUNDS] = 0


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth at this position of the ladder."""
    return int(p[LADDER + int(m[RUNG])])


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Update the average; every few rounds move on the ladder."""
    m[AVERAGE] = p[KEEP] * m[AVERAGE] + (1 - p[KEEP]) * outcome.observed_accepted
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
