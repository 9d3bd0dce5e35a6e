"""A small battery of tests of random words, after Knuth, Marsaglia and L'Ecuyer.

Each test takes words (uint32) and gives a p-value, uniform where words are random. The tests are
those of TestU01's SmallCrush in kind (L'Ecuyer, Simard 2007), made of whole-array code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats

Words = npt.NDArray[np.uint32]


def chi_square(counts: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """p of Pearson's statistic; classes of fewer than 10 expected are put together."""
    counts, expected = np.ravel(counts).astype(float), np.ravel(expected).astype(float)
    few = expected < 10
    if few.any():
        counts = np.append(counts[~few], counts[few].sum())
        expected = np.append(expected[~few], expected[few].sum())
        if len(expected) < 3:
            return 0.0  # hardly anything fell where it should: not random
        if expected[-1] < 10:
            counts[-2], expected[-2] = counts[-2:].sum(), expected[-2:].sum()
            counts, expected = counts[:-1], expected[:-1]
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return two_sided(stats.chi2(len(counts) - 1), statistic)


def two_sided(law: object, value: float) -> float:
    """p of a value that may be too great or too small: words too even are not random either."""
    lower, upper = law.cdf(value), law.sf(value)  # type: ignore[attr-defined]
    return float(min(1.0, 2 * min(lower, upper)))


def binomial_table(ones: npt.ArrayLike, trials: float) -> float:
    """p of many counts that are each Binomial(trials, 1/2)."""
    z = (np.ravel(ones) - trials / 2) / np.sqrt(trials / 4)
    return two_sided(stats.chi2(z.size), float((z * z).sum()))


def frequency(words: Words) -> float:
    """Ones at each of the 32 bits."""
    ones = [int(((words >> np.uint32(bit)) & np.uint32(1)).sum()) for bit in range(32)]
    return binomial_table(ones, words.size)


def octets(words: Words) -> float:
    """All four bytes of all words, 4 x 256 classes."""
    parts = np.ascontiguousarray(words).view(np.uint8).reshape(-1, 4)
    counts = np.stack([np.bincount(parts[:, i], minlength=256) for i in range(4)])
    statistic = float(((counts - words.size / 256) ** 2 / (words.size / 256)).sum())
    return two_sided(stats.chi2(4 * 255), statistic)


def _pairs(words: Words, high: bool) -> float:
    bits = 8 if words.size >= 2**21 else 5
    part = (words >> np.uint32(32 - bits if high else 0)) & np.uint32(2**bits - 1)
    pairs = (part[0::2].astype(np.int64) << bits) + part[1::2]
    classes = 4**bits
    return chi_square(np.bincount(pairs, minlength=classes), np.full(classes, pairs.size / classes))


def serial_high(words: Words) -> float:
    """Neighbouring words by their top bytes (or 5 bits), 256 x 256 classes."""
    return _pairs(words, True)


def serial_low(words: Words) -> float:
    """Neighbouring words by their low bytes."""
    return _pairs(words, False)


def gaps(words: Words) -> float:
    """Words between two that lie in the lowest sixteenth."""
    at = np.flatnonzero(words < np.uint32(2**28))
    lengths, share = np.diff(at) - 1, 1 / 16
    law = share * (1 - share) ** np.arange(100)
    counts = np.bincount(np.minimum(lengths, 100), minlength=101)
    return chi_square(counts, np.append(law, (1 - share) ** 100) * lengths.size)


def poker(words: Words) -> float:
    """Different values among eight hexadecimal digits of a word."""
    seen = np.zeros(words.size, np.uint16)
    for digit in range(8):
        value = ((words >> np.uint32(4 * digit)) & np.uint32(15)).astype(np.uint16)
        seen |= np.left_shift(np.uint16(1), value)
    law = np.zeros(9)
    law[0] = 1.0
    for _ in range(8):
        law[1:] = law[1:] * np.arange(1, 9) / 16 + law[:-1] * (16 - np.arange(8)) / 16
        law[0] = 0.0
    counts = np.bincount(np.bitwise_count(seen), minlength=9)
    return chi_square(counts[1:], law[1:] * words.size)


def birthdays(words: Words) -> float:
    """Equal spacings among 4,096 birthdays in a year of 2^32 days, many times over."""
    days = np.sort(words[: words.size // 4096 * 4096].reshape(-1, 4096), axis=1).astype(np.int64)
    spacings = np.sort(np.diff(days, axis=1, append=days[:, :1] + 2**32), axis=1)
    equal = int((np.diff(spacings, axis=1) == 0).sum())
    return two_sided_counts(equal, len(days) * 4096**3 / 2**34)


def two_sided_counts(count: int, mean: float) -> float:
    """p of a Poisson count."""
    law = stats.poisson(mean)
    return float(min(1.0, 2 * min(law.cdf(count), law.sf(count - 1))))


def collisions(words: Words) -> float:
    """Words that fall on one that was there before, 2^32 urns: repeated streams show here."""
    balls = np.sort(words[: 2**20])
    return two_sided_counts(int((np.diff(balls) == 0).sum()), balls.size**2 / 2**33)


def ranks(words: Words) -> float:
    """Rank over GF(2) of 32 x 32 matrices."""
    rows = words[: min(words.size // 32, 2**14) * 32].reshape(-1, 32).copy()
    found = np.zeros(len(rows), np.int64)
    for bit in range(32):
        mask = np.uint32(1 << bit)
        has = (rows & mask) != 0
        some, pivot = has.any(1), has.argmax(1)
        lead = np.where(some, rows[np.arange(len(rows)), pivot], np.uint32(0))
        rows ^= np.where(has, lead[:, None], np.uint32(0))  # the pivot cancels itself
        found += some
    full = np.prod(1 - 2.0 ** -np.arange(1, 33))
    one_less = 2.0**-1 * np.prod(
        (1 - 2.0 ** (np.arange(31) - 32)) ** 2 / (1 - 2.0 ** (np.arange(31) - 31))
    )
    law = np.array([1 - full - one_less, one_less, full])
    counts = [(found <= 30).sum(), (found == 31).sum(), (found == 32).sum()]
    return chi_square(counts, law * len(rows))


def weights(words: Words) -> float:
    """Ones in neighbouring words, 9 x 9 classes: dependence of Hamming weights."""
    ones = np.clip(np.bitwise_count(words).astype(np.int64), 12, 20) - 12
    law = stats.binom.pmf(np.arange(33), 32, 0.5)
    law = np.concatenate([[law[:13].sum()], law[13:20], [law[20:].sum()]])
    pairs = ones[0::2] * 9 + ones[1::2]
    return chi_square(np.bincount(pairs, minlength=81), np.outer(law, law) * pairs.size)


def lags(words: Words) -> float:
    """Equal bits of words 1 .. 24 and 2^5 .. 2^12 apart, bit by bit."""
    apart = [*range(1, 25), *(2**p for p in range(5, 13))]
    some = words[: 2**19]
    equal, trials = [], []
    for lag in apart:
        differ = some[lag:] ^ some[:-lag]
        equal.append(float(np.bitwise_count(differ).sum(dtype=np.int64)))
        trials.append(32.0 * differ.size)
    z = (np.array(equal) - np.array(trials) / 2) / np.sqrt(np.array(trials) / 4)
    return two_sided(stats.chi2(z.size), float((z * z).sum()))


def runs_up(words: Words) -> float:
    """Lengths of ascending runs, the word after each left out so that runs are independent."""
    falls = np.flatnonzero(words[1:] <= words[:-1]) + 1
    lengths, at = [], 0
    falls = falls.tolist()
    for fall in falls[: 2**16]:
        if fall > at:
            lengths.append(fall - at)
            at = fall + 1
    size = np.arange(1, 7)
    factorial = np.cumprod(np.arange(1, 8))
    law = 1 / factorial[size - 1] - 1 / factorial[size]
    law = np.append(law, 1 / factorial[6])
    counts = np.bincount(np.minimum(lengths, 7), minlength=8)[1:]
    return chi_square(counts, law * len(lengths))


def spectrum(words: Words) -> float:
    """Power at 2^15 frequencies of the top bits: no period stands out."""
    signs = np.where(words[: 2**17] >> np.uint32(31), 1.0, -1.0)
    power = np.abs(np.fft.rfft(signs)[1:-1]) ** 2 / signs.size  # exponential, mean 1
    return float(stats.kstest(power[: 2**15], "expon").pvalue)


TESTS: dict[str, Callable[[Words], float]] = {
    "frequency": frequency,
    "bytes": octets,
    "serial, high": serial_high,
    "serial, low": serial_low,
    "gaps": gaps,
    "poker": poker,
    "birthdays": birthdays,
    "collisions": collisions,
    "ranks": ranks,
    "weights": weights,
    "lags": lags,
    "runs": runs_up,
    "spectrum": spectrum,
}


def run(words: Words) -> dict[str, float]:
    """p-value of each test."""
    return {name: test(words) for name, test in TESTS.items()}
