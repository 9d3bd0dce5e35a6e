"""The round clock: a tick is a round, and every depth up to the deepest sees the same one.

Three stages over a tile of (ticks x lanes): random words, accepted drafts, seconds. Lanes are
requests in lockstep.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.acceptance import count_reached, find_lengths, new_path
from mtpsim.kernels.jit import helper, kernel
from mtpsim.kernels.noise import (
    add_cells,
    draw_factors,
    fill_noise_words,
    new_scratch,
    slow_down,
    sums_alone,
)
from mtpsim.kernels.philox import LANES, PATH, TILE, fill_words
from mtpsim.kernels.totals import column_of_accepted, write_depths


@kernel
def simulate_rounds(key, first, chain, noise, task, shallow, deep, out):
    """Simulate requests ``first`` .. at depths ``shallow`` .. ``deep``; a row of ``out`` each."""
    for at in range(0, out.shape[0], LANES):
        _to_rounds(key, first + at, chain, noise, task, shallow, deep, out[at : at + LANES])


@kernel
def simulate_rounds_to_tokens(key, first, chain, noise, task, shallow, deep, out):
    """The same for requests that end at a number of tokens."""
    for at in range(0, out.shape[0], LANES):
        _to_tokens(key, first + at, chain, noise, task, shallow, deep, out[at : at + LANES])


@helper
def _to_rounds(key, first, chain, noise, task, shallow, deep, out):
    """A fixed number of rounds: sums over rounds serve all depths, since accepts are nested."""
    n = out.shape[0]
    path, s, words = new_path(chain, n), new_scratch(n), np.empty((TILE, n), np.int32)
    begin, memory = np.ones((TILE, n), np.int32), np.zeros((2, n))
    length, reached = np.empty((TILE, n), np.int32), np.zeros((deep, n), np.int32)
    target, verify, draft = np.zeros(n), np.zeros(n), np.zeros(n)
    alone = sums_alone(noise) and not chain.slow
    for tick in range(0, task.rounds, TILE):
        ticks = min(TILE, task.rounds - tick)
        fill_words(key, first, tick, ticks, PATH, words)
        count_reached(chain, words, tick == 0, ticks, path, length, reached)
        fill_noise_words(key, first, tick, ticks, noise, s)
        if alone:
            add_cells(noise.verify, s.verify_words, ticks, s.floats, s.bits, verify)
            continue
        draw_factors(noise, begin, tick == 0, ticks, memory, s)
        if chain.slow:
            slow_down(noise, chain.slowdown, path.state, ticks, s)
        _add(s.verify, ticks, verify)
        if not noise.shared:
            _add(s.target, ticks, target)
            _add(s.draft, ticks, draft)
    if noise.shared:
        target, draft = verify, verify
    _write_rounds(task, shallow, deep, reached, target, verify, draft, out)


@helper
def _add(factors, ticks, total):
    for t in range(ticks):
        for lane in range(total.size):
            total[lane] += factors[t, lane]


@helper
def _write_rounds(task, shallow, deep, reached, target, verify, draft, out):
    depths = task.times.shape[1]
    column = column_of_accepted(depths - 1, deep, task.every)
    for lane in range(out.shape[0]):
        tokens = task.rounds
        for k in range(deep + 1):
            if k > 0:
                tokens += reached[k - 1, lane]
                out[lane, column + k - 1] = reached[k - 1, lane]
            if k < shallow:
                continue
            check = verify[lane] if k > 0 else target[lane]
            out[lane, k] = tokens
            out[lane, depths + k] = task.times[0, k] * check + task.times[1, k] * draft[lane]
            out[lane, 2 * depths + k] = task.rounds


@helper
def _to_tokens(key, first, chain, noise, task, shallow, deep, out):
    """A fixed number of tokens: each depth stops in its own round, cut at the limit."""
    n = out.shape[0]
    path, s, words = new_path(chain, n), new_scratch(n), np.empty((TILE, n), np.int32)
    begin, memory = np.ones((TILE, n), np.int32), np.zeros((2, n))
    length = np.empty((TILE, n), np.int32)
    left = np.full((deep + 1, n), np.int32(task.tokens))
    rounds, accepted = np.zeros((deep + 1, n), np.int32), np.zeros((deep + 1, deep, n), np.int32)
    verify, draft = np.zeros((deep + 1, n)), np.zeros((deep + 1, n))
    tick = 0
    while (left[shallow:] > 0).any():
        fill_words(key, first, tick, TILE, PATH, words)
        find_lengths(chain, words, tick == 0, TILE, deep, path, length)
        fill_noise_words(key, first, tick, TILE, noise, s)
        draw_factors(noise, begin, tick == 0, TILE, memory, s)
        if chain.slow:
            slow_down(noise, chain.slowdown, path.state, TILE, s)
        plain = s.verify if noise.shared else s.target
        propose = s.verify if noise.shared else s.draft
        for k in range(shallow, deep + 1):
            _advance(length, k, plain if k == 0 else s.verify, propose,
                     left[k], rounds[k], accepted[k], verify[k], draft[k])  # fmt: skip
        tick += TILE
    tokens = np.full(left.shape, np.int32(task.tokens))
    write_depths(task, shallow, deep, tokens, rounds, accepted, verify, draft, out)


@helper
def _advance(length, k, check, propose, left, rounds, accepted, verify, draft):
    """Play a tile at depth ``k``; lanes with no tokens ``left`` stand still."""
    for t in range(TILE):
        for lane in range(left.size):
            live = left[lane] > 0
            verify[lane] += check[t, lane] if live else 0.0
            draft[lane] += propose[t, lane] if live else 0.0
        for j in range(k):
            for lane in range(left.size):
                accepted[j, lane] += np.int32((left[lane] > 0) & (length[t, lane] > j))
        for lane in range(left.size):
            gain = np.int32(min(length[t, lane], np.int32(k)) + 1)
            rounds[lane] += np.int32(left[lane] > 0)
            left[lane] = max(np.int32(left[lane] - gain), np.int32(0))
