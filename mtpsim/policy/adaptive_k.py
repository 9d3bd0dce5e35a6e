"""Maximize goodput under moving averages of conditional rates, with a cooldown after each change.

Source: the adaptive-K proposal for vLLM (pull requests 44336 and 47111, not merged): averages of
weight 0.3 from a prior of 0.85, a cooldown of 2 rounds, plain decoding if the goodput is below that
of depth 0. The proposal updates its averages every 10 steps; here they are updated every round.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import BatchOutcome, Environment, PolicySpec, RoundContext, RoundOutcome

WEIGHT, PRIOR, COOLDOWN, PROBE, MOST, PACE = range(6)  # in p; 1 / ms by depth from PACE on
DEPTH, WAIT, IDLE, RATES = range(4)  # in m; [K] rates from RATES on


class AdaptiveK(PolicySpec):
    """The depth of the greatest expected goodput under moving averages of conditional rates."""

    learns_from = "pooled"
    rule: Literal["adaptive_k"] = "adaptive_k"
    weight: Probability = Field(
        0.3, description="weight of a new outcome in the moving average of its position"
    )
    prior: Probability = Field(0.85, description="initial value of each average")
    cooldown: Annotated[int, Field(ge=0)] = Field(
        2, description="minimum number of rounds at a new depth"
    )
    probe: Annotated[int, Field(ge=0)] = Field(
        0, description="rounds at depth 0 before depth 1 is tried again; 0: never"
    )

    def parameters(self, environment: Environment) -> Floats:
        """WEIGHT .. MOST, and 1 / round time by depth."""
        given = [self.weight, self.prior, self.cooldown, self.probe, environment.depth]
        return np.array([*given, *(1 / environment.times)], float)

    def memory_size(self, environment: Environment) -> int:
        """Depth, cooldown, rounds at depth 0 and rates."""
        return RATES + environment.depth


def start(p: Floats, m: Floats) -> None:
    """Every rate at the prior."""
    m[DEPTH] = -1
    m[WAIT] = 0
    m[IDLE] = 0
    m[RATES:] = p[PRIOR]


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth of the greatest goodput, unless the cooldown keeps the last one."""
    if m[WAIT] > 0:
        return int(m[DEPTH])
    if p[PROBE] > 0 and m[IDLE] >= p[PROBE]:
        return 1
    best, depth, reach, length = p[PACE], 0, 1.0, 1.0
    for k in range(1, m.size - RATES + 1):
        reach *= m[RATES + k - 1]
        length += reach
        if length * p[PACE + k] > best:
            best, depth = length * p[PACE + k], k
    return depth


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Update the averages of verified positions: those up to the first rejection."""
    m[WAIT] = p[COOLDOWN] - 1 if outcome.depth != m[DEPTH] else m[WAIT] - 1
    m[DEPTH] = outcome.depth
    m[IDLE] = m[IDLE] + 1 if outcome.depth == 0 else 0
    seen = min(outcome.observed_accepted + 1, outcome.observed)
    for j in range(m.size - RATES):
        rate, accepted = m[RATES + j], 1.0 if j < outcome.observed_accepted else 0.0
        m[RATES + j] = rate + p[WEIGHT] * (accepted - rate) if j < seen else rate


def learn_batch(p: Floats, m: Floats, depth: int, step: BatchOutcome) -> None:
    """Update the averages by a step of a batch: by the accepted share of verified positions."""
    m[WAIT] = p[COOLDOWN] - 1 if depth != m[DEPTH] else m[WAIT] - 1
    m[DEPTH] = depth
    m[IDLE] = m[IDLE] + 1 if depth == 0 else 0
    verified, accepted = 0.0, 0.0
    for j in range(int(p[MOST]) - 1, -1, -1):
        verified += step.verified[j + 1]
        accepted += step.accepted[j + 1]
        if verified > 0:
            m[RATES + j] += p[WEIGHT] * (accepted / verified - m[RATES + j])
