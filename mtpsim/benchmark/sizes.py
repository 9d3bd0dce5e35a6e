"""Sizes of benchmarks: the variance of the log gain of two runs, and how many requests it takes."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Tally, delta_method

LEAST_REQUESTS = 10  # fewer give no reliable interval


def log_gain(means: Floats) -> Floats:
    """Log ratio of the second run's speed to the first's, ``[..., 1]``."""
    first, second = means[..., 0] / means[..., 1], means[..., 2] / means[..., 3]
    return np.asarray(np.log(second / first))[..., None]


def _influence(rows: Floats) -> Floats:
    """``[n, 2]`` influence of each request on the log speed of each run."""
    share = rows / rows.mean(0)
    return np.stack([share[:, 0] - share[:, 1], share[:, 2] - share[:, 3]], axis=1)


def gain_variance(rows: Floats, paired: bool) -> float:
    """Variance of the log gain for one request per run."""
    influence = _influence(rows)
    if paired:
        return float((influence[:, 1] - influence[:, 0]).var(ddof=1))
    return float(influence.var(axis=0, ddof=1).sum())


def recorded_gain(rows: Floats, confidence: float, widening: float = 1.0) -> tuple[float, float]:
    """Mean log gain of recorded requests, and the half-width of its interval.

    Args:
        rows (Floats): ``[D, R, 4]`` totals of two runs, by draw and request.
        confidence (float): Confidence of the two-sided interval, for the workload.
        widening (float): Factor on standard errors over requests.

    Returns:
        tuple[float, float]: Gain and half-width: from the variance over draws, and that of a sample
        of requests.
    """
    found = [delta_method(log_gain, Tally.of(draw), confidence) for draw in rows]
    gains = np.array([one.values[0] for one in found])
    sample = float(np.mean([(widening * one.half_width[0]) ** 2 for one in found]))
    draws = len(gains)
    between = float(gains.var(ddof=1)) * (1 + 1 / draws) if draws > 1 else 0.0
    width = _t((1 + confidence) / 2, max(draws, 2)) ** 2 * between
    return float(gains.mean()), float(np.sqrt(sample + width))


def excess_kurtosis(rows: Floats) -> float:
    """Kurtosis less 1 of a request's influence on the log gain; 2 (normal) if there is none.

    Squares are truncated at their 99.9 % quantile: rarer requests occur in few benchmarks, whose
    intervals no plan would make narrow enough.
    """
    influence = _influence(rows)
    squares = (influence[:, 1] - influence[:, 0]) ** 2
    squares = np.minimum(squares, np.quantile(squares, 0.999))
    return float(squares.var() / squares.mean() ** 2) if squares.any() else 2.0


def requests_to_detect(variance: float, effect: float, power: float, confidence: float) -> int:
    """Requests per run to detect a difference with a given probability.

    Args:
        variance (float): Variance of the log gain for one request per run.
        effect (float): Relative difference of the speeds.
        power (float): Wanted probability that the interval excludes zero.
        confidence (float): Confidence of the two-sided interval.
    """
    return _least_requests(
        variance, np.log1p(effect), lambda m: _t((1 + confidence) / 2, m) + _t(power, m)
    )


def requests_to_measure(
    variance: float,
    effect: float,
    power: float,
    confidence: float,
    excess: float = 2.0,
    pool: float = np.inf,
) -> int:
    """Requests per run to measure a speedup to a given half-width.

    The variance that a benchmark finds is taken as chi-squared, with the degrees of freedom that
    the kurtosis of requests and the uncertainty of ``variance`` leave (Satterthwaite 1946).

    Args:
        variance (float): Variance of the log gain for one request per run.
        effect (float): Relative half-width to reach.
        power (float): Wanted probability that the interval is that narrow.
        confidence (float): Confidence of the two-sided interval.
        excess (float): Kurtosis less 1 of a request's influence: 2 if normal, more for long tails.
        pool (float): Number of requests that ``variance`` is estimated from.
    """
    from mtpsim.common.special import chdtri

    def quantile(m: int) -> float:
        if excess <= 0:  # all requests are the same: their variance is known
            return _t((1 + confidence) / 2, m)
        degrees = 2 / (excess * (1 / (m - 1) + 1 / pool))
        return _t((1 + confidence) / 2, m) * float(np.sqrt(chdtri(degrees, 1 - power) / degrees))

    return _least_requests(variance, np.log1p(effect), quantile)


def _t(share: float, requests: int) -> float:
    from mtpsim.common.special import stdtrit

    return float(stdtrit(requests - 1, share))


def _least_requests(variance: float, width: float, quantile: Callable[[int], float]) -> int:
    """The least number m of requests with quantile(m) * sqrt(variance / m) <= width."""

    def narrow(m: int) -> bool:
        return variance * (quantile(m) / width) ** 2 <= m

    most = LEAST_REQUESTS
    while not narrow(most):
        most *= 2
    sizes = range(max(most // 2 + 1, LEAST_REQUESTS), most)
    return sizes.start + bisect_left(sizes, True, key=narrow)
