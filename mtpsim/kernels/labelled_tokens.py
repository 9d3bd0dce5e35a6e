"""Hidden chains of tokens that carry labels: likelihood, expected counts, and posterior replay.

A token's symbol says what was seen of it: accepted as draft j, rejected as draft j, or not tested.
``emission`` ``[Y, S]`` is the probability of each symbol in each state. Probabilities are scaled:
each row of the filter sums to one, and the logarithms of the scales add up to the likelihood.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.jit import helper, kernel


@helper
def _filter(emission, step, start, symbols, forward, scales):
    """Write P(state | symbols up to here) ``[T, S]`` and scales ``[T]``; return the log of all."""
    states = start.size
    total = 0.0
    for t in range(symbols.size):
        seen, scale = emission[symbols[t]], 0.0
        for to in range(states):
            ahead = start[to]
            if t:
                ahead = 0.0
                for s in range(states):
                    ahead += forward[t - 1, s] * step[s, to]
            forward[t, to] = ahead * seen[to]
            scale += forward[t, to]
        for s in range(states):
            forward[t, s] /= scale
        scales[t] = scale
        total += np.log(scale)
    return total


@kernel
def log_likelihoods(emission, step, start, symbols, offsets, longest, out):
    """Write the log likelihood of each request to ``out`` ``[R]``.

    Args:
        emission: ``[Y, S]`` probability of each symbol by state.
        step: ``[S, S]`` transition probabilities from token to token.
        start: ``[S]`` distribution of the state of a request's first token.
        symbols: ``[N]`` of all tokens, request by request.
        offsets: ``[R + 1]`` where each request begins.
        longest: tokens of the longest request.
        out: ``[R]``, written.
    """
    forward, scales = np.empty((longest, start.size)), np.empty(longest)
    for request in range(offsets.size - 1):
        of_request = symbols[offsets[request] : offsets[request + 1]]
        out[request] = _filter(emission, step, start, of_request, forward, scales)


@kernel
def expected_labels(
    emission, step, start, symbols, offsets, longest, weights, out, moves, starts, seen
):
    """Add the expected numbers of transitions, first states and symbols by state.

    Args:
        emission: ``[Y, S]``; see :func:`log_likelihoods`, also for the next five.
        step: ``[S, S]`` transition probabilities.
        start: ``[S]`` distribution of the first state.
        symbols: ``[N]`` symbols of all tokens.
        offsets: ``[R + 1]`` index of each request's first token.
        longest: tokens of the longest request.
        weights: ``[R]`` how often each request counts; those of weight 0 are skipped.
        out: ``[R]`` log likelihoods, written.
        moves: ``[S, S]`` expected transitions, written.
        starts: ``[S]`` expected first states, written.
        seen: ``[Y, S]`` expected number of tokens with a symbol in a state, written.
    """
    states = start.size
    forward, scales = np.empty((longest, states)), np.empty(longest)
    back, ahead = np.empty(states), np.empty(states)
    moves[:], starts[:], seen[:] = 0.0, 0.0, 0.0
    for request in range(offsets.size - 1):
        weight = weights[request]
        out[request] = 0.0
        of_request = symbols[offsets[request] : offsets[request + 1]]
        if weight == 0 or of_request.size == 0:
            continue
        out[request] = _filter(emission, step, start, of_request, forward, scales)
        back[:] = weight
        for t in range(of_request.size - 1, -1, -1):
            symbol = of_request[t]
            for s in range(states):
                seen[symbol, s] += forward[t, s] * back[s]
            if t == 0:
                break
            for to in range(states):
                ahead[to] = emission[symbol, to] * back[to] / scales[t]
            for s in range(states):
                back[s] = 0.0
                for to in range(states):
                    moves[s, to] += forward[t - 1, s] * ahead[to]
                    back[s] += step[s, to] * ahead[to]
        for s in range(states):
            starts[s] += forward[0, s] * back[s]
    moves *= step


@helper
def _draw(weights, factors, chance):
    """An index, with probability in proportion to ``weights * factors``."""
    total = 0.0
    for s in range(weights.size):
        total += weights[s] * factors[s]
    left = chance * total
    for s in range(weights.size - 1):
        left -= weights[s] * factors[s]
        if left < 0:
            return s
    return weights.size - 1


@helper
def _limits(accept, odds, states, symbols, chance, limits):
    """Turn uniform numbers into ones that agree with the symbols.

    A token is accepted as draft j where its number is below the rate of draft j in its state.
    """
    positions = accept.shape[1]
    for t in range(states.size):
        number = np.float64(chance[t])
        label = np.int64(symbols[t]) - positions if t < symbols.size else 0
        if label > 0:
            number *= accept[states[t], label - 1]
        elif label < 0:
            rate = accept[states[t], -label - 1]
            number = rate + number * (1 - rate)
        else:  # as if the odds of all rates were multiplied
            number /= number + odds * (1 - number)
        limits[t] = number


@kernel
def draw_positions(emission, step, start, symbols, offsets, longest, accept, odds, chance, counts):
    """Draw the drafts that a round would accept at every position, given what was seen.

    States are drawn from their joint posterior distribution (forward filter, backward sampling).
    Drafts that reach beyond a request's last token meet new tokens of the chain.

    Args:
        emission: ``[Y, S]``; see :func:`log_likelihoods`, also for the next five.
        step: ``[S, S]`` transition probabilities.
        start: ``[S]`` distribution of the first state.
        symbols: ``[N]`` symbols of all tokens: 0 to D - 1 rejected as draft D to 1, D not tested,
            D + j accepted as draft j.
        offsets: ``[R + 1]`` index of each request's first token.
        longest: tokens of the longest request.
        accept: ``[S, D]`` rates by state and draft position, which do not rise.
        odds: factor on the odds of acceptance of tokens that were not tested.
        chance: ``[2, N + R D]`` uniform float32 numbers below 1: of states, of acceptance.
        counts: ``[N]`` accepted drafts at each position, 0 to D, written.

    Source:
        S. Fruhwirth-Schnatter, Data augmentation and dynamic linear models, J. Time Series
        Analysis 15 (1994); S. L. Scott, Bayesian methods for hidden Markov models, JASA 97 (2002).
    """
    size, depth = start.size, accept.shape[1]
    forward, scales, ones = np.empty((longest, size)), np.empty(longest), np.ones(size)
    states, limits = np.empty(longest + depth, np.int64), np.empty(longest + depth)
    for request in range(offsets.size - 1):
        first, tokens = offsets[request], offsets[request + 1] - offsets[request]
        if tokens == 0:
            continue
        spare = first + request * depth
        numbers = chance[:, spare : spare + tokens + depth]
        of_request = symbols[first : first + tokens]
        _filter(emission, step, start, of_request, forward, scales)
        states[tokens - 1] = _draw(forward[tokens - 1], ones, numbers[0, tokens - 1])
        for t in range(tokens - 2, -1, -1):
            states[t] = _draw(forward[t], step[:, states[t + 1]], numbers[0, t])
        for t in range(tokens, tokens + depth):
            states[t] = _draw(step[states[t - 1]], ones, numbers[0, t])
        _limits(accept, odds, states[: tokens + depth], of_request, numbers[1], limits)
        for t in range(tokens):
            count = 0
            while count < depth and limits[t + count] < accept[states[t + count], count]:
                count += 1
            counts[first + t] = count


@kernel
def play_positions(counts, offsets, depth, rounds, accepted):
    """Play each request at a depth; its last round counts in full.

    Args:
        counts: ``[N]`` drafts that a round would accept which begins at each position.
        offsets: ``[R + 1]`` where each request begins.
        depth: drafts per round.
        rounds: ``[R]`` number of rounds, written.
        accepted: ``[R]`` accepted drafts, written.
    """
    for request in range(offsets.size - 1):
        at, played = offsets[request], 0
        while at < offsets[request + 1]:
            at += min(np.int64(counts[at]), depth) + 1
            played += 1
        rounds[request] = played
        accepted[request] = at - offsets[request] - played
