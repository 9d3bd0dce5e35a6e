"""The base of all sections of a document, and the interval that most of them hold."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import dataclass_transform

Number = float | None


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class DocumentSection:
    """The base class of a document and its sections: subclasses are dataclasses of keywords."""

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True)(cls)


class Interval(DocumentSection):
    """An estimate and the two ends of its interval."""

    mean: Number
    low: Number
    high: Number

    def map(self, function: Callable[[float], float]) -> "Interval":
        """The interval with a function of each of its numbers; None where one is not finite."""
        mean, low, high = (
            function(end) if end is not None and math.isfinite(end) else None
            for end in (self.mean, self.low, self.high)
        )
        return Interval(mean=mean, low=low, high=high)


class JudgedInterval(Interval):
    """An interval and the verdict on it."""

    verdict: str = ""
