"""Acceptance from random words. One word per tick selects the next state and the accepted drafts.

The unit interval of the word's 31 low bits is cut by next state, and each state's part again by
acceptance, so that a probability of 0 or 1 is exact and any other is off by at most 2^-32.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from mtpsim.kernels.jit import bare, bare_inlined, inlined
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
    length[ticks:] = 0
    for j in range(deep):
        _add_longer(np.int32(j), length, reached[j])


@bare
def _add_longer(j, length, reached):
    for lane in range(reached.size):
        rounds = reached[lane]
        for t in range(TILE):
            rounds += np.int32(length[t, lane] > j)
        reached[lane] = rounds


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
            if chain.slow:
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
            chain.slow,
            path.row,
            path.state,
            length,
        )


@bare
def find_masks(chain, words, fresh, first, ticks, path, masks):
    """Token clock: bit j of ``masks`` [TILE, lanes]: would a position be accepted as draft j + 1?

    Sets ticks ``first`` .. ``ticks - 1`` of the tile.
    """
    if not chain.two:
        _masks_many(
            words,
            first,
            ticks,
            chain.state_bounds,
            chain.guide,
            chain.accept_bounds,
            chain.slow,
            path.row,
            path.state,
            masks,
        )
        return
    for t in range(first, ticks):
        begins = fresh and t == 0
        _move_two(words, t, begins, chain.state_bounds, path.pair)
        if chain.slow:
            _note_two(path.pair, path.state, t)
        for j in range(0, chain.accept_bounds.shape[2], 4):
            _mask_four(words, t, begins, chain.accept_bounds, j, path.pair, masks[t])


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


@inlined
def _bounds_of(top, first, draft):
    """Greatest words that accept a draft, by 2 old + new."""
    row_0, row_1 = (2, 2) if first else (0, 1)
    return top[row_0, 0, draft], top[row_0, 1, draft], top[row_1, 0, draft], top[row_1, 1, draft]


@inlined
def _bound(bounds, old, new):
    """The one of a pair of states, by selection: a load would be slower."""
    into_0 = bounds[2] if old else bounds[0]
    into_1 = bounds[3] if old else bounds[1]
    return into_1 if new else into_0


@bare
def _verify_two(words, t, first, top, draft, pair, total, row):
    """Add 1 to row ``row`` of ``total`` [.., lanes] where ``draft`` is accepted."""
    a = _bounds_of(top, first, draft)
    for lane in range(pair.size):
        old, new = pair[lane] > 1, (pair[lane] & np.int32(1)) != 0
        total[row, lane] += np.int32((words[t, lane] & BITS) <= _bound(a, old, new))


@bare
def _move_and_verify(words, t, first, state_bounds, top, pair, reached):
    """Move two states and verify the first draft, in one pass over the lanes."""
    row_0, row_1 = (2, 2) if first else (0, 1)
    after_0, after_1, a = state_bounds[row_0, 0], state_bounds[row_1, 0], _bounds_of(top, first, 0)
    for lane in range(pair.size):
        word, old = words[t, lane] & BITS, (pair[lane] & np.int32(1)) != 0
        new = word > (after_1 if old else after_0)
        reached[lane] += np.int32(word <= _bound(a, old, new))
        pair[lane] = np.int32(2) * np.int32(old) + np.int32(new)


@bare
def _verify_both(words, t, first, top, draft, pair, here, next_):
    """Verify ``draft`` and the next draft, so that words and states are read once."""
    a, b = _bounds_of(top, first, draft), _bounds_of(top, first, draft + 1)
    for lane in range(pair.size):
        word, old = words[t, lane] & BITS, pair[lane] > 1
        new = (pair[lane] & np.int32(1)) != 0
        here[lane] += np.int32(word <= _bound(a, old, new))
        next_[lane] += np.int32(word <= _bound(b, old, new))


@bare
def _mask_four(words, t, first, top, draft, pair, mask):
    """Set the bits of ``draft`` and the next three, so that words and states are read once."""
    last = top.shape[2] - 1
    d1, d2, d3 = min(draft + 1, last), min(draft + 2, last), min(draft + 3, last)
    a, b = _bounds_of(top, first, draft), _bounds_of(top, first, d1)
    c, d = _bounds_of(top, first, d2), _bounds_of(top, first, d3)
    none, one = np.int64(0), np.int64(1)
    bit, bit1, bit2, bit3 = one << draft, one << d1, one << d2, one << d3
    earlier = bit - 1
    for lane in range(pair.size):
        word, old = words[t, lane] & BITS, pair[lane] > 1
        new = (pair[lane] & np.int32(1)) != 0
        low = (bit if word <= _bound(a, old, new) else none) | (
            bit1 if word <= _bound(b, old, new) else none
        )
        high = (bit2 if word <= _bound(c, old, new) else none) | (
            bit3 if word <= _bound(d, old, new) else none
        )
        mask[lane] = (mask[lane] & earlier) | low | high


@bare_inlined
def find_state(word, r, state_bounds, guide):
    """The state that a 31-bit ``word`` leads to from row ``r`` of the thresholds."""
    # The guide names the least state that the top byte allows: the search takes about one step.
    # Indices are unsigned: a signed one costs a test for being negative.
    s = np.uintp(guide[r, np.uintp(word >> 23)])
    while word > state_bounds[r, s]:
        s += np.uintp(1)
    return np.intp(s)


@bare
def _lengths_many(words, ticks, state_bounds, guide, top, deep, noted, row, state, length):
    states = state_bounds.shape[1]
    more = states if state_bounds.shape[0] > states + 1 else 0  # transitions depend on outcomes
    for t in range(ticks):
        for lane in range(row.size):
            word, r = words[t, lane] & BITS, np.uintp(row[lane])
            s = np.uintp(find_state(word, r, state_bounds, guide))
            accepted = np.int32(0)
            for j in range(np.uintp(deep)):  # accepts are nested: a count without a branch
                accepted += np.int32(word <= top[r, s, j])
            if noted:
                state[t, lane] = s
            length[t, lane] = accepted
            row[lane] = np.int32(s) + np.int32(more if accepted == deep else 0)


@bare
def _masks_many(words, first, ticks, state_bounds, guide, top, noted, row, state, masks):
    for t in range(first, ticks):
        for lane in range(row.size):
            word, r = words[t, lane] & BITS, np.uintp(row[lane])
            s = np.uintp(find_state(word, r, state_bounds, guide))
            mask = np.int64(0)
            for j in range(np.uintp(top.shape[2])):
                mask |= np.int64(word <= top[r, s, j]) << np.int64(j)
            masks[t, lane] = mask
            if noted:
                state[t, lane] = s
            row[lane] = np.int32(s)


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
