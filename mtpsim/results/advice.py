"""Which depth to run, how sure that is, and what each further step of depth brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Estimates
from mtpsim.stats.selection import Choice

StepVerdict = Literal["essential", "worthwhile", "marginal", "harmful"]
EXACT = 1e-6  # half-widths below are rounding: slopes are differences
ESSENTIAL = 1.1  # a step that surely gains a tenth


@dataclass(frozen=True)
class Advice:
    """A depth and how far to trust it.

    Attributes:
        depth: of the greatest estimated speedup.
        confidence: probability that it is the fastest, under the joint normal law of the
            estimated log speedups. Among depths that tie it means little: look at the candidates.
        candidates: depths that may be the fastest; the set holds a true best one with the
            experiment's confidence (max-t over paired differences).
        within: depths that may be within the indifference of the best: any of them will do, as
            far as the simulation can tell.
        verdicts: of the steps to depth 1..K.
        sentence: the advice in plain words, with its numbers.
        why: what it rests on.

    """

    depth: int
    confidence: float
    candidates: list[int]
    within: list[int]
    verdicts: list[StepVerdict]
    sentence: str
    why: str


@dataclass(frozen=True)
class Steps:
    """The steps from each depth to the next, all ``[K]``.

    Attributes:
        marginal: speedup(k) / speedup(k - 1).
        break_even: the rate p_k at which step k stops paying.
        rates: the rates p_k that it is held against.

    """

    marginal: Estimates
    break_even: Floats
    rates: Floats


def step_verdict(low: float, high: float) -> StepVerdict:
    """Judge a marginal gain by its interval.

    ``essential``: gains a tenth or more, surely (low >= 1.1); ``worthwhile``: surely gains;
    ``harmful``: surely loses; ``marginal``: can't tell.
    """
    if high < 1:
        return "harmful"
    if low >= ESSENTIAL:
        return "essential"
    return "worthwhile" if low > 1 else "marginal"


def advise(
    speedup: Estimates,
    steps: Steps,
    choice: Choice,
    confidence: float,
    indifference: float,
    over_inputs: Sequence[tuple[float, float]] = (),
) -> Advice:
    """Advice from the estimates of one point.

    Args:
        speedup: by depth 0..K.
        steps: what each step of depth brings.
        choice: how the depths compare.
        confidence: of the candidates.
        indifference: share of the best speedup that does not matter.
        over_inputs: interval of the speedup by depth with inputs as uncertain as stated; empty
            where they are certain.

    """
    best, marginal = choice.best, steps.marginal
    depths = range(len(speedup.values))
    within = [k for k in depths if choice.verdict(k, indifference) != "worse"]
    sure = float(choice.probability[best])
    return Advice(
        best,
        sure,
        choice.candidates,
        within,
        [step_verdict(a, b) for a, b in zip(marginal.low, marginal.high, strict=True)],
        _sentence(best, speedup, steps, choice.candidates, within, indifference, over_inputs),
        _why(choice.candidates, sure, confidence),
    )


def _figure(value: float, low: float, high: float, unit: str = "x", least: int = 2) -> str:
    """``1.541x [1.539, 1.542]``, with the digits that the interval has earned.

    A number that is known for sure, up to rounding, has no interval and four digits.
    """
    half = (high - low) / 2
    if half < EXACT:
        return f"{value:z.4f}{unit}"
    digits = int(np.clip(np.ceil(-np.log10(half)), least, 6))
    return f"{value:.{digits}f}{unit} [{low:.{digits}f}, {high:.{digits}f}]"


def _sentence(
    best: int,
    speedup: Estimates,
    steps: Steps,
    candidates: list[int],
    within: list[int],
    indifference: float,
    over_inputs: Sequence[tuple[float, float]],
) -> str:
    figure = _figure(speedup.values[best], max(speedup.low[best], 0), speedup.high[best])
    if over_inputs:
        low, high = over_inputs[best]
        figure += (
            f" for these very inputs, [{low:.3f}, {high:.3f}] over inputs as uncertain as stated"
        )
    parts = [f"Run depth {best}: {figure}." if best else "Turn MTP off: no depth is faster."]
    if len(candidates) > 1:
        parts.append(
            f"Depths {_listed(candidates)} can't be told apart; "
            f"{'either' if len(candidates) == 2 else 'any of them'} may be the fastest."
        )
    alike = [k for k in within if k != best]
    if alike and within != candidates:
        parts.append(
            f"Depth{'s' * (len(alike) > 1)} {_listed(alike)} may be within "
            f"{100 * indifference:g} % of it."
        )
    if best < len(speedup.values) - 1:
        parts.append(_next_step(best + 1, steps))
    else:
        parts.append("No deeper draft was simulated; one may be faster still.")
    return " ".join(parts)


def _listed(depths: list[int]) -> str:
    *most, last = map(str, depths)
    return f"{', '.join(most)} and {last}" if most else last


def _next_step(depth: int, steps: Steps) -> str:
    marginal = steps.marginal
    gain = marginal.values[depth - 1], marginal.high[depth - 1], max(marginal.low[depth - 1], 0)
    loss, low, high = (100 * (1 - value) for value in gain)
    text = f"Depth {depth} gives back {_figure(loss, low, high, ' %', 1)}; "
    needed, have = steps.break_even[depth - 1], steps.rates[depth - 1]
    if needed > 1:
        return text + f"no rate p{depth} would make it pay at these times."
    return text + f"it would pay if p{depth} were above {needed:.3g}, yours is {have:.3g}."


def _why(candidates: list[int], sure: float, confidence: float) -> str:
    if len(candidates) == 1:
        return (
            f"Paired on the same text and noise, every other depth is slower at "
            f"{100 * confidence:g} % confidence over all depths together."
        )
    return (
        f"At {100 * confidence:g} % confidence over all depths together the best is among "
        f"{candidates}; the one named is ahead with probability {sure:.2f}."
    )
