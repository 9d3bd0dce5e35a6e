"""Recommended depth, its confidence, and the marginal gain of each depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.report.document import Advice, Interval
from mtpsim.stats.comparisons import Choice
from mtpsim.stats.estimators import Estimates

StepVerdict = Literal["essential", "worthwhile", "marginal", "harmful"]
EXACT = 1e-6  # smaller half-widths are rounding: slopes are numerical differences
ESSENTIAL = 1.1  # least gain of an essential step


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


def step_verdict(low: float, high: float) -> StepVerdict:
    """Classify a marginal gain by its interval.

    ``essential``: low >= 1.1; ``worthwhile``: low > 1; ``harmful``: high < 1; ``marginal``: the
    interval contains 1.
    """
    if high < 1:
        return "harmful"
    if low >= ESSENTIAL:
        return "essential"
    return "worthwhile" if low > 1 else "marginal"


def advise(
    *,
    speedup: Estimates,
    steps: Steps,
    choice: Choice,
    confidence: float,
    indifference: float,
    input_ranges: Sequence[Interval] = (),
) -> Advice:
    """Advice from the estimates of one point.

    Args:
        speedup: ``[K + 1]`` speedup by depth 0..K.
        steps: marginal gain and break-even rate of each depth.
        choice: comparison of the depths with the best.
        confidence: of the candidates, a share.
        indifference: share of the best speedup that does not matter.
        input_ranges: interval of the speedup by depth over uncertain inputs; empty where the
            inputs are certain.
    """
    best, marginal = choice.best, steps.marginal
    depths = range(len(speedup.values))
    within = [k for k in depths if choice.verdict(k, indifference) != "worse"]
    sentence = [
        _headline(best, speedup, input_ranges),
        _tie(choice.candidates),
        _near_best(choice, within, indifference),
        _next_step(best + 1, steps),
    ]
    return Advice(
        depth=best,
        confidence=float(choice.probability[best]),
        candidates=choice.candidates,
        within=within,
        verdicts=[step_verdict(a, b) for a, b in zip(marginal.low, marginal.high, strict=True)],
        sentence=" ".join(filter(None, sentence)),
        why=_why(choice, confidence, given_inputs=bool(input_ranges)),
    )


def _figure(value: float, low: float, high: float, unit: str = "x", least: int = 2) -> str:
    """``1.541x [1.539, 1.542]``: as many digits as the interval supports.

    An exactly known number, up to rounding, has no interval and four digits.
    """
    half = (high - low) / 2
    if half < EXACT:
        return f"{value:z.4f}{unit}"
    digits = int(np.clip(np.ceil(-np.log10(half)), least, 6))
    return f"{value:.{digits}f}{unit} [{low:.{digits}f}, {high:.{digits}f}]"


def _headline(best: int, speedup: Estimates, input_ranges: Sequence[Interval]) -> str:
    if not best:
        return "Turn MTP off: no depth is faster."
    figure = _figure(speedup.values[best], max(speedup.low[best], 0), speedup.high[best])
    if input_ranges:
        found = input_ranges[best]
        figure += (
            f" (simulation interval); [{found.low:.3f}, {found.high:.3f}] including input "
            "uncertainty"
        )
    return f"Run depth {best}: {figure}."


def _tie(candidates: list[int]) -> str:
    if len(candidates) == 1:
        return ""
    one_of = "either" if len(candidates) == 2 else "any of them"
    return f"Depths {_listed(candidates)} cannot be distinguished; {one_of} may be the fastest."


def _near_best(choice: Choice, within: list[int], indifference: float) -> str:
    """Depths that differ from the best by no more than the indifference."""
    near = [k for k in within if k != choice.best]
    if not near or within == choice.candidates:
        return ""
    plural = "s" * (len(near) > 1)
    certain = all(choice.verdict(k, indifference) == "as good" for k in near)
    are = ("are" if plural else "is") if certain else "may be"
    return f"Depth{plural} {_listed(near)} {are} within {100 * indifference:g} % of it."


def _listed(depths: list[int]) -> str:
    *most, last = map(str, depths)
    return f"{', '.join(most)} and {last}" if most else last


def _next_step(depth: int, steps: Steps) -> str:
    """Loss and break-even rate of the depth after the best."""
    marginal = steps.marginal
    if depth > len(marginal.values):
        return "No deeper draft was simulated; one may be faster."
    gain = marginal.values[depth - 1], marginal.high[depth - 1], max(marginal.low[depth - 1], 0)
    loss, low, high = (100 * (1 - value) for value in gain)
    than = f"depth {depth - 1}" if depth > 1 else "no drafting"
    text = f"Depth {depth} is {_figure(loss, low, high, ' %', 1)} slower than {than}; "
    needed, have = steps.break_even[depth - 1], steps.rates[depth - 1]
    if needed > 1:
        return text + f"no rate p{depth} would make it pay at these times."
    return text + f"break-even p{depth} = {needed:.3g} (yours: {have:.3g})."


def _why(choice: Choice, confidence: float, *, given_inputs: bool) -> str:
    level = f"simultaneous {100 * confidence:g} % CI, common random numbers"
    if len(choice.candidates) == 1:
        every = "With the inputs exactly as given, all" if given_inputs else "All"
        return f"{every} other depths are slower ({level})."
    probability = choice.probability[choice.best]
    depths = _listed(choice.candidates)
    is_best = f"P(depth {choice.best}) = {probability:.2f}"
    return f"The best depth is one of {depths} ({level}); {is_best}."
