"""The closed form of the speedup, and the definitions of the acceptance rates that enter it.

Times that enter it and are not plausible get a warning.

Rates are conditional unless stated otherwise: the probability that draft j is accepted, given that
drafts 1 to j - 1 were. Arrays by depth run from depth 0 (plain decoding) to the greatest depth K.
"""

from typing import Literal, get_args

import numpy as np

from mtpsim.common.arrays import Floats

Definition = Literal["conditional", "survival", "pooled", "first"]
Weighting = Literal["round-pooled", "request-mean", "every-position"]
DEFINITIONS: tuple[Definition, ...] = get_args(Definition)
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
StepVerdict = Literal["essential", "optional", "negligible", "harmful", "undecided"]
ESSENTIAL, NEGLIGIBLE = 0.2, 0.005  # thresholds of relative gains, where none are stated
INDIFFERENCE = 0.01  # relative loss that does not matter, where none is stated
CONDITIONAL_MAY = '; conditional rates may (rates_are = "conditional")'
SHORTEST_STEP = 0.2  # ms; a shorter plain step may have been given in seconds
LARGEST_RATIO = 8.0  # of a verify to a plain step; beyond it the units may differ
SMALL_FALL = 0.05  # relative; measured verify times may fall by this much by chance
EQUAL = 1e-6  # relative; a smaller difference of two times is rounding


def plug_in(definition: Definition, survival: Floats, conditional: Floats, depth: int) -> Floats:
    """The rates used as p1..pK in the closed form, from rates measured at depth M.

    Args:
        definition (str): ``"conditional"``: P(accept j | 1..j-1 accepted); ``"survival"``:
            P(accept 1..j), used as if conditional; ``"pooled"``: accepted over proposed drafts
            (A / D), at every position; ``"first"``: p1 at every position.
        survival (Floats): ``[..., M]`` measured survival rates.
        conditional (Floats): ``[..., M]`` measured conditional rates.
        depth (int): Greatest depth K of the closed form. Beyond M the last measured rate is used;
            if K is smaller than M, the deeper rates are not used.

    Returns:
        Floats: ``[..., K]`` rates.

    Examples:
        >>> reach, rates = np.array([0.8, 0.6]), np.array([0.8, 0.75])
        >>> plug_in("conditional", reach, rates, depth=3)
        array([0.8 , 0.75, 0.75])
        >>> plug_in("pooled", reach, rates, depth=3)
        array([0.7, 0.7, 0.7])
    """
    if definition in ("pooled", "first"):
        mean = survival.mean(-1, keepdims=True)
        one = mean if definition == "pooled" else survival[..., :1]
        return np.repeat(one, depth, axis=-1)
    rates = conditional if definition == "conditional" else survival
    beyond = np.repeat(rates[..., -1:], max(0, depth - rates.shape[-1]), axis=-1)
    return np.concatenate([rates[..., :depth], beyond], -1)


def conditional_from(rates: Floats, rates_are: str) -> Floats:
    """Convert rates of a given definition to conditional rates.

    Args:
        rates (Floats): ``[K]`` rates in [0, 1], by draft position.
        rates_are (str): ``"conditional"``: P(accept j | 1..j-1 accepted); ``"survival"``:
            P(1..j accepted); ``"marginal"``: P(draft j would be accepted), of positions that are
            independent of each other, where it equals the conditional rate.

    Returns:
        Floats: ``[K]`` conditional rates; 0 after a position that is never reached.

    Raises:
        ValueError: Survival rates increase, or the definition is unknown.

    Examples:
        >>> conditional_from(np.array([0.8, 0.6, 0.3]), "survival")
        array([0.8 , 0.75, 0.5 ])
    """
    if rates_are in ("conditional", "marginal"):
        return rates
    if rates_are != "survival":
        raise ValueError(f"rates are conditional, survival or marginal, not {rates_are!r}")
    before = np.concatenate([[1.0], rates[:-1]])
    for position in np.flatnonzero(rates > before):
        raise ValueError(
            f"survival rates can't increase: position {position + 1} is {rates[position]:g} after "
            f"{before[position]:g}{CONDITIONAL_MAY}"
        )
    return np.asarray(np.divide(rates, before, out=np.zeros_like(rates), where=before > 0))


def survival(conditional: Floats) -> Floats:
    """Survival rates: P(first k drafts accepted), the cumulative product of conditional rates.

    Args:
        conditional (Floats): ``[K]`` conditional rates.

    Returns:
        Floats: ``[K]`` survival rates.

    Examples:
        >>> survival(np.array([0.8, 0.75, 0.5]))
        array([0.8, 0.6, 0.3])
    """
    return np.asarray(np.cumprod(conditional))


def accept_length(conditional: Floats) -> Floats:
    """Accept length by depth: tokens per round, 1 + p1 + p1 p2 + ...

    Args:
        conditional (Floats): ``[K]`` conditional rates.

    Returns:
        Floats: ``[K + 1]`` tokens per round, the bonus token included.

    Examples:
        >>> accept_length(np.array([0.8, 0.74, 0.67]))
        array([1.     , 1.8    , 2.392  , 2.78864])
    """
    return np.concatenate([[1.0], 1 + np.cumsum(survival(conditional))])


def speedup(conditional: Floats, target: float, round_time: Floats) -> Floats:
    """Speedup over plain decoding by depth.

    Args:
        conditional (Floats): ``[K]`` conditional rates.
        target (float): Time of a plain decoding step, in ms or any other unit.
        round_time (Floats): ``[K + 1]`` verify + draft time in the same unit; entry 0 is
            ``target``.

    Returns:
        Floats: ``[K + 1]`` speedups; 1 at depth 0.

    Examples:
        >>> speedup(np.array([0.8, 0.74]), 76.0, np.array([76.0, 98.0, 118.0])).round(4)
        array([1.    , 1.3959, 1.5406])
    """
    return np.asarray(target * accept_length(conditional) / round_time)


def marginal_gain(speedups: Floats) -> Floats:
    """Gain of each step of depth: speedup(k) / speedup(k - 1).

    Args:
        speedups (Floats): ``[K + 1]`` speedups by depth.

    Returns:
        Floats: ``[K + 1]`` ratios; 1 at depth 0.

    Examples:
        >>> marginal_gain(np.array([1.0, 1.4, 1.54]))
        array([1. , 1.4, 1.1])
    """
    return np.concatenate([[1.0], speedups[1:] / speedups[:-1]])


def break_even_rate(conditional: Floats, round_time: Floats) -> Floats:
    """Break-even rates: the p_k above which depth k is faster than depth k - 1.

    Depth k is faster if p1..pk / accept_length(k - 1) exceeds the relative growth of the round
    time.

    Args:
        conditional (Floats): ``[K]`` conditional rates.
        round_time (Floats): ``[K + 1]`` verify + draft time by depth, in ms or any other unit.

    Returns:
        Floats: ``[K]`` rates. Above 1: depth k is slower at any rate. Infinite: position k is
        never reached.

    Examples:
        >>> times = np.array([76.0, 98.0, 118.0, 139.0])
        >>> break_even_rate(np.array([0.8, 0.74, 0.67]), times).round(3)
        array([0.289, 0.459, 0.719])
    """
    length = accept_length(conditional)[:-1]
    reached = np.concatenate([[1.0], survival(conditional)[:-1]])
    needed = length * (round_time[1:] / round_time[:-1] - 1)
    free = np.where(needed > 0, np.inf, 0.0)
    with np.errstate(over="ignore"):  # a position that is as good as never reached
        return np.asarray(np.divide(np.maximum(needed, 0), reached, out=free, where=reached > 0))


def step_verdict(
    low: float, high: float, *, essential: float = ESSENTIAL, negligible: float = NEGLIGIBLE
) -> StepVerdict:
    """Judge a step of depth by the interval of its relative gain.

    Args:
        low (float): Lower end; 0.1 is a gain of 10 %.
        high (float): Upper end.
        essential (float): Least gain of an essential step.
        negligible (float): Greatest gain or loss of a negligible step.

    Returns:
        str: ``negligible``: the interval lies within +-negligible; ``essential``: at or above
        essential; ``optional``: above 0; ``harmful``: below 0; ``undecided``: it contains 0.

    Examples:
        >>> step_verdict(0.103, 0.104)
        'optional'
    """
    if max(-low, high) <= negligible:
        return "negligible"
    if high < 0:
        return "harmful"
    if low >= essential:
        return "essential"
    return "optional" if low > 0 else "undecided"


def drafts_are_free(verify: Floats, draft: Floats) -> bool:
    """Whether a round takes as long as a plain step, as where no time was measured.

    Args:
        verify (Floats): ``[K + 1]`` mean verify time in ms; entry 0 is the plain step.
        draft (Floats): ``[K + 1]`` mean draft time in ms; entry 0 is 0.

    Returns:
        bool: True if all verify times are equal and no draft takes time.

    Examples:
        >>> drafts_are_free(np.array([1.0, 1.0]), np.array([0.0, 0.0]))
        True
    """
    return len(verify) > 1 and bool((verify == verify[0]).all()) and not draft.any()


def time_warnings(verify: Floats, draft: Floats) -> list[str]:
    """Warnings on times that are not plausible, a sentence each.

    Args:
        verify (Floats): ``[K + 1]`` mean verify time in ms; entry 0 is the plain step.
        draft (Floats): ``[K + 1]`` mean draft time in ms; entry 0 is 0.

    Returns:
        list[str]: Sentences; empty if all times are plausible.

    Examples:
        >>> time_warnings(np.array([0.076, 0.09]), np.array([0.0, 0.008]))
        ['a plain step takes 0.076 ms; was it given in seconds?']
    """
    found, target = [], verify[0]
    if drafts_are_free(verify, draft):
        found.append(
            "drafting costs no time: a verify takes as long as a plain step, as where times are "
            "placeholders, so the greatest depth always wins; measure both times before you rely "
            "on the depth"
        )
    elif len(verify) > 1 and verify[1] == target and not draft[1]:
        found.append(
            "verify and draft at depth 1 are those of a plain step: lists start at depth 1, so "
            "leave out depth 0"
        )
    if target < SHORTEST_STEP:
        found.append(f"a plain step takes {target:g} ms; was it given in seconds?")
    if units := _units_differ(verify):
        return [*found, units]
    falling = np.flatnonzero(verify[2:] < verify[1:-1] * (1 - SMALL_FALL)) + 2
    if falling.size:
        k = int(falling[0])
        found.append(
            f"verify times fall with depth: {verify[k - 1]:g} ms at depth {k - 1}, {verify[k]:g} "
            f"ms at depth {k}; they must be in order of depth"
        )
    rounds = verify + draft
    faster = np.flatnonzero(rounds[1:] < target * (1 - EQUAL)) + 1
    if faster.size:
        k = int(faster[0])
        found.append(
            f"a round at depth {k} takes {rounds[k]:g} ms, less than a plain step ({target:g} ms); "
            "measure both on the same machine, batch and context length"
        )
    return found


def _units_differ(verify: Floats) -> str:
    for depth in range(1, len(verify)):
        if not 1 / LARGEST_RATIO < verify[depth] / verify[0] < LARGEST_RATIO:
            return (
                f"a verify at depth {depth} takes {verify[depth]:g} ms, a plain step "
                f"{verify[0]:g} ms; was one of them given in seconds?"
            )
    return ""
