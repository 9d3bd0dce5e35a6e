"""The depth of the greatest expected tokens a ms, from accepted over drafted by position.

Source: Liu et al., "Optimizing speculative decoding for serving large language models using
goodput", 2024 (SmartSpec), and vLLM's dynamic speculation.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

WARM_UP, KEEP, PROBE, MOST, PACE = range(5)  # in p; 1 / ms by depth from PACE on
ROUNDS, RESTED, RATES = range(3)  # in m; [2, K] survival rates and drafted rounds from RATES on


class Goodput(PolicySpec):
    """(1 + q1 + .. + qk) / T(k), with survival rates q counted as rounds go by."""

    rule: Literal["goodput"] = "goodput"
    warm_up: Annotated[int, Field(ge=1)] = Field(
        10, description="rounds at the greatest depth before the first choice"
    )
    least: Annotated[int, Field(ge=0)] = Field(0, description="never shallower; 0 may turn it off")
    keep: Probability = Field(
        1.0, description="weight of the old counts in each round; below 1 they are forgotten"
    )
    probe: Annotated[int, Field(ge=0)] = Field(
        0, description="rounds of rest at depth 0 before a try at depth 1; 0: it stays off"
    )

    def parameters(self, setting: Setting) -> Floats:
        """WARM_UP .. MOST, and the pace by depth."""
        pace = 1 / setting.times
        pace[: min(self.least, setting.depth)] = 0  # never the best
        return np.array([self.warm_up, self.keep, self.probe, setting.depth, *pace], float)

    def memory(self, setting: Setting) -> int:
        """Rounds, rest, rates and drafted rounds by position."""
        return RATES + 2 * setting.depth


def start(p: Floats, m: Floats) -> None:
    """Nothing counted."""
    m[:] = 0


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The argument of the greatest goodput; at equal goodput the shallower depth."""
    most = int(p[MOST])
    if m[ROUNDS] < p[WARM_UP]:
        return most
    if p[PROBE] > 0 and m[RESTED] >= p[PROBE]:
        return 1
    best, depth, length = p[PACE], 0, 1.0
    for k in range(1, most + 1):
        length += m[RATES + k - 1]
        if length * p[PACE + k] > best:
            best, depth = length * p[PACE + k], k
    return depth


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Accepted over drafted, by position."""
    most = int(p[MOST])
    m[ROUNDS] += 1
    m[RESTED] = m[RESTED] + 1 if round.depth == 0 else 0
    for j in range(round.seen):
        drafted = p[KEEP] * m[RATES + most + j] + 1
        accepted = 1.0 if j < round.reached else 0.0
        m[RATES + j] += (accepted - m[RATES + j]) / drafted
        m[RATES + most + j] = drafted
