"""The same simulations in pure Python, with a loop over drafts."""

from __future__ import annotations

import random


def independent(requests, rounds, _leave, accept, sigma):
    rates = accept[0]
    for _ in range(requests):
        tokens, seconds = 0, 0.0
        for _ in range(rounds):
            for p in rates:
                if random.random() >= p:
                    break
                tokens += 1
            tokens += 1
            seconds += random.lognormvariate(-(sigma**2) / 2, sigma)
        yield tokens, seconds


def rounds_of(requests, rounds, leave, accept, sigma):
    for _ in range(requests):
        state, tokens, seconds = int(random.random() < 0.5), 0, 0.0
        for _ in range(rounds):
            for p in accept[state]:
                if random.random() >= p:
                    break
                tokens += 1
            tokens += 1
            seconds += random.lognormvariate(-(sigma**2) / 2, sigma)
            if random.random() < leave[state]:
                state = 1 - state
        yield tokens, seconds


def positions(requests, rounds, leave, accept, sigma):
    depth = len(accept[0])
    for _ in range(requests):
        state, tokens, seconds = int(random.random() < 0.5), 0, 0.0
        for _ in range(rounds):
            for at in range(depth + 1):
                good = at < depth and random.random() < accept[state][at]
                tokens += 1
                if random.random() < leave[state]:
                    state = 1 - state
                if not good:
                    break
            seconds += random.lognormvariate(-(sigma**2) / 2, sigma)
        yield tokens, seconds
