"""Goodput from conditional rates that are moving averages, with a rest after each change.

Source: the adaptive-K proposal for vLLM: averages of weight 0.3 from a prior of 0.85, a cooldown of
2 rounds, off where the goodput is below that of plain decoding.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

WEIGHT, PRIOR, COOLDOWN, PROBE, MOST, PACE = range(6)  # in p; 1 / ms by depth from PACE on
DEPTH, WAIT, RESTED, RATES = range(4)  # in m; [K] rates from RATES on


class AdaptiveK(PolicySpec):
    """The depth of the greatest goodput under moving averages of the conditional rates."""

    rule: Literal["adaptive_k"] = "adaptive_k"
    weight: Probability = Field(0.3, description="of a new verdict in the average of its position")
    prior: Probability = Field(0.85, description="where each average starts")
    cooldown: Annotated[int, Field(ge=0)] = Field(
        2, description="rounds that a new depth is kept at least"
    )
    probe: Annotated[int, Field(ge=0)] = Field(
        0, description="rounds of rest at depth 0 before a try at depth 1; 0: it stays off"
    )

    def parameters(self, setting: Setting) -> Floats:
        """WEIGHT .. MOST, and the pace by depth."""
        given = [self.weight, self.prior, self.cooldown, self.probe, setting.depth]
        return np.array([*given, *(1 / setting.times)], float)

    def memory(self, setting: Setting) -> int:
        """Depth, waits and rates."""
        return RATES + setting.depth


def start(p: Floats, m: Floats) -> None:
    """Every rate at the prior."""
    m[DEPTH] = -1
    m[WAIT] = 0
    m[RESTED] = 0
    m[RATES:] = p[PRIOR]


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The argument of the greatest goodput, where the cooldown lets it change."""
    if m[WAIT] > 0:
        return int(m[DEPTH])
    if p[PROBE] > 0 and m[RESTED] >= p[PROBE]:
        return 1
    best, depth, reach, length = p[PACE], 0, 1.0, 1.0
    for k in range(1, int(p[MOST]) + 1):
        reach *= m[RATES + k - 1]
        length += reach
        if length * p[PACE + k] > best:
            best, depth = length * p[PACE + k], k
    return depth


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Move the averages of the positions that were judged: up to the first rejection."""
    m[WAIT] = p[COOLDOWN] - 1 if round.depth != m[DEPTH] else m[WAIT] - 1
    m[DEPTH] = round.depth
    m[RESTED] = m[RESTED] + 1 if round.depth == 0 else 0
    for j in range(min(round.reached + 1, round.seen)):
        accepted = 1.0 if j < round.reached else 0.0
        m[RATES + j] += p[WEIGHT] * (accepted - m[RATES + j])
