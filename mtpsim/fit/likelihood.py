"""Likelihood of an acceptance chain, given the rounds of requests in order or counts by position.

The two forms agree where both apply. Rounds in order have a likelihood under any chain, on both
clocks. Counts of how often each position was reached and accepted in a request are sufficient
statistics of chains whose state is constant within a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import AcceptanceChain
from mtpsim.acceptance.draft_lengths import ThinnedChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import round_distribution, solve
from mtpsim.kernels.likelihood import expected_counts, log_likelihood
from mtpsim.logs import Rounds

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
TINY = 1e-300  # least probability whose logarithm is taken
LEAST_VARIANCE = 1e-4  # of the accepted drafts of a round
Surrogate = Callable[[AcceptanceChain], float]


class Observations(Protocol):
    """Observed requests."""

    @property
    def requests(self) -> int:
        """Number of requests R."""

    def log_likelihood(self, chain: AcceptanceChain) -> Floats:
        """Return the log-likelihood of each request, ``[R]``."""

    def surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        """Return the total log-likelihood, and a function with the same gradient at ``chain``.

        The function is the expected log probability of states and outcomes, over the distribution
        of states under ``chain``.

        Source:
            Fisher's identity; the E-step of Dempster, Laird and Rubin (1977).
        """

    def subset(self, which: Ints) -> Observations:
        """Return the requests with these indices."""


def is_static(chain: AcceptanceChain) -> bool:
    """Return whether a request keeps the state in which it starts."""
    return bool((chain.step == np.eye(chain.states)).all())


@dataclass(frozen=True)
class PositionCounts:
    """Counts by request and position.

    Attributes:
        reached: ``[R, K]`` number of rounds that drafted position j and accepted all positions
            before it.
        hit: ``[R, K]`` number of rounds that accepted position j.
        rounds: ``[R]`` number of rounds.
        depths: ``[R]`` number of drafts per round.
    """

    reached: Ints
    hit: Ints
    rounds: Ints
    depths: Ints

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return len(self.hit)

    def subset(self, which: Ints) -> PositionCounts:
        """See :class:`Observations`."""
        return PositionCounts(
            self.reached[which], self.hit[which], self.rounds[which], self.depths[which]
        )

    @property
    def histogram(self) -> Ints:
        """Rounds by accepted drafts, ``[R, K + 1]``."""
        zero = np.zeros((self.requests, 1), np.int64)
        return np.asarray(-np.diff(np.hstack([self.rounds[:, None], self.hit, zero])))

    def truncated(self, depth: int) -> Ints:
        """Rounds of at least a depth, and their accepted drafts up to it, ``[R, 2]``."""
        both = np.stack([self.rounds, self.hit[:, :depth].sum(1)], axis=1)
        return np.asarray(both * (self.depths >= depth)[:, None])

    def rates_of_rows(self, chain: AcceptanceChain, states: Ints | None = None) -> Floats:
        """Rates of each row under a chain, ``[R, K]``.

        Args:
            chain: acceptance chain; if its state changes within a request, the rates are those of
                the steady state at the row's depth.
            states: ``[R]`` states of the rows, if the state is constant within a request.
        """
        if is_static(chain):
            return chain.accept[np.zeros(self.requests, int) if states is None else states]
        rates = np.zeros(self.hit.shape)
        for depth in np.unique(self.depths):
            rates[self.depths == depth, :depth] = solve(chain, int(depth)).conditional
        return rates

    def _by_state(self, chain: AcceptanceChain) -> Floats:
        """Return the joint log probability ``[R, S]`` of state and counts."""
        if not is_static(chain) and chain.clock == "round":
            raise ValueError("counts have no likelihood under a state that changes by round")
        if not is_static(chain):
            return self._steady(chain)
        accept = np.clip(chain.accept, TINY, 1.0)
        reject = np.clip(1 - chain.accept, TINY, 1.0)
        missed = self.reached - self.hit
        both = self.hit @ np.log(accept).T + missed @ np.log(reject).T
        return np.asarray(both + np.log(np.maximum(chain.start, TINY)))

    def _steady(self, chain: AcceptanceChain) -> Floats:
        """Return the log-likelihood ``[R, 1]`` of rounds taken as independent, in a steady state.

        It identifies the rates by depth of a state that changes by token; errors clustered by row
        allow for the dependence of rounds (composite likelihood).
        """
        rates = np.clip(self.rates_of_rows(chain), TINY, 1 - 1e-15)
        missed = self.reached - self.hit
        both = self.hit * np.log(rates) + missed * np.log1p(-rates)
        return np.asarray(both.sum(1, keepdims=True))

    def log_likelihood(self, chain: AcceptanceChain) -> Floats:
        """See :class:`Observations`."""
        return np.asarray(np.logaddexp.reduce(self._by_state(chain), axis=1))

    def surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        """See :class:`Observations`."""
        if not is_static(chain):
            return float(self._steady(chain).sum()), lambda near: float(self._steady(near).sum())
        both = self._by_state(chain)
        of_request = np.logaddexp.reduce(both, axis=1)
        state = np.exp(both - of_request[:, None])
        hit, missed, starts = state.T @ self.hit, state.T @ (self.reached - self.hit), state.sum(0)

        def expected(near: AcceptanceChain) -> float:
            outcomes = _weighted(hit, near.accept) + _weighted(missed, 1 - near.accept)
            return outcomes + _weighted(starts, near.start)

        return float(of_request.sum()), expected


@dataclass(frozen=True)
class RequestTotals:
    """Rounds and accepted drafts of requests, whose positions are not known.

    Attributes:
        rounds: ``[R]`` number of rounds.
        accepted: ``[R]`` number of accepted drafts.
    """

    rounds: Ints
    accepted: Ints

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return self.rounds.size

    def subset(self, which: Ints) -> RequestTotals:
        """See :class:`Observations`."""
        return RequestTotals(self.rounds[which], self.accepted[which])

    def log_likelihood(self, chain: AcceptanceChain) -> Floats:
        """See :class:`Observations`; accepted drafts are normal, given the state of the request."""
        if not is_static(chain):
            raise ValueError("totals have no likelihood under a state that changes by round")
        survival, odd = chain.survival, 2 * np.arange(1, chain.depth + 1) - 1
        mean = survival.sum(1)
        variance = np.maximum(survival @ odd - mean**2, LEAST_VARIANCE) * self.rounds[:, None]
        off = self.accepted[:, None] - mean * self.rounds[:, None]
        both = -(off**2 / variance + np.log(2 * np.pi * variance)) / 2
        both += np.log(np.maximum(chain.start, TINY))
        return np.asarray(np.logaddexp.reduce(both, axis=1))

    def surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        """See :class:`Observations`."""
        return float(self.log_likelihood(chain).sum()), lambda c: float(
            self.log_likelihood(c).sum()
        )


Sample = Rounds | PositionCounts
"""Rounds of requests, in order or as counts."""


@dataclass(frozen=True)
class ExpectedRounds:
    """Expected log probability of states and outcomes of rounds in order, as a function of a chain.

    Attributes:
        log_probability: the function.
        proposed: ``[S, K + 1]`` expected rounds by state and number of proposed drafts; ``[1, K +
            1]`` if the state does not change.
    """

    log_probability: Surrogate
    proposed: Floats

    def __call__(self, chain: AcceptanceChain) -> float:
        """Return the expected log probability under a chain."""
        return self.log_probability(chain)


class RoundSequence:
    """Rounds in order.

    Attributes:
        rounds: observed rounds.
        depth: number of drafts per round K of the chains to fit.
        by_drafter: ``[N]`` whether the drafter chose the number of proposed drafts, so that the
            number is an outcome; None: it is given in all rounds.
    """

    def __init__(self, rounds: Rounds, depth: int, by_drafter: Bools | None = None) -> None:
        self.rounds, self.depth, self.by_drafter = rounds, depth, by_drafter
        drafted, accepted = rounds.drafted.astype(np.int64), rounds.accepted.astype(np.int64)
        width = depth + 1
        chosen = np.zeros(drafted.size, np.int64) if by_drafter is None else by_drafter
        known, symbols = np.unique(
            (chosen * width + drafted) * width + accepted, return_inverse=True
        )
        self._outcomes = [(*divmod(int(one) // width, width), int(one) % width) for one in known]
        self._symbols = symbols.astype(np.int64)
        self._counts = position_counts(rounds, depth)

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return self.rounds.requests

    def subset(self, which: Ints) -> RoundSequence:
        """See :class:`Observations`."""
        chosen, offsets = self.by_drafter, self.rounds.offsets
        if chosen is not None:
            none = np.zeros(0, bool)
            chosen = np.concatenate([none, *(chosen[offsets[r] : offsets[r + 1]] for r in which)])
        return RoundSequence(self.rounds.subset(which), self.depth, chosen)

    def _transitions(self, chain: AcceptanceChain) -> Floats:
        """Return the probability ``[Y, S, S]`` of an outcome and the next state, by outcome."""
        offered = chain.proposed if isinstance(chain, ThinnedChain) else chain
        by_depth = {d: round_distribution(offered, d) for d in {d for _, d, _ in self._outcomes}}
        found = np.stack([by_depth[depth][accepted] for _, depth, accepted in self._outcomes])
        if isinstance(chain, ThinnedChain):
            chosen, depths, _ = np.transpose(self._outcomes)
            found = found * np.where(chosen[:, None], chain.law.T[depths], 1.0)[:, :, None]
        return np.asarray(np.maximum(found, TINY))

    @cached_property
    def _proposed(self) -> Ints:
        """Rounds by request and number of drafts that the drafter chose, ``[R, K + 1]``."""
        assert self.by_drafter is not None
        request = np.repeat(np.arange(self.requests), np.diff(self.rounds.offsets))
        found = np.zeros((self.requests, self.depth + 1), np.int64)
        np.add.at(found, (request, self.rounds.drafted), self.by_drafter)
        return found

    def log_likelihood(self, chain: AcceptanceChain) -> Floats:
        """See :class:`Observations`."""
        if is_static(chain):
            if not isinstance(chain, ThinnedChain):
                return self._counts.log_likelihood(chain)
            lengths = self._proposed @ np.log(np.maximum(chain.law[0], TINY))
            return np.asarray(self._counts.log_likelihood(chain.proposed) + lengths)
        out = np.empty(self.requests)
        offsets = self.rounds.offsets
        log_likelihood(self._transitions(chain), chain.start, self._symbols, offsets, out)
        return out

    def surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        """See :class:`Observations`."""
        if is_static(chain):
            return self._static_surrogate(chain)
        transitions, out = self._transitions(chain), np.empty(self.requests)
        moves, starts = np.zeros_like(transitions), np.zeros(chain.states)
        offsets = self.rounds.offsets
        longest = int(np.diff(offsets).max())
        expected_counts(
            transitions, chain.start, self._symbols, offsets, longest, out, moves, starts
        )
        proposed = np.zeros((self.depth + 1, chain.states))
        for (chosen, depth, _), one in zip(self._outcomes, moves, strict=True):
            proposed[depth] += chosen * one.sum(1)

        def expected(near: AcceptanceChain) -> float:
            return _weighted(moves, self._transitions(near)) + _weighted(starts, near.start)

        return float(out.sum()), ExpectedRounds(expected, proposed.T)

    def _static_surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        if not isinstance(chain, ThinnedChain):
            return self._counts.surrogate(chain)
        value, of_counts = self._counts.surrogate(chain.proposed)
        proposed = self._proposed.sum(0)
        value += float(proposed @ np.log(np.maximum(chain.law[0], TINY)))

        def expected(near: AcceptanceChain) -> float:
            assert isinstance(near, ThinnedChain)
            return of_counts(near.proposed) + _weighted(proposed, near.law[0])

        return value, ExpectedRounds(expected, proposed[None].astype(float))


def _weighted(weight: Floats, probability: Floats) -> float:
    return float((weight * np.log(np.maximum(probability, TINY))).sum())


def position_counts(rounds: Rounds, depth: int) -> PositionCounts:
    """Return how often each position was reached and accepted, by request.

    Args:
        rounds: rounds in order.
        depth: number of positions K to count.
    """
    hit, reached = (np.zeros((rounds.requests, depth), np.int64) for _ in range(2))
    for j in range(depth):
        came = (rounds.accepted >= j) & (rounds.drafted > j)
        for found, rows in ((reached, came), (hit, rounds.accepted > j)):
            total = np.concatenate([[0], np.cumsum(rows)])
            found[:, j] = np.diff(total[rounds.offsets])
    lengths = np.diff(rounds.offsets)
    return PositionCounts(reached, hit, lengths, np.full(lengths.size, depth))


def truncated(sample: Sample, depth: int) -> Ints:
    """Rounds with at least so many drafts, and their accepted drafts up to there, ``[R, 2]``."""
    if isinstance(sample, PositionCounts):
        return sample.truncated(depth)
    deep = sample.drafted >= depth
    cut = np.where(deep, np.minimum(sample.accepted, depth), 0)
    columns = [np.concatenate([[0], np.cumsum(part)])[sample.offsets] for part in (deep, cut)]
    return np.stack([np.diff(column) for column in columns], axis=1)
