"""The greatest load at which a simulated share is large enough, with its interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST_DOUBLINGS = 16
MOST_STEPS = 12
CLOSE = 0.01  # relative change of the load at which the search ends
LEAST = 1e-4  # share that misses below which shares are taken as equal, if the target is larger
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


def greatest_load(
    evaluate: Evaluate,
    target: float,
    start: float,
    known: dict[float, tuple[float, float]] | None = None,
) -> Root:
    """The load at which a falling share reaches a target, by doubling and interpolation.

    All loads should be simulated with common random numbers: then the share falls with little
    noise, and the error of the root is that of the share over its slope. The share that misses is
    taken as a power of the load between two loads.

    Args:
        evaluate (Callable): Share and half-width at a load.
        target (float): The share.
        start (float): A load to begin at, positive.
        known (dict[float, tuple[float, float]] | None): Shares and half-widths by load that are
            known before; those of the loads that are simulated are added.

    Returns:
        Root: The load, to 1 %, and its interval.

    Examples:
        >>> found = greatest_load(lambda load: (1 - load / 100, 0.001), 0.9, 3.0)
        >>> round(found.load, 2), round(found.low, 2), round(found.high, 2)
        (10.0, 9.9, 10.1)
    """
    known = {} if known is None else known
    given = len(known)
    least = min(LEAST, (1 - target) / 10)

    def margin(load: float) -> float:
        """Logarithm of the allowed over the found share that misses: falls through 0."""
        if load not in known:
            known[load] = evaluate(load)
        return float(np.log((1 - target) / max(1 - known[load][0], least)))

    low = high = start
    doublings = 0
    while margin(low) < 0 and doublings < MOST_DOUBLINGS:
        low, high, doublings = low / 2, low, doublings + 1
    while margin(high) >= 0 and doublings < MOST_DOUBLINGS:
        low, high, doublings = high, 2 * high, doublings + 1
    if doublings == MOST_DOUBLINGS:
        limit = 0.0 if margin(low) < 0 else np.inf
        return Root(limit, limit, limit, len(known) - given)
    load = _between(low, high, margin)
    for _ in range(MOST_STEPS):
        low, high = (load, high) if margin(load) >= 0 else (low, load)
        before, load = load, _between(low, high, margin)
        if abs(load / before - 1) < CLOSE:
            break
    ends = load / APART, load * APART
    slope = (margin(ends[0]) - margin(ends[1])) / float(2 * np.log(APART))
    half = float(known[before][1] / (1 - target) / slope * load) if slope > 0 else np.inf
    half = max(half, CLOSE * load)
    evaluations = len(known) - given
    return Root(load, max(load - half, 0.0), load + half, evaluations)


def _between(low: float, high: float, margin: Callable[[float], float]) -> float:
    """Where the margin is 0, as if linear in the logarithm of the load, inside of the bracket."""
    share = margin(low) / (margin(low) - margin(high))
    return float(low * (high / low) ** np.clip(share, 0.1, 0.9))
