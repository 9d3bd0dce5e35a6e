"""The same simulations as plain loops over requests and drafts: pure Python, and compiled by numba.

`random` is what such loops commonly draw from; numba compiles it to a generator of its own.
"""

import random

import numpy as np


def independent(seed, requests, rounds, _leave, accept, sigma):
    random.seed(seed)
    tokens, seconds = np.zeros(requests), np.zeros(requests)
    rates = accept[0]
    for request in range(requests):
        made, time = 0, 0.0
        for _ in range(rounds):
            for p in rates:
                if random.random() >= p:
                    break
                made += 1
            made += 1
            time += random.lognormvariate(-(sigma**2) / 2, sigma)
        tokens[request], seconds[request] = made, time
    return tokens, seconds


def rounds_of(seed, requests, rounds, leave, accept, sigma):
    random.seed(seed)
    tokens, seconds = np.zeros(requests), np.zeros(requests)
    for request in range(requests):
        state, made, time = int(random.random() < 0.5), 0, 0.0
        for _ in range(rounds):
            for p in accept[state]:
                if random.random() >= p:
                    break
                made += 1
            made += 1
            time += random.lognormvariate(-(sigma**2) / 2, sigma)
            if random.random() < leave[state]:
                state = 1 - state
        tokens[request], seconds[request] = made, time
    return tokens, seconds


def positions(seed, requests, rounds, leave, accept, sigma):
    random.seed(seed)
    tokens, seconds = np.zeros(requests), np.zeros(requests)
    depth = len(accept[0])
    for request in range(requests):
        state, made, time = int(random.random() < 0.5), 0, 0.0
        for _ in range(rounds):
            for at in range(depth + 1):
                good = at < depth and random.random() < accept[state][at]
                made += 1
                if random.random() < leave[state]:
                    state = 1 - state
                if not good:
                    break
            time += random.lognormvariate(-(sigma**2) / 2, sigma)
        tokens[request], seconds[request] = made, time
    return tokens, seconds
