"""Draft on while the draft is confident.

Sources: Hugging Face transformers ``assistant_confidence_threshold`` (the draft that falls below is
the last one, and is verified) and llama.cpp ``--draft-p-min`` (it is thrown away: ``drop = true``).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

THETA, MOST, DROP = range(3)  # in p


class Threshold(PolicySpec):
    """Stops at the first draft whose confidence is below a threshold."""

    reads_confidence = True
    rule: Literal["threshold"] = "threshold"
    theta: Probability = Field(0.4, description="least confidence to go on")
    drop: bool = Field(
        False, description="the draft below is not verified, though its drafting was paid for"
    )

    @property
    def drops(self) -> bool:
        """As the file says."""
        return self.drop

    def parameters(self, setting: Setting) -> Floats:
        """THETA, MOST, DROP."""
        return np.array([self.theta, setting.depth, self.drop], float)

    def memory(self, setting: Setting) -> int:
        """Drafts thrown away."""
        return 1


def start(p: Floats, m: Floats) -> None:
    """None thrown away."""
    m[0] = 0


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """Up to the first draft that is not confident; ``m[0]`` tells how many were thrown away."""
    most = int(p[MOST])
    m[0] = 0
    for j in range(most):
        if hints[j] < p[THETA]:
            m[0] = p[DROP]
            return j + 1 - int(p[DROP])
    return most


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Nothing to learn."""
