"""Which depths may be the best, how much each may lose, and what a wrong choice costs.

All comparisons are paired: depths of a run play the same text, and the covariance of their
estimates says how far that helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Estimates

DRAWS = 20_000  # of the joint normal law of the estimates; fixed seed: the same advice each time
CERTAIN = 1e-12  # a difference with a smaller error has no noise at all


def normal_draws(covariance: Floats) -> Floats:
    """``[DRAWS, Q]`` of a normal law with mean 0."""
    size, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.clip(size, 0, None))
    return np.asarray(_standard(len(size)) @ factor.T)


@lru_cache(4)  # each point of a sweep asks for the same ones
def _standard(size: int) -> Floats:
    return np.random.default_rng(0).standard_normal((DRAWS, size))


def log_of(speedup: Estimates) -> Estimates:
    """Estimates of the logarithms."""
    scale = np.diag(1 / speedup.values)
    covariance = scale @ speedup.covariance @ scale
    return Estimates(np.log(speedup.values), covariance, speedup.quantile, speedup.freedom)


@lru_cache(4)
def student_roots(freedom: float) -> Floats:
    """``[DRAWS, 1]``: normal draws over these follow the Student law of an estimated covariance."""
    if np.isinf(freedom):
        return np.ones((DRAWS, 1))
    square = np.random.default_rng(1).chisquare(freedom, (DRAWS, 1)) / freedom
    return np.asarray(np.sqrt(square))


@dataclass(frozen=True)
class _Against:
    """One option held against all others: differences (other - it) and how they vary."""

    gain: Floats
    error: Floats
    one_sided: float  # max-t quantile
    two_sided: float  # max-|t| quantile

    @property
    def may_be_best(self) -> bool:
        return bool((self.gain <= self.one_sided * self.error + CERTAIN).all())


def _against(
    values: Floats, draws: Floats, roots: Floats, option: int, confidence: float
) -> _Against:
    gain, noise = values - values[option], draws - draws[:, [option]]
    error = noise.std(0)
    moves = error > CERTAIN
    error = np.where(moves, error, 0.0)
    if not moves.any():
        return _Against(gain, error, 0.0, 0.0)
    t = noise[:, moves] / error[moves] / roots
    return _Against(
        gain,
        error,
        float(np.quantile(t.max(1), confidence)),
        float(np.quantile(np.abs(t).max(1), confidence)),
    )


@dataclass(frozen=True)
class Choice:
    """How a set of options (depths, policies) compares.

    Attributes:
        best: the option of the greatest estimate.
        probability: ``[Q]`` that each is the best one, under the joint Student law of the
            estimates. Among options that tie it means little: look at the candidates.
        candidates: options that may be the best; the set holds a true best one with the stated
            confidence (max-t over paired differences).
        loss: ``[Q]`` log of the best over each; with ``low`` and ``high``, which hold for all
            options together with the stated confidence (multiple comparisons with the best, Edwards
            and Hsu 1983, over paired differences; Student's law).
        low: ``[Q]``, see ``loss``.
        high: ``[Q]``, see ``loss``.
        regret: ``[Q]`` expected loss of each as a share of the best, under the same law.

    """

    best: int
    probability: Floats
    candidates: list[int]
    loss: Floats
    low: Floats
    high: Floats
    regret: Floats

    def verdict(self, option: int, indifference: float) -> str:
        """``as good`` as the best within the indifference, ``worse``, or ``open``."""
        if self.high[option] <= np.log1p(indifference):
            return "as good"
        return "worse" if self.low[option] > np.log1p(indifference) else "open"


def choose(log_speedup: Estimates, confidence: float) -> Choice:
    """Compare options by their log speedups."""
    values, draws = log_speedup.values, normal_draws(log_speedup.covariance)
    roots = student_roots(log_speedup.freedom)
    held = [_against(values, draws, roots, option, confidence) for option in range(len(values))]
    candidates = [option for option, against in enumerate(held) if against.may_be_best]
    # One of the candidates is the best: the loss of the others lies within the bounds that the
    # differences to one of them give.
    behind = np.array([-held[c].gain for c in candidates])
    half = np.array([held[c].two_sided * held[c].error for c in candidates])
    drawn = values + draws / roots
    top = drawn.max(1, keepdims=True)
    return Choice(
        int(np.argmax(values)),
        (drawn >= top).mean(0),
        candidates,
        values.max() - values,
        np.maximum(behind - half, 0).min(0),
        np.maximum(behind + half, 0).max(0),
        -np.expm1(drawn - top).mean(0),
    )


def against_one(values: Estimates, option: int, confidence: float) -> tuple[Floats, Floats]:
    """Differences of all options to one of them, and half-widths that hold for all together.

    By the max-|t| quantile of the joint Student law of the paired differences (Dunnett's
    comparisons with a control, with the correlations as they were estimated).
    """
    draws, roots = normal_draws(values.covariance), student_roots(values.freedom)
    held = _against(values.values, draws, roots, option, confidence)
    return held.gain, held.two_sided * held.error
