"""Depths are the arms of a bandit, and a round's own speed is the reward.

Source: Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", 2025. The
reward is tokens a ms of the round over that of plain decoding: a mean of ratios, which is not quite
the throughput where times are noisy.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative
from mtpsim.policy.base import Now, PolicySpec, Round, Setting, too_deep

THOMPSON, WIDTH, LEAST, MOST, PLAIN, BONUS = range(6)  # in p; sqrt(2 ln t) from BONUS on,
TABLE = 1024  # and t^(-1/2) behind it, for so many rounds; later they are computed
ROUNDS, ARMS = range(2)  # in m; [3, K + 1] mean reward, pulls, pulls^(-1/2) from ARMS on


class Bandit(PolicySpec):
    """Upper confidence bounds, or Thompson sampling with Gaussian posteriors."""

    rule: Literal["bandit"] = "bandit"
    method: Literal["ucb", "thompson"] = Field("ucb", description="how it explores")
    width: NonNegative = Field(
        0.5, description="standard deviation of a reward that exploration allows for"
    )
    least: Annotated[int, Field(ge=0)] = Field(1, description="the shallowest arm")

    @property
    def label(self) -> str:
        """The name, or rule and method."""
        return self.name or f"bandit {self.method}"

    @property
    def draws(self) -> bool:
        """Thompson sampling does."""
        return self.method == "thompson"

    def parameters(self, setting: Setting) -> Floats:
        """THOMPSON .. PLAIN, and the bonus by round."""
        t = np.arange(1.0, TABLE + 1)
        plain = setting.times[0]
        given = [self.method == "thompson", self.width, self.least, setting.depth, plain]
        return np.array([*given, *np.sqrt(2 * np.log(t)), *t**-0.5], float)

    def memory(self, setting: Setting) -> int:
        """Rounds, and three numbers an arm."""
        return ARMS + 3 * (setting.depth + 1)

    def wrong(self, depth: int, batch: float | None) -> str | None:
        """No arm that the model has."""
        return too_deep("least", self.least, depth) if self.least > depth else None


def start(p: Floats, m: Floats) -> None:
    """No arm pulled."""
    m[:] = 0


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """An arm that was never pulled, the deepest first; else the one of the greatest index."""
    most, least = int(p[MOST]), int(p[LEAST])
    if m[ROUNDS] <= most - least:
        return most - int(m[ROUNDS])
    t = int(m[ROUNDS])
    bonus = p[BONUS + t - 1] if t <= TABLE else math.sqrt(2 * math.log(t))
    best, depth = -math.inf, least
    for k in range(least, most + 1):
        chance = hints[max(k - 1, 0)] if p[THOMPSON] > 0 else bonus
        index = m[ARMS + k] + p[WIDTH] * chance * m[ARMS + 2 * (most + 1) + k]
        if index > best:
            best, depth = index, k
    return depth


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Average the reward of the arm."""
    arms = int(p[MOST]) + 1
    k = ARMS + round.depth
    reward = (round.accepted + 1) / round.time * p[PLAIN]
    m[ROUNDS] += 1
    m[k + arms] += 1
    n = int(m[k + arms])
    root = p[BONUS + TABLE + n - 1] if n <= TABLE else 1 / math.sqrt(n)
    m[k] += (reward - m[k]) * root * root
    m[k + 2 * arms] = root
