"""Likelihood of recorded rounds under a hidden chain, expected counts, and simulated rounds.

A round is a symbol: its number of drafts and how many of them were accepted.
``transitions[symbol]`` is the joint probability of the symbol and of the next round's state s',
given that the round starts in state s (:func:`mtpsim.exact.chain_solver.round_distribution`).
"""

import numpy as np

from mtpsim.kernels.jit import kernel

# One forward pass, or forward and backward for the expected counts, in scaled probabilities: each
# row sums to one, and the logarithms of the scales add up to the likelihood.


@kernel
def log_likelihood(transitions, start, symbols, offsets, out):
    """Write the log likelihood of each request to ``out`` ``[R]``.

    Args:
        transitions: ``[Y, S, S]`` by symbol.
        start: ``[S]`` distribution of the state at a request's first round.
        symbols: ``[N]`` of all rounds, request by request.
        offsets: ``[R + 1]`` where each request begins.
        out: ``[R]``, written.
    """
    states = start.size
    here, ahead = np.empty(states), np.empty(states)
    for request in range(offsets.size - 1):
        here[:] = start
        total = 0.0
        for t in range(offsets[request], offsets[request + 1]):
            matrix, scale = transitions[symbols[t]], 0.0
            for to in range(states):
                ahead[to] = 0.0
                for s in range(states):
                    ahead[to] += here[s] * matrix[s, to]
                scale += ahead[to]
            total += np.log(scale)
            for s in range(states):
                here[s] = ahead[s] / scale
        out[request] = total


@kernel
def expected_counts(transitions, start, symbols, offsets, longest, out, moves, starts):
    """Add the expected number of transitions, given the rounds.

    Args:
        transitions: ``[Y, S, S]`` by symbol; see :func:`log_likelihood`.
        start: ``[S]`` distribution of the state at a request's first round.
        symbols: ``[N]`` symbols of all rounds, request by request.
        offsets: ``[R + 1]`` index of each request's first round.
        longest: rounds of the longest request.
        out: ``[R]`` log likelihoods, written.
        moves: ``[Y, S, S]`` expected number of rounds with a symbol that go from s to s', added.
        starts: ``[S]`` expected number of requests that start in s, added.
    """
    states = start.size
    forward = np.empty((longest + 1, states))
    scales = np.empty(longest)
    back, before = np.empty(states), np.empty(states)
    for request in range(offsets.size - 1):
        first, rounds = offsets[request], offsets[request + 1] - offsets[request]
        forward[0] = start
        total = 0.0
        for t in range(rounds):
            matrix, scale = transitions[symbols[first + t]], 0.0
            for to in range(states):
                ahead = 0.0
                for s in range(states):
                    ahead += forward[t, s] * matrix[s, to]
                forward[t + 1, to] = ahead
                scale += ahead
            for s in range(states):
                forward[t + 1, s] /= scale
            scales[t] = scale
            total += np.log(scale)
        out[request] = total
        back[:] = 1.0
        for t in range(rounds - 1, -1, -1):
            symbol = symbols[first + t]
            for s in range(states):
                before[s] = 0.0
                for to in range(states):
                    weight = transitions[symbol, s, to] * back[to] / scales[t]
                    before[s] += weight
                    moves[symbol, s, to] += forward[t, s] * weight
            back[:] = before
        for s in range(states):
            starts[s] += start[s] * back[s]


@kernel
def play_rounds(cumulative, start_cumulative, drafted, offsets, chance, first_chance, accepted):
    """Play rounds of given numbers of drafts through a chain.

    Args:
        cumulative: ``[K + 1, S, (K + 1) S]`` cumulative distribution of (accepted, next state).
        start_cumulative: ``[S]`` cumulative distribution of the first state.
        drafted: ``[N]`` drafts of each round.
        offsets: ``[R + 1]`` where each request begins.
        chance: ``[N]`` uniform numbers, one a round.
        first_chance: ``[R]`` uniform numbers, one a request.
        accepted: ``[N]``, written.
    """
    states = start_cumulative.size
    for request in range(offsets.size - 1):
        state = 0
        while state < states - 1 and first_chance[request] >= start_cumulative[state]:
            state += 1
        for t in range(offsets[request], offsets[request + 1]):
            row = cumulative[drafted[t], state]
            at = 0
            while at < row.size - 1 and chance[t] >= row[at]:
                at += 1
            accepted[t] = at // states
            state = at % states
