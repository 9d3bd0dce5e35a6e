"""The text of some requests written down, so that every policy can play the very same one.

Lanes go in lockstep as in the kernels of fixed depths, and read the same words.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.acceptance import Path, find_lengths, find_masks
from mtpsim.kernels.arrays import LENGTHS, LEVELS
from mtpsim.kernels.jit import bare, kernel
from mtpsim.kernels.noise import (
    CELLS,
    correlate,
    draw_factors,
    fill_noise_words,
    look_up,
    new_scratch,
)
from mtpsim.kernels.philox import PATH, REJECTED, RESUMED, SCORES, STALE, TILE, fill_words
from mtpsim.kernels.replay import draw_requests


def write_chain(key, first, tick, column, chain, noise, normal, engine, row, pair, memory, tape):
    """Fill rows ``column`` .. of the tape with the ticks from ``tick`` on.

    Args:
        key: of all words.
        first: number of the first request.
        tick: a multiple of 8, as the number of rows to fill is.
        column: first row to fill.
        chain: arrays of the chain.
        noise: arrays of the noise.
        normal: quantile table of the normal distribution.
        engine: arrays of the engine.
        row: [n] row of the thresholds of each lane; updated.
        pair: [n] the same for two states; updated.
        memory: [2, n] normal scores of the noise in the round before; updated.
        tape: arrays of the tape.
    """
    chain = chain._replace(slow=True)  # so that states are noted
    path = Path(row, np.empty((TILE, row.size), np.int32), pair)
    length, masks = np.empty((TILE, row.size), np.int32), np.empty((TILE, row.size), np.int64)
    _write_chain(key, first, tick, column, chain, noise, normal, engine, path, length,
                 masks, new_scratch(row.size), memory, tape)  # fmt: skip


@kernel
def _write_chain(
    key, first, tick, column, chain, noise, normal, engine, path, length, masks, s, memory, tape
):
    for at in range(column, tape.state.shape[0], TILE):
        now = tick + at - column
        fill_words(key, first, now, TILE, PATH, s.words)
        if engine.kind == LENGTHS:
            find_lengths(chain, s.words, now == 0, TILE, engine.rates.size, path, length)
            _put(length, at, tape.accepts)
            _put(path.state, at, tape.state)
        elif engine.kind == LEVELS:
            find_masks(chain, s.words, now == 0, 0, TILE, path, masks)
            _put(masks, at, tape.accepts)
            _put(path.state, at, tape.state)
        else:
            _put(s.words, at, tape.words)
        _write_noise(key, first, now, at, noise, engine, s, memory, tape)
        _write_extras(key, first, now, at, normal, engine, s, tape)


def count_levels(accepts, deep, stop):
    """From bits to lengths, in place, in the first ``stop`` rows."""
    _count_levels(accepts[: stop + deep], deep, np.empty((2, accepts.shape[1]), np.int64))


@kernel
def _count_levels(accepts, deep, scratch):
    reached, length = scratch
    for at in range(accepts.shape[0] - deep):
        reached[:], length[:] = 1, 0
        for j in range(deep):
            bits = accepts[at + j]
            for lane in range(bits.size):
                reached[lane] &= bits[lane] >> j
                length[lane] += reached[lane]
        accepts[at] = length


def write_recording(key, first, tick, column, recording, noise, normal, engine, memory, tape):
    """As :func:`write_chain`, for recorded requests, drawn as for fixed depths."""
    n = memory.shape[1]
    drawn, s = np.empty(n, np.int64), new_scratch(n)
    _write_recording(key, first, tick, column, recording, noise, normal, engine, drawn, s, memory,
                     tape)  # fmt: skip


@kernel
def _write_recording(
    key, first, tick, column, recording, noise, normal, engine, drawn, s, memory, tape
):
    draw_requests(key, first, recording, s.words, drawn)
    recorded_hints = tape.confidences.shape[0] > 0 and tape.likelihood_ratios.shape[0] == 0
    for at in range(column, tape.state.shape[0], TILE):
        now = tick + at - column
        for lane in range(drawn.size):
            begin = recording.offsets[drawn[lane]]
            length = recording.offsets[drawn[lane] + 1] - begin
            for t in range(TILE):
                tape.accepts[at + t, lane] = recording.accepted[begin + (now + t) % length]
                tape.state[at + t, lane] = 0
                if tape.entries.shape[0] > 0:
                    start = drawn[lane] * engine.tokens if engine.tokens > 0 else begin
                    tape.entries[at + t, lane] = start + now + t
                for j in range(recording.confidence.shape[1] if recorded_hints else 0):
                    recorded = recording.confidence[begin + (now + t) % length, j]
                    tape.confidences[j, at + t, lane] = recorded
        _write_noise(key, first, now, at, noise, engine, s, memory, tape)
        _write_extras(key, first, now, at, normal, engine, s, tape)


@bare
def _put(tile, at, out):
    """Write a tile [TILE, n] to rows ``at`` .. of the tape."""
    for t in range(TILE):
        for lane in range(tile.shape[1]):
            out[at + t, lane] = tile[t, lane]


@bare
def _write_noise(key, first, now, at, noise, engine, s, memory, tape):
    """Noise factors; under the token clock the scores of noise that persists from round to round.

    Such noise depends on where a policy's rounds begin, so that the policy has to finish it.
    """
    fill_noise_words(key, first, now, TILE, noise, s)
    if engine.by_position and noise.persistence != 0:
        look_up(CELLS, noise.normal, s.verify_words, TILE, s.z_verify)
        look_up(CELLS, noise.normal, s.draft_words, TILE, s.z_draft)
        for t in range(TILE):
            correlate(s.z_draft[t], s.z_verify[t], noise.correlation)
        _put(s.z_verify, at, tape.verify)
        if not noise.shared:
            _put(s.z_draft, at, tape.draft)
        return
    draw_factors(noise, s.everywhere, now == 0, TILE, memory, s)
    _put(s.verify, at, tape.verify)
    if not noise.shared:
        _put(s.target, at, tape.target)
        _put(s.draft, at, tape.draft)


@bare
def _write_extras(key, first, now, at, normal, engine, s, tape):
    """Random numbers that only some policies and engines read."""
    if tape.stale_words.shape[0] > 0:
        fill_words(key, first, now, TILE, STALE, s.words)
        _put(s.words, at, tape.stale_words)
    if tape.resumed_words.shape[0] > 0:
        fill_words(key, first, now, TILE, RESUMED, s.words)
        _put(s.words, at, tape.resumed_words)
    for j in range(max(tape.scores.shape[0], tape.likelihood_ratios.shape[0])):
        fill_words(key, first, now, TILE, SCORES + j, s.words)
        look_up(CELLS, normal, s.words, TILE, s.z_verify)
        if tape.scores.shape[0] > 0:
            _put(s.z_verify, at, tape.scores[j])
        if tape.likelihood_ratios.shape[0] > 0:
            if engine.laws.shape[0] > 0:
                _to_shares(s.words, s.z_verify)
            else:
                _to_ratios(engine.separation, s.z_verify)
            _put(s.z_verify, at, tape.likelihood_ratios[j])
            fill_words(key, first, now, TILE, REJECTED + j, s.words)
            _put(s.words, at, tape.rejected_words[j])


@bare
def _to_shares(words, shares):
    """From words to probabilities."""
    for t in range(TILE):
        for lane in range(shares.shape[1]):
            shares[t, lane] = (np.uint32(words[t, lane]) + 0.5) / 4294967296.0


@bare
def _to_ratios(separation, scores):
    """From normal scores to likelihood ratios, in place."""
    for t in range(TILE):
        for lane in range(scores.shape[1]):
            scores[t, lane] = np.exp(-separation * (scores[t, lane] + 0.5 * separation))
