"""Which depth to run, how sure that is, and what each further step of depth brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtpsim.estimate import Estimates
from mtpsim.tally import Floats

StepVerdict = Literal["essential", "worthwhile", "marginal", "harmful"]
ESSENTIAL = 1.1  # a step that surely gains a tenth
DRAWS = 20_000  # of the joint normal law of the estimates; fixed seed: the same advice each time


@dataclass(frozen=True)
class Advice:
    """A depth and how far to trust it.

    Attributes:
        depth: of the greatest estimated speedup.
        confidence: probability that it is the fastest, under the joint normal law of the
            estimated log speedups. Among depths that tie it means little: look at the candidates.
        candidates: depths that may be the fastest; the set holds a true best one with the
            experiment's confidence (max-t over paired differences).
        verdicts: of the steps to depth 1..K.
        sentence: the advice in plain words, with its numbers.
        why: what it rests on.

    """

    depth: int
    confidence: float
    candidates: list[int]
    verdicts: list[StepVerdict]
    sentence: str
    why: str


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


def _normal_draws(covariance: Floats) -> Floats:
    size, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.clip(size, 0, None))
    rng = np.random.default_rng(0)
    return np.asarray(rng.standard_normal((DRAWS, len(size))) @ factor.T)


def may_be_best(log_speedup: Estimates, confidence: float) -> list[int]:
    """Depths that no other one beats significantly, multiplicity handled.

    For each depth, the paired differences of all others to it are held against the max-t quantile
    of their joint normal law.
    """
    values, draws = log_speedup.values, _normal_draws(log_speedup.covariance)
    kept = []
    for depth in range(len(values)):
        others = np.delete(np.arange(len(values)), depth)
        gain = values[others] - values[depth]
        noise = draws[:, others] - draws[:, [depth]]
        error = noise.std(0)
        certain = error <= 1e-12  # a difference without any noise
        if (gain[certain] > 1e-12).any():
            continue
        t, law = gain[~certain] / error[~certain], noise[:, ~certain] / error[~certain]
        if not t.size or t.max() <= np.quantile(law.max(1), confidence):
            kept.append(depth)
    return kept


def _probability_best(log_speedup: Estimates, depth: int) -> float:
    drawn = log_speedup.values + _normal_draws(log_speedup.covariance)
    return float((drawn[:, depth] >= drawn.max(1)).mean())


def advise(
    speedup: Estimates, marginal: Estimates, break_even: Floats, rates: Floats, confidence: float
) -> Advice:
    """Advice from the estimates of one point.

    Args:
        speedup: by depth 0..K.
        marginal: speedup(k) / speedup(k - 1) for k = 1..K.
        break_even: ``[K]`` the rate p_k at which step k stops paying.
        rates: ``[K]`` the rates p_k it is held against.
        confidence: of the candidates.

    """
    scale = np.diag(1 / speedup.values)
    log_speedup = Estimates(
        np.log(speedup.values), scale @ speedup.covariance @ scale, speedup.quantile
    )
    best = int(np.argmax(speedup.values))
    candidates = may_be_best(log_speedup, confidence)
    steps = [step_verdict(a, b) for a, b in zip(marginal.low, marginal.high, strict=True)]
    sure = _probability_best(log_speedup, best)
    return Advice(
        best,
        sure,
        candidates,
        steps,
        _sentence(best, speedup, marginal, break_even, rates, candidates),
        _why(candidates, sure, confidence),
    )


def _figure(value: float, low: float, high: float, unit: str = "x", least: int = 2) -> str:
    """``1.541x [1.539, 1.542]``, with the digits that the interval has earned."""
    half = max((high - low) / 2, 1e-6)
    digits = int(np.clip(np.ceil(-np.log10(half)), least, 6))
    return f"{value:.{digits}f}{unit} [{low:.{digits}f}, {high:.{digits}f}]"


def _sentence(
    best: int,
    speedup: Estimates,
    marginal: Estimates,
    break_even: Floats,
    rates: Floats,
    candidates: list[int],
) -> str:
    figure = _figure(speedup.values[best], speedup.low[best], speedup.high[best])
    parts = [f"Run depth {best}: {figure}." if best else "Turn MTP off: no depth is faster."]
    if len(candidates) > 1:
        names = ", ".join(map(str, candidates[:-1])) + f" and {candidates[-1]}"
        parts.append(f"Depths {names} can't be told apart; any of them may be the fastest.")
    if best < len(speedup.values) - 1:
        parts.append(_next_step(best + 1, marginal, break_even, rates))
    else:
        parts.append("No deeper draft was simulated; one may be faster still.")
    return " ".join(parts)


def _next_step(depth: int, marginal: Estimates, break_even: Floats, rates: Floats) -> str:
    gain = marginal.values[depth - 1], marginal.high[depth - 1], marginal.low[depth - 1]
    loss, low, high = (100 * (1 - value) for value in gain)
    text = f"Depth {depth} gives back {_figure(loss, low, high, ' %', 1)}; "
    needed, have = break_even[depth - 1], rates[depth - 1]
    if needed > 1:
        return text + f"no rate p{depth} would make it pay at these times."
    return text + f"it would pay if p{depth} were above {needed:.3g}, yours is {have:.3g}."


def _why(candidates: list[int], sure: float, confidence: float) -> str:
    if len(candidates) == 1:
        return (
            f"Paired on the same text and noise, every other depth is slower at "
            f"{100 * confidence:g} % confidence over all depths together"
        )
    return (
        f"At {100 * confidence:g} % confidence over all depths together the best is among "
        f"{candidates}; the one named is ahead with probability {sure:.2f}"
    )
