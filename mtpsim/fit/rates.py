"""Acceptance rates by position in a log, with intervals clustered by request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.logs import Log
from mtpsim.stats.estimators import Estimates, Tally, delta_method


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean (float): estimate.
        low (float): lower end of the interval.
        high (float): upper end of the interval.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Estimates) -> Interval:
        """Return the first of some estimates."""
        return cls(float(found.values[0]), float(found.low[0]), float(found.high[0]))


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Conditional acceptance rates by position.

    Attributes:
        values (NDArray[float64]): ``[K]`` P(draft j accepted | drafts 1 to j-1 accepted), rounds
            pooled; rounds that did not draft position j are left out, so that short drafts do not
            bias it.
        low (NDArray[float64]): ``[K]`` lower ends of the intervals.
        high (NDArray[float64]): ``[K]`` upper ends of the intervals.
        trials (NDArray[float64]): ``[K]`` number of rounds that reached position j.
        clustered (bool): whether the intervals are clustered by request or window; otherwise they
            treat rounds as independent, and are too narrow if rounds are correlated.
        accept_length (Interval): mean accept length with its interval.
    """

    values: Floats
    low: Floats
    high: Floats
    trials: Floats
    clustered: bool
    accept_length: Interval


def estimate_rates(log: Log, confidence: float) -> Rates:
    """Return the rates by position of a log; of totals, one rate for all positions.

    Args:
        log: counts by request, window or total.
        confidence: level of the intervals, as 0.95.
    """
    has_positions = log.level != "totals"
    reached = log.reached if has_positions else log.rounds[:, None]
    hit = log.hit if has_positions else log.accepted[:, None]
    columns = np.concatenate([log.rounds[:, None], log.accepted[:, None], reached, hit], axis=1)
    size = reached.shape[1]

    def by_position(means: Floats) -> Floats:
        if not has_positions:
            rate = _geometric(1 + means[..., 1] / means[..., 0], log.mean_drafts)
            return np.repeat(rate[..., None], log.depth, axis=-1)
        came, passed = means[..., 2 : 2 + size], means[..., 2 + size :]
        return np.divide(passed, came, out=np.zeros_like(came), where=came > 0)

    def accept_length(means: Floats) -> Floats:
        return np.asarray(1 + means[..., 1:2] / means[..., :1])

    tally = Tally.of(columns.astype(float))
    values, trials = by_position(tally.mean), np.resize(reached.sum(0), log.depth)
    ends = _posterior(values, trials, confidence)
    length = Interval(log.accept_length, log.accept_length, log.accept_length)
    clustered = log.count >= 2
    if clustered:
        ends = _clustered(delta_method(by_position, tally, confidence), ends)
        length = Interval.of(delta_method(accept_length, tally, confidence))
    return Rates(
        values=values,
        low=ends[0],
        high=ends[1],
        trials=trials,
        clustered=clustered,
        accept_length=length,
    )


def _clustered(found: Estimates, single: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Clip intervals to 0 and 1; at rates of 0 and 1, which have no variance, use ``single``."""
    no_variance = (found.values <= 0) | (found.values >= 1)
    low, high = (
        np.where(no_variance, other, np.clip(end, 0, 1))
        for end, other in zip((found.low, found.high), single, strict=True)
    )
    return low, high


def _posterior(values: Floats, trials: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return Jeffreys intervals of rates, which treat rounds as independent.

    They reach 1 if all drafts were accepted, 0 if none were, and both without trials.

    Source:
        Brown, Cai and DasGupta, Interval estimation for a binomial proportion (2001).
    """
    from scipy.special import betaincinv

    hit, tail = values * trials, (1 - confidence) / 2
    low, high = (betaincinv(hit + 0.5, trials - hit + 0.5, u) for u in (tail, 1 - tail))
    return np.where(hit > 0, low, 0.0), np.where(hit < trials, high, 1.0)


def _geometric(length: Floats, drafts: float) -> Floats:
    """Return the rate, equal at all positions, that gives an accept length, by bisection.

    Args:
        length: accept lengths, of any shape.
        drafts: mean number of drafts; if not whole, a mix of the two nearest draft lengths.
    """
    whole, rest = int(drafts), drafts - int(drafts)
    weight = np.append(np.ones(whole + 1), rest)
    low, high = np.zeros_like(length), np.ones_like(length)
    for _ in range(60):
        middle = (low + high) / 2
        below = middle[..., None] ** np.arange(whole + 2) @ weight < length
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)
