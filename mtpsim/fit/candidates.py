"""Models that logs may be explained by, each as a section of the experiment file.

A candidate maps numbers without bounds to the keys of its section, so that any optimiser can move
them, and starts from what the counts by position say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from mtpsim.acceptance import MODELS, AcceptanceChain
from mtpsim.acceptance.chain import Clock
from mtpsim.common.arrays import Floats, JsonDict

EDGE = 1e-6  # rates are kept this far from 0 and 1 while they are moved
GRID = 9  # states of a fitted difficulty


def _logit(rates: Floats) -> Floats:
    return np.asarray(logit(np.clip(rates, EDGE, 1 - EDGE)))


def _rates(numbers: Floats) -> list[float]:
    return [float(rate) for rate in np.clip(expit(numbers), EDGE, 1 - EDGE)]


@dataclass(frozen=True)
class Candidate(ABC):
    """A model to fit, for drafts of up to ``depth`` positions.

    Attributes:
        depth: K.

    """

    depth: int
    moves = False  # whether the state moves within a request, which counts can't tell

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in tables."""

    @abstractmethod
    def starts(self, rates: Floats) -> list[Floats]:
        """Numbers to begin from, ``[P]`` each, given conditional rates ``[K]`` of the data."""

    @abstractmethod
    def keys(self, numbers: Floats) -> JsonDict:
        """The section ``[acceptance]`` that numbers ``[P]`` stand for."""

    @abstractmethod
    def keys_that_vary(self) -> list[str]:
        """Keys whose values were fitted."""

    def chain(self, numbers: Floats) -> AcceptanceChain:
        """The chain that numbers ``[P]`` stand for."""
        keys = self.keys(numbers)
        chain = MODELS[keys["model"]].model_validate(keys).chain()
        assert isinstance(chain, AcceptanceChain)
        return chain


class IndependentRates(Candidate):
    """A rate a position."""

    name = "independent"

    def starts(self, rates: Floats) -> list[Floats]:
        """The rates themselves: the maximum of the likelihood."""
        return [_logit(rates)]

    def keys(self, numbers: Floats) -> JsonDict:
        """See :class:`Candidate`."""
        return {"model": "independent", "rates": _rates(numbers)}

    def keys_that_vary(self) -> list[str]:
        """See :class:`Candidate`."""
        return ["rates"]


class Geometric(Candidate):
    """One rate for all positions."""

    name = "geometric"

    def starts(self, rates: Floats) -> list[Floats]:
        """The mean rate."""
        return [_logit(rates.mean(keepdims=True))]

    def keys(self, numbers: Floats) -> JsonDict:
        """See :class:`Candidate`."""
        return {"model": "independent", "rate": _rates(numbers)[0], "depth": self.depth}

    def keys_that_vary(self) -> list[str]:
        """See :class:`Candidate`."""
        return ["rate"]


class Decaying(Candidate):
    """Rates that fall by one factor from position to position."""

    name = "decay"

    def starts(self, rates: Floats) -> list[Floats]:
        """The first rate, and two factors."""
        return [_logit(np.array([rates[0], factor])) for factor in (0.9, 0.5)]

    def keys(self, numbers: Floats) -> JsonDict:
        """See :class:`Candidate`."""
        first, factor = _rates(numbers)
        return {"model": "decay", "first": first, "factor": factor, "depth": self.depth}

    def keys_that_vary(self) -> list[str]:
        """See :class:`Candidate`."""
        return ["first", "factor"]


@dataclass(frozen=True)
class BetaByRequest(Candidate):
    """Each request has rates of its own, around one mean or around a mean a position."""

    by_position: bool = False

    @property
    def name(self) -> str:
        """See :class:`Candidate`."""
        return "beta-position" if self.by_position else "beta"

    def starts(self, rates: Floats) -> list[Floats]:
        """The rates as means, wide and narrow."""
        mean = rates if self.by_position else rates.mean(keepdims=True)
        return [np.append(_logit(mean), np.log(spread)) for spread in (10.0, 100.0)]

    def keys(self, numbers: Floats) -> JsonDict:
        """See :class:`Candidate`."""
        means, spread = _rates(numbers[:-1]), float(np.exp(np.clip(numbers[-1], -3, 9)))
        shape = {"mean": means} if self.by_position else {"mean": means[0], "depth": self.depth}
        return {"model": "beta", **shape, "concentration": spread, "level": "request"}

    def keys_that_vary(self) -> list[str]:
        """See :class:`Candidate`."""
        return ["mean", "concentration"]


@dataclass(frozen=True)
class Drifting(Candidate):
    """A difficulty that drifts from round to round or along the text."""

    clock: Clock = "round"
    moves = True

    @property
    def name(self) -> str:
        """See :class:`Candidate`."""
        return f"difficulty-{self.clock}"

    def starts(self, rates: Floats) -> list[Floats]:
        """The rates, a middling spread, short and long passages."""
        return [np.append(_logit(rates), np.log([0.7, length])) for length in (3.0, 30.0)]

    def keys(self, numbers: Floats) -> JsonDict:
        """See :class:`Candidate`."""
        sd, length = np.exp(np.clip(numbers[-2:], [-6, -3], [2, 9]))
        return {
            **{"model": "difficulty", "clock": self.clock, "rates": _rates(numbers[:-2])},
            **{"sd": float(sd), "length": float(length), "states": GRID},
        }

    def keys_that_vary(self) -> list[str]:
        """See :class:`Candidate`."""
        return ["rates", "sd", "length"]


@dataclass(frozen=True)
class Regimes(Candidate):
    """Hidden states that last for a while, each with a rate a position."""

    states: int = 2
    clock: Clock = "round"
    moves = True

    @property
    def name(self) -> str:
        """See :class:`Candidate`."""
        return f"regime{self.states}-{self.clock}"

    def starts(self, rates: Floats) -> list[Floats]:
        """Easier and harder than the mean, with short and with long stays."""
        apart = np.linspace(1.2, -1.2, self.states)[:, None]
        numbers = (_logit(rates) + apart).ravel()
        return [np.append(numbers, np.full(self.states, np.log(stay - 1))) for stay in (3.0, 20.0)]

    def keys(self, numbers: Floats) -> JsonDict:
        """See :class:`Candidate`; states come in the order of their rates, the easiest first."""
        rows = numbers[: -self.states].reshape(self.states, self.depth)
        stays = 1 + np.exp(np.clip(numbers[-self.states :], -9, 9))
        order = np.argsort(-expit(rows).mean(1), kind="stable")
        return {
            **{"model": "regime", "clock": self.clock},
            "rates": [_rates(row) for row in rows[order]],
            "sojourn": [float(stay) for stay in stays[order]],
        }

    def keys_that_vary(self) -> list[str]:
        """See :class:`Candidate`."""
        return ["rates", "sojourn"]


def candidates(depth: int, *, by_request: bool = True, moving: bool = True) -> list[Candidate]:
    """Candidates that data of some kind can tell apart, the simplest first.

    Args:
        depth: K. At depth 1 a rate by position is one rate.
        by_request: whether data are by request, so that requests may differ.
        moving: whether rounds are told in order, so that a state may move among them.

    """
    clocks: tuple[Clock, ...] = ("round", "token")
    found: list[Candidate] = [IndependentRates(depth)]
    if depth > 1:
        found = [Geometric(depth), Decaying(depth), *found]
    if by_request:
        found.append(BetaByRequest(depth))
        found += [BetaByRequest(depth, by_position=True)] if depth > 1 else []
    if moving:
        found += [Drifting(depth, clock) for clock in clocks]
        found += [Regimes(depth, states, clock) for states in (2, 3) for clock in clocks]
    return found
