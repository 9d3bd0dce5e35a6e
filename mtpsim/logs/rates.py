"""Rates by draft position as engines print them: which definition they follow, and their counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mtpsim.common.text import counted
from mtpsim.formula.closed_form import survival
from mtpsim.logs.entry import Counts, EntryError, QuestionError

ROUNDED = 6e-4  # what rounding to three digits does, and a little


def counts_of(rates: list[float], rounds: int, accepted: int) -> Counts:
    """Rounds that accepted the first 1, 2, .. drafts, from survival rates that sum to A / N.

    Conditional rates are known by the sum of their products, and converted.

    Raises:
        EntryError: the rates fit neither definition.

    """
    if any(not 0 <= rate <= 1 for rate in rates):
        raise EntryError(f"rates by position are {rates}; each must lie within 0 and 1")
    for found in (rates, products(rates)):
        expected = sum(found) * rounds
        if abs(expected - accepted) <= (ROUNDED * rounds + 0.5) * len(rates):
            return _whole(found, rounds, accepted)
    raise EntryError(
        f"rates by position sum to {sum(rates):.4g} a round, and their products to "
        f"{sum(products(rates)):.4g}, but {counted(accepted, 'draft')} in "
        f"{counted(rounds, 'round')} are {accepted / max(rounds, 1):.4g}"
    )


def products(rates: list[float]) -> list[float]:
    """Survival rates from conditional ones."""
    return [float(rate) for rate in survival(np.asarray(rates, float))]


def _whole(rates: list[float], rounds: int, accepted: int) -> Counts:
    """Whole numbers near ``rates * rounds`` that sum to ``accepted`` and never rise."""
    scale = accepted / sum(rates) if sum(rates) else 0.0
    exact = [rate * scale for rate in rates]
    found = [int(value) for value in exact]
    by_remainder = sorted(range(len(rates)), key=lambda j: found[j] - exact[j])
    for j in by_remainder[: accepted - sum(found)]:
        found[j] += 1
    return sorted((min(n, rounds) for n in found), reverse=True)


def definition_of(rates: list[float], length: float | None, said: str | None) -> str:
    """``survival`` or ``conditional``, by what is known besides the rates.

    Args:
        rates: by position.
        length: mean accept length, where told.
        said: by the user.

    Raises:
        QuestionError: both definitions are possible.
        EntryError: none is.

    """
    sums = {"survival": 1 + sum(rates), "conditional": 1 + sum(products(rates))}
    if length is not None:
        fitting = [name for name, value in sums.items() if abs(value - length) <= 0.006]
    else:
        falls = all(a >= b for a, b in pairwise(rates))
        fitting = ["survival", "conditional"] if falls else ["conditional"]
    if len(rates) == 1:
        return "conditional"
    if said in fitting:
        return said
    if said is not None or not fitting:
        stated = "" if length is None else f", and {length:g} is stated"
        raise EntryError(
            f"rates {rates} give an accept length of {sums['survival']:.4g} as survival and "
            f"{sums['conditional']:.4g} as conditional rates{stated}"
            + (f"; they can't be {said}" if said else "")
        )
    if len(fitting) > 1:
        raise QuestionError(
            f"rates {rates} may be survival rates (accept length {sums['survival']:.4g}) or "
            f"conditional ones ({sums['conditional']:.4g}): say which with --rates-are"
        )
    return fitting[0]
