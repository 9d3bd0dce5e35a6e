"""Upper bound: a policy that knows how many drafts the next round would accept.

It drafts just the tokens that will be accepted, up to the cap that is optimal in the hidden state,
or in all of a recording.
"""

from typing import Literal

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, RoundContext
from mtpsim.policy.oracle import CHOICE, LATER, PAID, SHIFT, STRIDE, Bound


class Clairvoyant(Bound):
    """Knows the hidden state and how many drafts the round would accept."""

    sees_outcome = True
    knows = "each round's outcome"
    knows_recorded = "each round's outcome"
    rule: Literal["clairvoyant"] = "clairvoyant"

    def parameters(self, environment: Environment) -> Floats:
        """The optimal caps."""
        return self.table(self.solution(environment).cap, environment.depth)

    def exact_throughput(self, environment: Environment) -> float | None:
        """Exact tokens per ms."""
        optimal = self.solution(environment)
        return optimal.pace(optimal.cap, clairvoyant=True)


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The drafts that will be accepted, up to the cap."""
    row = context.previous_depth + 1 + (int(m[SHIFT]) if context.previous_depth > 0 else 0)
    depth = min(context.acceptable, int(p[CHOICE + row * int(p[STRIDE]) + context.state]))
    m[0] = p[PAID] if depth == 0 else 0.0
    m[SHIFT] = p[LATER] if depth == 0 else m[SHIFT]
    return depth
