"""The text of some requests written down, so that every policy can play the very same one.

Lanes go in lockstep as in the kernels of fixed depths, and read the same words.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.acceptance import (
    Path,
    find_lengths_many,
    find_lengths_two,
    find_masks_many,
    find_masks_two,
)
from mtpsim.kernels.arrays import LENGTHS, LEVELS
from mtpsim.kernels.jit import bare, kernel, with_globals
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


def write_chain(key, first, tick, at, chain, engine, row, pair, tape):
    """Fill rows ``at`` .. of the tape with states and outcomes of the ticks from ``tick`` on.

    Args:
        key: of all words.
        first: number of the first request.
        tick: a multiple of 8, as the number of rows to fill is.
        at: first row to fill.
        chain: arrays of the chain.
        engine: arrays of the engine.
        row: [n] row of the thresholds of each lane; updated.
        pair: [n] the same for two states; updated.
        tape: arrays of the tape.
    """
    words = np.empty((TILE, row.size), np.int32)
    if engine.kind not in (LENGTHS, LEVELS):
        _write_words(key, first, tick, at, PATH, words, tape.words)
        return
    chain = chain._replace(slow=True)  # so that states are noted
    path, deep = Path(row, np.empty((TILE, row.size), np.int32), pair), engine.rates.size
    found = np.empty((TILE, row.size), np.int32 if engine.kind == LENGTHS else np.int64)
    write = (_write_two if chain.two else _write_many)[engine.kind == LEVELS]
    write(key, first, tick, at, chain, deep, path, words, found, tape.accepts, tape.state)


def _write_path(key, first, tick, at, chain, deep, path, words, found, accepts, state):
    for row in range(at, state.shape[0], TILE):
        now = tick + row - at
        fill_words(key, first, now, TILE, PATH, words)
        find(chain, words, now == 0, deep, path, found)
        _put(found, row, accepts)
        _put(path.state, row, state)


@bare
def _put(tile, at, out):
    """Write a tile [TILE, n] to rows ``at`` .. of the tape."""
    for t in range(TILE):
        for lane in range(tile.shape[1]):
            out[at + t, lane] = tile[t, lane]


@bare
def find(chain, words, fresh, deep, path, found):
    """Accepted drafts of a tile: the template's, to be replaced."""
    find_lengths_two(chain, words, fresh, TILE, deep, path, found)


@bare
def _find_lengths_many(chain, words, fresh, deep, path, found):
    find_lengths_many(words, 0, TILE, chain, deep, path, found)


@bare
def _find_masks_two(chain, words, fresh, deep, path, found):
    find_masks_two(chain, words, fresh, 0, TILE, path, found)


@bare
def _find_masks_many(chain, words, fresh, deep, path, found):
    find_masks_many(chain, words, fresh, 0, TILE, path, found)


def _writer(function):
    """The kernel that writes the path by one way to find it, so that no other is compiled."""
    name = f"_write_path_{function.__name__}"
    return kernel(with_globals(_write_path, name, find=function))


# Of lengths, and of masks
_write_two = _writer(find), _writer(_find_masks_two)
_write_many = _writer(_find_lengths_many), _writer(_find_masks_many)


@kernel
def _write_words(key, first, tick, at, purpose, words, out):
    for row in range(at, out.shape[0], TILE):
        fill_words(key, first, tick + row - at, TILE, purpose, words)
        _put(words, row, out)


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


def write_recording(key, first, tick, at, recording, engine, requests, tape):
    """As :func:`write_chain`, for recorded requests, drawn as for fixed depths."""
    words, drawn = np.empty((TILE, requests), np.int32), np.empty(requests, np.int64)
    _write_recording(key, first, tick, at, recording, engine.tokens, words, drawn, tape)


@kernel
def _write_recording(key, first, tick, at, recording, tokens, words, drawn, tape):
    draw_requests(key, first, recording, words, drawn)
    recorded_hints = tape.confidences.shape[0] > 0 and tape.likelihood_ratios.shape[0] == 0
    for row in range(at, tape.state.shape[0]):
        now = tick + row - at
        for lane in range(drawn.size):
            begin = recording.offsets[drawn[lane]]
            entry = begin + now % (recording.offsets[drawn[lane] + 1] - begin)
            tape.accepts[row, lane] = recording.accepted[entry]
            tape.state[row, lane] = 0
            if tape.entries.shape[0] > 0:
                start = drawn[lane] * tokens if tokens > 0 else begin
                tape.entries[row, lane] = start + now
            for j in range(recording.confidence.shape[1] if recorded_hints else 0):
                tape.confidences[j, row, lane] = recording.confidence[entry, j]


def write_noise(key, first, tick, at, noise, engine, memory, tape):
    """Noise factors; under the token clock the scores of noise that persists from round to round.

    Such noise depends on where a policy's rounds begin, so that the policy has to finish it.
    ``memory`` [2, n] has the normal scores of the round before; updated.
    """
    s = new_scratch(memory.shape[1])
    if engine.by_position and noise.persistence != 0:
        _write_scores(key, first, tick, at, noise, s, tape.verify, tape.draft)
    else:
        factors = tape.target, tape.verify, tape.draft
        _write_factors(key, first, tick, at, noise, s, memory, *factors)


@kernel
def _write_factors(key, first, tick, at, noise, s, memory, target, verify, draft):
    for row in range(at, verify.shape[0], TILE):
        now = tick + row - at
        fill_noise_words(key, first, now, TILE, noise, s)
        draw_factors(noise, s.everywhere, now == 0, TILE, memory, s)
        _put(s.verify, row, verify)
        if not noise.shared:
            _put(s.target, row, target)
            _put(s.draft, row, draft)


@kernel
def _write_scores(key, first, tick, at, noise, s, verify, draft):
    for row in range(at, verify.shape[0], TILE):
        fill_noise_words(key, first, tick + row - at, TILE, noise, s)
        look_up(CELLS, noise.normal, s.verify_words, TILE, s.z_verify)
        look_up(CELLS, noise.normal, s.draft_words, TILE, s.z_draft)
        for t in range(TILE):
            correlate(s.z_draft[t], s.z_verify[t], noise.correlation)
        _put(s.z_verify, row, verify)
        if not noise.shared:
            _put(s.z_draft, row, draft)


def write_extras(key, first, tick, at, normal, engine, requests, tape):
    """Random numbers that only some policies and engines read."""
    words, where = np.empty((TILE, requests), np.int32), (key, first, tick, at)
    for purpose, out in ((STALE, tape.stale_words), (RESUMED, tape.resumed_words)):
        if out.shape[0] > 0:
            _write_words(*where, purpose, words, out)
    if tape.scores.shape[0] + tape.likelihood_ratios.shape[0] == 0:
        return
    z = np.empty((TILE, requests))
    for j in range(tape.scores.shape[0]):
        _write_normals(*where, SCORES + j, normal, words, z, tape.scores[j])
    for j in range(tape.likelihood_ratios.shape[0]):
        out, law = tape.likelihood_ratios[j], engine.laws.shape[0] > 0
        _write_ratios(*where, SCORES + j, normal, engine.separation, law, words, z, out)
        _write_words(*where, REJECTED + j, words, tape.rejected_words[j])


@kernel
def _write_normals(key, first, tick, at, purpose, normal, words, z, out):
    for row in range(at, out.shape[0], TILE):
        fill_words(key, first, tick + row - at, TILE, purpose, words)
        look_up(CELLS, normal, words, TILE, z)
        _put(z, row, out)


@kernel
def _write_ratios(key, first, tick, at, purpose, normal, separation, law, words, z, out):
    """Likelihood ratios of confidences; where they have laws, their probabilities."""
    for row in range(at, out.shape[0], TILE):
        fill_words(key, first, tick + row - at, TILE, purpose, words)
        if law:
            _to_shares(words, z)
        else:
            look_up(CELLS, normal, words, TILE, z)
            _to_ratios(separation, z)
        _put(z, row, out)


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
