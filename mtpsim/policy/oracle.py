"""A bound: the best that can be done by who sees the hidden state."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

STATES, CAP_OR_DEPTH = range(2)  # in p; [K + 2, S] by depth before + 1 and state, from there on


class Oracle(PolicySpec):
    """Knows the hidden state in which each round begins."""

    knows = "the hidden state"
    rule: Literal["oracle"] = "oracle"

    def parameters(self, setting: Setting) -> Floats:
        """STATES, CAP_OR_DEPTH."""
        choice = setting.solve().oracle
        return np.concatenate([[choice.shape[1]], choice.ravel()]).astype(float)

    def exact(self, setting: Setting) -> float | None:
        """Exact tokens a ms."""
        solved = setting.solve()
        return solved.pace(solved.oracle)

    def memory(self, setting: Setting) -> int:
        """None."""
        return 0


def start(p: Floats, m: Floats) -> None:
    """Nothing to remember."""


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """What the optimal control says in this state."""
    return int(p[CAP_OR_DEPTH + (now.previous + 1) * int(p[STATES]) + now.state])


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Nothing to learn."""
