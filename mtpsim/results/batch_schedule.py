"""Best depth by batch, interpolated between the points of a sweep over ``latency.batch``.

What a round yields does not depend on the batch, and the cost model knows the time of a step at any
batch. So the simulated speedup at one batch, with its interval, carries over to all others by the
ratio of the times. Uncertain inputs are drawn together: each draw has its own yields and times.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.latency import CostModel
from mtpsim.report.document import INPUTS, SIMULATION, BatchCurves, BatchGroup, ScheduleStep, Turn
from mtpsim.results.point_data import PointData, number
from mtpsim.results.uncertainty import joint_draws
from mtpsim.stats import estimators

KEY = "latency.batch"
Value = TypeVar("Value")
GRID = 121  # batches of a curve, evenly spaced in their logarithm
SCHEDULE_POINTS = 512  # batches evaluated for the schedule; refined where the depth changes
ROWS = 1000  # least number of curves drawn for the intervals


def has_batch(point: PointData) -> bool:
    """Whether a point of a sweep is interpolated over the batch.

    Its depths are compared by their means, and its times do not depend on outcomes.
    """
    return KEY in point.point.set and point.objective is None and point.source.slowdown.ndim < 2


def by_batch(points: list[PointData]) -> list[BatchGroup]:
    """One entry per group of points that differ only in the batch."""
    return [_group(group) for group in _groups(points) if len(set(map(_batch, group))) > 1]


def _groups(points: list[PointData]) -> Iterable[list[PointData]]:
    groups: dict[str, list[PointData]] = {}
    for point in points:
        if KEY in point.point.set:
            groups.setdefault(json.dumps(_others(point), sort_keys=True), []).append(point)
    return groups.values()


def _batch(point: PointData) -> float:
    return float(point.point.set[KEY])


def _others(point: PointData) -> dict[str, Any]:
    return {key: value for key, value in point.point.set.items() if key != KEY}


class _Curves:
    """Speedup by depth at any batch, ``[K + 1]``: the estimate, and joint draws around it."""

    def __init__(self, group: list[PointData], batches: Floats) -> None:
        widest = max(group, key=lambda point: point.tally.count)
        cost = widest.experiment.latency
        assert isinstance(cost, CostModel)  # only cost models have a batch
        self._cost, self._depth, self._grid = cost, widest.layout.depth, np.log(batches)
        self._drafted = widest.experiment.drafted
        draft = widest.experiment.draft
        self._block = draft.block if draft else None
        self._confidence = widest.experiment.simulation.confidence
        self.few = widest.requests_needed is not None
        speedup = widest.estimates(estimators.speedup)
        self._yields = speedup.values / self._price(cost, cost.batch)
        drawn = widest.outcomes.variants.draws if widest.outcomes else []
        self.uncertain, costs = bool(drawn), [each.latency for each in drawn] or [cost]
        found = widest.outcomes.draws if widest.outcomes and drawn else [speedup]
        prices = np.array([[self._price(each, b) for b in (each.batch, *batches)]
                           for each in costs if isinstance(each, CostModel)])  # fmt: skip
        self._prices = np.log(prices[:, 1:])  # [draws, GRID, K + 1]
        rows = joint_draws(found)[: -(-ROWS // len(costs)) * len(costs)]
        self._rows = rows.reshape(-1, len(costs), self._depth + 1) - np.log(prices[:, 0])

    def _price(self, cost: CostModel, batch: float) -> Floats:
        """Time of a plain step over that of a round at each depth."""
        time = np.add(*cost.at_batch(batch, self._depth, self._drafted, self._block))
        return np.asarray(time[0] / time)

    def at(self, batch: float) -> Floats:
        return np.asarray(self._yields * self._price(self._cost, batch))

    def best(self, batch: float) -> int:
        """The fastest depth; over uncertain inputs the one of least expected regret."""
        if not self.uncertain:
            return int(np.argmax(self.at(batch)))
        place = np.interp(np.log(batch), self._grid, np.arange(GRID))
        low = min(int(place), GRID - 2)
        logs = self._rows + (
            self._prices[:, low] + (place - low) * (self._prices[:, low + 1] - self._prices[:, low])
        )
        regret = -np.expm1(logs - logs.max(-1, keepdims=True))
        return int(np.argmin(regret.mean((0, 1))))

    def last_batch(self, before: int, after: int, near: int) -> list[float | None]:
        """Ends of the interval of the last batch at which one depth is faster than another.

        Args:
            before: depth that is faster up to there; drafting at any depth where ``after`` is 0.
            after: depth that is faster from there on; at any depth where ``before`` is 0.
            near: estimate of that batch.

        Returns:
            Low and high end; None where it is beyond the batches of the sweep.
        """
        if self.few:
            return [None, None]
        logs = self._rows[:, :, None] + self._prices  # [rows, draws, GRID, K + 1]
        logs = logs.reshape(-1, GRID, self._depth + 1)
        leads = {0: logs[..., 0], 1: logs[..., 1:].max(-1)}
        if before and after:
            lead = logs[..., before] - logs[..., after]
        else:
            lead = leads[bool(before)] - leads[bool(after)]
        roots, tail = self._roots(lead, np.log(near + 0.5)), (1 - self._confidence) / 2
        ends = np.quantile(roots, [tail, 1 - tail], method="closest_observation")
        return [number(end) if end else None for end in np.floor(np.exp(ends))]

    def _roots(self, lead: Floats, near: float) -> Floats:
        """Log batch where each row ``[R, GRID]`` of leads ends, the one nearest to ``near``."""
        ends = (lead[:, :-1] > 0) & (lead[:, 1:] <= 0)
        middle = (self._grid[:-1] + self._grid[1:]) / 2
        step = np.argmin(np.where(ends, np.abs(middle - near), np.inf), axis=1)
        row = np.arange(len(lead))
        first, second = lead[row, step], lead[row, step + 1]
        share = first / np.where(ends[row, step], first - second, 1.0)
        root = self._grid[step] + share * (self._grid[step + 1] - self._grid[step])
        beyond = np.where(lead.mean(1) > 0, np.inf, -np.inf)
        return np.where(ends.any(1), root, beyond)


def _group(group: list[PointData]) -> BatchGroup:
    swept = [_batch(point) for point in group]
    batches = np.geomspace(min(swept), max(swept), GRID)
    curves = _Curves(group, batches)
    rows = np.array([curves.at(batch) for batch in batches])
    first, last = int(np.ceil(min(swept))), int(max(swept))
    schedule = [
        ScheduleStep(from_=start, to=end, depth=depth)
        for start, end, depth in constant_ranges(curves.best, first, last, SCHEDULE_POINTS)
    ]
    over = "" if curves.few else INPUTS if curves.uncertain else SIMULATION
    turns: list[Turn] = []
    for step, after in pairwise(schedule):
        step.low, step.high = curves.last_batch(step.depth, after.depth, step.to)
        if not step.depth or not after.depth:
            to = "on" if after.depth else "off"
            turns.append(Turn(to=to, batch=step.to, low=step.low, high=step.high, over=over))
    return BatchGroup(
        set=_others(group[0]),
        turns=turns,
        schedule=schedule,
        curves=BatchCurves(batch=batches.tolist(), speedup=rows.T.tolist()),
    )


def constant_ranges(
    value: Callable[[int], Value], first: int, last: int, looked: int
) -> Iterator[tuple[int, int, Value]]:
    """Ranges of the whole numbers ``first`` .. ``last``, both included, of a constant value.

    Args:
        value (Callable): The value of a number.
        first (int): The least number.
        last (int): The greatest number; none is in a range if it is less than ``first``.
        looked (int): Numbers whose values are computed, evenly spaced in their logarithm; where
            the value changes between two of them, the change is found by halves.

    Yields:
        tuple[int, int, Value]: First and last number of a range, and its value.
    """
    if first > last:
        return
    places = np.unique(np.rint(np.geomspace(first, last, looked)).astype(int)).tolist()
    start, now = first, value(first)
    for inside, beyond in pairwise(places):
        new = value(beyond)
        while new != now and beyond - inside > 1:
            middle = (inside + beyond) // 2
            inside, beyond = (middle, beyond) if value(middle) == now else (inside, middle)
        if new != now:
            yield start, inside, now
            start, now = beyond, new
    yield start, last, now
