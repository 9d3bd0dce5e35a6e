"""Acceptance rates by position in a log, with intervals clustered by request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.formula.accept_lengths import constant_rate, rates_through
from mtpsim.formula.closed_form import survival
from mtpsim.logs import Log
from mtpsim.logs.reducer import Ints
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
        trials (NDArray[float64]): ``[K]`` number of rounds that reached position j; expected
            numbers where the log has totals.
        one_rate (bool): whether all positions have the same rate, since the log has totals.
        clustered (bool): whether the intervals are clustered by request or window; otherwise they
            treat rounds as independent, and are too narrow if rounds are correlated.
        accept_length (Interval): mean accept length with its interval.
    """

    values: Floats
    low: Floats
    high: Floats
    trials: Floats
    one_rate: bool
    clustered: bool
    accept_length: Interval

    @property
    def survival(self) -> Floats:
        """``[K]`` P(drafts 1 to j accepted)."""
        return survival(self.values)


def estimate_rates(log: Log, confidence: float) -> Rates:
    """Return the rates by position of a log; of totals, one rate for all positions.

    Args:
        log: counts by request, window or total.
        confidence: level of the intervals, as 0.95.
    """
    by_position = _rates_of_totals if log.level == "totals" else _rates_by_position
    values, trials, variance = by_position(log)
    low, high = _intervals(values, trials, variance, rows=log.count, confidence=confidence)
    return Rates(
        values=values,
        low=low,
        high=high,
        trials=trials,
        one_rate=log.level == "totals" and np.unique(log.depths).size == 1,
        clustered=log.count >= 2,
        accept_length=accept_length_interval(
            log.rounds, log.accepted, survival_of(log, values), confidence
        ),
    )


def survival_of(log: Log, rates: Floats) -> Floats:
    """Return the share of rounds that accept at least 1 to K drafts, ``[K]``."""
    if log.level == "totals":
        return survival(rates)
    return np.asarray(log.hit.sum(0) / max(log.rounds.sum(), 1))


def _rates_by_position(log: Log) -> tuple[Floats, Floats, Floats]:
    """Return rates, trials and clustered variances of the rates, each ``[K]``."""
    depth = log.depth

    def rates(means: Floats) -> Floats:
        came, passed = means[..., :depth], means[..., depth:]
        return np.divide(passed, came, out=np.zeros_like(came), where=came > 0)

    columns = np.concatenate([log.reached, log.hit], axis=1).astype(float)
    return rates(columns.mean(0)), log.reached.sum(0).astype(float), _variance(rates, columns)


def _rates_of_totals(log: Log) -> tuple[Floats, Floats, Floats]:
    """Return what :func:`_rates_by_position` does, of rates through the accept lengths by depth.

    Between depths rates are constant: at a single depth there is one rate.
    """
    depths = np.unique(log.depths)
    if depths.size > 1:
        return _rates_through_totals(log, depths)
    rate = constant_rate(log.accept_length - 1, log.depth)
    powers = rate ** np.arange(log.depth)
    columns = np.stack([log.rounds, log.accepted], axis=1).astype(float)
    slope = powers @ np.arange(1, log.depth + 1)  # d accept length / d rate
    variance = _variance(lambda means: means[..., 1:] / means[..., :1], columns) / slope**2
    each = np.ones(log.depth)
    return rate * each, log.rounds.sum() * powers, variance * each


def _rates_through_totals(log: Log, depths: Ints) -> tuple[Floats, Floats, Floats]:
    of_depth = [(log.depths == k) for k in depths]
    columns = np.concatenate(
        [np.stack([log.rounds * rows, log.accepted * rows], axis=1) for rows in of_depth], axis=1
    ).astype(float)

    def rates(means: Floats) -> Floats:
        lengths = 1 + means[..., 1::2] / means[..., ::2]
        each = [
            rates_through(dict(zip(depths.tolist(), row, strict=True)))
            for row in lengths.reshape(-1, depths.size)
        ]
        return np.reshape(each, (*lengths.shape[:-1], log.depth))

    values = rates(columns.mean(0))
    survived = np.append(1.0, survival(values)[:-1])
    drafting = np.array([log.rounds[log.depths >= j].sum() for j in range(1, log.depth + 1)])
    single = min(int(rows.sum()) for rows in of_depth) < 2
    variance = np.zeros(log.depth) if single else _variance(rates, columns)
    return values, drafting * survived, variance


def _variance(function: Callable[[Floats], Floats], columns: Floats) -> Floats:
    """Variance of a function of column means over rows; 0 for a single row."""
    if len(columns) < 2:
        return np.zeros(function(columns.mean(0)).shape)
    found = delta_method(function, Tally.of(columns), 0.95)
    return np.clip(np.diag(found.covariance), 0, None)


def _intervals(
    values: Floats, trials: Floats, variance: Floats, *, rows: int, confidence: float
) -> tuple[Floats, Floats]:
    """Return Jeffreys intervals of shares at the effective number of trials.

    The design effect is the ratio of the clustered to the binomial variance, but at least 1, and
    that of Student's to the normal quantile. Intervals lie within 0 and 1 and are exact enough for
    rare counts; they reach 1 if all trials succeeded, 0 if none did, and both without trials.

    Args:
        values: ``[n]`` shares.
        trials: ``[n]`` number of trials.
        variance: ``[n]`` clustered variance of the shares; 0 where not known.
        rows: number of clusters.
        confidence: level of the intervals, as 0.95.

    Source:
        Brown, Cai and DasGupta, Interval estimation for a binomial proportion (2001); Korn and
        Graubard, Confidence intervals for proportions with small expected counts (1998).
    """
    from mtpsim.common.special import betaincinv, ndtri, stdtrit

    tail = (1 - confidence) / 2
    heavier = (float(stdtrit(rows - 1, tail) / ndtri(tail)) ** 2) if rows > 1 else 1.0
    binomial = values * (1 - values) / np.maximum(trials, 1)
    ratio = np.divide(variance, binomial, out=np.zeros_like(values), where=binomial > 0)
    trials = trials / np.maximum(ratio * heavier, 1.0)
    hit = values * trials
    low, high = (betaincinv(hit + 0.5, trials - hit + 0.5, u) for u in (tail, 1 - tail))
    return np.where(hit > 0, low, 0.0), np.where(hit < trials, high, 1.0)


def accept_length_interval(
    rounds: Ints, accepted: Ints, survived: Floats, confidence: float
) -> Interval:
    """Return an accept length with an interval within 1 and K + 1.

    Args:
        rounds: ``[R]`` rounds of each request, window or total.
        accepted: ``[R]`` their accepted drafts.
        survived: ``[K]`` survival rates, which give the variance of independent rounds.
        confidence: level of the interval, as 0.95.
    """
    depth = survived.size
    columns = np.stack([rounds, accepted], axis=1).astype(float)
    share = np.array([accepted.sum() / max(rounds.sum(), 1) / depth])
    variance = _variance(lambda m: m[..., 1:] / m[..., :1] / depth, columns)
    moment = survived @ (2 * np.arange(1, depth + 1) - 1)
    independent = max(float(moment - survived.sum() ** 2), 0.0) / depth**2
    trials = rounds.sum() * (share * (1 - share) / independent if independent > 1e-12 else 1.0)
    low, high = _intervals(
        share, np.atleast_1d(trials), variance, rows=rounds.size, confidence=confidence
    )
    return Interval(*(float(1 + depth * end[0]) for end in (share, low, high)))
