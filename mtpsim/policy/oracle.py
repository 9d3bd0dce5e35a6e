"""Upper bound: the optimal policy for a known hidden state."""

from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, PolicySpec, RoundContext

STATES, CHOICE = range(2)  # in p; [K + 2, S] by previous depth + 1 and state from CHOICE on


class Oracle(PolicySpec):
    """Knows the hidden state in which each round begins, and chooses the optimal depth."""

    knows = "the hidden state"
    rule: Literal["oracle"] = "oracle"

    def parameters(self, environment: Environment) -> Floats:
        """STATES and the optimal depths."""
        choice = environment.solve().oracle
        return np.concatenate([[choice.shape[1]], choice.ravel()]).astype(float)

    def exact_throughput(self, environment: Environment) -> float | None:
        """Exact tokens per ms."""
        optimal = environment.solve()
        return optimal.pace(optimal.oracle)


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The optimal depth in this state."""
    return int(p[CHOICE + (context.previous_depth + 1) * int(p[STATES]) + context.state])
