"""Upper bound: a policy that knows how many drafts the next round would accept.

It drafts just the tokens that will be accepted, up to the cap that is optimal in the hidden state.
"""

from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, PolicySpec, RoundContext
from mtpsim.policy.oracle import CHOICE, STATES


class Clairvoyant(PolicySpec):
    """Knows the hidden state and how many drafts the round would accept."""

    sees_outcome = True
    knows = "each round's outcome"
    rule: Literal["clairvoyant"] = "clairvoyant"

    def parameters(self, environment: Environment) -> Floats:
        """STATES and the optimal caps."""
        cap = environment.solve().cap
        return np.concatenate([[cap.shape[1]], cap.ravel()]).astype(float)

    def exact_throughput(self, environment: Environment) -> float | None:
        """Exact tokens per ms."""
        optimal = environment.solve()
        return optimal.pace(optimal.cap, clairvoyant=True)


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The drafts that will be accepted, up to the cap."""
    cap = int(p[CHOICE + (context.previous_depth + 1) * int(p[STATES]) + context.state])
    return min(context.acceptable, cap)
