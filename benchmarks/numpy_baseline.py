"""The same simulations in NumPy, vectorised over requests, as in a good script."""

import numpy as np


def _add_times(rng, sigma, z, seconds):
    """Lognormal times of a round of each request, drawn in place."""
    rng.standard_normal(out=z)
    z *= sigma
    z -= sigma**2 / 2
    np.exp(z, out=z)
    seconds += z


def rounds_plain(rng, requests, rounds, leave, survival, sigma):
    """Round clock, as it is usually written: fancy indexing, a fresh array each step."""
    state = (rng.random(requests) < 0.5).astype(np.int64)
    tokens, seconds = np.zeros(requests, np.int64), np.zeros(requests)
    for _ in range(rounds):
        u = rng.random(requests)
        tokens += (u[:, None] < survival[state]).sum(1) + 1
        seconds += rng.lognormal(-(sigma**2) / 2, sigma, requests)
        state = np.where(rng.random(requests) < leave[state], 1 - state, state)
    return tokens, seconds


def rounds_tuned(rng, requests, rounds, leave, survival, sigma):
    """Round clock, tuned: in-place draws, two-state selects, no index arrays."""
    state = rng.random(requests) < 0.5
    tokens, seconds = np.full(requests, rounds), np.zeros(requests)
    u, z = np.empty(requests), np.empty(requests)
    for _ in range(rounds):
        rng.random(out=u)
        for column in survival.T:
            tokens += u < np.where(state, column[1], column[0])
        _add_times(rng, sigma, z, seconds)
        rng.random(out=u)
        state ^= u < np.where(state, leave[1], leave[0])
    return tokens, seconds


def positions_plain(rng, requests, rounds, leave, accept, sigma):
    """Token clock: requests in lockstep by text position, each in its own round."""
    depth = accept.shape[1]
    state = (rng.random(requests) < 0.5).astype(np.int64)
    at, done = np.zeros(requests, np.int64), np.zeros(requests, np.int64)
    tokens, seconds = np.zeros(requests, np.int64), np.zeros(requests)
    while True:
        begin = (at == 0) & (done < rounds)
        live = begin | (at > 0)
        if not live.any():
            return tokens, seconds
        done += begin
        seconds += np.where(begin, rng.lognormal(-(sigma**2) / 2, sigma, requests), 0.0)
        good = rng.random(requests) < accept[state, np.minimum(at, depth - 1)]
        tokens += live
        at = np.where(live & (at < depth) & good, at + 1, 0)
        state = np.where(rng.random(requests) < leave[state], 1 - state, state)


def positions_tuned(rng, requests, rounds, leave, accept, sigma):
    """Token clock, tuned: requests in lockstep by round, so that noise is drawn once per round."""
    state = rng.random(requests) < 0.5
    tokens, seconds = np.zeros(requests, np.int64), np.zeros(requests)
    u, z = np.empty(requests), np.empty(requests)
    for _ in range(rounds):
        alive = np.ones(requests, bool)
        for column in (*accept.T, (0.0, 0.0)):
            tokens += alive
            rng.random(out=u)
            good = u < np.where(state, column[1], column[0])
            rng.random(out=u)
            state ^= alive & (u < np.where(state, leave[1], leave[0]))
            alive &= good
        _add_times(rng, sigma, z, seconds)
    return tokens, seconds


def independent_plain(rng, requests, rounds, _leave, survival, sigma):
    """Independent drafts, as it is usually written: all rounds of all requests in one array."""
    u = rng.random((requests, rounds))
    tokens = (u[:, :, None] < survival[0]).sum((1, 2)) + rounds
    return tokens, rng.lognormal(-(sigma**2) / 2, sigma, (requests, rounds)).sum(1)


def independent_tuned(rng, requests, rounds, _leave, survival, sigma):
    """Independent drafts, tuned: a round of all requests at a time, in place and in cache."""
    tokens, seconds = np.full(requests, rounds), np.zeros(requests)
    u, z = np.empty(requests), np.empty(requests)
    for _ in range(rounds):
        rng.random(out=u)
        for reach in survival[0]:
            tokens += u < reach
        _add_times(rng, sigma, z, seconds)
    return tokens, seconds
