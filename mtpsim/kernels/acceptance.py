"""Acceptance from random words. One word per tick selects the next state and the accepted drafts.

The unit interval of the word's 31 low bits is cut by next state, and each state's part again by
acceptance, so that a probability of 0 or 1 is exact and any other is off by at most 2^-32.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from mtpsim.kernels.jit import bare
from mtpsim.kernels.philox import TILE

BITS = np.int32(0x7FFFFFFF)

# Position of each lane in its chain. `row` [lanes]: the row of the thresholds that the next tick
# reads; `state` [TILE, lanes]; `pair` [lanes]: 2 old + new, for chains of two states.
Path = namedtuple("Path", "row state pair")


def new_path(lanes):
    """For ``lanes`` requests in lockstep."""
    return Path(*(np.zeros(shape, np.int32) for shape in (lanes, (TILE, lanes), lanes)))


@bare
def begin_path(chain, path):
    """Put lanes at the start of a request: in the last row of the thresholds."""
    for lane in range(path.row.size):
        path.row[lane] = chain.state_bounds.shape[0] - 1
        path.pair[lane] = 0


@bare
def count_reached(chain, words, fresh, ticks, path, length, reached):
    """Round clock: add to ``reached`` [deep, lanes] the rounds that accept drafts 1..j.

    ``length`` [TILE, lanes] is scratch; ``fresh`` marks a request's first tile.
    """
    if chain.two and reached.shape[0] > 0:
        count_two(chain, words, fresh, ticks, path, reached)
        return
    deep = reached.shape[0]
    find_lengths(chain, words, fresh, ticks, deep, path, length)
    for j in range(deep):
        for t in range(ticks):
            for lane in range(length.shape[1]):
                reached[j, lane] += np.int32(length[t, lane] > j)


@bare
def count_two(chain, words, fresh, ticks, path, reached):
    """:func:`count_reached` of a chain of at most two states, for one draft or more."""
    deep = reached.shape[0]
    for t in range(ticks):
        first = fresh and t == 0
        _move_and_verify(
            words, t, first, chain.state_bounds, chain.accept_bounds, path.pair, reached[0]
        )
        if chain.slow:
            _note_two(path.pair, path.state, t)
        for j in range(1, deep - 1, 2):
            _verify_both(
                words, t, first, chain.accept_bounds, j, path.pair, reached[j], reached[j + 1]
            )
        if deep % 2 == 0:
            _verify_two(
                words, t, first, chain.accept_bounds, deep - 1, path.pair, reached, deep - 1
            )


@bare
def find_lengths(chain, words, fresh, ticks, deep, path, length):
    """Round clock: accepted drafts ``length`` [TILE, lanes] of ``ticks`` rounds, at most deep."""
    if chain.two:
        for t in range(ticks):
            _move_two(words, t, fresh and t == 0, chain.state_bounds, path.pair)
            _note_two(path.pair, path.state, t)
            length[t] = 0
            for j in range(deep):
                _verify_two(
                    words, t, fresh and t == 0, chain.accept_bounds, j, path.pair, length, t
                )
    else:
        _lengths_many(
            words,
            ticks,
            chain.state_bounds,
            chain.guide,
            chain.accept_bounds,
            deep,
            path.row,
            path.state,
            length,
        )


@bare
def find_levels(chain, words, fresh, first, ticks, path, levels):
    """Token clock: would a position be accepted as draft j (from 0)?

    Sets ``levels`` [deep, TILE, lanes] to 1 or 0 for ticks ``first`` .. ``ticks - 1`` of the tile.
    """
    levels[:, first:ticks] = 0
    if chain.two:
        for t in range(first, ticks):
            _move_two(words, t, fresh and t == 0, chain.state_bounds, path.pair)
            _note_two(path.pair, path.state, t)
            for j in range(levels.shape[0]):
                _verify_two(
                    words, t, fresh and t == 0, chain.accept_bounds, j, path.pair, levels[j], t
                )
    else:
        _levels_many(
            words,
            first,
            ticks,
            chain.state_bounds,
            chain.guide,
            chain.accept_bounds,
            path.row,
            path.state,
            levels,
        )


@bare
def _move_two(words, t, first, state_bounds, pair):
    """Move two states: ``pair`` [lanes] becomes 2 old + new, without loads, to vectorise."""
    after_0, after_1 = state_bounds[0, 0], state_bounds[1, 0]
    if first:
        after_0, after_1 = state_bounds[2, 0], state_bounds[2, 0]
    for lane in range(pair.size):
        old = pair[lane] & np.int32(1)
        last = after_1 if old != 0 else after_0
        new = np.int32((words[t, lane] & BITS) > last)
        pair[lane] = np.int32(2) * old + new


@bare
def _note_two(pair, state, t):
    for lane in range(pair.size):
        state[t, lane] = pair[lane] & np.int32(1)


@bare
def _verify_two(words, t, first, top, draft, pair, total, row):
    """Add 1 to row ``row`` of ``total`` [.., lanes] where ``draft`` is accepted."""
    c00, c01, c10, c11 = top[0, 0, draft], top[0, 1, draft], top[1, 0, draft], top[1, 1, draft]
    if first:
        c00, c01, c10, c11 = top[2, 0, draft], top[2, 1, draft], top[2, 0, draft], top[2, 1, draft]
    for lane in range(pair.size):
        into_0 = c10 if pair[lane] > 1 else c00
        into_1 = c11 if pair[lane] > 1 else c01
        last = into_1 if pair[lane] & np.int32(1) else into_0
        total[row, lane] += np.int32((words[t, lane] & BITS) <= last)


@bare
def _move_and_verify(words, t, first, state_bounds, top, pair, reached):
    """Move two states and verify the first draft, in one pass over the lanes."""
    row_0, row_1 = (2, 2) if first else (0, 1)
    after_0, after_1 = state_bounds[row_0, 0], state_bounds[row_1, 0]
    c00, c01, c10, c11 = top[row_0, 0, 0], top[row_0, 1, 0], top[row_1, 0, 0], top[row_1, 1, 0]
    for lane in range(pair.size):
        word = words[t, lane] & BITS
        old = (pair[lane] & np.int32(1)) != 0
        new = word > (after_1 if old else after_0)
        into_0 = c10 if old else c00
        into_1 = c11 if old else c01
        reached[lane] += np.int32(word <= (into_1 if new else into_0))
        pair[lane] = np.int32(2) * np.int32(old) + np.int32(new)


@bare
def _verify_both(words, t, first, top, draft, pair, here, next_):
    """Verify ``draft`` and the next draft, so that words and states are read once."""
    row_0, row_1 = (2, 2) if first else (0, 1)
    d = draft + 1
    a00, a01 = top[row_0, 0, draft], top[row_0, 1, draft]
    a10, a11 = top[row_1, 0, draft], top[row_1, 1, draft]
    b00, b01, b10, b11 = top[row_0, 0, d], top[row_0, 1, d], top[row_1, 0, d], top[row_1, 1, d]
    for lane in range(pair.size):
        word, old = words[t, lane] & BITS, pair[lane] > 1
        new = (pair[lane] & np.int32(1)) != 0
        a0 = a10 if old else a00
        a1 = a11 if old else a01
        b0 = b10 if old else b00
        b1 = b11 if old else b01
        here[lane] += np.int32(word <= (a1 if new else a0))
        next_[lane] += np.int32(word <= (b1 if new else b0))


@bare
def find_state(word, r, state_bounds, guide):
    """The state that a 31-bit ``word`` leads to from row ``r`` of the thresholds."""
    # The guide names the least state that the top byte allows: the search takes about one step.
    s = np.intp(guide[r, np.intp(word >> 23)])
    while word > state_bounds[r, s]:
        s += 1
    return s


@bare
def _lengths_many(words, ticks, state_bounds, guide, top, deep, row, state, length):
    states = state_bounds.shape[1]
    outcomes = (state_bounds.shape[0] - 1) // states
    for t in range(ticks):
        for lane in range(row.size):
            word, r = words[t, lane] & BITS, np.intp(row[lane])
            s = find_state(word, r, state_bounds, guide)
            accepted = np.int32(0)
            for j in range(deep):  # accepts are nested: a count without a branch to mispredict
                accepted += np.int32(word <= top[r, s, j])
            state[t, lane] = s
            length[t, lane] = accepted
            row[lane] = s + states if outcomes == 2 and accepted == deep else s


@bare
def _levels_many(words, first, ticks, state_bounds, guide, top, row, state, levels):
    for t in range(first, ticks):
        for lane in range(row.size):
            word, r = words[t, lane] & BITS, np.intp(row[lane])
            s = find_state(word, r, state_bounds, guide)
            for j in range(levels.shape[0]):
                levels[j, t, lane] = np.int32(word <= top[r, s, j])
            state[t, lane] = s
            row[lane] = s


@bare
def note_outcomes(chain, rejected, path):
    """Select the next row by ``rejected`` [lanes], for transitions that depend on outcomes."""
    states = chain.state_bounds.shape[1]
    for lane in range(rejected.size):
        if rejected[lane] == 0:
            path.row[lane] += np.int32(states)


@bare
def drafts_kept(word, loss, most):
    """How many drafts of a round come before the first that is lost, each with chance ``loss``."""
    kept, share = np.int64(0), 1.0 - loss
    while kept < most and np.uint32(word) < share * 4294967296.0:
        kept += 1
        share *= 1.0 - loss
    return kept
