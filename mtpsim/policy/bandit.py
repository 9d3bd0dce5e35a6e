"""Multi-armed bandit: depths are the arms, the speed of a round is the reward.

Source: Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", 2025. The
reward is tokens per ms of the round, relative to plain decoding. It is a mean of ratios, which
differs slightly from the throughput if times are noisy.
"""

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome, depth_mismatch

THOMPSON, WIDTH, LEAST, MOST, PLAIN, BONUS = range(6)  # in p; sqrt(2 ln t) from BONUS on,
TABLE = 1024  # then t^(-1/2), both for TABLE rounds; later ones are computed
ROUNDS, ARMS = range(2)  # in m; [3, K + 1] mean reward, pulls, pulls^(-1/2) from ARMS on


class Bandit(PolicySpec):
    """Upper confidence bounds, or Thompson sampling with Gaussian posteriors."""

    reads_time = True
    rule: Literal["bandit"] = "bandit"
    method: Literal["ucb", "thompson"] = Field(
        "ucb", description="exploration: upper confidence bounds or Thompson sampling"
    )
    width: NonNegative = Field(
        0.5, description="assumed standard deviation of the reward of a round"
    )
    least: Annotated[int, Field(ge=0)] = Field(1, description="lowest depth that is an arm")

    @property
    def label(self) -> str:
        """Its name, or rule and method."""
        return self.name or f"bandit {self.method}"

    @property
    def uses_random_numbers(self) -> bool:
        """Whether the method is Thompson sampling."""
        return self.method == "thompson"

    def parameters(self, environment: Environment) -> Floats:
        """THOMPSON .. PLAIN, and the exploration bonus by round."""
        t = np.arange(1.0, TABLE + 1)
        plain = environment.times[0]
        given = [self.method == "thompson", self.width, self.least, environment.depth, plain]
        return np.array([*given, *np.sqrt(2 * np.log(t)), *t**-0.5], float)

    def memory_size(self, environment: Environment) -> int:
        """Number of rounds, and three numbers per arm."""
        return ARMS + 3 * (environment.depth + 1)

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """The lowest arm must be within the model's depth."""
        return depth_mismatch("least", self.least, depth)


def start(p: Floats, m: Floats) -> None:
    """No arm has been pulled."""
    m[:] = 0


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """Arms never pulled first, the deepest first; then the arm of the greatest index."""
    arms, least = (m.size - ARMS) // 3, int(p[LEAST])
    most = arms - 1
    if m[ROUNDS] <= most - least:
        return most - int(m[ROUNDS])
    t = int(m[ROUNDS])
    bonus = p[BONUS + t - 1] if t <= TABLE else math.sqrt(2 * math.log(t))
    best, depth = -math.inf, least
    for k in range(arms):
        chance = hints[max(k - 1, 0)] if p[THOMPSON] > 0 else bonus
        index = m[ARMS + k] + p[WIDTH] * chance * m[ARMS + 2 * arms + k]
        if k >= least and index > best:
            best, depth = index, k
    return depth


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Update the mean reward of the arm."""
    arms = (m.size - ARMS) // 3
    k = ARMS + outcome.depth
    reward = (outcome.accepted + 1) / outcome.time_ms * p[PLAIN]
    m[ROUNDS] += 1
    m[k + arms] += 1
    n = int(m[k + arms])
    root = p[BONUS + TABLE + n - 1] if n <= TABLE else 1 / math.sqrt(n)
    m[k] += (reward - m[k]) * root * root
    m[k + 2 * arms] = root
