"""Round by round: what each round of a request accepts, for what totals can't show."""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.jit import helper, kernel
from mtpsim.kernels.path import find_lengths, find_levels, new_path, note_outcomes
from mtpsim.kernels.philox import LANES, PATH, TILE, fill_words


@kernel
def record_rounds(key, first, chain, task, by_token, depth, out):
    """Accepted drafts of every round at ``depth``.

    Writes ``out`` [requests, rounds]; -1 after the last round of a request that ends by tokens.
    """
    out[:] = -1
    for at in range(0, out.shape[0], LANES):
        _record(key, first + at, chain, task, by_token, depth, out[at : at + LANES])


@helper
def _record(key, first, chain, task, by_token, depth, out):
    n = out.shape[0]
    path, words = new_path(chain, n), np.empty((TILE, n), np.int32)
    length = np.empty((TILE, n), np.int32)
    levels = np.empty((depth, TILE, n), np.int32)
    rounds, tokens = np.zeros(n, np.int64), np.zeros(n, np.int64)
    so_far, rejected = np.zeros(n, np.int32), np.zeros(n, np.int32)
    steered = chain.upto.shape[0] > chain.upto.shape[1] + 1
    stride = 1 if steered and by_token else TILE
    tick, live = 0, True
    while live:
        fill_words(key, first, tick, TILE, PATH, words)
        live = False
        for t in range(0, TILE, stride):
            if by_token:
                find_levels(chain, words, tick == 0, t, t + stride, path, levels)
                _walk(levels, t, t + stride, depth, so_far, rejected, length)
            else:
                find_lengths(chain, words, tick == 0, TILE, depth, path, length)
            if stride == 1:
                note_outcomes(chain, rejected, path)
            live |= _note(length, t, t + stride, task.tokens, rounds, tokens, out)
        tick += TILE


@helper
def _walk(levels, first, last, depth, so_far, rejected, length):
    """Positions to rounds: ``length`` where a round ends, else -1."""
    for t in range(first, last):
        for lane in range(so_far.size):
            j = so_far[lane]
            hit = j < depth and levels[j, t, lane] == 1
            rejected[lane] = np.int32(j < depth and not hit)
            length[t, lane] = -1 if hit else j
            so_far[lane] = j + 1 if hit else 0


@helper
def _note(length, first, last, limit, rounds, tokens, out):
    """Write down the rounds that ended; is any request still under way?"""
    live = False
    for lane in range(rounds.size):
        for t in range(first, last):
            more = rounds[lane] < out.shape[1] and (limit == 0 or tokens[lane] < limit)
            if more and length[t, lane] >= 0:
                out[lane, rounds[lane]] = length[t, lane]
                rounds[lane] += 1
                tokens[lane] += length[t, lane] + 1
        live |= rounds[lane] < out.shape[1] and (limit == 0 or tokens[lane] < limit)
    return live
