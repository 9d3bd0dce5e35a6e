"""Everything simulated of one point, and the estimates that the document takes from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import Source
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment, Point
from mtpsim.exact.chain_solver import Exact, solve
from mtpsim.kernels.arrays import RowLayout
from mtpsim.latency import CompiledLatency
from mtpsim.report.document import Interval, Series
from mtpsim.stats import estimators
from mtpsim.stats.autocorrelation import Dependence
from mtpsim.stats.comparisons import RelativeError
from mtpsim.stats.control_variates import Controls, controlled, controls_of
from mtpsim.stats.estimators import ClosedFormPredictor, Estimates, Tally
from mtpsim.stats.quantiles import SHARES, Tails

if TYPE_CHECKING:
    from mtpsim.engine.policy_player import Log
    from mtpsim.engine.scenarios import ScenarioResults
    from mtpsim.engine.simulate import KernelPlan

ROUNDING = 1e-12  # smaller half-widths are rounding errors of the means
LEAST_REQUESTS = 10  # for verdicts and probabilities; verification/calibration.md
RARE = 5  # an outcome seen less often may have a probability far from its share of the rounds
RULE_OF_THREE = 3  # over the rounds: upper 95 % limit of the probability of an unseen outcome
VANISHED = 1e-6  # of its expected value: a mean time that noise has not been seen in
SAMPLE = 20_000  # rounds whose times are drawn for the figures
COCHRAN = 25  # times the squared skewness: rounds that a normal interval needs (1977, 2.15)

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class PointData:
    """A simulated point."""

    point: Point
    plan: KernelPlan
    source: Source
    latency: CompiledLatency
    tally: Tally
    precision_reached: bool | None
    interrupted: bool
    dependence: Dependence | None
    tails: Tails
    outcomes: ScenarioResults | None = None
    log: Log | None = None
    policy_tails: Tails | None = None
    objective: Estimates | None = None
    failure: str | None = None
    _known: dict[Any, Estimates] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse times that add up to nothing, of which no ratio is a speedup.

        Raises:
            InputError: Noise of a rare tail, and too few rounds to see any of it.
        """
        times = self.tally.mean[self.layout.time_ms]
        expected = self.tally.mean[self.layout.rounds] * self.latency.round_time
        depth = int(np.argmin(times / expected))
        if not times[depth] >= VANISHED * expected[depth]:
            rounds = self.tally.mean[self.layout.rounds][depth] * self.tally.count
            raise InputError.of(
                f"{rounds:,.0f} simulated rounds of depth {depth} take {times[depth]:.3g} ms "
                f"per request, and {expected[depth]:.3g} ms are expected: the noise shows only in "
                "rarer rounds; simulate more requests, or give noise of a smaller cv",
                key="latency.noise" if self.latency.shared else "latency",
            )

    @property
    def experiment(self) -> Experiment:
        """The point's own experiment."""
        return self.point.experiment

    @property
    def layout(self) -> RowLayout:
        """Which column of the tally holds what."""
        return self.plan.layout

    @property
    def horizon(self) -> dict[str, int]:
        """Length of a request, as :func:`mtpsim.exact.chain_solver.solve` takes it."""
        return self.experiment.simulation.horizon

    @cached_property
    def theory(self) -> ClosedFormPredictor:
        """The closed form with the rates that the experiment asks for."""
        return theory_of(self.experiment, self.latency)

    @cached_property
    def solved(self) -> list[Exact]:
        """The exact answer at each depth 0..K."""
        depths = range(self.layout.depth + 1)
        return [solve(self.source, k, **self.horizon) for k in depths]

    @cached_property
    def rounds(self) -> Floats:
        """``[K + 1]`` rounds that were simulated at each depth."""
        return self.tally.mean[self.layout.rounds] * self.tally.count

    @cached_property
    def rounds_needed(self) -> Floats:
        """``[K + 1]`` rounds below which rejections, or accepted drafts, are too rare."""
        return COCHRAN * np.array([skewness_of(found.accepted) for found in self.solved]) ** 2

    @cached_property
    def unknown(self) -> npt.NDArray[np.bool_]:
        """``[K + 1]`` whether all rounds were equal, and too few to show how they differ.

        Noise may give errors a width there, but not of what was never seen.
        """
        width = self.estimates(estimators.accept_length).half_width
        return np.asarray((width < ROUNDING) & (self.rounds < self.rounds_needed))

    @cached_property
    def unseen(self) -> Floats:
        """``[K + 1]`` relative half-width of the accept length through rare outcomes.

        A position whose drafts were all accepted, or all rejected, or nearly so, has an interval
        of no width, although its rate is not known exactly.
        """
        found = np.zeros(self.layout.depth + 1)
        for k in range(1, len(found)):
            rounds = self.rounds[k]
            reach = np.append(rounds, self.tally.mean[self.layout.accepted(k)] * self.tally.count)
            shares = self.solved[k].accepted
            possible = np.stack([shares[::-1].cumsum()[::-1][1:], shares[:-1]]) > ROUNDING
            rare = possible & (np.stack([reach[1:], reach[:-1] - reach[1:]]) < RARE - 0.5)
            tokens = (rare * np.arange(k, 0, -1)).sum()  # that such an outcome adds or takes
            found[k] = RULE_OF_THREE * tokens / (rounds + reach[1:].sum())
        return found

    @cached_property
    def requests_needed(self) -> int | None:
        """Least number of requests for verdicts and probabilities; None where there are enough.

        Where nothing varies any number is enough.
        """
        varies = self.unseen.any() or self.estimates(estimators.speedup).half_width.max() > ROUNDING
        return LEAST_REQUESTS if varies and self.tally.count < LEAST_REQUESTS else None

    @cached_property
    def controls(self) -> Controls:
        """Totals whose means are known."""
        return controls_of(self.source, self.latency, self.layout, self.horizon)

    def estimates(self, function: Callable[[Floats, RowLayout], Floats]) -> Estimates:
        """Estimates of one of the functions of :mod:`mtpsim.stats.estimators`."""
        return self._delta(function, self.tally)

    def sharp(self, function: Callable[[Floats, RowLayout], Floats]) -> Estimates:
        """Like :meth:`estimates`, with control variates if the experiment enables them."""
        return self._delta(function, self.controlled)

    def widened(self, function: Callable[[Floats, RowLayout], Floats], unseen: Floats) -> Estimates:
        """Like :meth:`sharp`, with relative errors ``unseen`` ``[Q]`` that the sample hides."""
        found = self.sharp(function)
        more = np.diag((unseen * found.values / found.quantile) ** 2)
        return replace(found, covariance=found.covariance + more)

    @cached_property
    def controlled(self) -> Tally:
        """The tally narrowed by control variates where they are wanted and can be used."""
        if not self.experiment.simulation.control_variates:
            return self.tally
        return controlled(self.tally, self.controls)

    def _delta(self, function: Callable[[Floats, RowLayout], Floats], tally: Tally) -> Estimates:
        key = function, tally is self.tally
        if key not in self._known:  # most are needed several times
            confidence = self.experiment.simulation.confidence
            self._known[key] = estimators.delta_method(
                lambda means: function(means, self.layout), tally, confidence
            )
        return self._known[key]

    def forget(self) -> None:
        """Free the memory of estimates; they are computed again where they are needed again."""
        self._known.clear()

    def error(self, estimates: Estimates, index: int) -> RelativeError:
        """A relative error of a depth, for an equivalence test."""
        simulation, half_width = self.experiment.simulation, float(estimates.half_width[index])
        few = self.requests_needed and half_width > ROUNDING
        by_round = self.source.hidden_chain is None and self.source.clock == "round"
        is_zero = abs(float(estimates.values[index])) < 1e-9 and half_width < 1e-6  # but rounding
        return RelativeError(
            float(estimates.values[index]),
            np.inf if few or self.unknown[index] else half_width,
            estimates.quantile,
            self.tally.count,
            simulation.epsilon,
            simulation.confidence,
            identity=by_round and is_zero,  # the same rounds, cut short: no test of the formula
        )


def theory_of(experiment: Experiment, latency: CompiledLatency) -> ClosedFormPredictor:
    """The closed form with the rates or the definition of an experiment."""
    times, given = latency.round_time, experiment.theory
    if given is None:
        return ClosedFormPredictor(times, experiment.input_rates)
    return ClosedFormPredictor(times, None, given.definition, given.weighting)


def skewness_of(probabilities: Floats) -> float:
    """Skewness of a number 0, 1, ... with these probabilities; 0 if it is constant."""
    values = np.arange(len(probabilities))
    deviation = values - probabilities @ values
    variance = probabilities @ deviation**2
    return float(probabilities @ deviation**3 / variance**1.5) if variance > 1e-12 else 0.0


def warnings_of(measured: PointData) -> list[str]:
    """What to read before using the numbers of a point, a sentence each."""
    found = list(measured.experiment.warnings())
    if measured.failure:
        found.append(f"incomplete: {measured.failure}")
    if measured.experiment.simulation.control_variates and measured.controlled is measured.tally:
        found.append(
            "control variates are not used: they are constant in these requests, or their sample "
            "means are too far from the known ones; more requests may help"
        )
    if measured.tally.count < 30:
        found.append(
            f"only {counted(measured.tally.count, 'request')}: below 30, coverage of the intervals "
            "may be less than nominal"
        )
    return found + _skewed_times(measured) + _rare_outcomes(measured)


def _skewed_times(measured: PointData) -> list[str]:
    """A warning where there are too few rounds for the skewness of the noise."""
    latency = measured.experiment.latency
    skewness = max([0.0, *(noise.table().skewness for noise in latency.noises())])
    needed = COCHRAN * skewness**2
    rounds = measured.tally.mean[measured.layout.rounds].min() * measured.tally.count
    if rounds >= needed or latency.warnings():
        return []
    return [
        f"rare long rounds: with noise of skewness {skewness:.3g}, intervals of times need about "
        f"{needed:,.0f} rounds ({rounds:,.0f} simulated); their coverage may be less than nominal"
    ]


def _rare_outcomes(measured: PointData) -> list[str]:
    """A warning where there are too few rounds for rare rejections or rare accepted drafts."""
    made, needed = measured.rounds, measured.rounds_needed
    depth = int(np.argmax(needed / made))
    if made[depth] >= needed[depth]:
        return []
    skewness = skewness_of(measured.solved[depth].accepted)
    rare = "rejections" if skewness < 0 else "accepted drafts"
    return [
        f"rare {rare}: accepted drafts per round of depth {depth} have skewness {skewness:.3g}; "
        f"intervals need about {needed[depth]:,.0f} rounds ({made[depth]:,.0f} simulated), and "
        "their coverage may be less than nominal"
    ]


def number(value: float) -> float | None:
    """A number for JSON: None if it is not finite."""
    return float(value) if math.isfinite(value) else None


ANY: Span = (-np.inf, np.inf)
POSITIVE: Span = (0.0, np.inf)
SHARE: Span = (0.0, 1.0)


def interval(estimates: Estimates, index: int = 0, within: Span = ANY) -> Interval:
    """An estimate and its interval, cut at the limits of the quantity.

    Args:
        estimates: ``[Q]`` estimates.
        index: which of them.
        within: least and greatest possible value. With few requests an interval may reach beyond;
            cutting it leaves its coverage as it is.
    """
    least, greatest = within
    mean, low, high = estimates.ends[index]  # np.clip takes long for one number
    return Interval(
        mean=number(min(max(mean, least), greatest)),
        low=number(min(max(low, least), greatest)),
        high=number(min(max(high, least), greatest)),
    )


def intervals(found: Estimates) -> list[Interval]:
    """All of ``[Q]`` estimates of positive quantities, like :func:`interval`."""
    return [interval(found, k, POSITIVE) for k in range(len(found.values))]


def series(estimates: Estimates, within: Span = ANY) -> Series:
    """All of ``[Q]`` estimates and their intervals, cut like :func:`interval`."""
    mean, low, high = (
        [number(v) for v in np.clip(values, *within)]
        for values in (estimates.values, estimates.low, estimates.high)
    )
    return Series(mean=mean, low=low, high=high)


class RequestQuantities(TypedDict):
    """What is reported of single requests; fields of a depth or a policy in the document."""

    request_time: dict[str, Interval]
    request_speed: dict[str, Interval]
    mean_request_speed: Interval
    mean_request_speedup: Interval


def of_requests(tails: Tails) -> list[RequestQuantities]:
    """Quantiles and means of single requests, by depth or by policy."""
    return [
        RequestQuantities(
            request_time=_quantiles(time),
            request_speed=_quantiles(speed),
            mean_request_speed=_interval(mean[0]),
            mean_request_speedup=_interval(mean[1]),
        )
        for time, speed, mean in zip(*tails, strict=True)
    ]


def _interval(cell: Floats) -> Interval:
    """An interval of a positive quantity from its mean, low and high end."""
    mean, low, high = (number(value) for value in np.clip(cell, *POSITIVE))
    return Interval(mean=mean, low=low, high=high)


def _quantiles(cells: Floats) -> dict[str, Interval]:
    """By share of the requests; ``cells`` ``[SHARES, 3]``: quantile, low and high end."""
    return {
        f"p{100 * share:g}": Interval(mean=number(mean), low=number(low), high=number(high))
        for share, (mean, low, high) in zip(SHARES, cells, strict=True)
    }


class RoundTimes(Sequence[list[Floats]]):
    """For each point its :func:`drawn_times`, drawn when used: a long sweep shows few points.

    Args:
        points: experiments without a sweep.
    """

    def __init__(self, points: Sequence[Experiment]) -> None:
        self._points = points
        self._drawn = cache(lambda number: drawn_times(points[number]))

    def __len__(self) -> int:
        return len(self._points)

    @overload
    def __getitem__(self, number: int) -> list[Floats]: ...

    @overload
    def __getitem__(self, number: slice) -> RoundTimes: ...

    def __getitem__(self, number: int | slice) -> list[Floats] | RoundTimes:
        if isinstance(number, slice):
            return RoundTimes(self._points[number])
        return self._drawn(range(len(self))[number])


def drawn_times(experiment: Experiment) -> list[Floats]:
    """A sample of single rounds' times in ms at each depth, ``K + 1`` arrays.

    They follow the distribution of a single round in a run, with the slowdown of the states. The
    kernels are not used, so that a finished run is shown without a wait for them.
    """
    source = experiment.source
    latency = experiment.compiled_latency()
    seed, depths = experiment.simulation.seed, range(source.depth + 1)
    times = [_single_rounds(latency, depth, seed) for depth in depths]
    chain = source.hidden_chain
    if chain is None or (chain.slowdown == 1).all():
        return times
    for depth in depths:
        starts = solve(source, depth, **experiment.simulation.horizon).starts
        rng = np.random.default_rng((seed, depth))
        times[depth] = times[depth] * rng.choice(chain.slowdown_at(depth), SAMPLE, p=starts)
    return times


def _single_rounds(latency: CompiledLatency, depth: int, seed: int) -> Floats:
    """``[SAMPLE]`` independent times of a round in ms, without slowdown."""
    from mtpsim.common.special import ndtr

    scores = np.random.default_rng(seed).standard_normal((2, SAMPLE))
    rest = np.sqrt(1 - latency.correlation**2)
    scores[1] = latency.correlation * scores[0] + rest * scores[1]
    u = ndtr(scores)
    if depth == 0:
        return latency.target * latency.target_noise.quantile(u[0])
    check = latency.verify_noise.quantile(u[0])
    propose = check if latency.shared else latency.draft_noise.quantile(u[1])
    return np.asarray(latency.verify[depth] * check + latency.draft[depth] * propose)
