"""Comparisons of many estimates at once: with the best, with one option, and with a tolerance.

Depths of a run have common random numbers: comparisons are paired, and use the covariance of the
estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import combinations
from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Estimates

DRAWS = 20_000  # of the joint distribution of the estimates; fixed seed: the same advice each time
CERTAIN = 1e-12  # smaller standard errors are rounding errors
ITERATIONS = 6  # of the fixed point for the number of requests needed
Verdict = Literal["holds", "fails", "undecided", "identity"]
HolmVerdict = tuple[Verdict, int | None]
"""A verdict, and the number of further requests expected to decide an open one."""


def normal_draws(covariance: Floats) -> Floats:
    """``[DRAWS, Q]`` draws of a normal distribution with mean 0."""
    size, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.clip(size, 0, None))
    return np.asarray(_standard_draws(len(size)) @ factor.T)


@lru_cache(4)  # each point of a sweep needs the same ones
def _standard_draws(size: int) -> Floats:
    return np.random.default_rng(0).standard_normal((DRAWS, size))


@lru_cache(4)
def student_scales(freedom: float) -> Floats:
    """``[DRAWS, 1]`` divisors that turn normal draws into draws of Student's distribution."""
    if np.isinf(freedom):
        return np.ones((DRAWS, 1))
    square = np.random.default_rng(1).chisquare(freedom, (DRAWS, 1)) / freedom
    return np.asarray(np.sqrt(square))


def log_of(speedup: Estimates) -> Estimates:
    """Estimates of the logarithms, by the delta method."""
    scale = np.diag(1 / speedup.values)
    covariance = scale @ speedup.covariance @ scale
    return replace(speedup, values=np.log(speedup.values), covariance=covariance)


def steps_of(speedup: Estimates) -> Estimates:
    """Ratio of each speedup to the one before, ``[Q - 1]``, by the delta method."""
    differences = np.diff(np.eye(len(speedup.values)), axis=0)
    logs = log_of(speedup).linear_combination(differences)
    values = np.exp(logs.values)
    return replace(logs, values=values, covariance=logs.covariance * np.outer(values, values))


@dataclass(frozen=True)
class _Differences:
    """Paired differences of all options to one of them, and how they vary."""

    gain: Floats
    error: Floats
    one_sided: float  # max-t quantile
    two_sided: float  # max-|t| quantile
    deviations: Floats  # [DRAWS] max |t|

    @property
    def may_be_best(self) -> bool:
        return bool((self.gain <= self.one_sided * self.error + CERTAIN).all())


def _differences(
    values: Floats, draws: Floats, scales: Floats, options: Sequence[int], confidence: float
) -> list[_Differences]:
    """Differences to each of some options, which share what belongs to a pair of options.

    Arrays are a contiguous column per option, which takes a third of the time of rows.
    """
    columns, scale = np.ascontiguousarray(draws.T), scales[:, 0]
    error = np.zeros((len(options), len(values)))
    top = np.full((len(options), len(draws)), -np.inf)
    deviations = np.zeros_like(top)
    rows = {option: row for row, option in enumerate(options)}
    for one, other in combinations(range(len(values)), 2):
        if not rows.keys() & {one, other}:
            continue
        noise = columns[other] - columns[one]
        found = np.sqrt(_mean((noise - _mean(noise)) ** 2))
        if not found > CERTAIN:
            continue
        t = noise / found / scale
        size = np.abs(t)
        for option, second, signed in ((one, other, t), (other, one, -t)):
            if (row := rows.get(option)) is not None:
                error[row, second] = found
                np.maximum(top[row], signed, out=top[row])
                np.maximum(deviations[row], size, out=deviations[row])
    return [
        _Differences(
            gain=values - values[option],
            error=error[row],
            one_sided=_quantile(top[row], confidence) if error[row].any() else 0.0,
            two_sided=_quantile(deviations[row], confidence),
            deviations=deviations[row],
        )
        for row, option in enumerate(options)
    ]


def _quantile(column: Floats, share: float) -> float:
    """``np.quantile``, to the bit, in a fifth of the time: selecting one place is vectorised."""
    place = (len(column) - 1) * share
    below = int(place)
    ordered = np.partition(column, below)
    low, rest = ordered[below], place - below
    high = ordered[below + 1 :].min() if below + 1 < len(column) else low
    return float(low + (high - low) * rest if rest < 0.5 else high - (high - low) * (1 - rest))


def _mean(column: Floats) -> float:
    """Mean with the numbers added one by one, as NumPy adds the rows of a matrix."""
    return float(np.cumsum(column)[-1] / len(column))


@dataclass(frozen=True)
class Choice:
    """Comparison of Q options (depths, policies) with the best of them.

    Attributes:
        best (int): The option of the greatest estimate.
        probability (Floats): ``[Q]`` probability that each option is the best, under the joint
            distribution of the options. Not meaningful among ties: see ``candidates``.
        near_best (Floats): ``[Q]`` probability that each option loses no more than the indifference
            against the best, under the same distribution.
        candidates (list[int]): Options that may be the best; the set contains a true best option
            with the stated confidence (max-t over paired differences).
        loss (Floats): ``[Q]`` log ratio of the best estimate to each.
        low (Floats): ``[Q]`` simultaneous lower bounds of the true loss: the greatest lower bound
            of a paired difference (max-|t| over all pairs, or Bonferroni's quantile).
        high (Floats): ``[Q]`` simultaneous upper bounds (multiple comparisons with the best,
            Edwards and Hsu 1983, over paired differences).
        regret (Floats): ``[Q]`` expected loss of each option as a share of the best, under the
            same distribution.
    """

    best: int
    probability: Floats
    near_best: Floats
    candidates: list[int]
    loss: Floats
    low: Floats
    high: Floats
    regret: Floats

    def verdict(self, option: int, indifference: float) -> str:
        """``as good`` (as the best, within the indifference), ``worse`` or ``open``."""
        if self.high[option] <= np.log1p(indifference):
            return "as good"
        return "worse" if self.low[option] > np.log1p(indifference) else "open"


def choose(log_speedup: Estimates, confidence: float, indifference: float = 0.0) -> Choice:
    """Compare options with the best of them.

    Args:
        log_speedup (Estimates): ``[Q]`` log speedups with their covariance.
        confidence (float): Simultaneous confidence over all options.
        indifference (float): Relative loss that does not matter.

    Returns:
        Choice: Best option, candidates, losses and regrets.
    """
    draws, scales = normal_draws(log_speedup.covariance), student_scales(log_speedup.freedom)
    values, limits = log_speedup.values, (confidence, indifference)
    drawn = (values[:, None] + np.ascontiguousarray(draws.T) / scales[:, 0]).T
    return _choice(values, draws, scales, drawn, limits, log_speedup.freedom)


def choose_among(log_speedups: Floats, confidence: float, indifference: float = 0.0) -> Choice:
    """Compare options of which draws are given, such as of a posterior; best: least mean regret.

    Args:
        log_speedups (Floats): ``[R, Q]`` joint draws of the log speedups.
        confidence (float): Simultaneous confidence over all options.
        indifference (float): Relative loss that does not matter.

    Returns:
        Choice: Best option, candidates, losses and regrets.
    """
    values = log_speedups.mean(0)
    # A draw below the mean is what an estimate above the true value is: hence the sign.
    found = _choice(
        values, values - log_speedups, np.ones((1, 1)), log_speedups, (confidence, indifference)
    )
    best = int(np.argmin(found.regret))
    return replace(found, best=best, loss=values[best] - values)


def _choice(
    values: Floats,
    draws: Floats,
    scales: Floats,
    drawn: Floats,
    limits: tuple[float, float],
    freedom: float = np.inf,
) -> Choice:
    from mtpsim.common.special import stdtrit

    confidence, indifference = limits
    to = _differences(values, draws, scales, range(len(values)), confidence)
    candidates = [option for option, differences in enumerate(to) if differences.may_be_best]
    # One of the candidates is the best: the differences to them bound each loss from above.
    behind = np.array([-to[c].gain for c in candidates])
    half = np.array([to[c].two_sided * to[c].error for c in candidates])
    # A loss is at least the difference to any option. The option that gives the greatest lower
    # bound depends on the data, so that the bounds of all pairs must hold at once.
    every = reduce(np.maximum, (one.deviations for one in to))
    all_pairs = _quantile(every, confidence)
    if np.isfinite(freedom):  # few requests: correlations are not known well, Bonferroni needs none
        pairs = max(len(to) * (len(to) - 1), 2)
        all_pairs = max(all_pairs, float(stdtrit(freedom, 1 - (1 - confidence) / pairs)))
    low = np.max([-one.gain - all_pairs * one.error for one in to], axis=0)
    columns = np.ascontiguousarray(drawn.T)
    top, near = reduce(np.maximum, columns), np.log1p(indifference)
    return Choice(
        best=int(np.argmax(values)),
        probability=np.array([(one >= top).mean() for one in columns]),
        near_best=np.array([(top - one <= near).mean() for one in columns]),
        candidates=candidates,
        loss=values.max() - values,
        low=np.maximum(low, 0),
        high=np.maximum(behind + half, 0).max(0),
        regret=np.array([-_mean(np.expm1(one - top)) for one in columns]) + 0.0,  # no negative zero
    )


def against_one(values: Estimates, option: int, confidence: float) -> tuple[Floats, Floats]:
    """Differences of all options to one of them, with simultaneous intervals.

    By the max-|t| quantile of the joint Student distribution of the paired differences (Dunnett's
    comparisons with a control, with the estimated correlations).

    Args:
        values (Estimates): ``[Q]`` estimates with their covariance.
        option (int): The option to compare with.
        confidence (float): Simultaneous confidence over all options.

    Returns:
        tuple[Floats, Floats]: ``[Q]`` differences and ``[Q]`` half-widths.
    """
    draws, scales = normal_draws(values.covariance), student_scales(values.freedom)
    (found,) = _differences(values.values, draws, scales, [option], confidence)
    return found.gain, found.two_sided * found.error


def draws_against_one(
    values: Floats, option: int, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Differences of all options to one of them, from joint draws such as those of a posterior.

    The simultaneous intervals are between quantiles, of one level for all options, so that a
    difference of one sign in all draws has an interval of that sign.

    Args:
        values (Floats): ``[R, Q]`` draws.
        option (int): The option to compare with.
        confidence (float): Simultaneous confidence over all options.

    Returns:
        tuple[Floats, Floats, Floats]: ``[Q]`` mean differences, lower ends and upper ends.
    """
    gain = values - values[:, [option]]
    varies = gain.std(0) > CERTAIN
    tail = 0.0
    if varies.any():
        rank = gain[:, varies].argsort(0).argsort(0) / (len(gain) - 1)
        tail = float(np.quantile(np.minimum(rank, 1 - rank).min(1), 1 - confidence))
    low, high = np.quantile(gain, [tail, 1 - tail], axis=0)
    return gain.mean(0), low, high


@dataclass(frozen=True)
class RelativeError:
    """An estimated relative error, tested for equivalence to zero.

    Attributes:
        mean (float): The estimate.
        half_width (float): Half-width of its own interval.
        quantile (float): Standard errors per half-width.
        requests (int): Requests that the estimate is based on.
        epsilon (float): Tolerance: the theory holds if the error is certainly within it.
        confidence (float): Two-sided confidence of the interval.
        identity (bool): Whether it is zero whatever the engine does, so that nothing is tested.
    """

    mean: float
    half_width: float
    quantile: float
    requests: int
    epsilon: float
    confidence: float
    identity: bool = False

    @property
    def p_value(self) -> float:
        """P-value of the hypothesis that the estimate contradicts: |error| beyond epsilon, or not.

        (1 - confidence) / 2 or less if the interval lies within epsilon, or outside it.
        """
        from mtpsim.common.special import stdtr

        margin = abs(self.epsilon - abs(self.mean))
        error = self.half_width / self.quantile
        if error <= 0:
            return 0.0 if margin > 0 else 1.0
        return float(stdtr(self.requests - 1, -margin / error))

    def at_level(self, tests: int) -> RelativeError:
        """The same error with its interval at the level of the first of ``tests`` tests (Holm)."""
        from mtpsim.common.special import stdtrit

        level = (1 - self.confidence) / 2 / tests
        quantile = float(stdtrit(self.requests - 1, 1 - level))
        wider = self.half_width / self.quantile * quantile
        return replace(self, half_width=wider, quantile=quantile, confidence=1 - 2 * level)

    @property
    def verdict(self) -> Verdict:
        """``holds``: the whole interval is within +-epsilon; ``fails``: all of it is outside."""
        if self.identity:
            return "identity"
        if abs(self.mean) + self.half_width <= self.epsilon:
            return "holds"
        if abs(self.mean) - self.half_width > self.epsilon:
            return "fails"
        return "undecided"

    @property
    def requests_needed(self) -> int | None:
        """Further requests expected to decide an open verdict, if ``mean`` is the true error.

        Student's quantile becomes smaller with them, which matters if requests are few. None if no
        number is enough: the error is at the tolerance itself.
        """
        from mtpsim.common.special import ndtri, stdtrit

        margin = abs(self.epsilon - abs(self.mean))
        if margin == 0 or not np.isfinite(self.half_width / margin):
            return None
        level, deviation = (1 + self.confidence) / 2, self.half_width / self.quantile / margin
        quantile = float(ndtri(level))
        for _ in range(ITERATIONS):
            total = max(self.requests * (quantile * deviation) ** 2, self.requests)
            quantile = float(stdtrit(total - 1, level))
        return int(np.ceil(total)) - self.requests


def holm_verdicts(errors: Sequence[RelativeError]) -> list[HolmVerdict]:
    """Verdicts on a family of errors, with familywise confidence.

    Holm (1979): sorted by p-value, the i-th of m is tested at level (1 - confidence) / 2 over
    m - i + 1, until one is not decided. With the stated confidence no verdict of the family is
    wrong. A single error has the verdict of its own interval.

    Args:
        errors (Sequence[RelativeError]): The family.

    Returns:
        list[HolmVerdict]: Verdicts in the order given; an open one with the further requests that
        should settle it.
    """
    order = sorted(range(len(errors)), key=lambda i: errors[i].p_value)
    found: dict[int, HolmVerdict] = {}
    left = len(errors)
    for index in order:
        strict = errors[index].at_level(left)
        if strict.verdict != "undecided" and left == len(errors) - len(found):
            found[index] = strict.verdict, None
            left -= 1
        else:
            found[index] = "undecided", strict.requests_needed
    return [found[index] for index in range(len(errors))]
