"""Does the theory hold? Equivalence tests of relative errors, one alone or many together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

QUANTILES = 6  # that are tried, by turns too narrow and too wide, each from the total before
Verdict = Literal["holds", "fails", "undecided"]


Judgement = tuple[Verdict, int | None]
"""A verdict, and how many more requests should decide an undecided one."""


@dataclass(frozen=True)
class RelativeError:
    """An estimated relative error and what it is held against.

    Attributes:
        mean: the estimate.
        half_width: of its interval by itself.
        quantile: standard errors in the half-width.
        requests: that it rests on.
        epsilon: the theory holds where the error is surely within this.
        confidence: of the interval, two-sided.

    """

    mean: float
    half_width: float
    quantile: float
    requests: int
    epsilon: float
    confidence: float

    @property
    def p_value(self) -> float:
        """Of the one hypothesis that the estimate speaks against: |error| beyond epsilon, or not.

        An interval that lies within epsilon, or outside it, has a p-value of (1 - confidence) / 2
        or less.
        """
        from scipy.special import stdtr

        room = abs(self.epsilon - abs(self.mean))
        error = self.half_width / self.quantile
        if error <= 0:
            return 0.0 if room > 0 else 1.0
        return float(stdtr(self.requests - 1, -room / error))

    def at_level(self, tests: int) -> RelativeError:
        """The same error, were it the first to be decided among so many."""
        from scipy.special import stdtrit

        level = (1 - self.confidence) / 2 / tests
        quantile = float(stdtrit(self.requests - 1, 1 - level))
        wider = self.half_width / self.quantile * quantile
        return RelativeError(self.mean, wider, quantile, self.requests, self.epsilon, 1 - 2 * level)

    @property
    def verdict(self) -> Verdict:
        """``holds``: the whole interval is within +-epsilon; ``fails``: all of it is outside."""
        if abs(self.mean) + self.half_width <= self.epsilon:
            return "holds"
        if abs(self.mean) - self.half_width > self.epsilon:
            return "fails"
        return "undecided"

    @property
    def requests_needed(self) -> int | None:
        """Further requests that should settle an open verdict, were ``mean`` the truth.

        Student's quantile narrows with them too, which counts where requests are few. None where
        no number would: the error is at the tolerance itself.
        """
        from scipy.special import ndtri, stdtrit

        room = abs(self.epsilon - abs(self.mean))
        if room == 0 or not np.isfinite(self.half_width / room):
            return None
        level, deviation = (1 + self.confidence) / 2, self.half_width / self.quantile / room
        quantile = float(ndtri(level))
        for _ in range(QUANTILES):
            total = max(self.requests * (quantile * deviation) ** 2, self.requests)
            quantile = float(stdtrit(total - 1, level))
        return int(np.ceil(total)) - self.requests


def holm_verdicts(errors: Sequence[RelativeError]) -> list[Judgement]:
    """Verdicts on errors that are judged together, and what would settle the open ones.

    Holm (1979): sorted by p-value, the i-th of m is held against (1 - confidence) / 2 over
    m - i + 1, until one is not decided. So, with the stated confidence, no verdict of the whole
    family is wrong. One error alone is judged by its own interval.
    """
    order = sorted(range(len(errors)), key=lambda i: errors[i].p_value)
    found: dict[int, tuple[Verdict, int | None]] = {}
    left = len(errors)
    for index in order:
        strict = errors[index].at_level(left)
        if strict.verdict != "undecided" and left == len(errors) - len(found):
            found[index] = strict.verdict, None
            left -= 1
        else:
            found[index] = "undecided", strict.requests_needed
    return [found[index] for index in range(len(errors))]
