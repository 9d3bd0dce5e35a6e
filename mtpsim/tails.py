"""How long requests take and how fast they go: quantiles, with intervals that assume no law.

A request is a pure function of its address, so the quantiles need no sketch that was kept on the
way: the first requests of a run are played once more, and their order statistics read off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mtpsim.compile import UNIT_TICKS, Plan
from mtpsim.simulate import simulate_requests
from mtpsim.tally import Floats

SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)
MOST = 50_000  # requests: p99 then rests on 500 beyond it
MOST_TICKS = 2**26  # rounds or tokens that are played again at most, some tenths of a second
LEAST = 100  # requests, however long they are


class Tails(NamedTuple):
    """Quantiles of a request's time in ms and of its tokens a second, ``[K + 1, SHARES, 3]``."""

    time: Floats
    speed: Floats


def sample_rows(plan: Plan, requests: int, first: int = 0) -> Floats:
    """Totals of the first requests of a point, ``[n, columns]``.

    Args:
        plan: the point.
        requests: that the point has.
        first: number of its first request, a multiple of the unit.

    """
    plain, unit = replace(plan, contest=None), plan.unit
    ticks = plan.task.rounds or plan.task.tokens or UNIT_TICKS // unit
    most = min(requests, MOST, max(MOST_TICKS // ticks, LEAST))
    firsts = range(0, most, unit)
    return np.concatenate(
        [simulate_requests(plain, first + f, min(unit, most - f)) for f in firsts]
    )


def quantiles(values: Floats, shares: tuple[float, ...], confidence: float) -> Floats:
    """Quantiles of independent values, and their intervals between order statistics.

    The number of values below the true quantile is binomial, whatever their law; so the ends are
    the order statistics of its tails (Conover 1999, section 3.2), at least at ``confidence`` where
    the law is continuous.

    Args:
        values: ``[n]``.
        shares: which quantiles, as shares below.
        confidence: two-sided.

    Returns:
        ``[len(shares), 3]``: the quantile and the ends of its interval; an end is NaN where the
        sample is too small to have one.

    """
    ordered, count, tail = np.sort(values), len(values), (1 - confidence) / 2
    found = np.full((len(shares), 3), np.nan)
    for row, share in zip(found, shares, strict=True):
        row[0] = ordered[min(int(np.ceil(share * count)), count) - 1]
        low = _binomial(tail, count, share)  # P(B < low) <= tail
        high = _binomial(1 - tail, count, share) + 1  # P(B >= high) <= tail
        if low >= 1:
            row[1] = ordered[low - 1]
        if high <= count:
            row[2] = ordered[high - 1]
    return found


def _binomial(share: float, count: int, p: float) -> int:
    """The least k with P(B <= k) >= share; scipy.stats has it too, and takes a second to load."""
    from scipy.special import bdtr, bdtrik

    found = int(np.ceil(bdtrik(share, count, p)))
    return found - 1 if found and bdtr(found - 1, count, p) >= share else found


def tails(rows: Floats, plan: Plan, confidence: float) -> Tails:
    """Quantiles of requests by depth, with their intervals; ``rows`` as of :func:`sample_rows`."""
    times, tokens = rows[:, plan.layout.seconds], rows[:, plan.layout.tokens]
    tables = (times, 1000 * tokens / times)
    return Tails(
        *(np.stack([quantiles(c, SHARES, confidence) for c in table.T]) for table in tables)
    )
