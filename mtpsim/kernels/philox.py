"""Philox4x32-10: every random word is a pure function of its address.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123).
The address is (key; request, tick, purpose). One call of the generator gives four words, which
serve four ticks in a row: an unused purpose costs nothing.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.jit import bare, inlined, kernel

PATH, VERIFY, DRAFT = 0, 1, 2  # purposes: state and acceptance; noise of verify; noise of draft
LENGTHS = 4  # arrival and lengths of a server's request
STALE, SCORES, REJECTED = 3, 16, 80  # of policies; the last two have one for each draft position
RESUMED = 7  # drafts that are lost after depth 0
TOKENS = 5  # of a request whose length has a distribution
ARMS = 256  # offset between arms: benchmark runs with the same text and separate noise
CALL = 4  # words that one call of the generator gives: four ticks of a purpose
TILE = 8  # ticks that the stages of a kernel handle at once, a multiple of CALL
LANES = 1024  # requests in lockstep: their scratch stays in the nearest caches
BLOCK = 128  # lanes of a loop whose results wait on the stack: LANES is a multiple of it

MULTIPLY_0, MULTIPLY_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Ten rounds on a counter of four 32-bit words with a key of two, all held in uint64."""
    for _ in range(10):
        p0 = MULTIPLY_0 * c0
        p1 = MULTIPLY_1 * c2
        c0 = (p1 >> HALF) ^ c1 ^ k0
        c1 = p1 & LOW
        c2 = (p0 >> HALF) ^ c3 ^ k1
        c3 = p0 & LOW
        k0 = (k0 + WEYL_0) & LOW
        k1 = (k1 + WEYL_1) & LOW
    return c0, c1, c2, c3


@bare
def _fill(key, first, call, purpose, w0, w1, w2, w3):
    # Rows as separate arrays: with one 2-d array LLVM can't prove that they don't overlap.
    k0 = key & LOW
    k1 = key >> HALF
    for lane in range(w0.size):
        request = first + np.uint64(lane)
        a, b, c, d = philox(request & LOW, request >> HALF, call, purpose, k0, k1)
        w0[lane] = np.int32(np.uint32(a))
        w1[lane] = np.int32(np.uint32(b))
        w2[lane] = np.int32(np.uint32(c))
        w3[lane] = np.int32(np.uint32(d))


@bare
def fill_words(key, first, tick, ticks, purpose, words):
    """Words of ``purpose`` for ``ticks`` ticks from ``tick``, a multiple of 4, on.

    Writes ``words`` ``[TILE, lanes]`` int32 (the same bits as the generator's uint32) for requests
    ``first`` .. ``first + lanes - 1``, in fours.
    """
    for row in range(0, ticks, CALL):
        call = np.uint64((tick + row) // CALL)
        a, b, c, d = words[row], words[row + 1], words[row + 2], words[row + 3]
        _fill(key, np.uint64(first), call, np.uint64(purpose), a, b, c, d)


@kernel
def words_at(key, first, tick, purpose, words):
    """:func:`fill_words` of a whole tile, for callers outside the kernels."""
    fill_words(key, first, tick, words.shape[0], purpose, words)


@kernel
def philox_block(counter, key, out):
    """One call of the bare generator: ``counter`` [4], ``key`` [2], ``out`` [4], all uint64."""
    out[0], out[1], out[2], out[3] = philox(
        counter[0], counter[1], counter[2], counter[3], key[0], key[1]
    )


def in_lanes(out):
    """Parts of the rows of ``out``, and how many requests go in lockstep in each.

    A kernel has scratch for the lanes of a part, and goes through the part by as many rows.
    """
    lanes = lanes_of(len(out))
    whole = len(out) - len(out) % lanes
    parts = slice(0, whole), slice(whole, len(out))
    return [(part, min(lanes, part.stop - part.start)) for part in parts if part.stop > part.start]


def lanes_of(requests):
    """How many requests go in lockstep, so that about as many do each time."""
    return max(-(-requests // max(-(-requests // LANES), 1)), 1)
