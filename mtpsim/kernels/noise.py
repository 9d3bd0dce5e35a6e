"""From words to noise factors: a look-up, and the Gaussian copula that correlates the words."""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from mtpsim.kernels.jit import bare, flat, float_bits, inlined, kernel, stack_floats
from mtpsim.kernels.philox import ARMS, BLOCK, DRAFT, TILE, VERIFY, fill_words

CONSTANT, CELLS, SAMPLES = 0, 1, 2  # kinds of quantile table

# What the stages of a tile keep. Factors on mean times: `target`, `verify`, `draft` [TILE, lanes];
# `copy_*` are words made anew from normal scores; `everywhere` marks
# every tick as the begin of a round.
Scratch = namedtuple(
    "Scratch",
    "words everywhere verify_words draft_words copy_verify copy_draft "
    "z_verify z_draft target verify draft",
)


def new_scratch(lanes):
    """Rows for ``lanes`` requests in lockstep."""
    return Scratch(
        np.empty((TILE, lanes), np.int32),
        np.ones((TILE, lanes), np.int8),
        np.zeros((TILE, lanes), np.int32),
        np.zeros((TILE, lanes), np.int32),
        np.zeros((TILE, lanes), np.int32),
        np.zeros((TILE, lanes), np.int32),
        np.empty((TILE, lanes)),
        np.empty((TILE, lanes)),
        np.empty((TILE, lanes)),
        np.empty((TILE, lanes)),
        np.empty((TILE, lanes)),
    )


@bare
def fill_noise_words(key, first, tick, ticks, noise, s):
    """Words for a tile of the components that have noise."""
    if noise.kinds[0] != CONSTANT or noise.kinds[1] != CONSTANT:
        fill_words(key, first, tick, ticks, VERIFY + ARMS * noise.arm, s.verify_words)
    if noise.kinds[2] != CONSTANT and not noise.shared:
        fill_words(key, first, tick, ticks, DRAFT + ARMS * noise.arm, s.draft_words)


@bare
def draw_factors(noise, begin, fresh, ticks, memory, s):
    """Words to factors of ``ticks`` ticks, into ``s.target``, ``s.verify`` and ``s.draft``.

    ``begin`` [TILE, lanes] marks where a round begins, ``fresh`` a request's first tile; ``memory``
    [2, lanes] carries the normal scores of the round before.
    """
    if noise.correlation == 0 and noise.persistence == 0:
        _factors(noise, s.verify_words, s.draft_words, ticks, s)
        return
    look_up(CELLS, noise.normal, s.verify_words, ticks, s.z_verify)
    look_up(CELLS, noise.normal, s.draft_words, ticks, s.z_draft)
    for t in range(ticks):
        first = fresh and t == 0
        correlate(s.z_draft[t], s.z_verify[t], noise.correlation)
        _persist(s.z_verify[t], begin[t], first, noise.persistence, memory[0], s.copy_verify[t])
        _persist(s.z_draft[t], begin[t], first, noise.persistence, memory[1], s.copy_draft[t])
    _factors(noise, s.copy_verify, s.copy_draft, ticks, s)


@bare
def draw_independent(noise, begin, fresh, ticks, memory, s):
    """:func:`draw_factors` of noise with neither correlation nor persistence."""
    _factors(noise, s.verify_words, s.draft_words, ticks, s)


@bare
def _factors(noise, verify_words, draft_words, ticks, s):
    look_up(noise.kinds[1], noise.verify, verify_words, ticks, s.verify)
    if not noise.shared:
        look_up(noise.kinds[0], noise.target, verify_words, ticks, s.target)
        look_up(noise.kinds[2], noise.draft, draft_words, ticks, s.draft)


def round_factors(noise, verify_words, draft_words, factors):
    """:func:`draw_factors` for rounds whose words are known, for callers outside the kernels.

    ``verify_words`` and ``draft_words`` [rounds, lanes] hold the words of each lane's rounds in
    order; ``rounds`` is a multiple of TILE. Writes ``factors`` [3, rounds, lanes] of plain step,
    verify and draft.
    """
    lanes = verify_words.shape[1]
    s, memory = new_scratch(lanes), np.zeros((2, lanes))
    _draw_rounds(noise, verify_words, draft_words, memory, s, factors)


@kernel
def _draw_rounds(noise, verify_words, draft_words, memory, s, factors):
    for at in range(0, verify_words.shape[0], TILE):
        s.verify_words[:] = verify_words[at : at + TILE]
        s.draft_words[:] = draft_words[at : at + TILE]
        draw_factors(noise, s.everywhere, at == 0, TILE, memory, s)
        factors[0, at : at + TILE] = s.verify if noise.shared else s.target
        factors[1, at : at + TILE] = s.verify
        factors[2, at : at + TILE] = s.verify if noise.shared else s.draft


@bare
def _in_cell(table, word):
    """The quantile of a word from the flat ``table`` of cells.

    The float of a word spaces cells by its logarithm, so both tails are as finely cut as the body.
    The upper half of its bits names the cell.
    """
    bits = np.uint32(float_bits(np.float32(word)))
    cell = np.uintp(2) * np.uintp(bits >> np.uint32(16))
    fraction = np.float64(np.int32(bits & np.uint32(0xFFFF)))
    return table[cell] + table[cell + np.uintp(1)] * fraction


@bare
def look_up(kind, values, words, ticks, out):
    """Quantiles ``out`` of ``words``, both [TILE, lanes]."""
    table, count = flat(values), np.uint64(values.shape[0])
    for t in range(ticks):
        if kind == CONSTANT:
            out[t] = 1.0
        elif kind == CELLS:
            _look_up_row(table, words[t], out[t])
        else:
            for lane in range(words.shape[1]):
                word = np.uint64(np.uint32(words[t, lane]))
                out[t, lane] = values[np.intp((word * count) >> np.uint64(32)), 0]


@bare
def _look_up_row(table, words, out):
    found, size = stack_floats(BLOCK), np.uintp(words.size)  # can't overlap with the table
    for at in range(np.uintp(0), size, np.uintp(BLOCK)):
        block = min(np.uintp(BLOCK), size - at)
        for i in range(block):
            found[i] = _in_cell(table, words[at + i])
        for i in range(block):
            out[at + i] = found[i]


def sums_alone(noise):
    """Whether factors are wanted for their sums only: all 1, or one per round, independent."""
    target, verify, draft = noise.kinds
    if target == verify == draft == CONSTANT:
        return True
    free = noise.correlation == 0 and noise.persistence == 0
    return noise.shared and free and verify == CELLS


@bare
def add_cells(values, words, ticks, total):
    """Add quantiles of ``words`` to ``total`` [lanes]: :func:`look_up`, with no row of them."""
    table, sums, block = flat(values), stack_floats(BLOCK), np.uintp(BLOCK)
    for at in range(np.uintp(0), np.uintp(total.size), block):
        for i in range(block):
            sums[i] = total[at + i]
        for t in range(np.uintp(ticks)):
            for i in range(block):
                sums[i] += _in_cell(table, words[t, at + i])
        for i in range(block):
            total[at + i] = sums[i]


@bare
def slow_down(noise, slowdown, state, ticks, s):
    """Multiply the factors by the ``slowdown`` [S] of each lane's ``state`` [TILE, lanes]."""
    for t in range(ticks):
        for lane in range(s.words.shape[1]):
            factor = slowdown[np.intp(state[t, lane])]
            s.verify[t, lane] *= factor
            if not noise.shared:
                s.target[t, lane] *= factor
                s.draft[t, lane] *= factor


@bare
def correlate(scores, partner, correlation):
    """Correlate normal ``scores`` [lanes] with those of their ``partner``, in place."""
    rest = math.sqrt(1.0 - correlation * correlation)
    for lane in range(scores.size):
        scores[lane] = correlation * partner[lane] + rest * scores[lane]


@bare
def _persist(scores, begin, fresh, persistence, memory, words):
    """AR(1) from round to round, started in its stationary distribution; then back to words."""
    innovation = math.sqrt(1.0 - persistence * persistence)
    for lane in range(words.size):
        if begin[lane]:
            z = scores[lane]
            if not fresh:
                z = persistence * memory[lane] + innovation * z
            memory[lane] = z
            words[lane] = to_word(z)


@inlined
def to_word(z):
    """The word whose normal quantile is ``z``: counted from the nearer end, so tails stay exact."""
    tail = 0.5 * math.erfc(abs(z) / math.sqrt(2.0)) * 4294967296.0
    index = np.int64(min(tail, 2147483647.0))
    return np.int32(-1 - index) if z > 0 else np.int32(index)


@bare
def quantile(kind, values, word):
    """The quantile of one ``word``: scalar version of :func:`look_up`."""
    if kind == CONSTANT:
        return 1.0
    if kind == CELLS:
        return _in_cell(flat(values), word)
    count = np.uint64(values.shape[0])
    return values[np.intp((np.uint64(np.uint32(word)) * count) >> np.uint64(32)), 0]
