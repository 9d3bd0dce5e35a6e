"""Quantile tables: the one form that every latency distribution compiles to.

A random 32-bit word ``w`` stands for the probability ``u = (uint32(w) + 1/2) / 2^32``. Cells are
found by the bits of ``float32(w)``, that is by the logarithm of the distance to the nearer end: 128
cells an octave into both tails, down to a probability of 2^-32.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Literal, Protocol

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
STEPS = 1 << 20  # values of a mixture whose parts lie apart
ROUNDING = 5e-5  # a mean error below this is scaled away, a larger one goes to the far tail


class Distribution(Protocol):
    """What a table needs of a law: quantiles from either end, vectorised (as scipy's)."""

    def ppf(self, q: Floats, /) -> Floats:
        """Quantile of probability ``q``."""

    def isf(self, q: Floats, /) -> Floats:
        """Quantile that is exceeded with probability ``q``."""


@dataclass(frozen=True)
class QuantileTable:
    """A law of non-negative factors as a table that a kernel looks up.

    Attributes:
        kind: ``constant`` (always 1), ``cells`` (value and slope by the word's float) or
            ``samples`` (sorted values, equally likely: resampled exactly).
        values: ``cells``: ``[65536, 2]`` value and slope a fraction; ``samples``: ``[n, 2]``, slope
            0; ``constant``: ``[1, 2]``.

    """

    kind: Literal["constant", "cells", "samples"]
    values: Floats

    def lookup(self, words: Words) -> Floats:
        """Quantiles of ``words``: the plain twin of the kernel's look-up."""
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
        """Third central moment over the cube of the standard deviation; 0 of a constant."""
        first, second, third = self._moments
        if self.sd <= 1e-9 * first:
            return 0.0
        return float((third - 3 * first * second + 2 * first**3) / self.sd**3)


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
        if extra:  # w = -2^31, whose float begins one more octave
            last = values[((OCTAVES - 1 + 127) << 7) + sign, 0]
            first, second, third = first + last, second + last**2, third + last**3
    zero = values[0, 0]
    return (first + zero) / TOTAL, (second + zero**2) / TOTAL, (third + zero**3) / TOTAL


def _quantile_at(law: Distribution, lower_half: bool, word: Floats) -> Floats:
    """Quantile at a (fractional) word ``word`` >= 0, counted from the end of its half."""
    u = np.clip((word + (0.5 if lower_half else -0.5)) / TOTAL, 2.0**-33, 0.5)
    return np.asarray(law.ppf(u) if lower_half else law.isf(u), float)


def _half(law: Distribution, lower_half: bool) -> Floats:
    """Value and slope ``[cells, 2]``: ends of the cell, moved so that the cell's mean is true."""
    _, lower, width, _ = _grid()
    wide = np.append(lower, 2.0**OCTAVES)
    ends = _quantile_at(law, lower_half, wide)
    node, weight = np.polynomial.legendre.leggauss(4)
    inner = _quantile_at(law, lower_half, lower[:, None] + width[:, None] * (node + 1) / 2)
    mean = inner @ weight / 2
    slope = np.diff(ends)
    value = mean - slope / 2
    # Where words are sparser than cells a word sees the cell's edge, not its mean.
    sparse = width < 2
    value = np.where(sparse, ends[:-1], value)
    return np.stack([value, slope / FRACTIONS], axis=1)


def table_of(law: Distribution, mean: float, sd: float) -> QuantileTable:
    """Compile a law to a table of the same mean (scaled to 1) and the same standard deviation.

    A heavy tail keeps a part of its moments beyond the last word (a third of the variance for a
    Pareto law of index 2.1): the most extreme word stands for all of it.

    Args:
        law: quantiles, of values >= 0.
        mean: of the law, finite and positive.
        sd: of the law; infinite where the variance is.

    Raises:
        ValueError: the law can't be tabulated to a relative 1e-4.

    """
    index = _grid()[0]
    values = np.zeros((CELLS, 2))
    for sign, lower_half in ((0, True), (1 << 15, False)):
        values[index + sign] = _half(law, lower_half) / [mean, mean]
        after = ((OCTAVES - 1 + 127) << 7) + sign
        middle = _quantile_at(law, lower_half, np.array([2.0**31]))[0] / mean
        values[after] = (middle, 0)
    values[0] = (_quantile_at(law, True, np.zeros(1))[0] / mean, 0)
    np.maximum(values[:, 0], 0, out=values[:, 0])
    _match(values, sd / mean)
    table = QuantileTable("cells", values)
    _refuse_if_off(table, table.mean - 1, sd / mean)
    return table


def _refuse_if_off(table: QuantileTable, off: float, cv: float) -> None:
    off = abs(off)
    # Below a cv of 1e-3 rounding of the two moments shows; the noise itself hardly does.
    spread = abs(table.sd - cv) / max(cv, 1e-3) if np.isfinite(cv) else 0.0
    if not max(off, spread) < TOLERANCE:
        raise ValueError(
            f"the law can't be tabulated: its mean would be off by {off:.1e} and its standard "
            f"deviation by {spread:.1e}, relative; {TOLERANCE:g} is allowed"
        )


def _match(values: Floats, cv: float) -> None:
    """Give the most extreme word what lies beyond it, then put the mean right."""
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


CONSTANT = QuantileTable("constant", np.array([[1.0, 0.0]]))


def stepped_table(
    base: Distribution | None, base_sd: float, probability: float, factor: float
) -> QuantileTable:
    """Compile a mixture whose parts lie apart, which no smooth cell can follow.

    Equally likely values, so many that a whole number of them is slow; each part is cut into equal
    shares of its law and then given its exact mean and standard deviation.

    Args:
        base: law of mean 1 of the fast part; None where it is constant.
        base_sd: its standard deviation.
        probability: of the slow part, which is the same law ``factor`` times slower.
        factor: above 1.
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
            part = 1 + (part - part.mean()) * (base_sd / part.std())
        parts.append(times * part)
    return samples_table(np.maximum(np.concatenate(parts), 0))


def samples_table(samples: Floats) -> QuantileTable:
    """Measured values, resampled as they are and scaled to mean 1."""
    ordered = np.sort(samples) / samples.mean()
    return QuantileTable("samples", np.stack([ordered, np.zeros_like(ordered)], axis=1))


class _Normal:
    """The standard normal law; scipy.special alone loads faster than scipy.stats."""

    def ppf(self, q: Floats, /) -> Floats:
        from scipy.special import ndtri

        return np.asarray(ndtri(q))

    def isf(self, q: Floats, /) -> Floats:
        return -self.ppf(q)


@lru_cache(maxsize=1)
def normal_table() -> QuantileTable:
    """The standard normal law (mean 0, deviation 1), for noise that is correlated."""
    index = _grid()[0]
    values = np.zeros((CELLS, 2))
    for sign, lower_half in ((0, True), (1 << 15, False)):
        values[index + sign] = _half(_Normal(), lower_half)
    values[0] = (_Normal().ppf(np.array([2.0**-33]))[0], 0)
    return QuantileTable("cells", values)
