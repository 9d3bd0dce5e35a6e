"""A policy within one request, called directly."""

import numpy as np

from mtpsim.policy import RULES, Environment, RoundContext, RoundOutcome

TIMES = np.array([10.0, 12.0, 14.0, 16.0])


def environment(times=TIMES, batch=None):
    return Environment(np.array(times, float), np.full(len(times) - 1, 0.7), batch)


class Player:
    """A policy within one request."""

    def __init__(self, rule, where=None, **parameters):
        self.where = where or environment()
        self.spec = RULES[rule].model_validate({"rule": rule, **parameters})
        self.p = self.spec.parameters(self.where)
        self.m = np.zeros(max(self.spec.memory_size(self.where), 1))
        self.rule = self.spec.functions()
        self.rule.start(self.p, self.m)

    def depth(self, hints=()):
        return self.rule.choose(self.p, self.m, RoundContext(0, -1, 0), np.array(hints, float))

    def play(self, *accepted, hints=(), time=None, seen=None):
        """Depths of rounds that would accept so many drafts at any depth."""
        depths = []
        for would in accepted:
            depth = self.depth(hints)
            got = min(would, depth)
            shown = seen or depth
            took = time if time is not None else self.where.times[depth]
            round = RoundOutcome(depth, got, shown, min(would, shown), took)
            self.rule.learn(self.p, self.m, round)
            depths.append(depth)
        return depths
