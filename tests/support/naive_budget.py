"""A slow rule that shares a budget of drafts: one list of drafts per step, sorted."""

import copy
import math

import numpy as np

from mtpsim.acceptance import Recording
from mtpsim.policy.budget import EACH, EARLY, ORACLE
from tests.support.scalar_reference import word

SCORES = 16


class Budget:
    """A rule for the drafts of a batch, of a server of :mod:`tests.support.naive_server`.

    Args:
        spec: the policy.
        depth: greatest depth.
        laws: equally likely confidences by outcome, as of a compiled server.
    """

    def __init__(self, spec, depth, laws):
        self.spec, self.depth, self.laws = spec, depth, laws
        self.search, self.stale, self.keep = spec.parameters(None)
        self.smooth, self.survivals = {}, {}  # the latter by step and request

    def choose(self, requests):
        return self.depth

    def learn(self, *outcome):
        pass

    def verified(self, server, step):
        """Drafts to verify by request, and those that would be accepted."""
        decoding, drafts, chunks, context = step
        futures = [look_ahead(server, request, self.depth) for request in decoding]
        wanted = [min(full, k) for (full, _), k in zip(futures, drafts, strict=True)]
        self.now = len(server.steps)
        now = [
            self.survival(server, request, *future)
            for request, future in zip(decoding, futures, strict=True)
        ]
        numbers = [request.number for request in decoding]
        self.survivals[self.now] = dict(zip(numbers, now, strict=True))

        def ms(budget):
            return server.mean_time(decoding, drafts, budget, chunks, context)

        if self.search == EACH:
            return [self.own(s[:k], ms, drafts) for s, k in zip(now, drafts, strict=True)], wanted
        budget = self.budget([self.old(number) for number in numbers], drafts, ms)
        return self.allocation(now, drafts, budget), wanted

    def survival(self, server, request, full, states):
        """Survivals of the request's drafts, in steps of 1 / 1024."""
        found = [self.confidence(server, request, j, full, states[j]) for j in range(self.depth)]
        if self.keep:
            found = self.smoothed(request.number, found, server.proposed(request))
        return [math.ceil(level) for level in np.cumprod([1024.0, *found])[1:]]

    def smoothed(self, number, confidences, proposed):
        """Averages by position; a draft that is not proposed has no part in them."""
        if number not in self.survivals.get(self.now - 1, {}):
            self.smooth[number] = {}
        averages = self.smooth[number]
        for j, confidence in enumerate(confidences[:proposed]):
            before = averages.get(j, confidence)
            averages[j] = confidence + self.keep * (before - confidence)
        return [averages.get(j, confidence) for j, confidence in enumerate(confidences)]

    def confidence(self, server, request, j, full, state):
        if self.search == ORACLE:
            return float(j < full)
        if not self.laws.size:
            first, end = server.recorded(request.address)
            return float(server.source.confidence[first + request.tick % (end - first), j])
        tick = request.tick * -(-self.depth // 4) * 4 + j  # the words of a round come in fours
        after = j > full
        if hasattr(server.source, "proposed"):
            after |= j >= server.source.proposed[state]
            state //= self.depth + 1
        laws = self.laws[1 if j < full else 2 if after else 0]
        law = laws[min(j, len(laws) - 1), min(state, laws.shape[1] - 1)]
        return float(law[word(request.address, tick, SCORES) * law.size >> 32])

    def old(self, number):
        """Survivals of the step that sets the budget; 1 if the request did not decode since."""
        steps = [self.survivals.get(self.now - n, {}) for n in range(int(self.stale) + 1)]
        decoded = all(number in step for step in steps)
        return steps[-1][number] if decoded else [1024] * self.depth

    def ranked(self, levels, drafts):
        return sorted(
            (-level, j, i)
            for i, (own, k) in enumerate(zip(levels, drafts, strict=True))
            for j, level in enumerate(own[:k])
            if level
        )

    def budget(self, levels, drafts, ms):
        gains = [-level for level, _, _ in self.ranked(levels, drafts)]
        times = np.maximum.accumulate([ms(b) for b in range(len(gains) + 1)])
        return best([1024 * len(levels), *gains], times, self.search == EARLY)

    def allocation(self, levels, drafts, budget):
        chosen = [i for _, _, i in self.ranked(levels, drafts)[:budget]]
        return np.bincount(np.array(chosen, int), minlength=len(levels)).tolist()

    def own(self, levels, ms, drafts):
        share = ms(0) / len(drafts)
        each = max(ms(sum(drafts)) - ms(0), 0.0) / max(sum(drafts), 1)
        times = [share + each * d for d in range(len(levels) + 1)]
        return best([1024, *levels], times, early=False)


def best(gains, times, early):
    """The number of gains after the first one with the most summed gain per time."""
    found, total = 0, np.cumsum(gains)
    for b in range(1, len(total)):
        if total[b] * times[found] > total[found] * times[b]:
            found = b
        elif early:
            break
    return found


def look_ahead(server, request, depth):
    """Drafts that would be accepted at a depth, and the hidden state of each."""
    request = copy.copy(request)
    if isinstance(server.source, Recording):
        return server.verify(request, depth), [0] * depth
    chain, states, accepted = server.source, [], 0
    state, drafts = server.look(request)
    if chain.clock == "round":
        return sum(drafts[:depth]), [state] * depth
    for j in range(depth):
        states.append(state)
        if accepted == j and drafts[j]:
            accepted += 1
            request.weights = chain.step[-1][state]
            state, drafts = server.look(request)
    return accepted, states
