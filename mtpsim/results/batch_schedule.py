"""Best depth by batch, interpolated between the points of a sweep over ``latency.batch``.

What a round yields does not depend on the batch, and the cost model knows the time of a step at any
batch. So the simulated speedup at one batch, with its interval, carries over to all others by the
ratio of the times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.latency import CostModel
from mtpsim.report.document import BatchCurves, BatchGroup, ScheduleStep, Turn
from mtpsim.results.point_data import PointData, number
from mtpsim.stats import estimators

KEY = "latency.batch"
GRID = 121  # batches of a curve, evenly spaced in their logarithm
SCHEDULE_POINTS = 512  # batches evaluated for the schedule; refined where the depth changes


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
    """Speedup by depth at any batch, ``[K + 1]``: the estimate and the ends of its interval."""

    def __init__(self, group: list[PointData]) -> None:
        widest = max(group, key=lambda point: point.tally.count)
        cost = widest.experiment.latency
        assert isinstance(cost, CostModel)  # only cost models have a batch
        self._cost, self._depth = cost, widest.layout.depth
        gain = widest.estimates(estimators.speedup)
        scale = 1 / self._price(float(cost.batch))
        self._yields = {"mean": gain.values, "low": gain.low, "high": gain.high}
        self._yields = {name: values * scale for name, values in self._yields.items()}

    def _price(self, batch: float) -> Floats:
        """Time of a plain step over that of a round at each depth."""
        time = np.add(*self._cost.at_batch(batch, self._depth))
        return np.asarray(time[0] / time)

    def at(self, batch: float, end: str = "mean") -> Floats:
        return np.asarray(self._yields[end] * self._price(batch))

    def gain(self, batch: float, end: str) -> float:
        """Log of the best speedup that drafting has."""
        return float(np.log(self.at(batch, end)[1:].max()))

    def best(self, batch: float) -> int:
        return int(np.argmax(self.at(batch)))


def _group(group: list[PointData]) -> BatchGroup:
    curves = _Curves(group)
    swept = [_batch(point) for point in group]
    batches = np.geomspace(min(swept), max(swept), GRID)
    rows = np.array([curves.at(batch) for batch in batches])
    return BatchGroup(
        set=_others(group[0]),
        turns=_turns(curves, batches),
        schedule=list(_schedule(curves, int(np.ceil(min(swept))), int(max(swept)))),
        curves=BatchCurves(batch=batches.tolist(), speedup=rows.T.tolist()),
    )


def _turns(curves: _Curves, batches: Floats) -> list[Turn]:
    """Batches at which drafting stops or starts to pay, with intervals."""
    gains = np.array([curves.gain(batch, "mean") for batch in batches])
    found: list[Turn] = []
    for i in np.flatnonzero((gains[:-1] > 0) != (gains[1:] > 0)):
        off = bool(gains[i] > 0)
        ends = [_crossing(curves, batches, int(i), off, end) for end in ("mean", "low", "high")]
        mean, low, high = ends if off else (ends[0], ends[2], ends[1])
        assert mean is not None
        found.append(Turn(to="off" if off else "on", batch=mean, low=low, high=high))
    return found


def _crossing(curves: _Curves, batches: Floats, near: int, off: bool, end: str) -> float | None:
    """Where an end of the interval crosses 1 the same way, nearest to grid step ``near``."""
    from scipy.optimize import brentq

    gains = np.array([curves.gain(batch, end) for batch in batches])
    steps = np.flatnonzero(((gains[:-1] > 0) == off) & ((gains[1:] > 0) != off))
    if not steps.size:
        return None
    i = int(steps[np.argmin(np.abs(steps - near))])
    root = brentq(lambda batch: curves.gain(batch, end), batches[i], batches[i + 1], xtol=1e-6)
    return number(root)


def _schedule(curves: _Curves, first: int, last: int) -> Iterator[ScheduleStep]:
    """The fastest depth by whole batches: ``from`` .. ``to``, all included."""
    if first > last:  # no whole batch between the swept ones
        return
    looked = np.unique(np.rint(np.geomspace(first, last, SCHEDULE_POINTS)).astype(int)).tolist()
    start, depth = first, curves.best(first)
    for before, after in pairwise(looked):
        new = curves.best(after)
        if new != depth:
            end = _last_of(curves, depth, before, after)
            yield ScheduleStep(from_=start, to=end, depth=depth)
            start, depth = end + 1, new
    yield ScheduleStep(from_=start, to=last, depth=depth)


def _last_of(curves: _Curves, depth: int, inside: int, beyond: int) -> int:
    """The last batch at which ``depth`` is fastest, by halves."""
    while beyond - inside > 1:
        middle = (inside + beyond) // 2
        if curves.best(middle) == depth:
            inside = middle
        else:
            beyond = middle
    return inside
