"""Plain reference implementations of the kernels: one uniform number per event.

They share only the arrays of the chain with the package: no thresholds, no survival products, no
addressed random numbers, no quantile tables.
"""

import math

import numpy as np


def pick(rng, law):
    u, total = rng.random(), 0.0
    for state, probability in enumerate(law):
        total += probability
        if u < total:
            return state
    return len(law) - 1


def request(rng, chain, depth, round_ms=1.0, *, rounds=math.inf, tokens=math.inf):
    """One request at one depth, draft by draft: tokens, ms, rounds, rounds that accept 1..j."""
    state, made, ms, played = pick(rng, chain.start), 0, 0.0, []
    while len(played) < rounds and made < tokens:
        ms += round_ms * chain.slowdown[state]
        accepted, state = one_round(rng, chain, depth, state)
        played.append(accepted)
        made += accepted + 1
    reached = [sum(accepted >= j for accepted in played) for j in range(1, depth + 1)]
    return [min(made, tokens), ms, len(played), *reached]


def one_round(rng, chain, depth, state):
    """Accepted drafts, and the state in which the next round begins."""
    play = round_under_round_clock if chain.clock == "round" else round_under_token_clock
    return play(rng, chain, depth, state)


def round_under_round_clock(rng, chain, depth, state):
    accepted = 0
    while accepted < depth and rng.random() < chain.accept[state, accepted]:
        accepted += 1
    rejected = accepted < depth
    return accepted, pick(rng, chain.step[0 if rejected else -1][state])


def round_under_token_clock(rng, chain, depth, state):
    """The state changes after each accepted draft, and after the token of the target."""
    for accepted in range(depth):
        if rng.random() >= chain.accept[state, accepted]:
            return accepted, pick(rng, chain.step[0][state])
        state = pick(rng, chain.step[-1][state])
    return depth, pick(rng, chain.step[-1][state])


def simulate(rng, chain, depth, round_ms, requests, **horizon):
    """``[requests, 3 + depth]``: tokens, ms, rounds, accepted by position."""
    rows = [request(rng, chain, depth, round_ms, **horizon) for _ in range(requests)]
    return np.array(rows, float)


def counts(rng, chain, depth, rounds):
    """Accepted drafts of each of the first rounds of a request."""
    state, found = pick(rng, chain.start), []
    for _ in range(rounds):
        accepted, state = one_round(rng, chain, depth, state)
        found.append(accepted)
    return found


def log_likelihood(chain, drafted, accepted):
    """Log-likelihood of the rounds of a request, summed over all paths of hidden states."""
    steer = len(chain.step) - 1

    def rounds(number, state):
        """P(rounds from this one on | the state it starts in)."""
        if number == len(drafted):
            return 1.0
        return inside(number, 0, state)

    def inside(number, so_far, state):
        """P(rest | so_far drafts of the round accepted, state here)."""
        limit, hits = drafted[number], accepted[number]
        if so_far == limit:  # nothing left to judge: the bonus token
            chance, rejected, ends = 1.0, False, True
        elif so_far < hits:
            chance, rejected, ends = chain.accept[state, so_far], False, False
        else:
            chance, rejected, ends = 1 - chain.accept[state, so_far], True, True
        moves = ends or chain.clock == "token"
        total = 0.0
        for to in range(chain.states) if moves else [state]:
            law = chain.step[0 if rejected else steer][state, to] if moves else 1.0
            if law:
                ahead = rounds(number + 1, to) if ends else inside(number, so_far + 1, to)
                total += law * ahead
        return chance * total

    return np.log(sum(chain.start[s] * rounds(0, s) for s in range(chain.states)))


def quantile(values, share, confidence):
    """A quantile and its binomial confidence interval, by direct counting."""
    values, n = sorted(values), len(values)
    middle = next(v for i, v in enumerate(values) if (i + 1) / n >= share - 1e-12)
    probabilities = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    spare = (1 - confidence) / 2
    low, high = math.nan, math.nan
    for rank in range(1, n + 1):
        if sum(probabilities[:rank]) <= spare:
            low = values[rank - 1]
        if math.isnan(high) and sum(probabilities[rank:]) <= spare:
            high = values[rank - 1]
    return middle, low, high
