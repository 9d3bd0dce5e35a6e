"""A confidence threshold that is steered so that a target share of drafts is accepted.

Source: Zhang et al., "Draft & Verify: lossless large language model acceleration via
self-speculative decoding", 2023, the adaptive draft-exiting mechanism.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

TARGET, KEEP_RATE, KEEP_THETA, STEP, START, MOST = range(6)  # in p
THETA, RATE = range(2)  # in m


class Controller(PolicySpec):
    """Raises its threshold while fewer drafts are accepted than wanted, else lowers it."""

    reads_confidence = True
    rule: Literal["controller"] = "controller"
    target: Probability = Field(0.9, description="share of drafts that should be accepted")
    keep_rate: Probability = Field(0.5, description="beta1: weight of the old accepted share")
    keep_theta: Probability = Field(0.9, description="beta2: weight of the old threshold")
    step: Probability = Field(0.01, description="epsilon: how far the threshold is pushed")
    start: Probability = Field(0.6, description="the first threshold")

    def parameters(self, setting: Setting) -> Floats:
        """TARGET .. MOST."""
        weights = [self.target, self.keep_rate, self.keep_theta, self.step]
        return np.array([*weights, self.start, setting.depth], float)

    def memory(self, setting: Setting) -> int:
        """Threshold and accepted share."""
        return 2


def start(p: Floats, m: Floats) -> None:
    """The first threshold; the accepted share starts on target."""
    m[THETA] = p[START]
    m[RATE] = p[TARGET]


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """Up to and with the first draft below the threshold."""
    most = int(p[MOST])
    for j in range(most):
        if hints[j] < m[THETA]:
            return j + 1
    return most


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Average the accepted share, then push the threshold towards the target."""
    share = round.accepted / round.depth
    m[RATE] = p[KEEP_RATE] * m[RATE] + (1 - p[KEEP_RATE]) * share
    pushed = m[THETA] + p[STEP] if m[RATE] <= p[TARGET] else m[THETA] - p[STEP]
    m[THETA] = p[KEEP_THETA] * m[THETA] + (1 - p[KEEP_THETA]) * pushed
