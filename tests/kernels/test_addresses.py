"""Random words by address: no two addresses share a word, and words are uniform and uncorrelated.

That Philox4x32-10 itself passes TestU01's BigCrush is published (Salmon et al., SC'11).
`test_kernels.py` compares its words with the published ones, `test_by_word.py` with another
implementation. What is our own is the address (seed, request, tick, purpose) and the use of the 31
low bits; a fault there correlates words, and hands the same words to two addresses.
"""

import numpy as np
import pytest
from scipy import stats

from mtpsim.engine.simulate import random_key
from mtpsim.kernels.philox import (
    ARMS,
    DRAFT,
    LENGTHS,
    PATH,
    REJECTED,
    RESUMED,
    SCORES,
    STALE,
    TOKENS,
    VERIFY,
    words_at,
)

DEEPEST, TICKS, LANES = 64, 64, 64
NOISES = [VERIFY, DRAFT, VERIFY + ARMS, VERIFY + 2 * ARMS]
PURPOSES = [PATH, STALE, RESUMED, SCORES, SCORES + 1, REJECTED, *NOISES]
FAR = [0, 2**8, 2**16, 2**32 - LANES, 2**32, 2**33, 2**40]  # numbers of first requests
LATE = [0, 2**10, 2**20]  # first ticks


def words(seed, first, tick, purpose, ticks=TICKS, lanes=LANES):
    found = np.empty((ticks, lanes), np.int32)
    words_at(np.uint64(random_key(seed)), first, tick, purpose, found)
    return found.view(np.uint32)


def addresses():
    near = [(seed, 0, 0, purpose) for seed in (1, 2, 3) for purpose in PURPOSES]
    return near + [(1, first, tick, PATH) for first in FAR for tick in LATE if first or tick]


def repeated(fault=lambda *address: address):
    """Calls of four words that come a second time; by chance 1 in 2^128 of pairs do."""
    tiles = np.concatenate([words(*fault(*address)) for address in addresses()])
    calls = np.ascontiguousarray(tiles.reshape(-1, 4, LANES).transpose(0, 2, 1)).view("V16")
    return calls.size - np.unique(calls).size


def test_words_of_all_addresses_are_distinct():
    assert repeated() == 0


FAULTS = {  # of seed, first request, tick and purpose
    "seed ignored": lambda _, first, tick, purpose: (1, first, tick, purpose),
    "request ignored": lambda seed, _, tick, purpose: (seed, 0, tick, purpose),
    "request of 16 bits": lambda seed, first, *rest: (seed, first % 2**16, *rest),
    "request of 32 bits": lambda seed, first, *rest: (seed, first % 2**32, *rest),
    "tick of 10 bits": lambda seed, first, tick, purpose: (seed, first, tick % 2**10, purpose),
    "purpose ignored": lambda seed, first, tick, _: (seed, first, tick, PATH),
    "purpose of 8 bits": lambda seed, first, tick, purpose: (seed, first, tick, purpose % 2**8),
    "purpose added to tick": lambda seed, first, tick, add: (seed, first, tick + 4 * add, 0),
    "request added to tick": lambda seed, add, tick, purpose: (seed, 0, tick + 4 * add, purpose),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_addresses_that_share_words_are_detected(fault):
    """Negative controls."""
    assert repeated(fault) >= TICKS // 4


def test_purposes_are_distinct():
    used = [PATH, STALE, RESUMED, LENGTHS, TOKENS]
    used += [*(base + j for base in (SCORES, REJECTED) for j in range(DEEPEST))]
    used += [base + ARMS * arm for base in (VERIFY, DRAFT) for arm in range(1000)]
    assert len(set(used)) == len(used)


def stack(parts):
    """Words of many tiles side by side, one column per tile, in the order of the tiles."""
    return np.stack([part.ravel() for part in parts], axis=1)


ORDERS = {  # neighbours along the last axis are neighbouring addresses
    "ticks": lambda: words(7, 0, 0, PATH, 2**12, 64).T,
    "requests": lambda: words(7, 0, 0, PATH, 64, 2**12),
    "purposes": lambda: stack(words(7, 0, 0, purpose) for purpose in PURPOSES),
    "seeds": lambda: stack(words(seed, 0, 0, PATH) for seed in range(60)),
    "far requests": lambda: stack(words(7, first, 0, PATH) for first in FAR),
}
ALPHA = 1e-4  # false alarm of a test; the seed is fixed


def p_values(ordered):
    """Uniformity of the 31 low bits and of each bit; correlation of neighbours, also bit by bit."""
    low = (ordered & np.uint32(0x7FFFFFFF)) / 2**31
    counts = np.bincount((low * 256).astype(int).ravel(), minlength=256)
    yield float(stats.chisquare(counts).pvalue)
    pairs = (low[:, :-1] * 16).astype(int) * 16 + (low[:, 1:] * 16).astype(int)
    yield float(stats.chisquare(np.bincount(pairs.ravel(), minlength=256)).pvalue)
    for apart in (1, 2, 4):
        products = (low[:, apart:] - 0.5) * (low[:, :-apart] - 0.5)
        yield normal(products.sum(), products, 1 / 12)
    for bits in (ordered, ordered[:, 1:] ^ ordered[:, :-1]):
        for bit in range(32):
            yield normal((bits >> np.uint32(bit) & np.uint32(1)).sum() - bits.size / 2, bits, 1 / 2)


def normal(total, of, sd):
    """Two-sided p-value of a sum of independent terms of mean 0."""
    return float(2 * stats.norm.sf(abs(total) / (sd * np.sqrt(of.size))))


@pytest.mark.parametrize("order", ORDERS)
def test_words_are_uniform_and_uncorrelated(order):
    found = list(p_values(ORDERS[order]()))
    assert min(found) > ALPHA / len(found)


@pytest.mark.parametrize("fault", ["drift", "bias", "ramp"])
def test_correlated_and_biased_words_are_detected(fault):
    """Negative controls."""
    good = ORDERS["requests"]()
    steps = np.arange(good.shape[1], dtype=np.uint32)
    bad = {
        "drift": (good >> np.uint32(1)) + (np.roll(good, 1, axis=1) >> np.uint32(1)),
        "bias": good | np.uint32(1),
        "ramp": np.broadcast_to(steps * np.uint32(2**20), good.shape),
    }[fault]
    found = list(p_values(bad))
    assert min(found) < 1e-10
