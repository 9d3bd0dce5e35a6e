"""Two depths take turns in windows of rounds; the faster one is held.

Source: mlxcel, ``BlockThroughputController`` in ``src/lib/mlxcel-core/src/speculative/mtp/
adaptive.rs`` (pull request 1295, 2026-08), which serves one request at a time. The depths are the
one that the drafter was trained for and the one that the user allows; a challenger is held if it
leads by 2 %, and a loser is tried again after 4, 16, then every 64 windows. A block of B tokens
there is a depth of B - 1 here. The evidence lasts for a simulated request, there for a process.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative, Probability
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome, depth_mismatch

HELD, OTHER, WARM_UP, WINDOW, LEAD, LOOK, DEFICIT, WAIT, GROWTH, LONGEST = range(10)  # in p
ARM, MEASURED, ROUNDS, TOKENS, TIME, SEEN, LEFT, BACKOFF, RATES = range(9)  # in m

Rounds = Annotated[int, Field(ge=1)]


class WindowLead(PolicySpec):
    """Holds the faster of two depths, measured in windows of rounds."""

    reads_time = True
    rule: Literal["window_lead"] = "window_lead"
    depth: Annotated[int, Field(ge=1)] = Field(3, description="depth that is held at first")
    challenger: Annotated[int, Field(ge=1)] | None = Field(
        None, description="the other depth (default: the greatest)"
    )
    warm_up: Annotated[int, Field(ge=0)] = Field(8, description="rounds before the first window")
    window: Rounds = Field(32, description="rounds of a window")
    lead: NonNegative = Field(0.02, description="relative lead at which the challenger is held")
    abort_after: Rounds = Field(
        4, description="rounds after which a challenger that trails is abandoned"
    )
    deficit: Probability = Field(0.35, description="relative deficit at which it is abandoned")
    wait: Rounds = Field(4, description="windows of the held depth until the loser is tried again")
    growth: Rounds = Field(4, description="factor on this wait after each further loss")
    longest: Rounds = Field(64, description="greatest wait, in windows")

    def parameters(self, environment: Environment) -> Floats:
        """HELD .. LONGEST."""
        times = self.lead, self.abort_after, self.deficit, self.wait, self.growth, self.longest
        other = self.challenger or environment.depth
        return np.array([self.depth, other, self.warm_up, self.window, *times], float)

    def memory_size(self, environment: Environment) -> int:
        """ARM .. BACKOFF, and a rate for each of the two depths."""
        return RATES + 2

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """Both depths must be within the model's."""
        if self.challenger == self.depth:
            return f"challenger is {self.depth}, as `depth`: give another depth to compare it with"
        wrong = depth_mismatch("depth", self.depth, depth)
        return wrong or depth_mismatch("challenger", self.challenger or depth, depth)


def start(p: Floats, m: Floats) -> None:
    """The first challenge follows the first window of the held depth."""
    m[:] = 0
    m[LEFT] = 1
    m[BACKOFF] = p[WAIT]


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth that is measured."""
    return int(p[OTHER] if m[MEASURED] > 0 else p[HELD])


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Close a window at its end, or when a challenger trails by too much."""
    m[SEEN] += 1
    if m[SEEN] <= p[WARM_UP] or p[HELD] == p[OTHER]:
        return
    m[ROUNDS] += 1
    m[TOKENS] += outcome.accepted + 1
    m[TIME] += outcome.time_ms
    arm, challenge = int(m[MEASURED]), m[MEASURED] != m[ARM]
    rate, held = m[TOKENS] / m[TIME], m[RATES + int(m[ARM])]
    trails = challenge and m[ROUNDS] >= p[LOOK] and rate < held * (1 - p[DEFICIT])
    if m[ROUNDS] < p[WINDOW] and not trails:
        return
    m[RATES + arm] = rate
    m[ROUNDS] = 0
    m[TOKENS] = 0
    m[TIME] = 0
    if challenge:
        if rate > held * (1 + p[LEAD]):
            m[ARM] = arm
            m[BACKOFF] = p[WAIT]
        else:
            m[BACKOFF] = min(m[BACKOFF] * p[GROWTH], p[LONGEST])
        m[MEASURED] = m[ARM]
        m[LEFT] = m[BACKOFF]
        return
    m[LEFT] = max(m[LEFT] - 1, 0)
    if m[LEFT] == 0:
        m[MEASURED] = 1 - m[ARM]
