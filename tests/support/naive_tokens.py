"""Labelled tokens by enumeration: every path of hidden states of one short request."""

from itertools import pairwise, product

import numpy as np


def paths(chain, labels, depth, spare=0):
    """Yield (states, probability of them and of the labels) of tokens and ``spare`` more."""
    accept = chain.accept(depth)
    for states in product(range(chain.states), repeat=len(labels) + spare):
        weight = chain.start[states[0]]
        for before, after in pairwise(states):
            weight *= chain.step[before, after]
        for state, label in zip(states, labels, strict=False):
            if label:
                rate = accept[state, abs(label) - 1]
                weight *= rate if label > 0 else 1 - rate
        yield states, weight


def expected(chain, labels, depth):
    """Log-likelihood, transitions ``[S, S]``, first states ``[S]``, labels by state."""
    moves, starts = np.zeros((chain.states, chain.states)), np.zeros(chain.states)
    seen, total = np.zeros((2 * depth + 1, chain.states)), 0.0
    for states, weight in paths(chain, labels, depth):
        total += weight
        starts[states[0]] += weight
        for state, label in zip(states, labels, strict=True):
            seen[label + depth, state] += weight
        for pair in pairwise(states):
            moves[pair] += weight
    return np.log(total), moves / total, starts / total, seen / total


def count_probabilities(chain, labels, depth, untested):
    """``[T, depth + 1]`` probability of each number of accepted drafts at each position."""
    accept, odds = chain.accept(depth), np.exp(untested)
    found, total = np.zeros((len(labels), depth + 1)), 0.0
    for states, weight in paths(chain, labels, depth, depth):
        total += weight
        for t in range(len(labels)):
            alive = weight
            for j in range(depth):
                rate = accept[states[t + j], j]
                label = labels[t + j] if t + j < len(labels) else 0
                if label == 0:
                    hit = odds * rate / (odds * rate + 1 - rate)
                else:
                    seen = accept[states[t + j], abs(label) - 1]
                    hit = min(rate / seen, 1) if label > 0 else max(rate - seen, 0) / (1 - seen)
                found[t, j] += alive * (1 - hit)
                alive *= hit
            found[t, depth] += alive
    return found / total
