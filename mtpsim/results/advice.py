"""Recommended depth, how sure that is, and the verdict on each step of depth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted, listed
from mtpsim.config.experiment import Experiment
from mtpsim.config.simulation import Decision
from mtpsim.formula.closed_form import step_verdict
from mtpsim.report.document import PRESET_TIMES, Advice, Interval, JudgedInterval
from mtpsim.results.point_data import intervals
from mtpsim.stats.comparisons import Choice, choose, log_of, steps_of
from mtpsim.stats.estimators import Estimates
from mtpsim.stats.quantiles import requests_for

DIGITS = 12  # of a gain: 1.2 is 0.2 above 1
EXACT = 1e-6  # smaller half-widths are rounding: slopes are numerical differences


@dataclass(frozen=True)
class Steps:
    """The steps from each depth to the next, all ``[K]``.

    Attributes:
        marginal: speedup(k) / speedup(k - 1).
        break_even: rate p_k at which depth k is as fast as depth k - 1.
        rates: measured or given rates p_k, compared with ``break_even``.
    """

    marginal: Estimates
    break_even: Floats
    rates: Floats


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What advice rests on: intervals over all that is uncertain.

    Attributes:
        speedup: ``[K + 1]`` by depth.
        gains: ``[K]`` speedup(k) / speedup(k - 1).
        choice: comparison of the depths with the best.
        simulation: interval of the speedup at the best depth with the inputs as given, where the
            others include uncertain inputs.
        requests_needed: least number of requests for a verdict; None where there are enough.
        requests: number of requests.
        times_known: whether the time of a round depends on the depth; if not, times were never
            measured, and no depth can be recommended.
        preset: whether the step times are published figures, not measured.
        objective: what the speedups are of: the ``mean``, or a quantile of the request time.
        tree: whether the drafts of a round are a tree, of which a depth is the first levels.
    """

    speedup: Sequence[Interval]
    gains: Sequence[Interval]
    choice: Choice
    simulation: Interval | None = None
    requests_needed: int | None = None
    requests: int = 0
    times_known: bool = True
    preset: bool = False
    objective: str = "mean"
    tree: bool = False

    @property
    def at(self) -> str:
        """`` at the p99 of request times``; empty for the mean."""
        return "" if self.objective == "mean" else f" at the {self.objective} of request times"


def at_quantile(basis: Basis, speedup: Estimates, experiment: Experiment) -> Basis:
    """The basis of advice at a quantile of the request time instead of the mean.

    Args:
        basis: of the mean speeds.
        speedup: ``[K + 1]`` speedups at the quantile.
        experiment: the experiment of the point.
    """
    simulation, decision = experiment.simulation, experiment.decision
    needed = basis.requests_needed
    if not np.isfinite(speedup.covariance).all():
        share = decision.quantile or 0.5
        needed = max(needed or 0, requests_for(share, simulation.confidence))
        speedup = replace(speedup, covariance=np.zeros_like(speedup.covariance))
    return replace(
        basis,
        speedup=intervals(speedup),
        gains=intervals(steps_of(speedup)),
        choice=choose(log_of(speedup), simulation.confidence, decision.indifference),
        requests_needed=needed,
        objective=decision.objective or "mean",
    )


def advise(basis: Basis, steps: Steps, decision: Decision, confidence: float) -> Advice:
    """Advice from the estimates of one point.

    Args:
        basis: speedups, gains and their comparison.
        steps: break-even rate of each step.
        decision: thresholds.
        confidence: of the intervals and candidates, a share.
    """
    choice = basis.choice
    best, indifference = choice.best, decision.indifference
    enough = not basis.requests_needed and basis.times_known
    judged = [judge(gain, decision, enough=enough) for gain in basis.gains]
    verdicts = [step.verdict for step in judged]
    if basis.requests_needed:
        return Advice(
            depth=best,
            confidence=None,
            candidates=[],
            within=[],
            verdicts=verdicts,
            steps=judged,
            requests_needed=basis.requests_needed,
            sentence=_too_few(best, basis),
            why="Below this number intervals and probabilities are not reliable.",
            objective=basis.objective,
        )
    depths = range(len(basis.speedup))
    if not basis.times_known:
        return Advice(
            depth=best,
            confidence=None,
            candidates=list(depths),
            within=list(depths),
            verdicts=verdicts,
            steps=judged,
            times_known=False,
            sentence=_allowances(basis, steps),
            why="A round takes as long as a plain step in this file: times were not measured. "
            "Measure the time of a plain step and of rounds at two depths next.",
            objective=basis.objective,
        )
    within = [k for k in depths if choice.verdict(k, indifference) != "worse"]
    sentence = [
        _headline(best, basis),
        PRESET_TIMES if basis.preset else "",
        _tie(choice.candidates),
        _near_best(choice, within, indifference),
        _next_step(best + 1, steps, judged, at_mean=not basis.at),
    ]
    return Advice(
        depth=best,
        confidence=float(choice.near_best[best]) if indifference else None,
        candidates=choice.candidates,
        within=within,
        verdicts=verdicts,
        steps=judged,
        sentence=" ".join(filter(None, sentence)),
        why=_why(basis, confidence),
        objective=basis.objective,
    )


def judge(gain: Interval, decision: Decision, *, enough: bool = True) -> JudgedInterval:
    """The relative gain of a step and the verdict on it.

    Args:
        gain: speedup(k) / speedup(k - 1).
        decision: thresholds.
        enough: whether there are enough requests for a verdict.
    """
    found, verdict = gain.map(lambda ratio: round(ratio - 1, DIGITS)), "undecided"
    if enough and found.low is not None and found.high is not None:
        limits = {"essential": decision.essential, "negligible": decision.negligible}
        verdict = step_verdict(found.low, found.high, **limits)
    return JudgedInterval(**vars(found), verdict=verdict)


def _figure(cell: Interval, unit: str = "x", least: int = 2) -> str:
    """``1.541x [1.539, 1.542]``: as many digits as the interval supports.

    An exactly known number, up to rounding, has no interval and four digits.
    """
    if cell.low is None or cell.high is None:
        return f"{cell.mean}{unit}"
    half = (cell.high - cell.low) / 2
    if half < EXACT:
        return f"{cell.mean:z.4f}{unit}"
    digits = int(np.clip(np.ceil(-np.log10(half)), least, 6))
    return f"{cell.mean:z.{digits}f}{unit} [{cell.low:z.{digits}f}, {cell.high:z.{digits}f}]"


def _too_few(best: int, basis: Basis) -> str:
    return (
        f"Too few requests for advice: {counted(basis.requests, 'request', 'were')} simulated, "
        f"at least {basis.requests_needed} are needed. Depth {best} has the greatest estimate, "
        f"{basis.speedup[best].mean:.2f}x{basis.at}."
    )


def _allowances(basis: Basis, steps: Steps) -> str:
    """By how much each draft may lengthen a round: its gain if it took no time."""
    allowed = (
        f"{100 * (gain - 1):.3g} % (draft {k})"
        for k, gain in enumerate(steps.marginal.values, 1)
        if np.isfinite(gain)
    )
    text = (
        "No depth can be recommended without times. A draft pays while it lengthens a round by "
        f"less than {', '.join(allowed)}."
    )
    if basis.simulation is None:
        return text
    lengths = (f"{_figure(cell, '')} (depth {k})" for k, cell in enumerate(basis.speedup) if k)
    return f"{text} Accept length including input uncertainty: {', '.join(lengths)}."


def _headline(best: int, basis: Basis) -> str:
    if not best:
        return f"Turn MTP off: no depth is faster{basis.at}."
    figure = _figure(basis.speedup[best])
    if basis.simulation is None:
        return f"Run depth {best}: {figure}{basis.at}."
    return (
        f"Run depth {best}: {figure} including input uncertainty ({_figure(basis.simulation)} with "
        "the inputs as given)."
    )


def _tie(candidates: list[int]) -> str:
    if len(candidates) == 1:
        return ""
    one_of = "either" if len(candidates) == 2 else "any of them"
    return f"Depths {listed(candidates)} cannot be distinguished; {one_of} may be the fastest."


def _near_best(choice: Choice, within: list[int], indifference: float) -> str:
    """Depths that differ from the best by no more than the indifference."""
    near = [k for k in within if k != choice.best and k not in choice.candidates]
    if not near:
        return ""
    plural = "s" * (len(near) > 1)
    certain = all(choice.verdict(k, indifference) == "as good" for k in near)
    are = ("are" if plural else "is") if certain else "may be"
    return f"Depth{plural} {listed(near)} {are} within {100 * indifference:g} % of it."


def _next_step(depth: int, steps: Steps, judged: Sequence[JudgedInterval], *, at_mean: bool) -> str:
    """Loss of the depth after the best, and its break-even rate, which is one of mean speeds."""
    if depth > len(judged):
        return "No deeper draft was simulated; one may be faster."
    step, than = judged[depth - 1], f"depth {depth - 1}" if depth > 1 else "no drafting"
    if step.mean is None or step.low is None or step.high is None:
        return ""
    if step.high < 0:
        loss, low, high = (-100 * end for end in (step.mean, step.high, max(step.low, -1)))
        figure = _figure(Interval(mean=loss, low=low, high=high), " %", 1)
        text = f"Depth {depth} is {figure} slower than {than}"
    else:
        figure = _figure(step.map(lambda gain: 100 * max(gain, -1)), " %", 1)
        text = f"Gain of depth {depth} over {than}: {figure}"
    needed, have = steps.break_even[depth - 1], steps.rates[depth - 1]
    if not at_mean:
        return f"{text}."
    if needed > 1:
        return f"{text}; no rate p{depth} would make it pay at these times."
    return f"{text}; break-even p{depth} = {needed:.3g} (yours: {have:.3g})."


def _why(basis: Basis, confidence: float) -> str:
    choice, over = basis.choice, " over uncertain inputs" * (basis.simulation is not None)
    level = f"simultaneous {100 * confidence:g} % CI{over}, common random numbers"
    if len(choice.candidates) == 1:
        return f"All other depths{' of this tree' * basis.tree} are slower ({level})."
    depths, best = listed(choice.candidates), choice.best
    # No probability: among depths near each other the one that is picked is also the luckiest.
    return (
        f"The best depth is one of {depths} ({level}); depth {best} is at most "
        f"{-100 * np.expm1(-choice.high[best]):.2g} % slower."
    )
