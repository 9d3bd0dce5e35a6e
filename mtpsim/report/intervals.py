"""Numbers of the result document with their intervals.

None stands where a number does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

Number = float | None


@dataclass(kw_only=True)
class Interval:
    """An estimate and the two ends of its interval."""

    mean: Number
    low: Number
    high: Number


@dataclass(kw_only=True)
class Quantity(Interval):
    """A simulated estimate beside the closed form and the exact answer."""

    theory: Number
    exact: Number


@dataclass(kw_only=True)
class JudgedInterval(Interval):
    """An interval and the verdict on it."""

    verdict: str = ""


@dataclass(kw_only=True)
class TheoryError(JudgedInterval):
    """Relative error of the closed form's speedup; ``requests_needed``: more to decide."""

    requests_needed: int | None = None


@dataclass(kw_only=True)
class ExactInterval(Interval):
    """A simulated estimate beside the exact answer."""

    exact: Number = None


@dataclass(kw_only=True)
class Loss(JudgedInterval):
    """Speedup lost against the best depth; P(this depth is best); expected loss."""

    best: Number
    regret: Number


@dataclass(kw_only=True)
class Series:
    """Several estimates and their intervals, a list each."""

    mean: list[Number]
    low: list[Number]
    high: list[Number]

    def intervals(self) -> list[Interval]:
        """The estimates one by one."""
        ends = zip(self.mean, self.low, self.high, strict=True)
        return [Interval(mean=mean, low=low, high=high) for mean, low, high in ends]


@dataclass(kw_only=True)
class BreakEvenRate:
    """The rate at which a step stops paying, and the rate now."""

    at: Number
    now: Number


@dataclass(kw_only=True)
class BreakEvenTime:
    """The time in ms at which a step stops paying, its interval, and the time now."""

    now: float
    at: Number
    low: Number
    high: Number


@dataclass(kw_only=True)
class BreakEven:
    """Break-even values of a step of depth, one input at a time."""

    rate: BreakEvenRate
    verify: BreakEvenTime
    draft: BreakEvenTime
