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


def forward_backward(chain, labels, depth):
    """What :func:`expected` returns, by recursions in logarithms, for requests of any length."""
    rate = chain.accept(depth)
    seen = {0: np.zeros(chain.states)}
    for j in range(1, depth + 1):
        seen[j], seen[-j] = np.log(rate[:, j - 1]), np.log1p(-rate[:, j - 1])
    step, size = np.log(chain.step), len(labels)
    ahead, back = np.empty((size, chain.states)), np.zeros((size, chain.states))
    ahead[0] = np.log(chain.start) + seen[labels[0]]
    for t in range(1, size):
        ahead[t] = np.logaddexp.reduce(ahead[t - 1][:, None] + step, axis=0) + seen[labels[t]]
    for t in range(size - 2, -1, -1):
        back[t] = np.logaddexp.reduce(step + seen[labels[t + 1]] + back[t + 1], axis=1)
    total = np.logaddexp.reduce(ahead[-1])
    state = np.exp(ahead + back - total)
    by_label = np.zeros((2 * depth + 1, chain.states))
    np.add.at(by_label, np.asarray(labels) + depth, state)
    moves = sum(
        np.exp(ahead[t][:, None] + step + seen[labels[t + 1]] + back[t + 1] - total)
        for t in range(size - 1)
    )
    return total, moves, state[0], by_label


def draw_counts(chain, labels, depth, chance, untested):
    """Accepted drafts at each position, from the uniform numbers ``[2, T + depth]`` of a draw.

    States are drawn from the last to the first, each by its probability given the next one and all
    labels up to its own, which is found anew from the start for every token.
    """
    rate, odds, size = chain.accept(depth), np.exp(untested), len(labels)

    def pick(weights, uniform):
        edges = np.cumsum(weights / weights.sum())[:-1]
        return int((uniform >= edges).sum())

    def filtered(t):
        law = chain.start
        for at in range(t + 1):
            label = labels[at]
            law = law if at == 0 else law @ chain.step
            if label:
                hit = rate[:, abs(label) - 1]
                law = law * (hit if label > 0 else 1 - hit)
            law = law / law.sum()
        return law

    states = [pick(filtered(size - 1), chance[0][size - 1])]
    for t in range(size - 2, -1, -1):
        states.insert(0, pick(filtered(t) * chain.step[:, states[0]], chance[0][t]))
    for t in range(size, size + depth):
        states.append(pick(chain.step[states[-1]], chance[0][t]))
    limits = []
    for t, state in enumerate(states):
        u, label = chance[1][t], labels[t] if t < size else 0
        hit = rate[state, abs(label) - 1]
        unseen = u / (u + odds * (1 - u))
        limits.append(u * hit if label > 0 else hit + u * (1 - hit) if label < 0 else unseen)
    counts = []
    for t in range(size):
        passed = [limits[t + j] < rate[states[t + j], j] for j in range(depth)]
        counts.append(depth if all(passed) else passed.index(False))
    return counts
