"""Maximum likelihood fit of a candidate, and the sampling distribution of its parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.fit.candidates import Candidate
from mtpsim.fit.likelihood import ExpectedRounds, Observations

GRADIENT_STEP = 1e-5  # of central differences, in parameters of the order of 1
HESSIAN_STEP = 1e-3
OPTIONS: Any = {"maxiter": 200, "ftol": 1e-8}  # relative to the log-likelihood
MIN_ROWS = 5  # requests or windows, to fit anything but pooled rates
MIN_CLUSTERS = 5  # with fewer rows, errors are those of independent rounds
MAX_SE = 6.0  # standard error of a parameter about which the data hold no information


@dataclass(frozen=True)
class MleResult:
    """A fitted candidate.

    Attributes:
        candidate (Candidate): model that was fitted.
        parameters (NDArray[float64]): ``[P]`` parameters that maximize the likelihood.
        log_likelihood (float): maximum of the log-likelihood, summed over requests.
        requests (int): number of requests R fitted.
    """

    candidate: Candidate
    parameters: Floats
    log_likelihood: float
    requests: int

    @property
    def section(self) -> JsonDict:
        """The section ``[acceptance]``."""
        return self.candidate.section(self.parameters)

    @property
    def chain(self) -> AcceptanceChain:
        """The fitted chain."""
        return self.candidate.chain(self.parameters)

    @property
    def bic(self) -> float:
        """Schwarz' criterion, with requests as the independent units."""
        return float(np.log(self.requests) * self.parameters.size - 2 * self.log_likelihood)


def _differences(parameters: Floats, step: float) -> list[tuple[Floats, Floats]]:
    """Return parameters above and below the given ones, for each central difference."""
    steps = step * np.eye(parameters.size)
    return [(parameters + step, parameters - step) for step in steps]


def _gradient(candidate: Candidate, data: Observations, parameters: Floats) -> tuple[float, Floats]:
    """Return the log-likelihood and its gradient ``[P]``, from one pass over the data."""
    value, surrogate = data.surrogate(candidate.chain(parameters))
    pairs, law = _differences(parameters, GRADIENT_STEP), candidate.lengths
    slopes = [
        (surrogate(candidate.chain(above)) - surrogate(candidate.chain(below)))
        / (2 * GRADIENT_STEP)
        for above, below in pairs[: parameters.size - (law.size if law else 0)]
    ]
    if law is None:
        return value, np.array(slopes)
    assert isinstance(surrogate, ExpectedRounds)
    weights = surrogate.proposed if law.rows > 1 else surrogate.proposed.sum(0, keepdims=True)
    return value, np.append(slopes, law.slopes(parameters, weights))


def fit_mle(candidate: Candidate, data: Observations, initial: list[Floats]) -> MleResult:
    """Fit a candidate by maximum likelihood.

    Args:
        candidate: model to fit.
        data: observed requests.
        initial: start points ``[P]`` of the optimizer; the best of its results is returned.
    """
    from scipy.optimize import minimize

    def loss(parameters: Floats) -> tuple[float, Floats]:
        value, gradient = _gradient(candidate, data, parameters)
        return -value / data.requests, -gradient / data.requests

    results = [minimize(loss, x, jac=True, method="L-BFGS-B", options=OPTIONS) for x in initial]
    best = min(results, key=lambda result: float(result.fun))
    parameters = np.asarray(best.x, float)
    total = float(data.log_likelihood(candidate.chain(parameters)).sum())
    return MleResult(candidate, parameters, total, data.requests)


def parameter_covariance(fit: MleResult, data: Observations) -> Floats:
    """Return the sandwich covariance ``[P, P]`` of the parameters, clustered by request.

    It is valid under a wrong model too. Parameters about which the data hold no information have
    the standard error ``MAX_SE``.

    Args:
        fit: fitted candidate.
        data: requests that it was fitted to.

    Source:
        H. White, Maximum likelihood estimation of misspecified models, Econometrica 50 (1982).
    """
    candidate, count = fit.candidate, data.requests
    points = _differences(fit.parameters, HESSIAN_STEP)
    scores, hessian = np.empty((count, len(points))), np.empty((len(points), len(points)))
    for p, pair in enumerate(points):
        above, below = (data.log_likelihood(candidate.chain(x)) for x in pair)
        scores[:, p] = (above - below) / (2 * HESSIAN_STEP)
        up, down = (_gradient(candidate, data, x)[1] for x in pair)
        hessian[p] = (up - down) / (2 * HESSIAN_STEP)
    curvature, axes = np.linalg.eigh(-(hessian + hessian.T) / 2)
    inverse = axes @ np.diag(1 / np.maximum(curvature, MAX_SE**-2)) @ axes.T
    centred = scores - scores.mean(0)
    if count < MIN_CLUSTERS:
        return np.asarray(inverse)
    meat = centred.T @ centred * count / max(count - 1, 1)
    return np.asarray(inverse @ meat @ inverse)


def draw_parameters(fit: MleResult, covariance: Floats, count: int, seed: int = 0) -> Floats:
    """Return ``[count, P]`` draws from the sampling distribution of the parameters.

    The distribution is Student's t with R - 1 degrees of freedom.

    Args:
        fit: fitted candidate.
        covariance: ``[P, P]`` covariance of its parameters.
        count: number of draws.
        seed: seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    size, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.clip(size, 0, MAX_SE**2))
    normal = rng.standard_normal((count, fit.parameters.size)) @ root.T
    degrees = max(fit.requests, MIN_CLUSTERS) - 1
    scale = np.sqrt(degrees / rng.chisquare(degrees, (count, 1)))
    draws = np.asarray(fit.parameters + normal * np.minimum(scale, 10))
    law = fit.candidate.lengths
    return law.limited(draws, fit.parameters) if law else draws
