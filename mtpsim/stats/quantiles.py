"""Quantiles of requests, with distribution-free intervals, and comparisons of depths at them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Estimates

SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)  # of the reported quantiles of requests


class Tails(NamedTuple):
    """Quantiles and means of single requests, by depth (0 to K) or by policy.

    Attributes:
        time (Floats): ``[D, SHARES, 3]`` quantiles of the time in ms, with both interval ends.
        speed (Floats): ``[D, SHARES, 3]`` quantiles of the tokens per second.
        mean (Floats): ``[D, 2, 3]`` mean over requests of the tokens per second, and the same
            relative to plain decoding, with both interval ends.
    """

    time: Floats
    speed: Floats
    mean: Floats

    @classmethod
    def of(
        cls, tokens: Floats, times: Floats, confidence: float, plain: Floats | None = None
    ) -> Tails:
        """Quantiles and means from tokens and ms, each ``[D, n]`` by depth or policy and request.

        ``plain`` are tokens and ms ``[2, n]`` of plain decoding; None: those of depth 0.
        """
        with np.errstate(divide="ignore", over="ignore"):  # noise may make a request take no time
            speeds = 1000 * tokens / times
            base = speeds[0] if plain is None else 1000 * plain[0] / plain[1]
        time, speed = (
            np.stack([quantiles(row, SHARES, confidence) for row in table])
            for table in (times, speeds)
        )
        return cls(time, speed, mean_speeds(speeds, base, confidence))


def mean_speeds(speeds: Floats, plain: Floats, confidence: float) -> Floats:
    """Means over requests, which count equally, however long they take.

    Args:
        speeds (Floats): ``[D, n]`` tokens per second by depth or policy and by request.
        plain (Floats): ``[n]`` tokens per second of plain decoding of the same requests.
        confidence (float): Two-sided confidence of the intervals.

    Returns:
        Floats: ``[D, 2, 3]`` mean, low and high end of the mean speed, and of its ratio to that of
            plain decoding (delta method, paired by request). NaN for fewer than two requests.

    Examples:
        >>> speeds = np.array([[10.0, 10.0, 10.0, 10.0], [10.0, 20.0, 20.0, 30.0]])
        >>> mean_speeds(speeds, speeds[0], 0.95)[1, :, 0].tolist()
        [20.0, 2.0]
    """
    from mtpsim.common.special import stdtrit

    count = speeds.shape[1]
    with np.errstate(all="ignore"):  # a request without a time is infinitely fast
        mean, base = speeds.mean(1), plain.mean()
        ratio = mean / base
        errors = np.stack(
            [speeds - mean[:, None], (speeds - ratio[:, None] * plain) / base], axis=1
        )
        half = np.sqrt((errors**2).sum(-1) / (count - 1) / count) * stdtrit(
            count - 1, (1 + confidence) / 2
        )
    found = np.stack([mean, ratio], axis=1)
    return np.stack([found, found - half, found + half], axis=-1)


def quantiles(values: Floats, shares: tuple[float, ...], confidence: float) -> Floats:
    """Quantiles of independent values, with distribution-free intervals.

    The number of values below the true quantile is binomial for any distribution, so the ends are
    the order statistics at its tails (Conover 1999, section 3.2). Coverage is at least
    ``confidence``, and higher with ties.

    Args:
        values (Floats): ``[n]`` values.
        shares (tuple[float, ...]): Probabilities of the quantiles.
        confidence (float): Two-sided confidence level.

    Returns:
        Floats: ``[len(shares), 3]`` quantile, low end and high end; an end is NaN if the sample is
            too small for it.
    """
    ordered, count, tail = np.sort(values), len(values), (1 - confidence) / 2
    found = np.full((len(shares), 3), np.nan)
    for row, share in zip(found, shares, strict=True):
        row[0] = ordered[min(int(np.ceil(share * count)), count) - 1]
        low = _binomial(tail, count, share)  # P(B < low) <= tail
        high = _binomial(1 - tail, count, share) + 1  # P(B >= high) <= tail
        if low >= 1:
            row[1] = ordered[low - 1]
        if high <= count:
            row[2] = ordered[high - 1]
    return found


def quantile_speedups(times: Floats, share: float, confidence: float) -> Estimates:
    """Speedup of every depth at a quantile of the request time, paired by request.

    To first order the error of a quantile is that of the share of values below it, over the density
    there (Bahadur 1966). So errors of two depths correlate as the indicators of being below, and
    their standard errors follow from the widths of the distribution-free intervals (Woodruff 1952).
    Times without noise are whole numbers of rounds, and a quantile between two of them jumps: at
    such a depth the wider side of the interval counts, independent of the errors of other depths.

    Args:
        times (Floats): ``[K + 1, n]`` ms by depth and request; row 0 is plain decoding.
        share (float): Probability of the quantile, such as 0.99.
        confidence (float): Two-sided confidence of the intervals.

    Returns:
        Estimates: ``[K + 1]`` quantile at depth 0 over that at depth k. The covariance is NaN where
        the sample is too small for an interval.

    Examples:
        >>> plain = np.random.default_rng(1).exponential(2.0, 1000)
        >>> quantile_speedups(np.stack([plain, plain / 2]), 0.5, 0.95).values.tolist()
        [1.0, 2.0]
    """
    from mtpsim.common.special import ndtri, stdtrit

    cells = np.stack([quantiles(row, (share,), confidence)[0] for row in times])
    found = cells[:, 0]
    errors = (cells[:, 2] - cells[:, 1]) / (2 * ndtri((1 + confidence) / 2)) / found
    below = (times <= found[:, None]).astype(float)
    below -= below.mean(1, keepdims=True)
    spread = np.sqrt((below**2).mean(1))
    scaled = below / np.where(spread > 0, spread, 1)[:, None]
    correlation = scaled @ scaled.T / times.shape[1]
    tied = (times == found[:, None]).sum(1) > np.sqrt(times.shape[1] * share * (1 - share))
    errors[tied] = [_error_between_ties(row, share, confidence) for row in times[tied]]
    correlation[tied[:, None] | tied] = 0
    np.fill_diagonal(correlation, 1)
    covariance = correlation * np.outer(errors, errors)  # of the logarithms
    values = found[0] / found
    slope = -np.eye(len(values))
    slope[:, 0] += 1
    slope *= values[:, None]
    freedom = times.shape[1] - 1
    quantile = float(stdtrit(freedom, (1 + confidence) / 2))
    return Estimates(values, slope @ covariance @ slope.T, quantile, freedom)


def _error_between_ties(values: Floats, share: float, confidence: float) -> float:
    """Relative standard error of a quantile of values that are often equal; NaN for few values.

    Where all values about the quantile are equal, the nearest other value sets the error: an
    interval without width at one level of confidence has one at a higher level.
    """
    from mtpsim.common.special import ndtr, ndtri

    level = float(ndtri((1 + confidence) / 2))
    for errors in (level, level + 1, level + 2, level + 3):
        found, low, high = quantiles(values, (share,), 2 * float(ndtr(errors)) - 1)[0]
        side = max(high - found, found * (found - low) / low) if low > 0 else np.nan
        if np.isnan(side) and errors == level:
            return np.nan
        if side > 0:
            return float(side / errors / found) * (1 + 1e-12)  # so that the end itself is covered
    return 0.0


def requests_for(share: float, confidence: float) -> int:
    """Least number of requests for which a quantile has an interval with both ends."""
    tail = (1 - confidence) / 2
    return int(np.ceil(np.log(tail) / np.log(max(share, 1 - share))))


@lru_cache(maxsize=256)
def _binomial(share: float, count: int, p: float) -> int:
    """Least k with P(B <= k) >= share; scipy.stats has it too, but takes a second to import."""
    from mtpsim.common.special import bdtr, bdtrik

    found = int(np.ceil(bdtrik(share, count, p)))
    return found - 1 if found and bdtr(found - 1, count, p) >= share else found
