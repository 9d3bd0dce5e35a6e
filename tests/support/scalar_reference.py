"""A scalar reference of the kernels: the same random words, one request and depth at a time.

The words come from another implementation of Philox.
"""

import math
from functools import cache

import numpy as np
from randomgen import Philox
from scipy import stats

from mtpsim.engine.simulate import random_key

SEED, FIRST, REQUESTS = 5, 2**32 - 2, 4  # a request's number crosses 2^32 on the way
PATH, VERIFY, DRAFT = 0, 1, 2


@cache
def word(request, tick, purpose):
    """The 32-bit word at an address: four ticks share a call of the generator."""
    counter = request | (tick // 4) << 64 | purpose << 96
    raw = Philox(counter=(counter - 1) % 2**128, key=random_key(SEED), number=4, width=32)
    return int(raw.random_raw(4)[tick % 4])


def read(chain, word, weights):
    """The state that a word leads to, and which drafts it accepts there."""
    low = word & 0x7FFFFFFF
    edges = [round(edge * 2**31) for edge in np.cumsum(weights)[:-1]] + [2**31]
    state = next(s for s, edge in enumerate(edges) if low < edge)
    begin = edges[state - 1] if state else 0
    rates = np.cumprod(chain.accept[state]) if chain.clock == "round" else chain.accept[state]
    return state, [low - begin < round(rate * (edges[state] - begin)) for rate in rates]


def walk(chain, request, depth, rounds=math.inf, tokens=math.inf):
    """Rounds of a request as (first tick, state there, accepted drafts); and what it read."""
    played, seen, tick, made, weights = [], [], 0, 0, chain.start

    def look():
        nonlocal tick, weights
        state, drafts = read(chain, word(request, tick, PATH), weights)
        seen.append(drafts)
        tick += 1
        weights = chain.step[-1][state]
        return state, drafts

    while len(played) < rounds and made < tokens:
        begun, (state, drafts), accepted = tick, look(), 0
        here = state
        if chain.clock == "round":
            accepted = sum(drafts[:depth])
        else:
            while accepted < depth and drafts[accepted]:
                accepted += 1
                here, drafts = look()
        if accepted < depth:
            weights = chain.step[0][here]
        played.append((begun, state, accepted))
        made += accepted + 1
    return played, seen


def score(request, tick, purpose):
    """The standard normal number of a word; the sign of the word says which tail."""
    signed = word(request, tick, purpose)
    signed -= (signed >> 31) << 32
    nearer = (signed if signed >= 0 else -1 - signed) + 0.5
    return math.copysign(stats.norm.isf(nearer / 2**32), -1 if signed >= 0 else 1)


class Noise:
    """Lognormal factors of mean one for the rounds of a request at a depth, by scipy."""

    def __init__(self, cv=0.0, shared=True, correlation=0.0, persistence=0.0):
        self.sd, self.shared = math.sqrt(math.log(1 + cv**2)), shared
        self.correlation, self.persistence = correlation, persistence
        self.before = None

    def factors(self, request, tick):
        """Of verify and draft, in the round that begins at a tick."""
        if not self.sd:
            return 1.0, 1.0
        verify, own = score(request, tick, VERIFY), score(request, tick, DRAFT)
        rest = math.sqrt(1 - self.correlation**2)
        new = verify, verify if self.shared else self.correlation * verify + rest * own
        if self.before is not None:
            old, fresh = self.persistence, math.sqrt(1 - self.persistence**2)
            new = tuple(old * b + fresh * n for b, n in zip(self.before, new, strict=True))
        self.before = new
        return tuple(math.exp(self.sd * z - self.sd**2 / 2) for z in new)


def expected(chain, times, request, depth, noise=None, **horizon):
    """Tokens, time, rounds, and rounds that accept 1..j, of a request at a depth."""
    played, _ = walk(chain, request, depth, **horizon)
    made = sum(accepted + 1 for _, _, accepted in played)
    noise = dict(noise or {})
    if depth == 0 and not noise.get("shared", True):
        noise["cv"] = 0.1  # of plain steps, as OWN says
    time, noise = 0.0, Noise(**noise)
    for begun, state, _ in played:
        check, draft = noise.factors(request, begun)
        mean = times.verify[depth] * check + times.draft[depth] * draft
        time += mean * chain.slowdown[state]
    reached = [sum(accepted >= j for _, _, accepted in played) for j in range(1, depth + 1)]
    return min(made, horizon.get("tokens", made)), time, len(played), reached
