"""What every part of the verification gives: checks, one a line of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One statement that was tried.

    Attributes:
        name: short, unique within its suite.
        statement: what is claimed.
        result: what was found, in numbers.
        ok: the claim held; of a negative control: the fault was found.
        false_alarm: chance that right code fails the check; 0 where nothing is random or all
            seeds are fixed against a printed answer; None where its script does not say.
        control: a fault that was put in on purpose.
        seconds: wall time.

    """

    name: str
    statement: str
    result: str
    ok: bool
    false_alarm: float | None = 0.0
    control: bool = False
    seconds: float = 0.0


def overall(rates: Iterable[float | None]) -> float:
    """Chance of at least one false alarm among independent checks (a bound, if they are not)."""
    return 1 - math.prod(1 - rate for rate in rates if rate)


def rate_in_words(rate: float | None) -> str:
    """``1 in 2,000``."""
    if rate is None:
        return "not stated"
    return "none" if rate == 0 else f"1 in {round(1 / rate, -int(math.log10(1 / rate)) + 1):,.0f}"


class Table:
    """Rows under a head, for a page."""

    def __init__(self, *head: str) -> None:
        self.head, self.rows = head, list[tuple[str, ...]]()

    def add(self, *cells: str) -> None:
        """One row more."""
        self.rows.append(cells)

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
