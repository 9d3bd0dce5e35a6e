"""Nested orthant probabilities of a normal distribution: P(Z_1 <= z_1, .., Z_k <= z_k), k = 1..K.

A single correlation requires one-dimensional integrals, computed by quadrature to 1e-9; a full
matrix requires a (K - 1)-dimensional integral. All methods are deterministic.
"""

from functools import cache
from itertools import pairwise

import numpy as np

from mtpsim.common.arrays import Floats

NODES = 400
REACH = 9.0  # standard deviations; the tail beyond has 1e-19
MOST_NESTED, FEW_NODES, NEAR = 5, 24, 6.5
POINTS, GENERATOR = 131_071, 52_153  # a Korobov lattice


@cache
def _legendre(count: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on [-1, 1]; an eigenproblem, so solved once."""
    from scipy.special import roots_legendre

    x, weight = roots_legendre(count)
    return x, weight


def _nodes(low: float, high: float) -> tuple[Floats, Floats]:
    """The same on an interval."""
    x, weight = _legendre(NODES)
    half = max(high - low, 0.0) / 2
    return low + half * (x + 1), half * weight


def _density(x: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi))


def equal_orthants(z: Floats, correlation: float) -> Floats:
    """``[K]`` for equal pairwise ``correlation`` in [0, 1): one common factor."""
    from mtpsim.common.special import ndtr

    x, weight = _nodes(-REACH, REACH)
    below = ndtr((z[:, None] - np.sqrt(correlation) * x) / np.sqrt(1 - correlation))
    return np.asarray(np.cumprod(below, axis=0) @ (weight * _density(x)))


def ar1_orthants(z: Floats, correlation: float) -> Floats:
    """``[K]`` for ``correlation`` in (-1, 1) to the power of the distance: recursively."""
    from mtpsim.common.special import ndtr

    rest = np.sqrt(1 - correlation**2)
    x, weight = _nodes(-REACH, min(z[0], REACH))
    mass = weight * _density(x)
    found = [ndtr(z[0])]
    for before, limit in pairwise(z):
        if before == -np.inf:
            mass = 0 * mass
        found.append(mass @ ndtr((limit - correlation * x) / rest))
        y, weight = _nodes(-REACH, min(limit, REACH))
        mass = weight * (_density((y[:, None] - correlation * x) / rest) / rest @ mass)
        x = y
    return np.array(found)


def matrix_orthants(z: Floats, correlation: Floats) -> Floats:
    """``[K]`` for any positive definite matrix.

    The variables are separated by the Cholesky factor (Genz 1992). Up to five are integrated by
    nested quadrature, to 1e-7; more on a lattice, typically to 1e-5 and to 2e-4 for correlations
    close to 1.
    """
    factor = np.asarray(np.linalg.cholesky(correlation), float)
    return _nested(z, factor) if z.size <= MOST_NESTED else _on_lattice(z, factor)


def _nested(z: Floats, factor: Floats) -> Floats:
    from mtpsim.common.special import ndtr

    x, weight = _legendre(FEW_NODES)
    score, mass = np.zeros((0, 1)), np.ones(1)
    found = np.empty(z.size)
    for k, limit in enumerate(z):
        until = (limit - factor[k, :k] @ score) / factor[k, k]
        found[k] = mass @ ndtr(until)
        if k < z.size - 1:
            half = (np.clip(until, -NEAR, NEAR) + NEAR)[:, None] / 2
            own = half * (x + 1) - NEAR
            mass = (mass[:, None] * half * weight * _density(own)).ravel()
            score = np.concatenate([np.repeat(score, FEW_NODES, axis=1), own.reshape(1, -1)])
    return found


def _on_lattice(z: Floats, factor: Floats) -> Floats:
    from mtpsim.common.special import ndtr, ndtri

    index = np.arange(POINTS) + 0.5
    score = np.zeros((z.size, POINTS))
    inside = np.ones(POINTS)
    found = np.empty(z.size)
    for k, limit in enumerate(z):
        below = ndtr((limit - factor[k, :k] @ score[:k]) / factor[k, k])
        inside = inside * below
        found[k] = inside.mean()
        if k < z.size - 1:
            place = index * pow(GENERATOR, k, POINTS) / POINTS
            uniform = np.abs(2 * np.modf(place)[0] - 1)  # folded: periodic, without a jump
            score[k] = ndtri(np.clip(uniform * below, 1e-300, 1 - 1e-16))
    return found
