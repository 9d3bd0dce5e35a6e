"""Distributions, and the quantile tables that every latency distribution compiles to.

A random 32-bit word ``w`` stands for the probability ``u = (uint32(w) + 1/2) / 2^32``. Cells are
found by the bits of ``float32(w)``, that is by the logarithm of the distance to the nearer end: 128
cells per octave in both tails, down to a probability of 2^-32.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats

Words = npt.NDArray[np.int32]

CELLS = 1 << 16  # sign, exponent and 7 bits of mantissa of a float32
FRACTIONS = 1 << 16  # the other 16 bits of the mantissa interpolate
OCTAVES = 32  # |w| from 1 to 2^31
SUBCELLS = 128
TOTAL = 2.0**32
TOLERANCE = 1e-4  # relative, of mean and standard deviation; else the table is refused
NEGLIGIBLE = 1e-6  # share of the variance that need not be accounted for
TABULATED = 10 * OCTAVES * SUBCELLS  # quantiles that a table evaluates
STEPS = 1 << 20  # values of a mixture with separate parts
ROUNDING = 5e-5  # a smaller mean error is removed by scaling, a larger one is added to the far tail
SEPARATE = 0.08  # greatest standard deviation of separate parts, over the log of their ratio


@dataclass(frozen=True)
class Distribution:
    """A distribution by its quantiles from either end, and its first two moments.

    The named ones below use scipy.special only: scipy.stats is slow to import.

    Attributes:
        ppf (Callable): Quantiles of an array of probabilities.
        isf (Callable): Quantiles of an array of exceedance probabilities; accurate in the upper
            tail.
        mean (float): Mean, finite and positive.
        sd (float): Standard deviation; infinite if the variance is.
    """

    ppf: Callable[[Floats], Floats]
    isf: Callable[[Floats], Floats]
    mean: float
    sd: float


def lognormal(cv: float) -> Distribution:
    """Lognormal of mean 1 and coefficient of variation ``cv``."""
    from mtpsim.common.special import ndtri

    sigma = float(np.sqrt(np.log1p(cv**2)))

    def at(score: Floats) -> Floats:
        return np.asarray(np.exp(sigma * score - sigma**2 / 2), float)

    return Distribution(lambda q: at(ndtri(q)), lambda q: at(-ndtri(q)), 1.0, cv)


def gamma(cv: float) -> Distribution:
    """Gamma of mean 1 and coefficient of variation ``cv``."""
    from mtpsim.common.special import gammainccinv, gammaincinv

    shape = 1 / cv**2
    return Distribution(
        lambda q: np.asarray(gammaincinv(shape, q) / shape, float),
        lambda q: np.asarray(gammainccinv(shape, q) / shape, float),
        1.0,
        cv,
    )


def exponential(offset: float) -> Distribution:
    """Shifted exponential of mean 1, at least ``offset``."""
    rest = 1 - offset
    return Distribution(
        lambda q: offset - rest * np.log1p(-q), lambda q: offset - rest * np.log(q), 1.0, rest
    )


def pareto(alpha: float) -> Distribution:
    """Pareto of tail index ``alpha`` > 1, scaled to mean 1."""
    least = (alpha - 1) / alpha
    variance = 1 / (alpha * (alpha - 2)) if alpha > 2 else np.inf

    def exceeded(tail: Floats) -> Floats:
        return np.asarray(least * tail ** (-1 / alpha), float)

    return Distribution(lambda q: exceeded(1 - q), exceeded, 1.0, float(np.sqrt(variance)))


def spike(base: Distribution, probability: float, factor: float) -> Distribution:
    """``base``, or ``factor`` times ``base`` with the given probability, scaled to mean 1.

    A mixture has no quantile in closed form: it is found by bisection of its tail probability.
    """
    mean = 1 - probability + probability * factor
    second = (base.sd**2 + base.mean**2) * (1 - probability + probability * factor**2)

    def quantile(q: Floats, upper: bool) -> Floats:
        return _mixture_quantile(base, probability, factor, q, upper) / mean

    sd = float(np.sqrt(second - mean**2)) / mean
    return Distribution(lambda q: quantile(q, False), lambda q: quantile(q, True), 1.0, sd)


def are_separate(base: Distribution | None, factor: float) -> bool:
    """Whether a gap lies between ``base`` (None: constant) and ``factor`` times ``base``."""
    return base is None or base.sd < SEPARATE * np.log(factor)


def _mixture_quantile(
    base: Distribution, p: float, factor: float, q: Floats, upper: bool
) -> Floats:
    """Bisect the log of the value; tails of the base by a fine monotone inverse of its quantile."""
    score = np.linspace(-9.0, 9.0, 60_001)
    from mtpsim.common.special import log_ndtr

    with np.errstate(over="ignore", divide="ignore"):
        values = np.where(
            score < 0, base.ppf(np.exp(log_ndtr(score))), base.isf(np.exp(log_ndtr(-score)))
        )
    logs = np.log(np.maximum(values, 1e-300))
    keep = np.append(True, np.diff(np.maximum.accumulate(logs)) > 0)
    logs, score = logs[keep], score[keep]

    def log_tail(x: Floats) -> Floats:
        """Log tail probability of the mixture at log value ``x``, on the side of ``upper``."""
        sign = -1.0 if upper else 1.0
        fast = log_ndtr(sign * np.interp(x, logs, score, left=-40, right=40))
        slow = log_ndtr(sign * np.interp(x - np.log(factor), logs, score, left=-40, right=40))
        return np.asarray(np.logaddexp(np.log1p(-p) + fast, np.log(p) + slow))

    low = np.full(q.shape, logs[0])
    high = np.full(q.shape, logs[-1] + np.log(factor))
    wanted = np.log(q)
    for _ in range(60):
        middle = (low + high) / 2
        above = log_tail(middle) > wanted
        go_up = above if upper else ~above
        low, high = np.where(go_up, middle, low), np.where(go_up, high, middle)
    return np.asarray(np.exp((low + high) / 2))


@dataclass(frozen=True)
class QuantileTable:
    """A distribution of non-negative factors as a table for the kernels.

    Attributes:
        kind (str): ``constant`` (always 1), ``cells`` (value and slope, by the word's float) or
            ``samples`` (sorted values, equally likely: resampled exactly).
        values (Floats): ``cells``: ``[65536, 2]`` value, and slope per fraction; ``samples``:
            ``[n, 2]`` with slope 0; ``constant``: ``[1, 2]``.
    """

    kind: Literal["constant", "cells", "samples"]
    values: Floats

    def lookup(self, words: Words) -> Floats:
        """Quantiles of ``words``: the NumPy version of the kernel's lookup."""
        if self.kind == "constant":
            return np.full(words.shape, self.values[0, 0])
        if self.kind == "samples":
            index = (words.view(np.uint32).astype(np.uint64) * np.uint64(len(self.values))) >> 32
            return np.asarray(self.values[index.astype(np.intp), 0])
        bits = words.astype(np.float32).view(np.uint32)
        cell = (bits >> 16).astype(np.intp)
        return np.asarray(self.values[cell, 0] + self.values[cell, 1] * (bits & 0xFFFF))

    def quantile(self, u: Floats) -> Floats:
        """Quantiles of probabilities ``u`` in (0, 1)."""
        index = np.minimum(np.asarray(u, float) * TOTAL, TOTAL - 1).astype(np.uint32)
        return self.lookup(index.view(np.int32))

    @cached_property
    def _moments(self) -> Floats:
        """Mean, mean square and mean cube."""
        if self.kind != "cells":
            return np.array([(self.values[:, 0] ** power).mean() for power in (1, 2, 3)])
        return np.array(_cell_moments(self.values))

    @property
    def mean(self) -> float:
        """Mean over all 2^32 words, in closed form."""
        return float(self._moments[0])

    @property
    def sd(self) -> float:
        """Standard deviation over all 2^32 words, in closed form."""
        first, second, _ = self._moments
        return float(np.sqrt(max(second - first**2, 0.0)))

    @property
    def skewness(self) -> float:
        """Third central moment over the cubed standard deviation; 0 for a constant."""
        first, second, third = self._moments
        if self.sd <= 1e-9 * first:
            return 0.0
        return float((third - 3 * first * second + 2 * first**3) / self.sd**3)


CONSTANT = QuantileTable("constant", np.array([[1.0, 0.0]]))


@lru_cache(maxsize=1)
def _grid() -> tuple[npt.NDArray[np.intp], Floats, Floats, Floats]:
    """Cells of positive words: index, lower end, width, and number of integers within."""
    octave, sub = np.divmod(np.arange(OCTAVES * SUBCELLS), SUBCELLS)
    lower = 2.0**octave * (1 + sub / SUBCELLS)
    width = 2.0**octave / SUBCELLS
    index = ((octave + 127) << 7) + sub
    inside = np.minimum(np.ceil(lower + width), 2.0**31) - np.minimum(np.ceil(lower), 2.0**31)
    return index.astype(np.intp), lower, width, inside


def _cell_moments(values: Floats) -> tuple[float, float, float]:
    index, lower, width, inside = _grid()
    first = second = third = 0.0
    for sign, extra in ((0, 0), (1 << 15, 1)):
        start = np.ceil(lower)
        at, slope = values[index + sign, 0], values[index + sign, 1] * FRACTIONS
        # Integers of a cell are equally spaced in its fraction: sums in closed form.
        phase = np.where(inside > 0, (start - lower) / width, 0)
        spread = phase + (inside - 1) / (2 * width)
        variance = (inside**2 - 1) / (12 * width**2)
        mean = at + slope * spread
        spread_out = np.where(inside > 0, slope**2 * variance, 0)
        first += (inside * mean).sum()
        second += (inside * (mean**2 + spread_out)).sum()
        third += (inside * (mean**3 + 3 * mean * spread_out)).sum()
        if extra:  # w = -2^31, whose float is in one more octave
            last = values[((OCTAVES - 1 + 127) << 7) + sign, 0]
            first, second, third = first + last, second + last**2, third + last**3
    zero = values[0, 0]
    return (first + zero) / TOTAL, (second + zero**2) / TOTAL, (third + zero**3) / TOTAL


def _quantile_at(distribution: Distribution, lower_half: bool, word: Floats) -> Floats:
    """Quantile at a (fractional) word ``word`` >= 0, counted from the end of its half."""
    u = np.clip((word + (0.5 if lower_half else -0.5)) / TOTAL, 2.0**-33, 0.5)
    return np.asarray(distribution.ppf(u) if lower_half else distribution.isf(u), float)


def _half(distribution: Distribution, lower_half: bool) -> Floats:
    """Value and slope ``[cells, 2]``: ends of the cell, moved so that its mean is exact."""
    _, lower, width, _ = _grid()
    wide = np.append(lower, 2.0**OCTAVES)
    ends = _quantile_at(distribution, lower_half, wide)
    node, weight = np.polynomial.legendre.leggauss(4)
    inner = _quantile_at(distribution, lower_half, lower[:, None] + width[:, None] * (node + 1) / 2)
    mean = inner @ weight / 2
    slope = np.diff(ends)
    value = mean - slope / 2
    # Where words are sparser than cells a word sees the cell's edge, not its mean.
    sparse = width < 2
    value = np.where(sparse, ends[:-1], value)
    return np.stack([value, slope / FRACTIONS], axis=1)


def table_of(distribution: Distribution) -> QuantileTable:
    """Compile a distribution to a table of mean 1 and the same coefficient of variation.

    A heavy tail has part of its moments beyond the last word (a third of the variance for a Pareto
    distribution of index 2.1): the value of the most extreme word accounts for it.

    Args:
        distribution (Distribution): Its values are not negative.

    Returns:
        QuantileTable: Of kind ``cells``.

    Raises:
        ValueError: Mean or standard deviation would be off by more than 1e-4, relative.
    """
    with np.errstate(all="ignore"):  # numbers that overflow are refused below
        return _table_of(distribution)


def _table_of(distribution: Distribution) -> QuantileTable:
    index = _grid()[0]
    mean, cv = distribution.mean, distribution.sd / distribution.mean
    values = np.zeros((CELLS, 2))
    for sign, lower_half in ((0, True), (1 << 15, False)):
        values[index + sign] = _half(distribution, lower_half) / [mean, mean]
        after = ((OCTAVES - 1 + 127) << 7) + sign
        middle = _quantile_at(distribution, lower_half, np.array([2.0**31]))[0] / mean
        values[after] = (middle, 0)
    values[0] = (_quantile_at(distribution, True, np.zeros(1))[0] / mean, 0)
    np.maximum(values[:, 0], 0, out=values[:, 0])
    _match(values, cv)
    table = QuantileTable("cells", values)
    off = abs(table.mean - 1)
    # Below a cv of 1e-3 the rounding of the two moments is comparable to the noise.
    sd_off = abs(table.sd - cv) / max(cv, 1e-3) if np.isfinite(cv) else 0.0
    if not max(off, sd_off) < TOLERANCE:
        raise ValueError(
            f"the distribution can't be tabulated: its mean would be off by {off:.1e} and its "
            f"standard deviation by {sd_off:.1e}, relative; {TOLERANCE:g} is allowed"
        )
    return table


def _match(values: Floats, cv: float) -> None:
    """Add what lies beyond the most extreme word to its value, then correct the mean."""
    extreme = (127 << 7) + (1 << 15)  # the cell of w = -1
    index, lower, _, _ = _grid()
    far = index[(lower < 2.0**22)] + (1 << 15)  # beyond the 99.9 % quantile
    for _ in range(4):
        first, second, _ = _cell_moments(values)
        if np.isinf(cv):
            values[extreme, 0] += max(1 - first, 0) * TOTAL
        else:
            missing = 1 + cv**2 - second
            if missing > NEGLIGIBLE * cv**2:  # else it is rounding, not a tail
                values[extreme, 0] = np.sqrt(values[extreme, 0] ** 2 + missing * TOTAL)
        first, *_ = _cell_moments(values)
        if abs(first - 1) < ROUNDING:
            values /= first
        else:
            values[far, 0] = np.maximum(values[far, 0] - (first - 1) * 2.0**10, 0)


def stepped_table(base: Distribution | None, probability: float, factor: float) -> QuantileTable:
    """Compile a mixture with separate parts, which smooth cells can't represent.

    Equally likely values, so many that a whole number of them is slow; each part is cut into equal
    shares of its distribution and then given its exact mean and standard deviation.

    Args:
        base (Distribution | None): Distribution of mean 1 of the fast part; None: constant.
        probability (float): Probability of the slow part, which is ``factor`` times the fast one.
        factor (float): Above 1.

    Returns:
        QuantileTable: Of kind ``samples``.
    """
    whole = Fraction(probability).limit_denominator(STEPS).denominator
    count = whole * max(1, STEPS // whole)
    slow = round(count * probability)
    parts = []
    for size, times in ((count - slow, 1.0), (slow, factor)):
        u = (np.arange(size) + 0.5) / size
        part = np.ones(size)
        if base is not None and size > 1:
            part = np.where(u < 0.5, base.ppf(u), base.isf(1 - u))
            part = 1 + (part - part.mean()) * (base.sd / part.std())
        parts.append(times * part)
    return samples_table(np.maximum(np.concatenate(parts), 0))


def samples_table(samples: Floats) -> QuantileTable:
    """Measured values ``[n]``, resampled exactly and scaled to mean 1."""
    ordered = np.sort(samples) / samples.mean()
    return QuantileTable("samples", np.stack([ordered, np.zeros_like(ordered)], axis=1))


@lru_cache(maxsize=1)
def normal_table() -> QuantileTable:
    """The standard normal distribution (mean 0, deviation 1), for noise that is correlated."""
    from mtpsim.common.special import ndtri

    normal = Distribution(lambda q: np.asarray(ndtri(q)), lambda q: -np.asarray(ndtri(q)), 0.0, 1.0)
    index = _grid()[0]
    values = np.zeros((CELLS, 2))
    for sign, lower_half in ((0, True), (1 << 15, False)):
        values[index + sign] = _half(normal, lower_half)
    values[0] = (normal.ppf(np.array([2.0**-33]))[0], 0)
    return QuantileTable("cells", values)
