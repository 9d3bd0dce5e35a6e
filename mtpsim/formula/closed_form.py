"""The closed form and its conversions: what an engineer computes on paper.

Rates come under three names (conditional, survival, pooled); the closed form takes conditional
ones. Depth ``k`` runs from 0 (no drafts) to ``K``.
"""

from __future__ import annotations

import numpy as np

from mtpsim.common.arrays import Floats


def conditional_from(rates: Floats, rates_are: str) -> Floats:
    """Convert stated rates to conditional ones.

    Args:
        rates: ``[K]`` in [0, 1], by draft position.
        rates_are: ``conditional`` P(accept j | 1..j-1 accepted), ``survival`` P(1..j accepted),
            or ``marginal`` P(draft j would be accepted) of positions that are independent of each
            other, where it equals the conditional rate.

    Returns:
        ``[K]`` conditional rates; 0 after a position that is never reached.

    Raises:
        ValueError: survival rates increase, or the definition is unknown.

    """
    if rates_are in ("conditional", "marginal"):
        return rates
    if rates_are != "survival":
        raise ValueError(f"rates are conditional, survival or marginal, not {rates_are!r}")
    before = np.concatenate([[1.0], rates[:-1]])
    for position in np.flatnonzero(rates > before):
        raise ValueError(
            f"survival rates can't increase: position {position + 1} is {rates[position]:g} after "
            f'{before[position]:g}; conditional rates may (rates_are = "conditional")'
        )
    return np.asarray(np.divide(rates, before, out=np.zeros_like(rates), where=before > 0))


def survival(conditional: Floats) -> Floats:
    """P(first k drafts accepted), ``[K]``: the running product of conditional rates."""
    return np.asarray(np.cumprod(conditional))


def pooled(conditional: Floats, depth: int | None = None) -> float:
    """Accepted drafts over proposed drafts (A / D) at ``depth``, by default the greatest."""
    depth = depth or conditional.size
    return float(survival(conditional)[:depth].sum() / depth)


def accept_length(conditional: Floats) -> Floats:
    """Tokens a round, ``[K + 1]`` for depths 0..K: 1 + p1 + p1 p2 + ..."""
    return np.concatenate([[1.0], 1 + np.cumsum(survival(conditional))])


def speedup(conditional: Floats, target: float, round_time: Floats) -> Floats:
    """Speedup over plain decoding, ``[K + 1]``.

    Args:
        conditional: ``[K]`` conditional rates.
        target: time of a plain decoding step.
        round_time: ``[K + 1]`` verify + draft time at depths 0..K, in the unit of ``target``;
            entry 0 is ``target`` itself.

    """
    return np.asarray(target * accept_length(conditional) / round_time)


def marginal_gain(speedups: Floats) -> Floats:
    """speedup(k) / speedup(k - 1), ``[K + 1]``; 1 at depth 0."""
    return np.concatenate([[1.0], speedups[1:] / speedups[:-1]])


def break_even_rate(conditional: Floats, round_time: Floats) -> Floats:
    """The rate p_k above which depth k beats depth k - 1, ``[K]``.

    Step k pays when p1..pk / accept_length(k - 1) exceeds the growth of the round time. A value
    over 1 means that no rate makes it pay; infinite where position k is never reached.
    """
    length = accept_length(conditional)[:-1]
    reached = np.concatenate([[1.0], survival(conditional)[:-1]])
    needed = length * (round_time[1:] / round_time[:-1] - 1)
    free = np.where(needed > 0, np.inf, 0.0)
    return np.asarray(np.divide(np.maximum(needed, 0), reached, out=free, where=reached > 0))


def optimum_depth(speedups: Floats) -> int:
    """The depth of the greatest speedup; the shallowest of equals."""
    return int(np.argmax(speedups))


def geometric_accept_length(alpha: float, gamma: int) -> float:
    """(1 - a^(g+1)) / (1 - a): one rate at all of ``gamma`` positions (Leviathan et al. 2023)."""
    return float(accept_length(np.full(gamma, alpha))[-1])


def geometric_speedup(alpha: float, gamma: int, cost: float) -> float:
    """Speedup with a draft step that costs ``cost`` target steps (Leviathan et al. 2023, 3.8)."""
    return geometric_accept_length(alpha, gamma) / (gamma * cost + 1)


def geometric_operations(alpha: float, gamma: int, cost: float) -> float:
    """Arithmetic operations a token against plain decoding (Leviathan et al. 2023, 3.11).

    ``cost`` is the ratio of the draft's operations a token to the target's.
    """
    return (gamma * cost + gamma + 1) / geometric_accept_length(alpha, gamma)
