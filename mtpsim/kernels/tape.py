"""The text of some requests written down, so that every policy can play the very same one.

Lanes go in lockstep as in the kernels of fixed depths, and read the same words; the tape turns them
so that a policy runs along one request after the other.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.acceptance import Path, find_lengths, find_levels
from mtpsim.kernels.arrays import LENGTHS, LEVELS
from mtpsim.kernels.jit import helper, kernel
from mtpsim.kernels.noise import (
    CELLS,
    correlate,
    draw_factors,
    fill_noise_words,
    look_up,
    new_scratch,
)
from mtpsim.kernels.philox import PATH, REJECTED, SCORES, STALE, TILE, fill_words
from mtpsim.kernels.replay import draw_requests


@kernel
def write_chain(key, first, tick, column, chain, noise, normal, engine, row, pair, memory, tape):
    """Fill columns ``column`` .. of the tape with the ticks from ``tick`` on.

    Args:
        key: of all words.
        first: number of the first request.
        tick: a multiple of 8, as the number of columns to fill is.
        column: first column to fill.
        chain: arrays of the chain.
        noise: arrays of the noise.
        normal: quantile table of the normal distribution.
        engine: arrays of the engine.
        row: [n] row of the thresholds of each lane; updated.
        pair: [n] the same for two states; updated.
        memory: [2, n] normal scores of the noise in the round before; updated.
        tape: arrays of the tape.
    """
    n, deep = row.size, engine.rates.size
    words, s = np.empty((TILE, n), np.int32), new_scratch(n)
    path = Path(row, np.zeros((TILE, n), np.int32), pair)
    length, levels = np.empty((TILE, n), np.int32), np.empty((deep, TILE, n), np.int32)
    for at in range(column, tape.state.shape[1], TILE):
        now = tick + at - column
        fill_words(key, first, now, TILE, PATH, words)
        if engine.kind == LENGTHS:
            find_lengths(chain, words, now == 0, TILE, deep, path, length)
            _transpose(length, at, tape.accepts)
            _transpose(path.state, at, tape.state)
        elif engine.kind == LEVELS:
            find_levels(chain, words, now == 0, 0, TILE, path, levels)
            _transpose_levels(levels, at, tape.accepts)
            _transpose(path.state, at, tape.state)
        else:
            _transpose(words, at, tape.words)
        _write_noise(key, first, now, at, noise, engine, s, memory, tape)
        _write_extras(key, first, now, at, normal, engine.separation, words, s, tape)


@kernel
def write_recording(key, first, tick, column, recording, noise, normal, engine, memory, tape):
    """As :func:`write_chain`, for recorded requests, drawn as for fixed depths."""
    n = memory.shape[1]
    drawn, s = draw_requests(key, first, recording, n), new_scratch(n)
    words = np.empty((TILE, n), np.int32)
    for at in range(column, tape.state.shape[1], TILE):
        now = tick + at - column
        for lane in range(n):
            begin = recording.offsets[drawn[lane]]
            length = recording.offsets[drawn[lane] + 1] - begin
            for t in range(TILE):
                tape.accepts[lane, at + t] = recording.accepted[begin + (now + t) % length]
                tape.state[lane, at + t] = 0
                if tape.entries.shape[1] > 0:
                    start = drawn[lane] * engine.tokens if engine.tokens > 0 else begin
                    tape.entries[lane, at + t] = start + now + t
        _write_noise(key, first, now, at, noise, engine, s, memory, tape)
        _write_extras(key, first, now, at, normal, engine.separation, words, s, tape)


@helper
def _transpose(tile, at, out):
    """From [TILE, n] to columns of [n, W]."""
    for lane in range(tile.shape[1]):
        for t in range(TILE):
            out[lane, at + t] = tile[t, lane]


@helper
def _transpose_levels(levels, at, out):
    for t in range(TILE):
        for lane in range(levels.shape[2]):
            bits = np.int64(0)
            for j in range(levels.shape[0]):
                bits |= np.int64(levels[j, t, lane]) << np.int64(j)
            out[lane, at + t] = bits


@helper
def _write_noise(key, first, now, at, noise, engine, s, memory, tape):
    """Noise factors; under the token clock the scores of noise that persists from round to round.

    Such noise depends on where a policy's rounds begin, so that the policy has to finish it.
    """
    fill_noise_words(key, first, now, TILE, noise, s)
    if engine.by_position and noise.persistence != 0:
        look_up(CELLS, noise.normal, s.verify_words, TILE, s.floats, s.bits, s.z_verify)
        look_up(CELLS, noise.normal, s.draft_words, TILE, s.floats, s.bits, s.z_draft)
        for t in range(TILE):
            correlate(s.z_draft[t], s.z_verify[t], noise.correlation)
        _transpose(s.z_verify, at, tape.verify)
        _transpose(s.z_draft, at, tape.draft)
        return
    everywhere = np.ones((TILE, memory.shape[1]), np.int32)
    draw_factors(noise, everywhere, now == 0, TILE, memory, s)
    _transpose(s.verify, at, tape.verify)
    if not noise.shared:
        _transpose(s.target, at, tape.target)
        _transpose(s.draft, at, tape.draft)


@helper
def _write_extras(key, first, now, at, normal, separation, words, s, tape):
    """Random numbers that only some policies and engines read."""
    if tape.stale_words.shape[1] > 0:
        fill_words(key, first, now, TILE, STALE, words)
        _transpose(words, at, tape.stale_words)
    for j in range(max(tape.scores.shape[2], tape.likelihood_ratios.shape[2])):
        fill_words(key, first, now, TILE, SCORES + j, words)
        look_up(CELLS, normal, words, TILE, s.floats, s.bits, s.z_verify)
        if tape.scores.shape[2] > 0:
            _transpose(s.z_verify, at, tape.scores[:, :, j])
        if tape.likelihood_ratios.shape[2] > 0:
            s.z_verify[:] = np.exp(-separation * (s.z_verify + 0.5 * separation))
            _transpose(s.z_verify, at, tape.likelihood_ratios[:, :, j])
            fill_words(key, first, now, TILE, REJECTED + j, words)
            _transpose(words, at, tape.rejected_words[:, :, j])
