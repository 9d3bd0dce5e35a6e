"""The greatest load at which a simulated share is large enough, with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST_DOUBLINGS = 16
CLOSE = 0.02  # relative width of the bracket in which the share is taken as linear
APART = 1.1  # factor from the root to the loads that give the slope: nearer ones give noise
Evaluate = Callable[[float], tuple[float, float]]
"""The share at a load, and its half-width."""


@dataclass(frozen=True)
class Root:
    """The load at which a share falls to its target.

    Attributes:
        load (float): The load; 0 if the share is too small at every load, infinite if at none.
        low (float): Lower end of its interval.
        high (float): Upper end of its interval.
        evaluations (int): Loads that were simulated.
    """

    load: float
    low: float
    high: float
    evaluations: int


def greatest_load(evaluate: Evaluate, target: float, start: float) -> Root:
    """The load at which a falling share reaches a target, by doubling and halving.

    All loads should be simulated with common random numbers: then the share falls with little
    noise, and the error of the root is that of the share over its slope.

    Args:
        evaluate (Callable): Share and half-width at a load.
        target (float): The share.
        start (float): A load to begin at, positive.

    Returns:
        Root: The load, linear between the ends of a bracket of 2 %, and its interval.

    Examples:
        >>> found = greatest_load(lambda load: (1 - load / 100, 0.001), 0.9, 3.0)
        >>> round(found.load, 3), round(found.low, 3), round(found.high, 3)
        (10.0, 9.9, 10.1)
    """
    known: dict[float, tuple[float, float]] = {}

    def passes(load: float) -> bool:
        known.setdefault(load, evaluate(load))
        return known[load][0] >= target

    low = high = start
    for _ in range(MOST_DOUBLINGS):
        if passes(low):
            break
        low, high = low / 2, low
    else:
        return Root(0.0, 0.0, 0.0, len(known))
    for _ in range(MOST_DOUBLINGS):
        if not passes(high):
            break
        low, high = high, 2 * high
    else:
        return Root(np.inf, np.inf, np.inf, len(known))
    while high > low * (1 + CLOSE):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if passes(middle) else (low, middle)
    (above, first), (below, second) = known[low], known[high]
    share = (above - target) / (above - below)
    load = low + share * (high - low)
    ends = load / APART, load * APART
    slope = _slope([1 - evaluate(end)[0] for end in ends], 1 - target) / (ends[1] - ends[0])
    half = (first + share * (second - first)) / slope if slope > 0 else np.inf
    return Root(load, max(load - half, 0.0), load + half, len(known) + 2)


def _slope(missed: list[float], at: float) -> float:
    """Rise of the share that misses, where it is ``at``, as if exponential between two ends."""
    if min(missed) <= 0:
        return missed[1] - missed[0]
    return at * float(np.log(missed[1] / missed[0]))
