"""A confidence threshold, adapted so that a target share of drafts is accepted.

Source: Zhang et al., "Draft & Verify: lossless large language model acceleration via
self-speculative decoding", 2023, the adaptive draft-exiting mechanism, as in the authors' code:
``decoding.py`` of dilab-zju/self-speculative-decoding, commit f69f2a7. There the accepted share
starts at 0, and the threshold is not decreased after a round with as many drafts as possible.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome

TARGET, KEEP_RATE, KEEP_THETA, STEP, START, MOST = range(6)  # in p
THETA, RATE = range(2)  # in m


class Controller(PolicySpec):
    """Raises its threshold while the accepted share is below the target, else lowers it."""

    reads_confidence = True
    rule: Literal["controller"] = "controller"
    target: Probability = Field(0.9, description="target share of accepted drafts")
    keep_rate: Probability = Field(
        0.5, description="beta1 of the paper: weight of the previous accepted share"
    )
    keep_theta: Probability = Field(
        0.9, description="beta2 of the paper: weight of the previous threshold"
    )
    step: Probability = Field(
        0.01, description="epsilon of the paper: change of the threshold per round"
    )
    start: Probability = Field(0.6, description="initial threshold")

    def parameters(self, environment: Environment) -> Floats:
        """TARGET .. MOST."""
        weights = [self.target, self.keep_rate, self.keep_theta, self.step]
        return np.array([*weights, self.start, environment.depth], float)

    def memory_size(self, environment: Environment) -> int:
        """Threshold and accepted share."""
        return 2


def start(p: Floats, m: Floats) -> None:
    """The initial threshold; the accepted share starts at 0."""
    m[THETA] = p[START]
    m[RATE] = 0


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """Drafts up to and including the first one below the threshold."""
    depth = hints.size
    for j in range(hints.size - 1, -1, -1):
        depth = j + 1 if hints[j] < m[THETA] else depth
    return depth


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Update the accepted share, then the threshold."""
    verified = outcome.depth - outcome.missing
    if verified == 0:
        return
    share = outcome.accepted / verified
    m[RATE] = p[KEEP_RATE] * m[RATE] + (1 - p[KEEP_RATE]) * share
    lower = -p[STEP] if outcome.depth < p[MOST] else 0.0
    pushed = m[THETA] + (p[STEP] if m[RATE] < p[TARGET] else lower)
    m[THETA] = p[KEEP_THETA] * m[THETA] + (1 - p[KEEP_THETA]) * pushed
