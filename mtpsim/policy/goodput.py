"""Maximize expected tokens per ms, from the accepted share of drafts by position.

Source: Liu et al., "Optimizing speculative decoding for serving large language models using
goodput", 2024 (SmartSpec), and ``DynamicSpeculativeDecodingManager``, proposed for vLLM in
``vllm/v1/spec_decode/dynamic/manager.py``, commit 594dc0f (vLLM itself has :mod:`schedule
<mtpsim.policy.schedule>`). The proposal has measured rates for the rounds before its first choice;
here these rounds are at the greatest depth.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import BatchOutcome, Environment, PolicySpec, RoundContext, RoundOutcome

WARM_UP, KEEP, PROBE, MOST, PACE = range(5)  # in p; 1 / ms by depth from PACE on
ROUNDS, IDLE, RATES = range(3)  # in m; [2, K] survival rates and drafted rounds from RATES on


class Goodput(PolicySpec):
    """The depth k that maximizes (1 + q1 + .. + qk) / T(k), with observed survival rates q."""

    learns_from = "pooled"
    rule: Literal["goodput"] = "goodput"
    warm_up: Annotated[int, Field(ge=1)] = Field(
        10, description="rounds at the greatest depth before the first choice"
    )
    least: Annotated[int, Field(ge=0)] = Field(
        0, description="lowest depth; 0 allows plain decoding"
    )
    keep: Probability = Field(
        1.0, description="weight of previous counts in each round; below 1 they decay"
    )
    probe: Annotated[int, Field(ge=0)] = Field(
        0, description="rounds at depth 0 before depth 1 is tried again; 0: never"
    )

    def parameters(self, environment: Environment) -> Floats:
        """WARM_UP .. MOST, and 1 / round time by depth."""
        pace = 1 / environment.times
        pace[: min(self.least, environment.depth)] = 0  # never the best
        return np.array([self.warm_up, self.keep, self.probe, environment.depth, *pace], float)

    def memory_size(self, environment: Environment) -> int:
        """Rounds, rounds at depth 0, rates and drafted rounds by position."""
        return RATES + 2 * environment.depth


def start(p: Floats, m: Floats) -> None:
    """Nothing counted."""
    m[:] = 0


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth of the greatest goodput; the lower one at equal goodput."""
    most = (m.size - RATES) // 2
    if m[ROUNDS] < p[WARM_UP]:
        return most
    if p[PROBE] > 0 and m[IDLE] >= p[PROBE]:
        return 1
    best, depth, length = p[PACE], 0, 1.0
    for k in range(1, most + 1):
        length += m[RATES + k - 1]
        if length * p[PACE + k] > best:
            best, depth = length * p[PACE + k], k
    return depth


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Update the accepted share by position."""
    most = (m.size - RATES) // 2
    m[ROUNDS] += 1
    m[IDLE] = m[IDLE] + 1 if outcome.depth == 0 else 0
    for j in range(most):
        rate, before = m[RATES + j], m[RATES + most + j]
        drafted = p[KEEP] * before + 1
        accepted = 1.0 if j < outcome.observed_accepted else 0.0
        seen = j < outcome.observed
        m[RATES + j] = rate + (accepted - rate) / drafted if seen else rate
        m[RATES + most + j] = drafted if seen else before


def learn_batch(p: Floats, m: Floats, depth: int, step: BatchOutcome) -> None:
    """Update the accepted share by position, by a step of a batch."""
    most = int(p[MOST])
    m[ROUNDS] += 1
    m[IDLE] = m[IDLE] + 1 if depth == 0 else 0
    drafted, accepted = 0.0, 0.0
    for j in range(most - 1, -1, -1):
        drafted += step.drafted[j + 1]
        accepted += step.accepted[j + 1]
        if drafted > 0:
            total = p[KEEP] * m[RATES + most + j] + drafted
            m[RATES + j] += (accepted - drafted * m[RATES + j]) / total
            m[RATES + most + j] = total
