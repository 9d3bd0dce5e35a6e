"""Quantiles pooled over replications, with intervals by sectioning.

A quantile of all requests of all replications has less bias than the mean of the replications' own
quantiles, but requests of a replication depend on each other. Sectioning (Asmussen and Glynn 2007,
section III.5; Nakayama 2014) estimates the error of the pooled quantile from the replications'
own quantiles, which are independent: their mean squared deviation from it, not from their mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Estimates, Tally

CROWDED = 0.02  # share of all values in one bin, from which they may be equal


def pooled_quantiles(
    counts: npt.NDArray[np.int64],
    edges: Floats,
    shares: Sequence[float],
    own: Floats | None = None,
) -> Floats:
    """Quantiles of values that were counted in bins.

    Args:
        counts (npt.NDArray[np.int64]): ``[..., B]`` values per bin.
        edges (Floats): ``[B + 1]`` positive edges of the bins. Values are taken as spread evenly
            in the logarithm over a bin, so that the relative error is at most the bin's width.
        shares (Sequence[float]): Probabilities of the quantiles.
        own (Floats | None): ``[..., len(shares)]`` mean of the replications' own quantiles. Where
            many values are equal their place in a bin is not known; such a quantile is set to
            ``own`` if that is less than a bin away.

    Returns:
        Floats: ``[..., len(shares)]`` quantiles in the unit of the edges; NaN without values.

    Examples:
        >>> pooled_quantiles(np.array([1, 1]), np.array([1.0, 10.0, 100.0]), [0.25, 1.0]).round(2)
        array([  3.16, 100.  ])
    """
    flat = np.reshape(counts, (-1, np.shape(counts)[-1]))
    found = np.full((len(flat), len(shares)), np.nan)
    means = found if own is None else np.reshape(own, found.shape)
    logs = np.log(edges)
    for row, one, mean in zip(found, flat, means, strict=True):
        filled = np.flatnonzero(one)
        if not filled.size:
            continue
        below = np.cumsum(one[filled])
        wanted = np.asarray(shares) * below[-1]
        place = np.minimum(np.searchsorted(below, wanted), filled.size - 1)
        inside = 1 - (below[place] - wanted) / one[filled[place]]
        at = filled[place]
        row[:] = np.exp(logs[at] + np.clip(inside, 0, 1) * (logs[at + 1] - logs[at]))
        near = np.abs(mean - row) < edges[at + 1] - edges[at]
        row[:] = np.where(near & (one[at] >= CROWDED * below[-1]), mean, row)
    return np.asarray(found.reshape((*np.shape(counts)[:-1], len(shares))))


def sectioned(
    pooled: Floats, tally: Tally, columns: Sequence[int] | slice, confidence: float
) -> Estimates:
    """Pooled estimates with the covariance that the replications' own estimates give them.

    Args:
        pooled (Floats): ``[Q]`` estimates from all replications together, such as quantiles.
        tally (Tally): Totals of at least two replications.
        columns (Sequence[int] | slice): ``Q`` columns of the tally with the same estimates from a
            replication alone.
        confidence (float): Two-sided confidence of the intervals.

    Returns:
        Estimates: ``[Q]`` the pooled values. Options that were simulated on the same replications
        are paired by the covariance.

    Raises:
        ValueError: The tally has fewer than two replications.

    Examples:
        >>> own = np.array([[1.0], [2.0], [3.0]])
        >>> found = sectioned(np.array([2.0]), Tally.of(own), [0], 0.95)
        >>> found.values, found.half_width.round(3)
        (array([2.]), array([2.484]))
    """
    from scipy.special import stdtrit

    if tally.count < 2:
        raise ValueError(f"an interval needs at least 2 replications, not {tally.count}")
    distance = tally.mean[columns] - pooled
    chosen = tally.comoment[columns][:, columns]
    squares = chosen + tally.count * np.outer(distance, distance)
    quantile = float(stdtrit(tally.freedom, (1 + confidence) / 2))
    covariance = squares / (tally.count * tally.freedom)
    return Estimates(pooled, covariance, quantile, tally.freedom)


def ratios_to(values: Estimates, option: int) -> Estimates:
    """Each estimate over one of them, paired, by the delta method on the logarithms.

    Args:
        values (Estimates): ``[Q]`` positive estimates with their covariance.
        option (int): The estimate to divide by.

    Returns:
        Estimates: ``[Q]`` ratios; entry ``option`` is 1 without error.
    """
    ratio = values.values / values.values[option]
    slope = np.eye(len(ratio)) / values.values[option]
    slope[:, option] -= ratio / values.values[option]
    covariance = slope @ values.covariance @ slope.T
    return Estimates(ratio, covariance, values.quantile, values.freedom)
