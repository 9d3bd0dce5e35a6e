"""Rates by draft position as engines print them: their definition, and counts from them."""

from itertools import pairwise

import numpy as np

from mtpsim.common.text import counted
from mtpsim.formula.closed_form import survival
from mtpsim.logs.entry import PRINTED_DIGITS, Counts, EntryError, MissingInformationError

ROUNDING = 6e-4  # error of rates printed with three digits


def counts_from_rates(rates: list[float], rounds: int, accepted: int) -> Counts:
    """Return the number of rounds that accepted at least 1, 2, .. drafts; none without rates.

    Args:
        rates: rates by position, survival or conditional ones; whichever sum to A / N are used.
        rounds: number of rounds N.
        accepted: number of accepted drafts A.

    Raises:
        EntryError: the rates fit neither definition.
    """
    if not rates:
        return []
    if any(not 0 <= rate <= 1 for rate in rates):
        raise EntryError(f"rates by position are {rates}; each must be from 0 to 1")
    for convert in (list, survival_rates):
        found = convert(rates)
        if abs(sum(found) * rounds - accepted) <= (ROUNDING * rounds + 0.5) * len(rates):
            return _whole(found, rounds, accepted)
    raise EntryError(
        f"rates by position sum to {sum(rates):.4g} per round, and their products to "
        f"{sum(survival_rates(rates)):.4g}, but {counted(accepted, 'draft')} in "
        f"{counted(rounds, 'round')} are {accepted / max(rounds, 1):.4g}"
    )


def survival_rates(rates: list[float]) -> list[float]:
    """Return survival rates, given conditional ones."""
    return [float(rate) for rate in survival(np.asarray(rates, float))]


def _whole(rates: list[float], rounds: int, accepted: int) -> Counts:
    """Round ``rates * rounds`` to non-increasing whole numbers that sum to ``accepted``."""
    scale = accepted / sum(rates) if sum(rates) else 0.0
    exact = [rate * scale for rate in rates]
    found = [int(value) for value in exact]
    by_remainder = sorted(range(len(rates)), key=lambda j: found[j] - exact[j])
    for j in by_remainder[: accepted - sum(found)]:
        found[j] += 1
    return sorted((min(n, rounds) for n in found), reverse=True)


def rate_definition(rates: list[float], length: float | None, stated: str | None) -> str:
    """Return the definition of rates, ``"survival"`` or ``"conditional"``.

    Args:
        rates: rates by position.
        length: mean accept length, where logged.
        stated: definition stated by the file or the user, if any.

    Raises:
        MissingInformationError: both definitions are possible and neither is stated.
        EntryError: neither is possible, or the stated one is not.
    """
    sums = {"survival": 1 + sum(rates), "conditional": 1 + sum(survival_rates(rates))}
    if len(rates) == 1:
        return "conditional"
    if length is not None:
        possible = [name for name, v in sums.items() if abs(v - length) <= PRINTED_DIGITS]
    else:
        falls = all(a >= b for a, b in pairwise(rates))
        possible = ["survival", "conditional"] if falls else ["conditional"]
    if stated in possible:
        return stated
    if stated is not None or not possible:
        given = "" if length is None else f", and {length:g} is stated"
        raise EntryError(
            f"rates {rates} give an accept length of {sums['survival']:.4g} as survival and "
            f"{sums['conditional']:.4g} as conditional rates{given}"
            + (f"; they can't be {stated}" if stated else "")
        )
    if len(possible) > 1:
        raise MissingInformationError(
            f"rates {rates} can be survival rates (accept length {sums['survival']:.4g}) or "
            f"conditional rates ({sums['conditional']:.4g})",
            option="--rates-are",
        )
    return possible[0]
