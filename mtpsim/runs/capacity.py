"""The capacity of a server: for each arm the greatest rate of arrivals that meets the goals."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.serving import Serving
from mtpsim.engine.server_data import Arm, ServerData, quantity
from mtpsim.results.serving_warnings import GROWTH, is_unstable
from mtpsim.stats.estimators import delta_method
from mtpsim.stats.root_search import Root, greatest_load

RATE = "serving.arrivals.rate"
GROWS = 0.0, 0.0  # share and half-width at a rate at which the queue grows
Simulate = Callable[[Point], ServerData]


def has_capacity(points: Sequence[Point]) -> list[bool]:
    """Whether the capacity is searched at each point: once for points that differ in the rate."""
    seen: set[str] = set()
    found = []
    for point in points:
        others = repr({key: value for key, value in point.set.items() if key != RATE})
        serving = point.experiment.serving
        found.append(serving is not None and serving.capacity is not None and others not in seen)
        seen.add(others)
    return found


def capacity_of(data: ServerData, arm: Arm, simulate: Simulate) -> Root:
    """The greatest rate, in requests per second, at which enough requests meet the goals.

    A rate at which the queue grows serves no request in time for long, whatever the share of those
    of one replication. As a slow growth is not seen, the interval then reaches as far down.

    Args:
        data (ServerData): A point with ``serving.capacity``; the search starts at its rate and has
            its replications, with the same random words at all rates.
        arm (Arm): The depth or policy.
        simulate (Callable): Simulates a point.
    """
    serving = data.experiment.serving
    if serving is None or serving.capacity is None or serving.arrivals.rate is None:
        raise ValueError("a capacity needs serving.capacity and serving.arrivals.rate")

    def simulated(rate: float) -> tuple[float, float]:
        one = _at_rate(data.experiment, serving, arm, rate, data.tally.count)
        return share(simulate(Point({}, one)))

    def share(found: ServerData) -> tuple[float, float]:
        good = delta_method(
            lambda means: quantity(means, found.layout, "good"),
            found.tally,
            data.experiment.simulation.confidence,
        )
        place = [one.name for one in found.arms].index(arm.name)
        if is_unstable(found, place):
            return GROWS
        return float(good.values[place]), float(good.half_width[place])

    start = serving.arrivals.rate
    shares = {start: share(data)}
    root = greatest_load(simulated, serving.capacity.share, start, shares)
    above = [rate for rate in shares if rate > root.load]
    if above and shares[min(above)] == GROWS:
        return replace(root, low=min(root.low, root.load / (1 + GROWTH)))
    return root


def _at_rate(
    experiment: Experiment, serving: Serving, arm: Arm, rate: float, replications: int
) -> Experiment:
    """The experiment at another rate, with one arm (a policy with plain decoding beside it)."""
    policies = [policy for policy in serving.policies if policy.label == arm.name]
    changes = {
        "arrivals": serving.arrivals.model_copy(update={"rate": rate}),
        "depths": [arm.depth or 0],
        "policies": policies if arm.depth is None else [],
        "replications": replications,
        "precision": None,
        "capacity": None,
    }
    return experiment.model_copy(update={"serving": serving.model_copy(update=changes)})
