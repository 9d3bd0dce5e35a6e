"""Upper bound: the optimal policy for a known hidden state, or for a known recording."""

from typing import Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, Ints, OptimalControl, PolicySpec, RoundContext

# In p: ms paid at depth 0, length of a row (0: one row for all depths), rows between those of a
# depth before and after a first round at depth 0 (0: the same), and from CHOICE on [R, S] by
# previous depth + 1 and by state, or by entry of the recording. In m: discarded drafts, and LATER
# of p once there was a round at depth 0.
PAID, STRIDE, LATER, CHOICE = range(4)
SHIFT = 1


class Bound(PolicySpec):
    """An upper bound: its choice is a table solved in advance."""

    pay_draft_at_zero: bool = Field(
        False,
        description="a round without drafts takes the time of one draft too, as for an oracle that "
        "stops at the first draft that would be rejected",
    )

    @property
    def discards_drafts(self) -> bool:
        """Whether the first draft is paid at depth 0."""
        return self.pay_draft_at_zero

    def solution(self, environment: Environment) -> OptimalControl:
        """The optimal control, with the first draft paid at depth 0 or free."""
        return environment.solve(environment.first_draft if self.pay_draft_at_zero else 0.0)

    def table(self, choice: Ints, depth: int) -> Floats:
        """PAID, STRIDE, LATER and the table ``[1 or R, S]``; equal rows are stored once."""
        rows = choice[:1] if choice.strides[0] == 0 else choice
        stride = choice.shape[1] if len(rows) > 1 else 0
        later = max(len(rows) - depth - 2, 0)
        head = [self.pay_draft_at_zero, stride, later]
        return np.concatenate([head, rows.ravel()]).astype(float)

    def memory_size(self, environment: Environment) -> int:
        """Discarded drafts of the round, and whether there was one at depth 0."""
        return 2


class Oracle(Bound):
    """Knows the hidden state in which each round begins, and chooses the optimal depth."""

    sees_entry = True
    knows = "the hidden state"
    knows_recorded = "the whole recording"
    rule: Literal["oracle"] = "oracle"

    def parameters(self, environment: Environment) -> Floats:
        """The optimal depths."""
        return self.table(self.solution(environment).oracle, environment.depth)

    def exact_throughput(self, environment: Environment) -> float | None:
        """Exact tokens per ms."""
        optimal = self.solution(environment)
        return optimal.pace(optimal.oracle)


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The optimal depth in this state, or at this entry of the recording."""
    row = context.previous_depth + 1 + (int(m[SHIFT]) if context.previous_depth > 0 else 0)
    depth = int(p[CHOICE + row * int(p[STRIDE]) + context.state + context.entry])
    m[0] = p[PAID] if depth == 0 else 0.0
    m[SHIFT] = p[LATER] if depth == 0 else m[SHIFT]
    return depth
