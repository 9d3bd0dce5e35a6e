"""Quantiles of the time and the speed of requests, with distribution-free intervals.

A request is a pure function of its number, so no quantile sketch is kept during the simulation:
the first requests of a run are simulated again, and their order statistics are the quantiles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.engine.scheduler import UNIT_TICKS

if TYPE_CHECKING:
    from mtpsim.engine.simulate import KernelPlan

SHARES = (0.01, 0.05, 0.5, 0.95, 0.99)
MOST = 50_000  # requests: 500 of them are beyond p99
MOST_TICKS = 2**26  # rounds or tokens that are simulated again: some tenths of a second
MOST_PLAYED = 2**23  # rounds or tokens of all policies together: each costs about 20 times as much
LEAST = 100  # requests, however long they are


class Tails(NamedTuple):
    """Quantiles of requests, by depth (0 to K) or by policy.

    Attributes:
        time (Floats): ``[D, SHARES, 3]`` quantiles of the time in ms, with both interval ends.
        speed (Floats): ``[D, SHARES, 3]`` quantiles of the tokens per second.
    """

    time: Floats
    speed: Floats


def sample_rows(plan: KernelPlan, requests: int, first: int = 0) -> Floats:
    """Totals of the first requests of a point, ``[n, columns]``.

    Args:
        plan (KernelPlan): The point.
        requests (int): Number of requests of the point.
        first (int): Number of its first request, a multiple of the unit.
    """
    from mtpsim.engine.simulate import simulate_requests  # numba: `show` does not need it

    plain = replace(plan, policy_set=None)
    pieces = _pieces(plan, requests, MOST_TICKS, first)
    return np.concatenate([simulate_requests(plain, *piece) for piece in pieces])


def sample_policies(plan: KernelPlan, requests: int, first: int = 0) -> Floats:
    """Tokens and ms of the first requests under every policy, ``[policies, n, 2]``.

    Args:
        plan (KernelPlan): The point; it has policies.
        requests (int): Number of requests of the point.
        first (int): Number of its first request, a multiple of the unit. Each policy has the same
            requests as the fixed depths.
    """
    from mtpsim.engine.simulate import play_policies  # numba: `show` does not need it

    pieces = _pieces(plan, requests, MOST_PLAYED // plan.layout.policies, first)
    return np.concatenate([play_policies(plan, *piece)[0][..., :2] for piece in pieces], axis=1)


def _pieces(plan: KernelPlan, requests: int, most_ticks: int, first: int) -> list[tuple[int, int]]:
    """First request and number of requests of each unit that is simulated again."""
    ticks = plan.task.rounds or plan.task.tokens or UNIT_TICKS // plan.unit
    most = min(requests, MOST, max(most_ticks // ticks, LEAST))
    return [(first + at, min(plan.unit, most - at)) for at in range(0, most, plan.unit)]


def quantiles(values: Floats, shares: tuple[float, ...], confidence: float) -> Floats:
    """Quantiles of independent values, with distribution-free intervals.

    The number of values below the true quantile is binomial for any distribution, so the ends are
    the order statistics at its tails (Conover 1999, section 3.2). Coverage is at least
    ``confidence``, and higher with ties.

    Args:
        values (Floats): ``[n]`` values.
        shares (tuple[float, ...]): Probabilities of the quantiles.
        confidence (float): Two-sided confidence level.

    Returns:
        ``[len(shares), 3]`` quantile, low end and high end; an end is NaN if the sample is too
        small for it.
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
    """Least k with P(B <= k) >= share; scipy.stats has it too, but takes a second to import."""
    from scipy.special import bdtr, bdtrik

    found = int(np.ceil(bdtrik(share, count, p)))
    return found - 1 if found and bdtr(found - 1, count, p) >= share else found


def tails(rows: Floats, plan: KernelPlan, confidence: float) -> Tails:
    """Quantiles of requests by depth; ``rows`` as of :func:`sample_rows`."""
    return _tails(rows[:, plan.layout.tokens].T, rows[:, plan.layout.time_ms].T, confidence)


def policy_tails(totals: Floats, confidence: float) -> Tails:
    """Quantiles of requests by policy; ``totals`` as of :func:`sample_policies`."""
    return _tails(totals[..., 0], totals[..., 1], confidence)


def _tails(tokens: Floats, times: Floats, confidence: float) -> Tails:
    """Quantiles from tokens and ms, each ``[D, n]`` by depth or policy and by request."""
    with np.errstate(divide="ignore", over="ignore"):  # noise may make a request take no time
        speeds = 1000 * tokens / times
    time, speed = (
        np.stack([quantiles(row, SHARES, confidence) for row in table]) for table in (times, speeds)
    )
    return Tails(time, speed)
