"""What differs between two results: inputs, and the answer at each depth."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.report.document import Interval, PointResult, Quantity, ResultDocument
from mtpsim.report.serving_document import ServedArm

SERVED: dict[str, Callable[[ServedArm], Interval]] = {
    "output tok/s": lambda arm: arm.throughput,
    "TPOT, ms": lambda arm: arm.tpot.mean,
    "TPOT p99, ms": lambda arm: arm.tpot.p99,
    "TTFT p99, ms": lambda arm: arm.ttft.p99,
}
"""Quantities of a server that are compared."""
IGNORED = ("title",)
"""Keys that change nothing in the numbers."""


@dataclass(frozen=True, kw_only=True)
class InputChange:
    """An input that differs between the runs.

    Attributes:
        key (str): Dotted key of the experiment.
        before (Any): Value in the first run; None: not given.
        after (Any): Value in the second run; None: not given.
    """

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class DepthChange:
    """How the speedup of one depth differs between the runs.

    Attributes:
        depth (int): Drafts per round.
        before (Interval): Speedup in the first run.
        after (Interval): Speedup in the second run.
        change (Interval): Relative change, 0.01 for 1 %; the runs are taken as independent.
        objective_before (Interval | None): Speedup at the quantile by which the first run compares
            depths; None: it compares mean speeds.
        objective_after (Interval | None): That of the second run.
        exact (float | None): Relative change of the exact speedups; None if one has none.
    """

    depth: int
    before: Interval
    after: Interval
    change: Interval
    objective_before: Interval | None
    objective_after: Interval | None
    exact: float | None


@dataclass(frozen=True, kw_only=True)
class ServedChange:
    """How a quantity of a depth or policy of a server differs between the runs.

    Attributes:
        name (str): The depth or policy.
        quantity (str): Name of the quantity, a key of :data:`SERVED`.
        before (Interval): In the first run.
        after (Interval): In the second run.
        change (Interval): Relative change, 0.01 for 1 %; the runs are taken as independent.
    """

    name: str
    quantity: str
    before: Interval
    after: Interval
    change: Interval


@dataclass(frozen=True, kw_only=True)
class PointChange:
    """One point that both runs have.

    Attributes:
        set (JsonDict): Swept keys and their values.
        depths (list[DepthChange]): Every depth from 1 that both runs have.
        before (int | None): Recommended depth in the first run; None: none is.
        after (int | None): Recommended depth in the second run.
        objectives (tuple[str, str]): What each run compares: ``mean``, or a quantile such as
            ``p99``.
        served (list[ServedChange]): Of a server, every depth and policy that both runs have.
        best (tuple[str, str] | None): Of a server, what each run recommends.
    """

    set: JsonDict
    depths: list[DepthChange]
    before: int | None
    after: int | None
    objectives: tuple[str, str]
    served: list[ServedChange] = field(default_factory=list)
    best: tuple[str, str] | None = None

    @property
    def changed(self) -> bool:
        """Whether the runs recommend different depths, or of a server different arms."""
        before, after = self.best or (self.before, self.after)
        return before != after

    @property
    def significant(self) -> list[bool]:
        """Whether the interval of each change excludes 0, where it has numbers."""
        changes = [one.change for one in self.depths] + [one.change for one in self.served]
        ends = [(one.low, one.high) for one in changes]
        return [low > 0 or high < 0 for low, high in ends if low is not None and high is not None]


@dataclass(frozen=True, kw_only=True)
class ResultComparison:
    """What differs between two results.

    Attributes:
        inputs (list[InputChange]): Inputs that differ.
        points (list[PointChange]): Points that both have.
        only_one (int): Number of points that only one of them has.
    """

    inputs: list[InputChange]
    points: list[PointChange]
    only_one: int

    def to_json(self) -> JsonDict:
        """The comparison as plain data."""
        return asdict(self)


def compare(one: ResultDocument, other: ResultDocument) -> ResultComparison:
    """Compare two results.

    Args:
        one (ResultDocument): The result before a change.
        other (ResultDocument): The result after it.
    """
    theirs = {_label(point): point for point in other.points}
    shared = [(point, theirs[_label(point)]) for point in one.points if _label(point) in theirs]
    return ResultComparison(
        inputs=input_changes(one.experiment, other.experiment),
        points=[_point_change(before, after) for before, after in shared],
        only_one=len(one.points) + len(other.points) - 2 * len(shared),
    )


def _label(point: PointResult) -> str:
    return repr(sorted(point.set.items()))


def input_changes(one: JsonDict, other: JsonDict) -> list[InputChange]:
    """Inputs that differ between two experiments, as plain data with their defaults."""
    before, after = dict(_flat(one)), dict(_flat(other))
    keys = [key for key in {**before, **after} if key not in IGNORED]
    return [
        InputChange(key=key, before=before.get(key), after=after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _point_change(before: PointResult, after: PointResult) -> PointChange:
    pairs = list(zip(before.depths, after.depths, strict=False))[1:]
    return PointChange(
        set=before.set,
        depths=[
            DepthChange(
                depth=old.depth,
                before=old.speedup.map(float),
                after=new.speedup.map(float),
                change=relative_change(old.speedup, new.speedup),
                objective_before=old.objective,
                objective_after=new.objective,
                exact=_exact_change(old.speedup, new.speedup),
            )
            for old, new in pairs
        ],
        before=before.advice.recommended if before.advice else None,
        after=after.advice.recommended if after.advice else None,
        objectives=(_objective(before), _objective(after)),
        served=list(_served_changes(before, after)),
        best=(before.serving.best, after.serving.best)
        if before.serving and after.serving
        else None,
    )


def _served_changes(before: PointResult, after: PointResult) -> Iterator[ServedChange]:
    if not (before.serving and after.serving):
        return
    arms = {arm.name: arm for arm in after.serving.arms}
    for old in before.serving.arms:
        for name, cell in SERVED.items() if old.name in arms else ():
            one, other = cell(old), cell(arms[old.name])
            yield ServedChange(
                name=old.name,
                quantity=name,
                before=one,
                after=other,
                change=relative_change(one, other),
            )


def _objective(point: PointResult) -> str:
    return point.advice.objective if point.advice else "mean"


def _exact_change(before: Quantity, after: Quantity) -> float | None:
    return after.exact / before.exact - 1 if before.exact and after.exact else None


def relative_change(before: Interval, after: Interval) -> Interval:
    """Relative change between two independent estimates of positive numbers.

    Each end combines the relative half-widths of the two intervals on its side in quadrature
    (MOVER on the log scale; Zou and Donner 2008).

    Args:
        before (Interval): The estimate before.
        after (Interval): The estimate after.

    Returns:
        Interval: after / before - 1; without numbers where one of them has none.

    Examples:
        >>> exact = Interval(mean=2.0, low=2.0, high=2.0)
        >>> round(relative_change(exact, Interval(mean=3.0, low=2.7, high=3.3)).mean, 9)
        0.5
    """
    old, new = ((end.mean, end.low, end.high) for end in (before, after))
    if not all(value is not None and value > 0 for value in (*old, *new)):
        return Interval(mean=None, low=None, high=None)
    (mean_0, low_0, high_0), (mean_1, low_1, high_1) = (
        [math.log(value) for value in ends if value] for ends in (old, new)
    )
    centre = mean_1 - mean_0
    low = centre - math.hypot(mean_1 - low_1, high_0 - mean_0)
    high = centre + math.hypot(high_1 - mean_1, mean_0 - low_0)
    return Interval(mean=math.expm1(centre), low=math.expm1(low), high=math.expm1(high))
