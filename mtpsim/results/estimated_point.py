"""The document of a simulated point: every number that is reported of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.exact import chain_solver
from mtpsim.exact.chain_solver import Exact
from mtpsim.formula import closed_form
from mtpsim.report.document import (
    AcceptedDrafts,
    BreakEven,
    BreakEvenRate,
    BreakEvenTime,
    DepthResult,
    Horizon,
    Loss,
    MeasuredRates,
    PointResult,
    Quantity,
    TheoryError,
    Variance,
)
from mtpsim.results.advice import Basis, Steps, advise, at_quantile
from mtpsim.results.batch_schedule import has_batch
from mtpsim.results.definitions import diagnostics, trial
from mtpsim.results.point_data import (
    POSITIVE,
    SHARE,
    PointData,
    Span,
    interval,
    intervals,
    number,
    of_requests,
    series,
    warnings_of,
)
from mtpsim.results.policies import adaptive
from mtpsim.results.shapes import add_shape, draft_tree
from mtpsim.results.uncertainty import joint_draws, robust, uncertainty
from mtpsim.stats import estimators
from mtpsim.stats.comparisons import (
    HolmVerdict,
    RelativeError,
    choose,
    choose_among,
    holm_verdicts,
    log_of,
)
from mtpsim.stats.control_variates import variance_reductions
from mtpsim.stats.estimators import Estimates

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment


@dataclass(frozen=True)
class EstimatedPoint:
    """The document of a point, and what belongs to all points of the run together.

    Attributes:
        result (PointResult): The document, with the verdicts of the point alone.
        errors (list[RelativeError]): ``[K]`` errors of the closed form at depths 1..K.
        experiment (Experiment): That of the point.
        by_batch (PointData | None): Its data, if points are interpolated over the batch.
    """

    result: PointResult
    errors: list[RelativeError]
    experiment: Experiment
    by_batch: PointData | None


def estimate_point(measured: PointData) -> EstimatedPoint:
    """Every number that is reported of a point, except verdicts adjusted over a sweep."""
    found = measured.estimates(measured.theory.error)
    errors = [measured.error(found, k) for k in range(1, measured.layout.depth + 1)]
    result = _point_result(measured, [holm_verdicts([error])[0] for error in errors])
    measured.forget()
    kept = measured if has_batch(measured) else None
    return EstimatedPoint(result, errors, measured.experiment, kept)


def judged_together(points: list[EstimatedPoint]) -> list[PointResult]:
    """The documents of all points; verdicts of a sweep are adjusted together (Holm)."""
    if len(points) > 1:
        verdicts = iter(holm_verdicts([error for point in points for error in point.errors]))
        for point in points:
            _set_verdicts(point.result, [next(verdicts) for _ in point.errors])
    return [point.result for point in points]


def _set_verdicts(point: PointResult, verdicts: list[HolmVerdict]) -> None:
    chosen = [row for row in point.trial.rows if row.chosen] if point.trial else []
    for step, (verdict, needed) in enumerate(verdicts):
        if error := point.depths[step + 1].theory_error:
            error.verdict, error.requests_needed = verdict, needed
        for row in chosen:
            row.depths[step].speedup_error.verdict = verdict


def _point_result(measured: PointData, verdicts: list[HolmVerdict]) -> PointResult:
    """Every number that is reported of one point."""
    simulation, scenarios = measured.experiment.simulation, measured.outcomes
    decision, unseen = measured.experiment.decision, measured.unseen
    steps = Steps(measured.sharp(estimators.marginal), *_break_even(measured, measured.solved[-1]))
    speedup = measured.widened(estimators.speedup, unseen)
    limits = simulation.confidence, decision.indifference
    choice = choose(log_of(speedup), *limits)
    basis = Basis(
        speedup=intervals(speedup),
        gains=intervals(measured.widened(estimators.marginal, unseen[1:])),
        choice=choice,
        requests_needed=measured.requests_needed,
        requests=measured.tally.count,
        preset=measured.experiment.latency.model == "preset",
        tree=measured.experiment.drafted is not None,
        times_known=not closed_form.drafts_are_free(*measured.experiment.step_times()),
    )
    if measured.objective is not None:
        basis = at_quantile(basis, measured.objective, measured.experiment)
    uncertain = None
    if scenarios and scenarios.draws and not measured.requests_needed:
        drawn = joint_draws(scenarios.draws)
        choice = choose_among(drawn, *limits)
        uncertain = uncertainty(measured.experiment, scenarios, choice, drawn)
        basis = replace(
            basis,
            speedup=[depth.speedup for depth in uncertain.depths],
            gains=[depth.gain for depth in uncertain.depths if depth.gain],
            choice=choice,
            simulation=basis.speedup[choice.best],
        )
    return PointResult(
        set=measured.point.set,
        requests=measured.tally.count,
        rounds=round(measured.rounds[-1]),
        horizon=Horizon(rounds=simulation.rounds or None, tokens=simulation.tokens or None),
        precision_reached=measured.precision_reached,
        interrupted=measured.interrupted,
        warnings=warnings_of(measured),
        measured=_measured_rates(measured),
        accepted=_accepted(measured),
        depths=_depths(measured, steps, basis, verdicts),
        trial=trial(measured, [verdict for verdict, _ in verdicts]),
        diagnostics=diagnostics(measured),
        variance=_variance(measured),
        advice=add_shape(advise(basis, steps, decision, limits[0]), measured.experiment),
        adaptive=adaptive(measured, choice.best) if measured.plan.policy_set else None,
        uncertainty=uncertain if uncertain and (basis.times_known or uncertain.replayed) else None,
        robust=robust(measured.experiment, scenarios) if scenarios else None,
        tree=draft_tree(measured.experiment),
    )


def _measured_rates(measured: PointData) -> MeasuredRates:
    survival = measured.estimates(estimators.survival).values
    return MeasuredRates(
        conditional=[number(v) for v in measured.estimates(estimators.conditional).values],
        survival=[number(v) for v in survival],
        pooled=float(survival.mean()),
    )


@dataclass(frozen=True)
class _Compared:
    """A quantity by depth three ways: closed form, exact answer, simulated."""

    theory: Floats
    exact: Floats
    estimates: Estimates

    def at(self, index: int, within: Span = POSITIVE) -> Quantity:
        return Quantity(
            theory=number(self.theory[index]),
            exact=number(self.exact[index]),
            **vars(interval(self.estimates, index, within)),
        )


def _depths(
    measured: PointData, steps: Steps, basis: Basis, verdicts: list[HolmVerdict]
) -> list[DepthResult]:
    times, solved = measured.theory.times, measured.solved
    rates = measured.theory.rates_used(measured.tally.mean, measured.layout)
    exact_length = np.array([s.accept_length for s in solved])
    exact_time = times * np.array([s.slow_rounds / s.rounds for s in solved])
    exact_speedup = exact_length / exact_time * exact_time[0] / exact_length[0]
    theory_speedup = closed_form.speedup(rates, times[0], times)
    length = _Compared(
        closed_form.accept_length(rates), exact_length, measured.estimates(estimators.accept_length)
    )
    time = _Compared(times, exact_time, measured.estimates(estimators.round_time))
    speedup = _Compared(theory_speedup, exact_speedup, measured.sharp(estimators.speedup))
    at_quantile = measured.objective is not None
    found = [
        DepthResult(
            depth=k,
            accept_length=length.at(k, within=(1, k + 1)),
            round_time=time.at(k),
            speedup=speedup.at(k),
            loss=_loss(basis, k, measured.experiment.decision.indifference),
            objective=basis.speedup[k] if at_quantile else None,
            **of_request,
        )
        for k, of_request in enumerate(of_requests(measured.tails))
    ]
    gain = _Compared(
        closed_form.marginal_gain(theory_speedup)[1:],
        closed_form.marginal_gain(exact_speedup)[1:],
        steps.marginal,
    )
    _add_steps(measured, found[1:], gain, steps, verdicts)
    return found


def _add_steps(
    measured: PointData,
    depths: list[DepthResult],
    gain: _Compared,
    steps: Steps,
    verdicts: list[HolmVerdict],
) -> None:
    """What only depths 1..K have: the step from the depth before, and errors of the theory."""
    error = measured.estimates(measured.theory.error)
    length_error = measured.estimates(measured.theory.length_error)
    verify, draft = measured.latency.verify, measured.latency.draft
    allowed_verify, allowed_draft = (
        measured.sharp(partial(function, verify=verify, draft=draft))
        for function in (estimators.break_even_verify, estimators.break_even_draft)
    )
    for step, (depth, (verdict, needed)) in enumerate(zip(depths, verdicts, strict=True)):
        k = depth.depth
        ends = vars(interval(error, k))
        depth.marginal = gain.at(step)
        depth.theory_error = TheoryError(verdict=verdict, requests_needed=needed, **ends)
        depth.accept_length_error = interval(length_error, k)
        depth.break_even_rate = number(steps.break_even[step])
        depth.break_even = BreakEven(
            rate=BreakEvenRate(at=depth.break_even_rate, now=number(steps.rates[step])),
            verify=_allowed_time(allowed_verify, step, verify[k]),
            draft=_allowed_time(allowed_draft, step, draft[k]),
        )


def _loss(basis: Basis, depth: int, indifference: float) -> Loss:
    choice = basis.choice
    mean, low, high = (
        float(-np.expm1(-logs[depth])) for logs in (choice.loss, choice.low, choice.high)
    )
    if basis.requests_needed or not basis.times_known:
        return Loss(mean=mean, low=None, high=None, verdict="open", best=None, regret=None)
    return Loss(
        mean=mean,
        low=low,
        high=high,
        verdict=choice.verdict(depth, indifference),
        best=float(choice.probability[depth]),
        regret=float(choice.regret[depth]),
    )


def _variance(measured: PointData) -> Variance:
    shared, controls = variance_reductions(measured.tally, measured.controls, measured.layout)
    return Variance(
        shared_random_numbers=shared,
        control_variates=controls,
        used=measured.experiment.simulation.control_variates,
    )


def _allowed_time(allowed: Estimates, step: int, now: float) -> BreakEvenTime:
    """The time in ms at which a step stops paying, its interval, and the time now."""
    found = interval(allowed, step)
    return BreakEvenTime(at=found.mean, low=found.low, high=found.high, now=float(now))


def _break_even(measured: PointData, deepest: Exact) -> tuple[Floats, Floats]:
    """For each step ``[K]`` the break-even rate, and the rate to compare with it.

    From the closed form (with the cut at the end of a request of a fixed number of tokens) where
    it agrees with the simulation on whether the step pays; else from the measured means, so that
    rate and verdict never contradict each other.
    """
    means, layout = measured.controlled.mean, measured.layout
    needed = np.maximum(estimators.break_even_rate(means, layout), 0)  # below 0 any rate pays
    rates, stated = estimators.last_rate(means, layout), measured.theory.rates
    if stated is None or not np.allclose(deepest.conditional, stated, rtol=0, atol=1e-9):
        return needed, rates
    times, tokens = measured.theory.times, measured.horizon.get("tokens", 0)
    if tokens:
        on_paper = chain_solver.break_even_rate(stated, times, tokens)
    else:
        on_paper = closed_form.break_even_rate(stated, times)
    agree = (stated > on_paper) == (estimators.marginal(means, layout) > 1)
    return np.where(agree, on_paper, needed), np.where(agree, stated, rates)


def _accepted(measured: PointData) -> AcceptedDrafts:
    counts = measured.estimates(estimators.exactly_accepted)
    rates = measured.theory.rates_used(measured.tally.mean, measured.layout)
    reach = np.concatenate([[1.0], closed_form.survival(rates), [0.0]])
    return AcceptedDrafts(
        count=list(range(len(counts.values))),
        theory=[float(v) for v in reach[:-1] - reach[1:]],
        exact=[float(v) for v in measured.solved[-1].accepted],
        **vars(series(counts, SHARE)),
    )
