"""Upper bound for policies that know the chain but not its state: Bayesian filtering.

The belief is exact. With two states the choice is optimal (``mtpsim/exact/belief_mdp.py``). With
more states it is the depth of the greatest expected value under the belief, which ignores the value
of exploration (QMDP: Littman, Cassandra and Kaelbling, 1995).
"""

from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome

STATES, MOST, GRID, KINDS, FIRST = range(5)  # in p; then the arrays of `parameters` from FIRST on
ROW, BELIEF = range(2)  # in m: row of the table; [2, S] from BELIEF on: now and next


class Filter(PolicySpec):
    """Knows the acceptance chain, and keeps a Bayesian belief about its hidden state."""

    knows = "the chain"
    rule: Literal["filter"] = "filter"

    def parameters(self, environment: Environment) -> Floats:
        """Start ``[S]``, transitions ``[C, K+1, K+1, S, S]`` of a round, and a table of choices.

        Transitions are by what drafts have lost (C is 2, or 3 if part of the loss is permanent), by
        depth and by accepted drafts. The table has depths ``[R, G]`` over the belief, or values
        ``[R, S, K+1]``.
        """
        optimal = environment.solve(0.0)
        states = optimal.start.size
        table = optimal.by_belief
        head = [states, environment.depth, 0 if table is None else table.shape[1]]
        head.append(len(optimal.transitions))
        choice = optimal.values if table is None else table
        parts = optimal.start, optimal.transitions.ravel(), choice.ravel()
        return np.concatenate([np.array(head, float), *parts])

    def memory_size(self, environment: Environment) -> int:
        """Row of the table and belief."""
        return BELIEF + 2 * environment.solve(0.0).start.size


def start(p: Floats, m: Floats) -> None:
    """The distribution of the first state."""
    m[ROW] = 0
    for s in range(int(p[STATES])):
        m[BELIEF + s] = p[FIRST + s]


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth at the nearest belief of the table, or that of the greatest expected value."""
    states, arms, row = (m.size - BELIEF) // 2, int(p[MOST]) + 1, int(m[ROW])
    choice = FIRST + states + int(p[KINDS]) * arms * arms * states * states
    if p[GRID] > 0:
        place = int(m[BELIEF + 1] * (p[GRID] - 1) + 0.5)
        return int(p[choice + row * int(p[GRID]) + place])
    values = choice + row * states * arms
    best, depth = -np.inf, 0
    for k in range(arms):
        value = 0.0
        for s in range(states):
            value += m[BELIEF + s] * p[values + s * arms + k]
        if value > best:
            best, depth = value, k
    return depth


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Bayes' rule, and the transition to the start of the next round."""
    states, arms = (m.size - BELIEF) // 2, int(p[MOST]) + 1
    kind = 1 if m[ROW] == 1 else 2 if m[ROW] > arms else 0
    first = FIRST + states + (kind * arms * arms) * states * states
    matrix = first + (outcome.depth * arms + outcome.accepted) * states * states
    after, total = BELIEF + states, 0.0
    for t in range(states):
        m[after + t] = 0.0
        for s in range(states):
            m[after + t] += m[BELIEF + s] * p[matrix + s * states + t]
        total += m[after + t]
    for t in range(states):
        m[BELIEF + t] = m[after + t] / total
    lasting = outcome.depth > 0 and kind > 0 and p[KINDS] > 2
    m[ROW] = outcome.depth + (arms if lasting else 1)
