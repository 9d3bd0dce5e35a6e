"""A bound for who knows the chain but not its state: Bayes' belief, from what rounds have shown.

The belief is exact. With two states the choice is the best one
(mtpsim/exact/belief_mdp.py). With more, it is
the depth of the greatest expected value under the belief (QMDP: Littman, Cassandra, Kaelbling,
1995), which counts no value of looking deeper only to learn.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Now, PolicySpec, Round, Setting

STATES, MOST, GRID, FIRST = range(4)  # in p; then the arrays of `parameters` from FIRST on
PREVIOUS, BELIEF = range(2)  # in m; [2, S] from BELIEF on, now and next


class Filter(PolicySpec):
    """Knows the chain, and keeps Bayes' belief about its state."""

    knows = "the chain"
    rule: Literal["filter"] = "filter"

    def parameters(self, setting: Setting) -> Floats:
        """Start ``[S]``, laws ``[2, K+1, K+1, S, S]`` of a round, and what to choose by.

        The laws are of a fresh draft and of one that rested, by depth and by accepted drafts. The
        choice is by a table of depths ``[K+2, G]`` over the belief, or values ``[K+2, S, K+1]``.
        """
        solved = setting.solve()
        states = solved.start.size
        table = solved.by_belief
        head = [states, setting.depth, 0 if table is None else table.shape[1]]
        choice = solved.values if table is None else table
        parts = solved.start, solved.laws.ravel(), choice.ravel()
        return np.concatenate([np.array(head, float), *parts])

    def memory(self, setting: Setting) -> int:
        """The depth before, and the belief."""
        return BELIEF + 2 * setting.solve().start.size


def start(p: Floats, m: Floats) -> None:
    """The law of a request's first state."""
    m[PREVIOUS] = -1
    for s in range(int(p[STATES])):
        m[BELIEF + s] = p[FIRST + s]


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The table's depth at the nearest belief, or that of the greatest expected value."""
    states, arms, row = int(p[STATES]), int(p[MOST]) + 1, int(m[PREVIOUS]) + 1
    choice = FIRST + states + 2 * arms * arms * states * states
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


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Bayes' rule, and the step to the next round's start."""
    states, arms = int(p[STATES]), int(p[MOST]) + 1
    laws = FIRST + states
    if m[PREVIOUS] == 0 and round.depth > 0:
        laws += arms * arms * states * states  # the draft had rested
    law = laws + (round.depth * arms + round.accepted) * states * states
    after, total = BELIEF + states, 0.0
    for t in range(states):
        m[after + t] = 0.0
        for s in range(states):
            m[after + t] += m[BELIEF + s] * p[law + s * states + t]
        total += m[after + t]
    for t in range(states):
        m[BELIEF + t] = m[after + t] / total
    m[PREVIOUS] = round.depth
