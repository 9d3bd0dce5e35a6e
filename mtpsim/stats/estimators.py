"""From a Tally to estimates: one delta-method routine for every interval and comparison.

Everything reported is a smooth function of the mean totals of a request. Requests are independent,
rounds within one are not; the co-moments of the request totals carry that, so each interval is
clustered by request and knows the covariance between depths, by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.formula.rate_definitions import Definition, Weighting, plug_in
from mtpsim.kernels.row_layout import RowLayout
from mtpsim.stats.moments import Tally

STEP = 1e-5  # of the central difference, relative: slopes are right to about 1e-10


@dataclass(frozen=True)
class Estimates:
    """Estimates of several quantities and how they vary together.

    Attributes:
        values: ``[Q]`` point estimates.
        covariance: ``[Q, Q]`` of the estimates.
        quantile: half-widths are this many standard errors (Student t).
        freedom: its degrees of freedom, requests - 1 but for control variates.

    """

    values: Floats
    covariance: Floats
    quantile: float
    freedom: float = np.inf

    @property
    def half_width(self) -> Floats:
        """``[Q]`` half-widths of the intervals."""
        return self.quantile * np.sqrt(np.clip(np.diag(self.covariance), 0, None))

    @property
    def low(self) -> Floats:
        """``[Q]`` lower ends."""
        return self.values - self.half_width

    @property
    def high(self) -> Floats:
        """``[Q]`` upper ends."""
        return self.values + self.half_width

    def linear_combination(self, change: Floats) -> Estimates:
        """Estimates of linear combinations: ``change`` ``[Q', Q]``."""
        covariance = change @ self.covariance @ change.T
        return Estimates(change @ self.values, covariance, self.quantile, self.freedom)


def delta_method(
    function: Callable[[Floats], Floats], tally: Tally, confidence: float
) -> Estimates:
    """Delta method: estimates of a smooth function of the mean totals.

    Args:
        function: maps means ``[..., C]`` to quantities ``[..., Q]``; differentiated by central
            differences, in real arithmetic, whose every bit is the same on any machine.
        tally: of at least two requests.
        confidence: of the intervals, two-sided.
    """
    from scipy.special import stdtrit

    mean = tally.mean
    step = STEP * np.maximum(np.abs(mean), 1e-9)
    up, down = mean + np.diag(step), mean - np.diag(step)
    slope = (function(up) - function(down)) / (2 * step[:, None])
    covariance = slope.T @ tally.covariance_of_mean @ slope
    quantile = float(stdtrit(tally.freedom, (1 + confidence) / 2))
    return Estimates(function(mean), covariance, quantile, tally.freedom)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def accept_length(means: Floats, layout: RowLayout) -> Floats:
    """Tokens a round by depth, ``[..., K + 1]``."""
    return means[..., layout.tokens] / means[..., layout.rounds]


def round_time(means: Floats, layout: RowLayout) -> Floats:
    """Time of a round by depth in ms, ``[..., K + 1]``."""
    return means[..., layout.time_ms] / means[..., layout.rounds]


def speedup(means: Floats, layout: RowLayout) -> Floats:
    """Throughput over that of depth 0, a ratio of means, ``[..., K + 1]``."""
    pace = means[..., layout.tokens] / means[..., layout.time_ms]
    return pace / pace[..., :1]


def with_policies(means: Floats, layout: RowLayout) -> Floats:
    """Speedup by depth, then by policy, ``[..., K + 1 + P]``."""
    fixed = means[..., layout.tokens] / means[..., layout.time_ms]
    chosen = means[..., layout.policy_tokens] / means[..., layout.policy_time_ms]
    return np.concatenate([fixed, chosen], -1) / fixed[..., :1]


def policy_length(means: Floats, layout: RowLayout) -> Floats:
    """Tokens a round by policy, ``[..., P]``."""
    return np.asarray(means[..., layout.policy_tokens] / means[..., layout.policy_rounds])


def policy_time(means: Floats, layout: RowLayout) -> Floats:
    """Time of a round by policy in ms, ``[..., P]``."""
    return np.asarray(means[..., layout.policy_time_ms] / means[..., layout.policy_rounds])


def marginal(means: Floats, layout: RowLayout) -> Floats:
    """speedup(k) / speedup(k - 1) for k = 1..K, ``[..., K]``."""
    values = speedup(means, layout)
    return values[..., 1:] / values[..., :-1]


def survival(means: Floats, layout: RowLayout) -> Floats:
    """P(drafts 1..j accepted) at the greatest depth, pooled over rounds, ``[..., K]``."""
    rounds = means[..., layout.rounds][..., -1:]
    return np.asarray(means[..., layout.accepted(layout.depth)] / rounds)


def conditional(means: Floats, layout: RowLayout) -> Floats:
    """P(draft j accepted | 1..j-1 accepted) at the greatest depth, over rounds, ``[..., K]``."""
    return _conditional(survival(means, layout))


def _conditional(reach: Floats) -> Floats:
    return _ratio(reach, np.concatenate([np.ones_like(reach[..., :1]), reach[..., :-1]], -1))


def last_rate(means: Floats, layout: RowLayout) -> Floats:
    """The rate p_k of the deepest draft at each depth k = 1..K, measured there, ``[..., K]``."""
    return np.stack(
        [rates_by_depth(means, layout, k)[..., -1] for k in range(1, layout.depth + 1)], -1
    )


def break_even_rate(means: Floats, layout: RowLayout) -> Floats:
    """The rate p_k at which depth k would be as fast as depth k - 1, ``[..., K]``.

    All else as measured at the two depths; so p_k is above it just where the step gains. Where
    position k is never reached: infinite, or below any rate where the step gains all the same.
    """
    length, time = accept_length(means, layout), round_time(means, layout)
    spare = length[..., 1:] - length[..., :-1] * time[..., 1:] / time[..., :-1]
    rate = last_rate(means, layout)
    rounds = means[..., layout.rounds]
    reached = [means[..., layout.accepted(k)][..., k - 2] for k in range(2, layout.depth + 1)]
    chance = np.stack([rounds[..., 1], *reached], -1) / rounds[..., 1:]
    never = np.where(spare > 0, -np.inf, np.inf)
    # Control variates may take a chance below 0, where it says as little as one of 0.
    return np.where(chance <= 0, never, rate - _ratio(spare, chance))


def break_even_verify(means: Floats, layout: RowLayout, verify: Floats, draft: Floats) -> Floats:
    """The mean verify time at which depth k would be as fast as depth k - 1, ms, ``[..., K]``.

    Args:
        means: mean totals.
        layout: of the means.
        verify: ``[K + 1]`` mean ms as they are.
        draft: ``[K + 1]`` mean ms as they are.

    """
    length, time = accept_length(means, layout), round_time(means, layout)
    allowed = length[..., 1:] / length[..., :-1] * time[..., :-1]
    slower = time[..., 1:] / (verify + draft)[1:]  # slowdown of the states, if any
    return np.asarray(allowed / slower - draft[1:])


def break_even_draft(means: Floats, layout: RowLayout, verify: Floats, draft: Floats) -> Floats:
    """The mean draft time at which depth k would be as fast as depth k - 1, ms, ``[..., K]``."""
    return break_even_verify(means, layout, draft, verify)


def exactly_accepted(means: Floats, layout: RowLayout) -> Floats:
    """P(a drafts accepted) at the greatest depth, for a = 0..K, ``[..., K + 1]``."""
    reach = survival(means, layout)
    edge = np.ones_like(reach[..., :1])
    return np.asarray(np.concatenate([edge, reach], -1) - np.concatenate([reach, 0 * edge], -1))


def rates_by_depth(means: Floats, layout: RowLayout, depth: int) -> Floats:
    """Conditional rates as they are at ``depth``, over its rounds, ``[..., depth]``."""
    rounds = means[..., layout.rounds][..., depth : depth + 1]
    return _conditional(np.asarray(means[..., layout.accepted(depth)] / rounds))


def survivorship(means: Floats, layout: RowLayout) -> Floats:
    """p_K - p_1 at the greatest depth, ``[..., 1]``: above 0 where survivors are the easy cases."""
    rates = conditional(means, layout)
    return rates[..., -1:] - rates[..., :1]


def design_effect(means: Floats, layout: RowLayout) -> Floats:
    """Variance of the accept length over what it were with independent rounds, ``[..., 1]``.

    At depth M. Between requests E (A - a N)^2, with a = E A / E N accepted drafts a round, over
    E N times the variance of a single round (the design effect of cluster sampling, Kish 1965).
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
    """Survival and conditional rates at depth M, each ``[..., M]``, as an engineer measures them.

    ``round-pooled``: over all rounds. ``request-mean``: of each request, then averaged over
    requests. ``every-position``: over all positions of the text that depth M decoded, as if each
    began a round; under the round clock that is over rounds.
    """
    at = layout.measured_at
    if weighting == "request-mean":
        rates = _ratio(means[..., layout.request_conditional], means[..., layout.reached_mask])
        return means[..., layout.request_survival], rates
    if weighting == "every-position" and layout.positions:
        tried = means[..., layout.windows]
        reach = _ratio(tried[..., 1:], tried[..., :1])
    else:
        rounds = means[..., layout.rounds][..., at : at + 1]
        reach = np.asarray(means[..., layout.accepted(at)] / rounds)
    return reach, _conditional(reach)


@dataclass(frozen=True)
class ClosedFormPredictor:
    """The closed form as an engineer would use it.

    Attributes:
        times: ``[K + 1]`` mean time of a round in ms; entry 0 is the plain step.
        rates: ``[K]`` where the file states them; None to plug in what is measured in the
            simulation, whose uncertainty then counts too.
        definition: of what is measured and plugged in.
        weighting: of what is measured.

    """

    times: Floats
    rates: Floats | None = None
    definition: Definition = "conditional"
    weighting: Weighting = "round-pooled"

    def rates_used(self, means: Floats, layout: RowLayout) -> Floats:
        """What stands for p1..pK, ``[..., K]``."""
        if self.rates is not None:
            return np.broadcast_to(self.rates, (*means.shape[:-1], layout.depth))
        found = measured(means, layout, self.weighting)
        return plug_in(self.definition, *found, layout.depth)

    def accept_length(self, means: Floats, layout: RowLayout) -> Floats:
        """1 + p1 + p1 p2 + ... by depth, ``[..., K + 1]``."""
        reach = np.cumprod(self.rates_used(means, layout), axis=-1)
        one = np.ones_like(reach[..., :1])
        return np.concatenate([one, 1 + np.cumsum(reach, -1)], -1)

    def speedup(self, means: Floats, layout: RowLayout) -> Floats:
        """T_target x accept length / (T_verify + T_draft) by depth, ``[..., K + 1]``."""
        return np.asarray(self.accept_length(means, layout) * self.times[0] / self.times)

    def length_error(self, means: Floats, layout: RowLayout) -> Floats:
        """Relative error of the accept length, predicted / simulated - 1, ``[..., K + 1]``."""
        return self.accept_length(means, layout) / accept_length(means, layout) - 1

    def error(self, means: Floats, layout: RowLayout) -> Floats:
        """Relative error of the predicted speedup, predicted / simulated - 1, ``[..., K + 1]``."""
        return self.speedup(means, layout) / speedup(means, layout) - 1
