"""How long requests take and how fast they go: quantiles, with intervals that assume no law.

A request is a pure function of its address, so the quantiles need no sketch that was kept on the
way: the first requests of a run are played once more, and their order statistics read off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.engine.blocks import UNIT_TICKS
from mtpsim.engine.compile import KernelPlan

SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)
MOST = 50_000  # requests: p99 then rests on 500 beyond it
MOST_TICKS = 2**26  # rounds or tokens that are played again at most, some tenths of a second
MOST_PLAYED = 2**23  # rounds or tokens of all policies together: they cost some 20 times as much
LEAST = 100  # requests, however long they are


class Tails(NamedTuple):
    """Quantiles of a request's time in ms and of its tokens a second, ``[D, SHARES, 3]``.

    A row is a depth, 0 to K, or a policy.
    """

    time: Floats
    speed: Floats


def sample_rows(plan: KernelPlan, requests: int, first: int = 0) -> Floats:
    """Totals of the first requests of a point, ``[n, columns]``.

    Args:
        plan: the point.
        requests: that the point has.
        first: number of its first request, a multiple of the unit.

    """
    from mtpsim.engine.simulate import simulate_requests  # numba: not for `show`

    plain = replace(plan, policy_set=None)
    pieces = _pieces(plan, requests, MOST_TICKS, first)
    return np.concatenate([simulate_requests(plain, *piece) for piece in pieces])


def sample_policies(plan: KernelPlan, requests: int, first: int = 0) -> Floats:
    """Tokens and ms of the first requests under every policy, ``[policies, n, 2]``.

    Args:
        plan: the point; it has policies.
        requests: and
        first: as for :func:`sample_rows`. Each policy plays the same requests, as long as they
            are under the fixed depths.

    """
    from mtpsim.engine.simulate import play_policies  # numba: not for `show`

    pieces = _pieces(plan, requests, MOST_PLAYED // plan.layout.policies, first)
    return np.concatenate([play_policies(plan, *piece)[0][..., :2] for piece in pieces], axis=1)


def _pieces(plan: KernelPlan, requests: int, most_ticks: int, first: int) -> list[tuple[int, int]]:
    """First request and number of requests of each unit that is played again."""
    ticks = plan.task.rounds or plan.task.tokens or UNIT_TICKS // plan.unit
    most = min(requests, MOST, max(most_ticks // ticks, LEAST))
    return [(first + at, min(plan.unit, most - at)) for at in range(0, most, plan.unit)]


def quantiles(values: Floats, shares: tuple[float, ...], confidence: float) -> Floats:
    """Quantiles of independent values, and their intervals between order statistics.

    The number of values below the true quantile is binomial, whatever their law; so the ends are
    the order statistics of its tails (Conover 1999, section 3.2). They hold at least at
    ``confidence``, and more often where values may be equal.

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


def tails(rows: Floats, plan: KernelPlan, confidence: float) -> Tails:
    """Quantiles of requests by depth, with their intervals; ``rows`` as of :func:`sample_rows`."""
    return _tails(rows[:, plan.layout.tokens].T, rows[:, plan.layout.time_ms].T, confidence)


def policy_tails(totals: Floats, confidence: float) -> Tails:
    """The same by policy; ``totals`` as of :func:`sample_policies`."""
    return _tails(totals[..., 0], totals[..., 1], confidence)


def _tails(tokens: Floats, times: Floats, confidence: float) -> Tails:
    """Of tokens and ms by depth or policy, and by request, ``[D, n]``."""
    tables = (times, 1000 * tokens / times)
    return Tails(
        *(np.stack([quantiles(row, SHARES, confidence) for row in table]) for table in tables)
    )
