"""The same simulations as plain compiled loops, request by request and draft by draft."""

# ruff: noqa: NPY002 (what compiled loops commonly draw from)

from __future__ import annotations

import numba
import numpy as np


@numba.njit
def independent(seed, requests, rounds, _leave, accept, sigma):
    np.random.seed(seed)
    depth = accept.shape[1]
    tokens, seconds = np.zeros(requests, np.int64), np.zeros(requests)
    for request in range(requests):
        for _ in range(rounds):
            at = 0
            while at < depth and np.random.random() < accept[0, at]:
                at += 1
            tokens[request] += at + 1
            seconds[request] += np.random.lognormal(-(sigma**2) / 2, sigma)
    return tokens, seconds


@numba.njit
def rounds_of(seed, requests, rounds, leave, accept, sigma):
    np.random.seed(seed)
    depth = accept.shape[1]
    tokens, seconds = np.zeros(requests, np.int64), np.zeros(requests)
    for request in range(requests):
        state = int(np.random.random() < 0.5)
        for _ in range(rounds):
            at = 0
            while at < depth and np.random.random() < accept[state, at]:
                at += 1
            tokens[request] += at + 1
            seconds[request] += np.random.lognormal(-(sigma**2) / 2, sigma)
            if np.random.random() < leave[state]:
                state = 1 - state
    return tokens, seconds


@numba.njit
def positions(seed, requests, rounds, leave, accept, sigma):
    np.random.seed(seed)
    depth = accept.shape[1]
    tokens, seconds = np.zeros(requests, np.int64), np.zeros(requests)
    for request in range(requests):
        state = int(np.random.random() < 0.5)
        for _ in range(rounds):
            for at in range(depth + 1):
                good = at < depth and np.random.random() < accept[state, at]
                tokens[request] += 1
                if np.random.random() < leave[state]:
                    state = 1 - state
                if not good:
                    break
            seconds[request] += np.random.lognormal(-(sigma**2) / 2, sigma)
    return tokens, seconds
