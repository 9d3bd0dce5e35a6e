"""Quantiles of the requests of all replications, with intervals clustered by replication.

A quantile of all requests has less bias than the mean of the replications' own quantiles, but
requests of a replication depend on each other. The interval is Woodruff's (1952), as in surveys of
clusters: the share of values above the quantile is a mean over replications, with their standard
error; its limits are turned into values. At p99 a few replications may hold most of that share, so
that its distribution is skewed: its upper limit is that of the logarithm, which is farther away.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Estimates

Counts = npt.NDArray[np.int64]
CROWDED = 0.02  # share of all values in one bin, from which they may be equal


class PooledQuantiles(NamedTuple):
    """Quantiles of the values of all replications, and their intervals.

    Attributes:
        values (Floats): ``[..., Q]`` quantiles.
        low (Floats): ``[..., Q]`` lower ends.
        high (Floats): ``[..., Q]`` upper ends; NaN where the replications don't bound the quantile.
    """

    values: Floats
    low: Floats
    high: Floats


def cluster_counts(counts: Counts, out: Counts | None = None) -> Counts:
    """What one replication adds to the totals from which intervals follow.

    Args:
        counts (Counts): ``[..., B]`` values of a replication per bin.
        out (Counts | None): ``[3, ..., B]`` array for the result; None: a new one.

    Returns:
        Counts: ``[3, ..., B]`` values per bin; square of the number of values in a bin or above;
            that number times the number of all values.

    Examples:
        >>> cluster_counts(np.array([2, 0, 1])).tolist()
        [[2, 0, 1], [9, 1, 1], [9, 3, 3]]
    """
    found = np.empty((3, *counts.shape), counts.dtype) if out is None else out
    found[0], above = counts, found[1]
    np.cumsum(counts[..., ::-1], axis=-1, out=above[..., ::-1])
    np.multiply(above, above[..., :1], out=found[2])
    above *= above
    return found


def pooled_quantiles(
    totals: Counts,
    edges: Floats,
    shares: Sequence[float],
    own: tuple[Floats, Floats],
    replications: int,
    confidence: float,
) -> PooledQuantiles:
    """Quantiles of values that were counted in bins, and their intervals.

    Args:
        totals (Counts): ``[3, ..., B]`` sum of :func:`cluster_counts` over replications.
        edges (Floats): ``[B + 1]`` positive edges of the bins. Values are taken as spread evenly
            in the logarithm over a bin, so that the relative error is at most the bin's width.
        shares (Sequence[float]): ``[Q]`` probabilities of the quantiles, 0.5 or more.
        own (tuple[Floats, Floats]): ``[..., Q]`` mean of the replications' own quantiles, and its
            standard error. Where many values share a bin, or are equal, their place in it is not
            known: the quantile and its interval are then these, if they are less than a bin away.
        replications (int): Number of replications, at least two.
        confidence (float): Two-sided confidence of the intervals.

    Returns:
        PooledQuantiles: ``[..., Q]`` quantiles in the unit of the edges; NaN without values.

    Raises:
        ValueError: There are fewer than two replications.
    """
    from mtpsim.common.special import stdtrit

    if replications < 2:
        raise ValueError(f"an interval needs at least 2 replications, not {replications}")
    flat = np.reshape(totals, (3, -1, totals.shape[-1]))
    found = np.full((3, flat.shape[1], len(shares)), np.nan)
    means, errors = (np.reshape(part, found.shape[1:]) for part in own)
    student = float(stdtrit(replications - 1, (1 + confidence) / 2))
    widening, wanted = student * np.sqrt(replications / (replications - 1)), np.asarray(shares)
    for row in np.flatnonzero(flat[0].any(-1)):
        counts, mean, half = flat[0, row], means[row], student * errors[row]
        values, bins = _quantiles(counts, edges, wanted)
        near = np.abs(mean - values) < edges[bins + 1] - edges[bins]
        crowded = near & (counts[bins] >= CROWDED * counts.sum())
        off = widening * _share_errors(flat[:, row], values, bins, edges)
        above = (1 - wanted) * np.exp(off / (1 - wanted)), 1 - wanted - off
        low, high = (_quantiles(counts, edges, np.clip(1 - one, 0, 1))[0] for one in above)
        high[above[1] <= 0] = np.nan
        own_ends = [mean, np.maximum(mean - half, 0), mean + half]
        found[:, row] = np.where(crowded, own_ends, [values, low, high])
    return PooledQuantiles(*found.reshape(3, *totals.shape[1:-1], len(shares)))


def _quantiles(
    counts: Counts, edges: Floats, shares: Floats
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Quantiles ``[Q]`` of counts ``[B]``, and their bins."""
    logs, filled = np.log(edges), np.flatnonzero(counts)
    below = np.cumsum(counts[filled])
    wanted = shares * below[-1]
    place = np.minimum(np.searchsorted(below, wanted), filled.size - 1)
    inside = 1 - (below[place] - wanted) / counts[filled[place]]
    bins = filled[place]
    return np.exp(logs[bins] + np.clip(inside, 0, 1) * (logs[bins + 1] - logs[bins])), bins


def _share_errors(
    totals: Counts, values: Floats, bins: npt.NDArray[np.intp], edges: Floats
) -> Floats:
    """Errors ``[Q]`` of the shares of values above the quantiles.

    The root of the sum over replications of (values above - share x all values) squared, over all
    values; between the two ends of a bin in proportion to the logarithm.
    """
    counts, squares, products = (np.append(one, 0).astype(float) for one in totals)
    above = np.cumsum(counts[::-1])[::-1]
    inside = np.log(values / edges[bins]) / np.log(edges[bins + 1] / edges[bins])

    def at(edge: npt.NDArray[np.intp]) -> Floats:
        share = above[edge] / above[0]
        sum_ = squares[edge] - 2 * share * products[edge] + share**2 * squares[0]
        return np.asarray(np.sqrt(np.maximum(sum_, 0)) / above[0])

    return np.asarray(at(bins) + np.clip(inside, 0, 1) * (at(bins + 1) - at(bins)))


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
