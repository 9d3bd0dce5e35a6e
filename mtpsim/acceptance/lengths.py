"""Random lengths of generated requests, tied to how easy a request begins."""

from typing import Literal

import numpy as np

from mtpsim.acceptance.base import AcceptanceChain, LengthTable
from mtpsim.common.arrays import Floats
from mtpsim.latency.quantile_table import gamma, lognormal

Distribution = Literal["lognormal", "gamma", "geometric"]
CLASSES, POINTS = 32, 64  # lengths of equal probability; points of a mean over a part of them
LONGEST = 10_000_000


def length_table(
    chain: AcceptanceChain,
    *,
    mean: float,
    cv: float,
    distribution: Distribution,
    correlation: float,
) -> LengthTable:
    """Lengths by first state, of a Gaussian copula with the acceptance of that state.

    The distribution is cut into 32 parts of equal probability; each gives the length of its mean.

    Args:
        chain (AcceptanceChain): The states; they rank by their expected accepted drafts.
        mean (float): Mean tokens of a request.
        cv (float): Standard deviation over mean; not of a geometric distribution.
        distribution (str): Name of the distribution.
        correlation (float): Rank correlation of length and acceptance, -1 to 1. Negative: requests
            that begin with hard text are longer.

    Returns:
        LengthTable: Up to 32 lengths.
    """
    from mtpsim.common.special import ndtr, ndtri

    spread = (np.arange(CLASSES * POINTS) + 0.5) / (CLASSES * POINTS)
    parts = _quantiles(spread, mean, cv, distribution).reshape(CLASSES, POINTS).mean(1)
    lengths = np.clip(np.rint(parts * mean / parts.mean()), 1, LONGEST).astype(np.int64)
    order = np.argsort(chain.survival.sum(1), kind="stable")
    ends = np.concatenate([[0.0], chain.start[order].cumsum()])
    within = (np.arange(POINTS) + 0.5) / POINTS
    ease = ndtri(ends[:-1, None] + np.diff(ends)[:, None] * within)  # [S, POINTS]
    normal = 2 * np.sin(np.pi * correlation / 6)  # correlation of the normal scores
    limits = ndtri(np.arange(1, CLASSES) / CLASSES)[:, None, None]
    rest = max(1 - normal**2, 1e-18) ** 0.5
    below = np.zeros((CLASSES + 1, chain.states))
    below[1:-1], below[-1] = ndtr((limits - normal * ease) / rest).mean(-1), 1.0
    shares = np.empty((chain.states, CLASSES))
    shares[order] = np.diff(below, axis=0).T
    tokens, same = np.unique(lengths, return_inverse=True)
    return LengthTable(tokens, shares @ (same[:, None] == np.arange(tokens.size)))


def _quantiles(u: Floats, mean: float, cv: float, distribution: Distribution) -> Floats:
    """Quantiles in tokens of probabilities ``u``."""
    if distribution == "geometric" and mean > 1:
        return np.asarray(np.ceil(np.log1p(-u) / np.log1p(-1 / mean)))
    if distribution == "geometric" or cv == 0:
        return np.full_like(u, mean)
    return mean * (gamma if distribution == "gamma" else lognormal)(cv).ppf(u)
