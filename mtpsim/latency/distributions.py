"""The unit-mean laws behind the names in a file, by scipy.special alone (fast to load)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats

STEEP = 0.08  # standard deviation of the base over the log of the factor


@dataclass(frozen=True)
class Law:
    """Quantiles from either end, with mean and standard deviation."""

    below: Callable[[Floats], Floats]
    above: Callable[[Floats], Floats]
    mean: float
    sd: float

    def ppf(self, q: Floats, /) -> Floats:
        """Quantile of probability ``q``."""
        return self.below(q)

    def isf(self, q: Floats, /) -> Floats:
        """Quantile that is exceeded with probability ``q``."""
        return self.above(q)


def lognormal(cv: float) -> Law:
    """Lognormal of mean 1 and coefficient of variation ``cv``."""
    from scipy.special import ndtri

    sigma = float(np.sqrt(np.log1p(cv**2)))

    def at(score: Floats) -> Floats:
        return np.asarray(np.exp(sigma * score - sigma**2 / 2), float)

    return Law(lambda q: at(ndtri(q)), lambda q: at(-ndtri(q)), 1.0, cv)


def gamma(cv: float) -> Law:
    """Gamma of mean 1 and coefficient of variation ``cv``."""
    from scipy.special import gammainccinv, gammaincinv

    shape = 1 / cv**2
    return Law(
        lambda q: np.asarray(gammaincinv(shape, q) / shape, float),
        lambda q: np.asarray(gammainccinv(shape, q) / shape, float),
        1.0,
        cv,
    )


def exponential(offset: float) -> Law:
    """A fixed part ``offset`` of the mean and an exponential rest."""
    rest = 1 - offset
    return Law(
        lambda q: offset - rest * np.log1p(-q), lambda q: offset - rest * np.log(q), 1.0, rest
    )


def pareto(alpha: float) -> Law:
    """Pareto of index ``alpha`` > 1, scaled to mean 1."""
    least = (alpha - 1) / alpha
    variance = 1 / (alpha * (alpha - 2)) if alpha > 2 else np.inf

    def exceeded(tail: Floats) -> Floats:
        return np.asarray(least * tail ** (-1 / alpha), float)

    return Law(lambda q: exceeded(1 - q), exceeded, 1.0, float(np.sqrt(variance)))


def spike(base: Law, probability: float, factor: float) -> Law:
    """``base``, but ``factor`` times slower with ``probability``; scaled to mean 1.

    A mixture has no quantile in closed form: bisection of its tail finds it.
    """
    mean = 1 - probability + probability * factor
    second = (base.sd**2 + base.mean**2) * (1 - probability + probability * factor**2)

    def quantile(q: Floats, upper: bool) -> Floats:
        return _mixture_quantile(base, probability, factor, q, upper) / mean

    sd = float(np.sqrt(second - mean**2)) / mean
    return Law(lambda q: quantile(q, False), lambda q: quantile(q, True), 1.0, sd)


def lie_apart(base: Law | None, factor: float) -> bool:
    """Whether a gap opens between ``base`` and the same ``factor`` times slower."""
    return base is None or base.sd < STEEP * np.log(factor)


def _mixture_quantile(base: Law, p: float, factor: float, q: Floats, upper: bool) -> Floats:
    """Bisect the log of the value; tails of the base by a fine monotone inverse of its quantile."""
    score = np.linspace(-9.0, 9.0, 60_001)
    from scipy.special import log_ndtr

    with np.errstate(over="ignore", divide="ignore"):
        values = np.where(
            score < 0, base.ppf(np.exp(log_ndtr(score))), base.isf(np.exp(log_ndtr(-score)))
        )
    logs = np.log(np.maximum(values, 1e-300))
    keep = np.append(True, np.diff(np.maximum.accumulate(logs)) > 0)
    logs, score = logs[keep], score[keep]

    def log_tail(x: Floats) -> Floats:
        """Log probability of the tail in question at log value ``x``, of the mixture."""
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
