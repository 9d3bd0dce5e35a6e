"""Recorded requests, and a plain loop that replays them."""

import numpy as np

from mtpsim.acceptance import Recording


def recording(clock, seed=1, requests=12, depth=4, confident=False):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 40, requests)
    accepted = rng.binomial(depth, rng.random(lengths.sum())).astype(np.int32)
    confidence = rng.random((lengths.sum(), depth), np.float32) if confident else None
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Recording(accepted, offsets, depth, clock, confidence=confidence)


def by_hand(counts, clock, depth, rounds=0, tokens=0):
    """One request, entry by entry: tokens, rounds, rounds that accept 1..j."""
    counts, at, made, played = list(counts), 0, 0, []
    while True:
        by_length = not (rounds or tokens)
        if (rounds and len(played) == rounds) or (tokens and made >= tokens):
            break
        if by_length and at >= len(counts):
            break
        a = min(counts[at % len(counts)], depth)
        played.append(a)
        made += a + 1
        at += a + 1 if clock == "token" else 1
    limit = tokens or (len(counts) if by_length and clock == "token" else 10**9)
    reached = [sum(a >= j for a in played) for j in range(1, depth + 1)]
    return [min(made, limit), len(played), *reached], played
