"""Numbers of a candidate where the likelihood is greatest, and how they vary from log to log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.fit.candidates import Candidate
from mtpsim.fit.likelihood import Evidence

STEP = 1e-5  # of the differences, in numbers of the order of one
OPTIONS: Any = {"maxiter": 200, "ftol": 1e-8}  # relative to the log likelihood
WIDE = 6.0  # standard errors beyond this are no information


@dataclass(frozen=True)
class Maximum:
    """A fitted candidate.

    Attributes:
        candidate: what was fitted.
        numbers: ``[P]`` where the likelihood is greatest.
        log_likelihood: there, over all requests.
        requests: R, that were fitted.

    """

    candidate: Candidate
    numbers: Floats
    log_likelihood: float
    requests: int

    @property
    def keys(self) -> JsonDict:
        """The section ``[acceptance]``."""
        return self.candidate.keys(self.numbers)

    @property
    def chain(self) -> AcceptanceChain:
        """The fitted chain."""
        return self.candidate.chain(self.numbers)

    @property
    def bic(self) -> float:
        """Schwarz' criterion; requests are the independent units."""
        return float(np.log(self.requests) * self.numbers.size - 2 * self.log_likelihood)


def _slope(candidate: Candidate, evidence: Evidence, numbers: Floats) -> tuple[float, Floats]:
    """Log likelihood and its gradient ``[P]``, from one pass over the data."""
    value, near = evidence.surrogate(candidate.chain(numbers))
    slope = np.empty(numbers.size)
    for p in range(numbers.size):
        step = np.zeros(numbers.size)
        step[p] = STEP
        above, below = (near(candidate.chain(numbers + sign * step)) for sign in (1, -1))
        slope[p] = (above - below) / (2 * STEP)
    return value, slope


def maximise(candidate: Candidate, evidence: Evidence, starts: list[Floats]) -> Maximum:
    """The best of the maxima that some starts lead to.

    Args:
        candidate: to fit.
        evidence: to fit it to.
        starts: numbers ``[P]`` each.

    """
    from scipy.optimize import minimize

    def loss(numbers: Floats) -> tuple[float, Floats]:
        value, slope = _slope(candidate, evidence, numbers)
        return -value / evidence.requests, -slope / evidence.requests

    found = [
        minimize(loss, start, jac=True, method="L-BFGS-B", options=OPTIONS) for start in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    numbers = np.asarray(best.x, float)
    total = float(evidence.log_likelihood(candidate.chain(numbers)).sum())
    return Maximum(candidate, numbers, total, evidence.requests)


def spread(maximum: Maximum, evidence: Evidence) -> Floats:
    """Covariance ``[P, P]`` of the numbers from log to log: the sandwich, clustered by request.

    It holds too where the model is wrong (White 1982). Numbers of which the data say nothing
    have the width ``WIDE``.
    """
    candidate, numbers = maximum.candidate, maximum.numbers
    size, count = numbers.size, evidence.requests
    scores, hessian = np.empty((count, size)), np.empty((size, size))
    for p in range(size):
        step = np.zeros(size)
        step[p] = 1e-3
        above, below = (
            evidence.log_likelihood(candidate.chain(numbers + sign * step)) for sign in (1, -1)
        )
        scores[:, p] = (above - below) / 2e-3
        up, down = (_slope(candidate, evidence, numbers + sign * step)[1] for sign in (1, -1))
        hessian[p] = (up - down) / 2e-3
    curvature, axes = np.linalg.eigh(-(hessian + hessian.T) / 2)
    inverse = axes @ np.diag(1 / np.maximum(curvature, WIDE**-2)) @ axes.T
    centred = scores - scores.mean(0)
    meat = centred.T @ centred * count / max(count - 1, 1)
    return np.asarray(inverse @ meat @ inverse)


def draws(maximum: Maximum, covariance: Floats, count: int, seed: int = 0) -> Floats:
    """``[count, P]`` numbers that might as well be the true ones, as a normal law has them.

    With few requests the law is Student's, with requests - 1 degrees of freedom.
    """
    rng = np.random.default_rng(seed)
    size, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.clip(size, 0, WIDE**2))
    normal = rng.standard_normal((count, maximum.numbers.size)) @ root.T
    degrees = max(maximum.requests - 1, 1)
    heavy = np.sqrt(degrees / rng.chisquare(degrees, (count, 1)))
    return np.asarray(maximum.numbers + normal * np.minimum(heavy, 10))
