"""Accept lengths by depth from whatever was measured: rates, accept lengths, or one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.formula.closed_form import accept_length, conditional_from, survival


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Accept lengths by depth, and the conditional rates behind them.

    Attributes:
        lengths (Floats): ``[K + 1]`` tokens per round by depth, the bonus token included; 1 at
            depth 0.
        rates (Floats): ``[K]`` conditional rates; above 1 or NaN where no rate gives the lengths.
        assumption (str): What was assumed to get rates for every position; empty if nothing.

    Examples:
        >>> Acceptance.of_rates(np.array([0.8, 0.74, 0.67])).lengths.round(4).tolist()
        [1.0, 1.8, 2.392, 2.7886]
        >>> Acceptance.of_lengths(np.array([1.8, 2.392])).rates.round(4).tolist()
        [0.8, 0.74]
        >>> Acceptance.of_mean_accepted(1.95, measured_at=3, depth=2).lengths.round(3).tolist()
        [1.0, 1.8, 2.439]
    """

    lengths: Floats
    rates: Floats
    assumption: str = ""

    @classmethod
    def of_rates(cls, rates: Floats, rates_are: str = "conditional") -> Acceptance:
        """Acceptance of rates by position.

        Args:
            rates (Floats): ``[K]`` rates in [0, 1] by draft position.
            rates_are (str): Definition of the rates: ``"conditional"`` or ``"survival"``.

        Returns:
            Acceptance: Accept lengths and conditional rates, ``[K + 1]`` and ``[K]``.

        Raises:
            ValueError: Survival rates increase.
        """
        conditional = conditional_from(rates, rates_are)
        return cls(lengths=accept_length(conditional), rates=conditional)

    @classmethod
    def of_lengths(cls, lengths: Floats) -> Acceptance:
        """Acceptance of accept lengths measured at depths 1 to K.

        Args:
            lengths (Floats): ``[K]`` tokens per round by depth; entry k lies in [1, k + 2].

        Returns:
            Acceptance: These lengths, and the conditional rates that give them.
        """
        by_depth = np.concatenate([[1.0], lengths])
        reached = np.concatenate([[1.0], np.diff(by_depth)])
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(lengths=by_depth, rates=reached[1:] / reached[:-1])

    @classmethod
    def of_constant_rate(cls, rate: float, depth: int) -> Acceptance:
        """Acceptance with the same conditional rate at every position, alpha.

        Args:
            rate (float): Conditional rate in [0, 1].
            depth (int): Greatest depth K.

        Returns:
            Acceptance: Accept lengths and conditional rates up to depth K.
        """
        assumption = f"the same rate {rate:.4g} at every position"
        rates = np.full(depth, rate)
        return cls(lengths=accept_length(rates), rates=rates, assumption=assumption)

    @classmethod
    def of_mean_accepted(cls, accepted: float, *, measured_at: int, depth: int) -> Acceptance:
        """Acceptance with the constant rate that gives a measured number of accepted drafts.

        Args:
            accepted (float): Accepted drafts per round in [0, measured_at]: accept length - 1, or
                ``measured_at`` times the pooled rate A / D.
            measured_at (int): Depth at which they were measured.
            depth (int): Greatest depth K of the answer.

        Returns:
            Acceptance: Accept lengths and conditional rates up to depth K.
        """
        found = cls.of_constant_rate(constant_rate(accepted, measured_at), depth)
        at = f"{found.assumption}, measured at depth {measured_at}"
        return replace(found, assumption=at)


def rates_through(lengths: Mapping[int, float]) -> Floats:
    """Conditional rates with given accept lengths at some depths, constant in between.

    A length that no rates give, as it falls or grows too fast, is met as nearly as possible.

    Args:
        lengths (Mapping[int, float]): Tokens per round by depth.

    Returns:
        Floats: ``[K]`` rates up to the greatest depth K.

    Examples:
        >>> rates_through({1: 1.8, 3: 2.78}).round(4)
        array([0.8   , 0.7145, 0.7145])
    """
    rates: list[float] = []
    before, length, reached = 0, 1.0, 1.0
    for depth in sorted(lengths):
        gap, gain = depth - before, lengths[depth] - length
        rate = constant_rate(min(max(gain / reached, 0.0), gap), gap) if reached else 0.0
        rates += [rate] * gap
        length += reached * float(survival(np.full(gap, rate)).sum())
        before, reached = depth, reached * rate**gap
    return np.array(rates)


def constant_rate(accepted: float, depth: int) -> float:
    """The rate a with a + a^2 + ... + a^depth = accepted, by bisection.

    Args:
        accepted (float): Accepted drafts per round, in [0, depth].
        depth (int): Drafts per round.

    Returns:
        float: The rate, in [0, 1].

    Examples:
        >>> round(constant_rate(1.952, 3), 4)
        0.8
    """
    if accepted in (0, depth):
        return float(accepted > 0)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if survival(np.full(depth, middle)).sum() < accepted:
            low = middle
        else:
            high = middle
    return high
