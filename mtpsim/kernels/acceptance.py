"""Acceptance from random words. One word per tick selects the next state and the accepted drafts.

The unit interval of the word's 31 low bits is cut by next state, and each state's part again by
acceptance, so that a probability of 0 or 1 is exact and any other is off by at most 2^-32.
"""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache

import numpy as np

from mtpsim.kernels.jit import bare, bare_inlined, flat, stack_ints, with_globals
from mtpsim.kernels.philox import BLOCK, TILE

BITS = np.int32(0x7FFFFFFF)
DRAFTS = 3  # of a pass over a tile
THREES, REST = True, 0  # passes of three drafts, and drafts of a last one
SLOW = False  # whether states are to be noted
COUNTS, LENGTHS, MASKS = range(3)
SINK = COUNTS  # what is made of accepted drafts
MOST_STEPS = 4  # in a search of states without a branch

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
def _move_two(words, t, first, state_bounds, pair):
    """Move two states: ``pair`` [lanes] becomes 2 old + new, without loads, to vectorise."""
    after = _moves_of(state_bounds, first)
    for lane in range(pair.size):
        old = pair[lane] & np.int32(1)
        new = np.int32((words[t, lane] & BITS) > (after[1] if old != 0 else after[0]))
        pair[lane] = np.int32(2) * old + new


@bare
def _note_states(words, fresh, ticks, moves, pair, state):
    """Rows of ``state`` for lanes in the state of ``pair``, which stays as it is."""
    for t in range(ticks):
        before = pair if t == 0 else state[t - 1]
        _note_row(words[t], before, _moves_of(moves, fresh and t == 0), state[t])


@bare
def _note_row(words, before, after, state):
    # Rows as separate arrays: LLVM can't prove that those of one array don't overlap.
    for lane in range(state.size):
        old = (before[lane] & np.int32(1)) != 0
        state[lane] = np.int32((words[lane] & BITS) > (after[1] if old else after[0]))


@bare
def _note_two(pair, state, t):
    for lane in range(pair.size):
        state[t, lane] = pair[lane] & np.int32(1)


@bare
def _moves_of(state_bounds, first):
    """Greatest words that lead to the first of two states, by the state before."""
    row_0, row_1 = (2, 2) if first else (0, 1)
    return state_bounds[row_0, 0], state_bounds[row_1, 0]


@bare
def _bounds_of(top, first, draft):
    """Greatest words that accept a draft, by 2 old + new."""
    row_0, row_1 = (2, 2) if first else (0, 1)
    return top[row_0, 0, draft], top[row_0, 1, draft], top[row_1, 0, draft], top[row_1, 1, draft]


@bare
def _accepts(word, bounds, old, new):
    """Whether a word is within the bound of a pair of states, by selection: a load is slower."""
    into_0 = bounds[2] if old else bounds[0]
    into_1 = bounds[3] if old else bounds[1]
    return np.int32(word <= (into_1 if new else into_0))


@bare
def _verify_two(words, t, first, top, draft, pair, total, row):
    """Add 1 to row ``row`` of ``total`` [.., lanes] where ``draft`` is accepted."""
    a = _bounds_of(top, first, draft)
    for lane in range(pair.size):
        old, new = pair[lane] > 1, (pair[lane] & np.int32(1)) != 0
        total[row, lane] += _accepts(words[t, lane] & BITS, a, old, new)


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
        low = (bit if _accepts(word, a, old, new) else none) | (
            bit1 if _accepts(word, b, old, new) else none
        )
        high = (bit2 if _accepts(word, c, old, new) else none) | (
            bit3 if _accepts(word, d, old, new) else none
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


def _count_tile(words, fresh, moves, top, draft, pair, reached):
    """Verify DRAFTS drafts from ``draft`` on in all ticks of a tile, with counts in registers.

    Counts go through the stack, so that LLVM knows that they don't overlap with the words. The pass
    of the last draft stores the new states.
    """
    d1, d2 = draft + min(1, DRAFTS - 1), draft + DRAFTS - 1
    a, b, c = _bounds_of(top, False, draft), _bounds_of(top, False, d1), _bounds_of(top, False, d2)
    begin_a, begin_b = _bounds_of(top, fresh, draft), _bounds_of(top, fresh, d1)
    begin_c, begin = _bounds_of(top, fresh, d2), _moves_of(moves, fresh)
    later = _moves_of(moves, False)
    state, count = stack_ints(BLOCK), stack_ints(BLOCK)
    count_1, count_2 = stack_ints(BLOCK), stack_ints(BLOCK)
    block, ticks, start, one = np.uintp(BLOCK), np.uintp(TILE), np.uintp(0), np.int32(1)
    for at in range(start, np.uintp(pair.size), block):
        for i in range(block):
            x = y = z = np.int32(0)
            new = (pair[at + i] & one) != 0
            for t in range(ticks):
                word, old, first = words[t, at + i] & BITS, new, t == start
                after = begin if first else later
                new = word > (after[1] if old else after[0])
                x += _accepts(word, begin_a if first else a, old, new)
                if DRAFTS > 1:
                    y += _accepts(word, begin_b if first else b, old, new)
                if DRAFTS > 2:
                    z += _accepts(word, begin_c if first else c, old, new)
            state[i], count[i], count_1[i], count_2[i] = new, x, y, z
        _add_block(count, at, reached[draft])
        if DRAFTS > 1:
            _add_block(count_1, at, reached[d1])
        if DRAFTS > 2:
            _add_block(count_2, at, reached[d2])
        if d2 == reached.shape[0] - 1:
            for i in range(block):
                pair[at + i] = state[i]


@bare
def _add_block(more, at, total):
    for i in range(np.uintp(BLOCK)):
        total[at + i] += more[i]


_count_one = bare(with_globals(_count_tile, "_count_one", DRAFTS=1))
_count_both = bare(with_globals(_count_tile, "_count_both", DRAFTS=2))
_count_three = bare(with_globals(_count_tile, "_count_three", DRAFTS=3))


def _count_two(chain, words, fresh, ticks, path, reached):
    """Round clock: add to ``reached`` [deep, lanes] the rounds that accept drafts 1..j.

    For chains of at most two states and whole blocks of lanes. ``fresh`` marks a request's first
    tile.
    """
    deep, moves, top = reached.shape[0], chain.state_bounds, chain.accept_bounds
    if SLOW:
        _note_states(words, fresh, ticks, moves, path.pair, path.state)
    if ticks < TILE:  # the last tile of a request
        for t in range(ticks):
            _move_two(words, t, fresh and t == 0, moves, path.pair)
            for j in range(deep):
                _verify_two(words, t, fresh and t == 0, top, j, path.pair, reached, j)
        return
    if THREES:
        for j in range(0, deep - 2, 3):
            _count_three(words, fresh, moves, top, j, path.pair, reached)
    if REST == 1:
        _count_one(words, fresh, moves, top, deep - 1, path.pair, reached)
    if REST == 2:
        _count_both(words, fresh, moves, top, deep - 2, path.pair, reached)


@lru_cache
def counter(deep, slow):
    """:func:`_count_two` with only the passes that ``deep`` drafts need."""
    name = f"count_two_{deep % 3}{'_threes' * (deep > 2)}{'_slow' * slow}"
    return bare(with_globals(_count_two, name, THREES=deep > 2, REST=deep % 3, SLOW=slow))


@bare
def _index(number):
    """A number that is not negative as an index, which LLVM need not test for its sign."""
    return np.uintp(np.uint32(number & BITS))


@bare_inlined
def _add_hits(hit, size, t, j, at, out):
    for i in range(size):
        out[j, at + i] += hit[i]


@bare_inlined
def _add_lengths(hit, size, t, j, at, out):
    for i in range(size):
        out[t, at + i] += hit[i]


@bare_inlined
def _set_bits(hit, size, t, j, at, out):
    bit, none = np.int64(1) << np.int64(j), np.int64(0)
    for i in range(size):
        out[t, at + i] |= bit if hit[i] != 0 else none


_write_hits = _add_hits  # and other functions in copies


def _read_many(words, first, ticks, chain, deep, path, out):
    """Read ticks ``first`` .. ``ticks - 1`` of a tile for a chain of any number of states.

    Each step is a loop over a block of lanes whose results are on the stack, so that LLVM gathers
    many bounds at once. What is written to ``out`` depends on SINK.
    """
    states, drafts = np.int32(chain.state_bounds.shape[1]), np.int32(chain.accept_bounds.shape[2])
    by_outcome = SINK != MASKS and chain.state_bounds.shape[0] > states + 1
    more = states if by_outcome else np.int32(0)
    guide, bounds, top = flat(chain.guide), flat(chain.state_bounds), flat(chain.accept_bounds)
    word, row = stack_ints(BLOCK), stack_ints(BLOCK)
    cell, place = stack_ints(BLOCK), stack_ints(BLOCK)  # of the state's bound; of the first draft's
    hit = stack_ints(BLOCK)  # is the draft accepted?
    size = np.uintp(path.row.size)
    for at in range(np.uintp(0), size, np.uintp(BLOCK)):
        block = min(np.uintp(BLOCK), size - at)
        for i in range(block):
            row[i] = path.row[at + i]
        for t in range(np.uintp(first), np.uintp(ticks)):
            if chain.steps <= MOST_STEPS:
                for i in range(block):
                    w, r = words[t, at + i] & BITS, row[i]
                    least = guide[_index((r << np.int32(8)) | (w >> np.int32(23)))]
                    word[i], cell[i], hit[i] = w, r * states + least, np.int32(1)
                for _ in range(chain.steps):
                    for i in range(block):
                        cell[i] += np.int32(word[i] > bounds[_index(cell[i])])
            else:
                for i in range(block):
                    w, r = words[t, at + i] & BITS, row[i]
                    state = find_state(w, r, chain.state_bounds, chain.guide)
                    word[i], cell[i], hit[i] = w, r * states + np.int32(state), np.int32(1)
            if SINK != COUNTS:
                for i in range(block):
                    out[t, at + i] = 0
            for i in range(block):
                place[i] = cell[i] * drafts
            for j in range(np.int32(deep)):
                for i in range(block):
                    hit[i] = np.int32(word[i] <= top[_index(place[i] + j)])
                _write_hits(hit, block, t, j, at, out)
            for i in range(block):
                cell[i] -= row[i] * states
                row[i] = cell[i] + more * hit[i]
            if chain.slow:
                for i in range(block):
                    path.state[t, at + i] = cell[i]
        for i in range(block):
            path.row[at + i] = row[i]


def _reader(name, sink, write):
    return bare(with_globals(_read_many, name, SINK=sink, _write_hits=write))


_counts_many = _reader("_counts_many", COUNTS, _add_hits)
find_lengths_many = _reader("find_lengths_many", LENGTHS, _add_lengths)
_masks_many = _reader("_masks_many", MASKS, _set_bits)


@bare
def count_many(chain, words, fresh, ticks, path, reached):
    """:func:`_count_two` of any chain."""
    _counts_many(words, 0, ticks, chain, reached.shape[0], path, reached)


@bare
def find_lengths(chain, words, fresh, ticks, deep, path, length):
    """Round clock: accepted drafts ``length`` [TILE, lanes] of ``ticks`` rounds, at most deep."""
    if chain.two:
        find_lengths_two(chain, words, fresh, ticks, deep, path, length)
    else:
        find_lengths_many(words, 0, ticks, chain, deep, path, length)


@bare
def find_lengths_two(chain, words, fresh, ticks, deep, path, length):
    """:func:`find_lengths` of a chain of at most two states."""
    for t in range(ticks):
        _move_two(words, t, fresh and t == 0, chain.state_bounds, path.pair)
        if chain.slow:
            _note_two(path.pair, path.state, t)
        length[t] = 0
        for j in range(deep):
            _verify_two(words, t, fresh and t == 0, chain.accept_bounds, j, path.pair, length, t)


@bare
def find_masks_many(chain, words, fresh, first, ticks, path, masks):
    """Token clock: bit j of ``masks`` [TILE, lanes]: would a position be accepted as draft j + 1?

    Sets ticks ``first`` .. ``ticks - 1`` of the tile.
    """
    _masks_many(words, first, ticks, chain, chain.accept_bounds.shape[2], path, masks)


@bare
def find_masks_two(chain, words, fresh, first, ticks, path, masks):
    """:func:`find_masks_many` of a chain of at most two states."""
    for t in range(first, ticks):
        begins = fresh and t == 0
        _move_two(words, t, begins, chain.state_bounds, path.pair)
        if chain.slow:
            _note_two(path.pair, path.state, t)
        for j in range(0, chain.accept_bounds.shape[2], 4):
            _mask_four(words, t, begins, chain.accept_bounds, j, path.pair, masks[t])


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
