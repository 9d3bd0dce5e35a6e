"""Moments of request totals, estimates by the delta method, and the quantities estimated.

Every quantity is a smooth function of the mean totals of a request. Requests are independent,
rounds within one are not: the co-moments of the request totals make each interval clustered by
request, with the covariance between depths.

The functions of (``means``, ``layout``) take mean totals ``[..., C]`` of a request, as columns of
the :class:`~mtpsim.kernels.arrays.RowLayout` ``layout``, and are vectorised over the leading
axes. K is the greatest depth, M the depth at which rates are measured.

Examples:
    >>> layout = RowLayout(depth=1, every=False, measured_at=1, positions=False)
    >>> means = np.zeros(layout.columns)
    >>> means[:7] = [10, 18, 760, 980, 10, 10, 8]  # tokens, ms and rounds by depth; accepted
    >>> accept_length(means, layout).tolist(), round_time(means, layout).tolist()
    ([1.0, 1.8], [76.0, 98.0])
    >>> speedup(means, layout).round(4).tolist(), marginal(means, layout).round(4).tolist()
    ([1.0, 1.3959], [1.3959])
    >>> conditional(means, layout).tolist(), break_even_rate(means, layout).round(4).tolist()
    ([0.8], [0.2895])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.formula.closed_form import Definition, Weighting, plug_in
from mtpsim.kernels.arrays import RowLayout

Counts = npt.NDArray[np.int64]
STEP = 1e-5  # of the central difference, relative: slopes are exact to about 1e-10


@dataclass(frozen=True)
class Tally:
    """Moments of the totals of requests, the independent unit of the simulation.

    Attributes:
        count (int): Number of requests.
        mean (Floats): ``[C]`` mean of each total over requests.
        comoment (Floats): ``[C, C]`` sum over requests of products of deviations from the mean.
        histograms (Counts | None): Counts that are added, of any shape; None if there are none.
    """

    count: int
    mean: Floats
    comoment: Floats
    histograms: Counts | None = None

    @classmethod
    def empty(cls, columns: int) -> Tally:
        """A tally of no requests, with ``columns`` totals."""
        return cls(0, np.zeros(columns), np.zeros((columns, columns)))

    @classmethod
    def of(cls, rows: Floats) -> Tally:
        """Tally of ``rows`` ``[n, C]``, one request per row; without a BLAS, as that of a block."""
        from mtpsim.kernels.moments import moments  # numba: `check` and `show` do without

        count, columns = rows.shape
        mean, comoment = np.empty(columns), np.empty((columns, columns))
        moments(np.ascontiguousarray(rows, float), mean, comoment)
        return cls(count, mean, comoment)

    def __add__(self, other: Tally) -> Tally:
        """Tally of both together (pairwise update of Chan, Golub, LeVeque 1979)."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        difference = other.mean - self.mean
        return Tally(
            count,
            self.mean + difference * (other.count / count),
            self.comoment
            + other.comoment
            + np.outer(difference, difference) * (self.count * other.count / count),
            None
            if self.histograms is None or other.histograms is None
            else self.histograms + other.histograms,
        )

    @property
    def freedom(self) -> int:
        """Degrees of freedom of ``covariance_of_mean``."""
        return self.count - 1

    @property
    def nudged(self) -> tuple[Floats, Floats]:
        """Steps ``[C]`` of the delta method, and means ``[2, C, C]`` with each total up or down."""
        step = STEP * np.maximum(np.abs(self.mean), 1e-9)
        return step, np.stack([self.mean + np.diag(step), self.mean - np.diag(step)])

    @property
    def covariance_of_mean(self) -> Floats:
        """``[C, C]`` estimated covariance of ``mean``.

        Raises:
            ValueError: There are fewer than two requests.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 requests, not {self.count}")
        return self.comoment / (self.count * (self.count - 1))


@dataclass(frozen=True)
class RepeatedTally(Tally):
    """A tally of which many quantities are estimated: what their estimates share is kept."""

    @cached_property
    def nudged(self) -> tuple[Floats, Floats]:
        """As of any tally."""
        return super().nudged

    @cached_property
    def covariance_of_mean(self) -> Floats:
        """As of any tally."""
        return super().covariance_of_mean


@dataclass(frozen=True)
class Estimates:
    """Estimates of Q quantities, with their covariance.

    Attributes:
        values (Floats): ``[Q]`` point estimates.
        covariance (Floats): ``[Q, Q]`` covariance of the estimates.
        quantile (float): Standard errors per half-width (Student's t).
        freedom (float): Degrees of freedom: requests - 1, less one per control variate.
    """

    values: Floats
    covariance: Floats
    quantile: float
    freedom: float = np.inf

    @cached_property
    def half_width(self) -> Floats:
        """``[Q]`` half-widths of the intervals."""
        return self.quantile * np.sqrt(np.clip(np.diag(self.covariance), 0, None))

    @cached_property
    def low(self) -> Floats:
        """``[Q]`` lower ends of the intervals."""
        return self.values - self.half_width

    @cached_property
    def high(self) -> Floats:
        """``[Q]`` upper ends of the intervals."""
        return self.values + self.half_width

    @cached_property
    def ends(self) -> list[tuple[float, float, float]]:
        """``[Q]`` each estimate with both ends of its interval."""
        return list(zip(self.values.tolist(), self.low.tolist(), self.high.tolist(), strict=True))

    def linear_combination(self, weights: Floats) -> Estimates:
        """Estimates of linear combinations, with ``weights`` ``[R, Q]``."""
        covariance = weights @ self.covariance @ weights.T
        return Estimates(weights @ self.values, covariance, self.quantile, self.freedom)


def delta_method(
    function: Callable[[Floats], Floats], tally: Tally, confidence: float
) -> Estimates:
    """Estimates of a smooth function of the mean totals, by the delta method.

    Args:
        function (Callable): Maps means ``[..., C]`` to quantities ``[..., Q]``. Differentiated by
            central differences in real arithmetic, bit-identical on every machine.
        tally (Tally): Totals of at least two requests.
        confidence (float): Two-sided confidence of the intervals.

    Returns:
        Estimates: ``[Q]`` values with covariance and Student's quantile.

    Raises:
        ValueError: The tally has fewer than two requests.

    Examples:
        >>> rows = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, 5.0]])
        >>> ratio = delta_method(lambda m: m[..., :1] / m[..., 1:], Tally.of(rows), 0.95)
        >>> ratio.values.round(3), ratio.half_width.round(3)
        (array([0.6]), array([0.149]))
    """
    from mtpsim.common.special import stdtrit

    step, means = tally.nudged
    with np.errstate(all="ignore"):  # a total that was never seen makes its ratios unknown
        up, down = function(means)
        slope = (up - down) / (2 * step[:, None])
        covariance = slope.T @ tally.covariance_of_mean @ slope
        values = function(tally.mean)
    quantile = float(stdtrit(tally.freedom, (1 + confidence) / 2))
    return Estimates(values, covariance, quantile, tally.freedom)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def accept_length(means: Floats, layout: RowLayout) -> Floats:
    """Accept length by depth.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., K + 1]`` tokens per round, bonus token included.
    """
    return means[..., layout.tokens] / means[..., layout.rounds]


def round_time(means: Floats, layout: RowLayout) -> Floats:
    """Mean round time by depth.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., K + 1]`` ms.
    """
    return means[..., layout.time_ms] / means[..., layout.rounds]


def speedup(means: Floats, layout: RowLayout) -> Floats:
    """Throughput relative to depth 0, a ratio of means, by depth.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., K + 1]`` ratios; entry 0 is 1.
    """
    pace = means[..., layout.tokens] / means[..., layout.time_ms]
    return pace / pace[..., :1]


def with_policies(means: Floats, layout: RowLayout) -> Floats:
    """Speedup by depth, then by policy, ``[..., K + 1 + P]``."""
    fixed = means[..., layout.tokens] / means[..., layout.time_ms]
    chosen = means[..., layout.policy_tokens] / means[..., layout.policy_time_ms]
    return np.concatenate([fixed, chosen], -1) / fixed[..., :1]


def policy_length(means: Floats, layout: RowLayout) -> Floats:
    """Accept length, in tokens per round, by policy, ``[..., P]``."""
    return np.asarray(means[..., layout.policy_tokens] / means[..., layout.policy_rounds])


def policy_time(means: Floats, layout: RowLayout) -> Floats:
    """Round time in ms by policy, ``[..., P]``."""
    return np.asarray(means[..., layout.policy_time_ms] / means[..., layout.policy_rounds])


def marginal(means: Floats, layout: RowLayout) -> Floats:
    """Gain of each step of depth.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., K]`` ratios speedup(k) / speedup(k - 1), k = 1..K.
    """
    values = speedup(means, layout)
    return values[..., 1:] / values[..., :-1]


def survival(means: Floats, layout: RowLayout) -> Floats:
    """Survival rates at depth K, pooled over rounds.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., K]`` P(drafts 1..j accepted).
    """
    rounds = means[..., layout.rounds][..., -1:]
    return np.asarray(means[..., layout.accepted(layout.depth)] / rounds)


def conditional(means: Floats, layout: RowLayout) -> Floats:
    """Conditional rates at depth K, pooled over rounds.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., K]`` P(draft j accepted | 1..j-1 accepted); 0 where none reached j.
    """
    return _conditional(survival(means, layout))


def _conditional(reach: Floats) -> Floats:
    return _ratio(reach, np.concatenate([np.ones_like(reach[..., :1]), reach[..., :-1]], -1))


def last_rate(means: Floats, layout: RowLayout) -> Floats:
    """Conditional rate p_k of the deepest draft at each depth k, ``[..., K]``."""
    return np.stack(
        [rates_by_depth(means, layout, k)[..., -1] for k in range(1, layout.depth + 1)], -1
    )


def break_even_rate(means: Floats, layout: RowLayout) -> Floats:
    """Break-even rate: the p_k at which depth k is as fast as depth k - 1.

    Everything else is as measured at the two depths, so p_k is above it exactly if the step is a
    gain.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., K]`` rates. If position k is never reached: infinite, or -infinite if the
            step is a gain anyway.
    """
    length, time = accept_length(means, layout), round_time(means, layout)
    spare = length[..., 1:] - length[..., :-1] * time[..., 1:] / time[..., :-1]
    rate = last_rate(means, layout)
    rounds = means[..., layout.rounds]
    reached = [means[..., layout.accepted(k)][..., k - 2] for k in range(2, layout.depth + 1)]
    chance = np.stack([rounds[..., 1], *reached], -1) / rounds[..., 1:]
    never = np.where(spare > 0, -np.inf, np.inf)
    # Control variates may make a chance negative: it is then treated as 0.
    return np.where(chance <= 0, never, rate - _ratio(spare, chance))


def break_even_verify(means: Floats, layout: RowLayout, verify: Floats, draft: Floats) -> Floats:
    """Break-even verify time: the mean at which depth k is as fast as depth k - 1.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.
        verify (Floats): ``[K + 1]`` actual mean verify times in ms.
        draft (Floats): ``[K + 1]`` actual mean draft times in ms.

    Returns:
        Floats: ``[..., K]`` ms.
    """
    length, time = accept_length(means, layout), round_time(means, layout)
    allowed = length[..., 1:] / length[..., :-1] * time[..., :-1]
    slower = time[..., 1:] / (verify + draft)[1:]  # slowdown of the states, if any
    return np.asarray(allowed / slower - draft[1:])


def break_even_draft(means: Floats, layout: RowLayout, verify: Floats, draft: Floats) -> Floats:
    """Break-even draft time in ms, ``[..., K]``; arguments of :func:`break_even_verify`."""
    return break_even_verify(means, layout, draft, verify)


def exactly_accepted(means: Floats, layout: RowLayout) -> Floats:
    """P(exactly a drafts accepted) at depth K, for a = 0..K, ``[..., K + 1]``."""
    reach = survival(means, layout)
    edge = np.ones_like(reach[..., :1])
    return np.asarray(np.concatenate([edge, reach], -1) - np.concatenate([reach, 0 * edge], -1))


def rates_by_depth(means: Floats, layout: RowLayout, depth: int) -> Floats:
    """Conditional rates at ``depth``, pooled over its rounds, ``[..., depth]``."""
    rounds = means[..., layout.rounds][..., depth : depth + 1]
    return _conditional(np.asarray(means[..., layout.accepted(depth)] / rounds))


def survivorship(means: Floats, layout: RowLayout) -> Floats:
    """p_K - p_1 at depth K, ``[..., 1]``; positive if drafts survive in easy passages."""
    rates = conditional(means, layout)
    return rates[..., -1:] - rates[..., :1]


def design_effect(means: Floats, layout: RowLayout) -> Floats:
    """Variance of the accept length at depth M, relative to independent rounds.

    The design effect of cluster sampling (Kish 1965): E (A - a N)^2 between requests, with
    a = E A / E N accepted drafts per round, over E N times the variance of a single round.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.

    Returns:
        Floats: ``[..., 1]`` ratio of variances; 1 if rounds are independent.
    """
    at = layout.measured_at
    rounds = means[..., layout.rounds][..., at]
    reached = means[..., layout.accepted(at)]
    mean = reached.sum(-1) / rounds
    # a^2 = sum over j <= a of 2 j - 1, so that counts of rounds that reach j are enough
    square = (reached * (2 * np.arange(1, at + 1) - 1)).sum(-1) / rounds
    aa, an, nn = np.moveaxis(means[..., layout.squares], -1, 0)
    between = aa - 2 * mean * an + mean**2 * nn
    return np.asarray(_ratio(between, rounds * (square - mean**2))[..., None])


def measured(means: Floats, layout: RowLayout, weighting: Weighting) -> tuple[Floats, Floats]:
    """Acceptance rates at depth M, as they would be measured on an engine.

    Args:
        means (Floats): ``[..., C]`` mean totals of a request.
        layout (RowLayout): Columns of the means.
        weighting (str): ``"round-pooled"``: over all rounds; ``"request-mean"``: per request, then
            averaged over requests; ``"every-position"``: over all text positions decoded at depth
            M, as if each started a round (under the round clock: over rounds).

    Returns:
        tuple[Floats, Floats]: Survival and conditional rates, each ``[..., M]``.
    """
    at = layout.measured_at
    if weighting == "request-mean":
        rates = _ratio(means[..., layout.request_conditional], means[..., layout.reached_mask])
        return means[..., layout.request_survival], rates
    if weighting == "every-position" and layout.positions:
        windows = means[..., layout.windows]
        reach = _ratio(windows[..., 1:], windows[..., :1])
    else:
        rounds = means[..., layout.rounds][..., at : at + 1]
        reach = np.asarray(means[..., layout.accepted(at)] / rounds)
    return reach, _conditional(reach)


@dataclass(frozen=True, eq=False)
class ClosedFormPredictor:
    """Predictions of the closed form from stated or measured acceptance rates.

    Attributes:
        times (Floats): ``[K + 1]`` mean round time in ms by depth; entry 0 is the plain step.
        rates (Floats | None): ``[K]`` conditional rates of the input file; None: rates measured in
            the simulation, whose uncertainty is then included.
        definition (str): Definition of the measured rates, see
            :func:`~mtpsim.formula.closed_form.plug_in`.
        weighting (str): Weighting of the measured rates, see :func:`measured`.
    """

    times: Floats
    rates: Floats | None = None
    definition: Definition = "conditional"
    weighting: Weighting = "round-pooled"

    def rates_used(self, means: Floats, layout: RowLayout) -> Floats:
        """The rates used as p1..pK in the closed form, ``[..., K]``."""
        if self.rates is not None:
            return np.broadcast_to(self.rates, (*means.shape[:-1], layout.depth))
        found = measured(means, layout, self.weighting)
        return plug_in(self.definition, *found, layout.depth)

    def accept_length(self, means: Floats, layout: RowLayout) -> Floats:
        """Predicted accept length, 1 + p1 + p1 p2 + ..., by depth, ``[..., K + 1]``."""
        reach = np.cumprod(self.rates_used(means, layout), axis=-1)
        one = np.ones_like(reach[..., :1])
        return np.concatenate([one, 1 + np.cumsum(reach, -1)], -1)

    def speedup(self, means: Floats, layout: RowLayout) -> Floats:
        """Predicted speedup by depth, ``[..., K + 1]``."""
        return np.asarray(self.accept_length(means, layout) * self.times[0] / self.times)

    def length_error(self, means: Floats, layout: RowLayout) -> Floats:
        """Relative error of the predicted accept length by depth, ``[..., K + 1]``."""
        return self.accept_length(means, layout) / accept_length(means, layout) - 1

    def error(self, means: Floats, layout: RowLayout) -> Floats:
        """Relative error of the predicted speedup by depth, ``[..., K + 1]``."""
        return self.speedup(means, layout) / speedup(means, layout) - 1
