"""A check, which every suite yields, and tables of the pages."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Check:
    """One statement that was tested.

    Attributes:
        name: short, unique within its suite.
        statement: what is claimed.
        result: what was found, in numbers.
        ok: the claim holds; for a negative control: the fault was found.
        false_alarm: probability that correct code fails the check on another seed; 0 where nothing
            is random.
        control: whether this is a deliberate fault that must be found.
        seconds: wall time, s.
        examples: examples tried; 0 where there is no such number.
        peak: greatest memory of a process, MB; 0 if not measured.
    """

    name: str
    statement: str
    result: str
    ok: bool
    false_alarm: float = 0.0
    control: bool = False
    seconds: float = 0.0
    examples: int = 0
    peak: float = 0.0

    @property
    def found(self) -> str:
        """The result with the number of examples and the memory."""
        parts = [f"{self.examples:,} examples"] * (self.examples > 0)
        parts += [f"at most {self.peak:,.0f} MB"] * (self.peak > 0)
        return "; ".join([*parts, self.result])


def added(kept: Check, new: Check) -> Check:
    """The sum of two searches for the same fault; a search that found one is not added to."""
    if not kept.ok:
        return new
    return replace(
        new,
        seconds=kept.seconds + new.seconds,
        examples=kept.examples + new.examples,
        peak=max(kept.peak, new.peak),
    )


def verdict(check: Check) -> str:
    """One word for the last column of a table."""
    return ("found" if check.control else "holds") if check.ok else "FAILS"


def overall(rates: Iterable[float]) -> float:
    """Probability of at least one false alarm among independent checks (else an upper bound)."""
    return 1 - math.prod(1 - rate for rate in rates)


def rate_text(rate: float) -> str:
    """``1 in 2,000``."""
    return f"1 in {round(1 / rate, -int(math.log10(1 / rate)) + 1):,.0f}" if rate else "none"


def coverage_slack(level: float, runs: int, allowance: float = 0.0) -> float:
    """Distance from nominal coverage that is an alarm: 4 binomial standard errors and more."""
    return 4 * math.sqrt(level * (1 - level) / runs) + allowance


class Table:
    """A Markdown table."""

    def __init__(self, *head: str) -> None:
        self.head, self.rows = head, list[tuple[str, ...]]()

    def add(self, *cells: str) -> None:
        """Append a row."""
        self.rows.append(cells)

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
