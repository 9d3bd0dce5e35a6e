"""Move up and down a ladder of depths by a moving average of accepted drafts.

Source: SGLang, ``--speculative-adaptive``: ``AdaptiveStepSlot`` and ``DEFAULT_ADAPTIVE_CONFIG`` in
``python/sglang/srt/speculative/adaptive_spec_params.py``, commit 015c872. The engine averages over
the requests of a batch, and keeps an average for each range of batches; here the batch is that of
the cost model, and the average is that of one request.

The average cannot exceed the current depth, so a policy without full feedback is slow to find that
a greater depth would pay. At depth 0 the average stands still, and the next look tries the lowest
positive depth.
"""

import math
from decimal import Decimal
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import NonNegative, Probability
from mtpsim.policy.base import (
    Environment,
    PolicySpec,
    RoundContext,
    RoundOutcome,
    depth_mismatch,
)

KEEP, NEW, WARM_UP, EVERY, SLACK_DOWN, SLACK_UP, CEILING, FIRST, LADDER = range(9)  # in p
AVERAGE, RUNG, LEFT = range(3)  # in m

Depths = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
LADDERS = {1: [1, 3, 5, 7], 8: [0, 1, 3], 32: [0, 1], 64: [0]}  # by the least batch
START, SLACK, LARGE = 3, -0.25, 8  # initial depth; slack_down below a batch of 8, 0 from 8 on


class Ema(PolicySpec):
    """Moves on a ladder of depths by an exponential moving average of accepted drafts."""

    learns_from = "mean"
    rule: Literal["ema"] = "ema"
    ladder: Depths | None = Field(
        None,
        description="depths in increasing order; those above the model's depth are ignored "
        "(default: SGLang's for the batch: 1, 3, 5, 7; from 8 on 0, 1, 3; from 32 on 0, 1; from 64 "
        "on 0)",
    )
    start: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="initial depth, one of the ladder (default: the middle of a given ladder; else "
        "3, or the middle of SGLang's if 3 is not in it)",
    )
    keep: Probability = Field(0.8, description="weight of the previous average in each round")
    warm_up: Annotated[int, Field(ge=0)] = Field(
        10, description="rounds before the count to the first look begins"
    )
    every: Annotated[int, Field(ge=1)] = Field(5, description="rounds between looks")
    slack_down: float | None = Field(
        None,
        description="down_hysteresis of SGLang (default: -0.25, but 0 with its ladders from a "
        "batch of 8 on)",
    )
    slack_up: float = Field(0.0, description="up_hysteresis of SGLang")
    ceiling: NonNegative = Field(
        0.0, description="ceiling_coeff of SGLang: greatest depth per accepted draft; 0: none"
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.ladder is None:
            known = sorted({depth for ladder in LADDERS.values() for depth in ladder})
        elif sorted(set(self.ladder)) == self.ladder:
            known = self.ladder
        else:
            raise FieldError(f"{self.ladder} is given; depths must increase", key="ladder")
        if self.start is not None and self.start not in known:
            raise FieldError(
                f"{self.start} is given, which is not in `ladder` {known}", key="start"
            )
        return self

    def _rungs(self, depth: int, batch: float) -> list[int]:
        ladder = self.ladder
        if ladder is None:
            ladder = LADDERS[max(least for least in LADDERS if least <= max(batch, 1))]
        return [rung for rung in ladder if rung <= depth]

    def parameters(self, environment: Environment) -> Floats:
        """KEEP .. FIRST, and the ladder."""
        batch = environment.batch or 1.0
        rungs = self._rungs(environment.depth, batch)
        start = START if self.start is None and self.ladder is None else self.start
        first = rungs.index(start) if start in rungs else len(rungs) // 2
        slack = SLACK if self.ladder is not None or batch < LARGE else 0.0
        slack = slack if self.slack_down is None else self.slack_down
        new = float(1 - Decimal(repr(self.keep)))  # 0.2 of 0.8: the engine states this weight
        times = self.warm_up, self.every, slack, self.slack_up, self.ceiling
        return np.array([1 - new, new, *times, first, *rungs], float)

    def memory_size(self, environment: Environment) -> int:
        """Average, position on the ladder and rounds left until the next look."""
        return 3

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """At least one depth of the ladder, and the initial depth, must be within the model's."""
        if not self._rungs(depth, batch or 1.0):
            return f"`ladder` is {self.ladder}, but the acceptance model has depth {depth}"
        return depth_mismatch("start", self.start, depth)


def start(p: Floats, m: Floats) -> None:
    """The average starts at the initial depth minus 1."""
    m[AVERAGE] = p[LADDER + int(p[FIRST])] - 1
    m[RUNG] = p[FIRST]
    m[LEFT] = p[WARM_UP] + p[EVERY]


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth at this position of the ladder."""
    return int(p[LADDER + int(m[RUNG])])


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Update the average; every few rounds move on the ladder."""
    if outcome.observed > 0:
        m[AVERAGE] = p[KEEP] * m[AVERAGE] + p[NEW] * outcome.observed_accepted
    m[LEFT] -= 1
    if m[LEFT] > 0:
        return
    m[LEFT] = p[EVERY]
    rung, top = int(m[RUNG]), p.size - LADDER - 1
    before = rung
    if p[LADDER + rung] == 0:  # probe
        rung = min(rung + 1, top)
        if m[AVERAGE] < 0 and rung > 0:
            m[AVERAGE] = p[LADDER + rung] - 1
        m[RUNG] = rung
        return
    while rung > 0:
        below = p[LADDER + rung - 1]
        if m[AVERAGE] > (below - 0.5 if below > 0 else 0.5) + p[SLACK_DOWN]:
            break
        rung -= 1
    if rung == before:
        while rung < top and m[AVERAGE] > p[LADDER + rung] - 0.5 + p[SLACK_UP]:
            rung += 1
    if p[CEILING] > 0 and rung <= before:  # it never holds back an increase
        most = max(1, math.ceil(m[AVERAGE] * p[CEILING]))
        while rung > 0 and p[LADDER + rung] > most:
            rung -= 1
    m[RUNG] = rung
