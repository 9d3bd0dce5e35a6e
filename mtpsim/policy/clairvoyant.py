"""A bound: what could be done by who sees how the next round would end.

It drafts just what will be accepted, up to the cap that is best in the hidden state.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Now, PolicySpec, Setting
from mtpsim.policy.oracle import CAP_OR_DEPTH, STATES, learn, start

__all__ = ["Clairvoyant", "choose", "learn", "start"]


class Clairvoyant(PolicySpec):
    """Knows the hidden state and how many drafts the round would accept."""

    sees_outcome = True
    knows = "each round's outcome"
    rule: Literal["clairvoyant"] = "clairvoyant"

    def parameters(self, setting: Setting) -> Floats:
        """STATES, CAP_OR_DEPTH."""
        cap = setting.solve().cap
        return np.concatenate([[cap.shape[1]], cap.ravel()]).astype(float)

    def exact(self, setting: Setting) -> float | None:
        """Exact tokens a ms."""
        solved = setting.solve()
        return solved.pace(solved.cap, clairvoyant=True)

    def memory(self, setting: Setting) -> int:
        """None."""
        return 0


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The accepted drafts, up to the cap."""
    cap = int(p[CAP_OR_DEPTH + (now.previous + 1) * int(p[STATES]) + now.state])
    return min(now.full, cap)
