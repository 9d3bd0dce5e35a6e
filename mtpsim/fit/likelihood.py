"""What logs say of a chain: its likelihood, request by request, and what its states were.

Two forms, which agree wherever both apply. *Rounds* are the record of every round in order; any
chain can be held to them, on both clocks. *Counts* are how often each position was reached and
accepted in a request; they are all that matters while the state of a request never moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import round_law
from mtpsim.kernels.likelihood import expected_counts, log_likelihood
from mtpsim.logs import Rounds

Ints = npt.NDArray[np.int64]
TINY = 1e-300
Surrogate = Callable[[AcceptanceChain], float]


class Evidence(Protocol):
    """Requests that a chain can be held to."""

    @property
    def requests(self) -> int:
        """Number of requests R."""

    def log_likelihood(self, chain: AcceptanceChain) -> Floats:
        """Of each request, ``[R]``."""

    def surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        """Log likelihood of all, and a function whose slope at ``chain`` is that of the likelihood.

        It is the expected log probability of states and outcomes together, with states as they are
        likely under ``chain`` (Fisher's identity; the E-step of Dempster, Laird, Rubin 1977).
        """

    def some(self, which: Ints) -> Evidence:
        """The requests of these numbers."""


def still(chain: AcceptanceChain) -> bool:
    """Whether a request keeps the state that it starts in."""
    return bool((chain.step == np.eye(chain.states)).all())


@dataclass(frozen=True)
class Counts:
    """Requests by position.

    Attributes:
        reached: ``[R, K]`` rounds that drafted position j and accepted all before it.
        hit: ``[R, K]`` those that accepted it.

    """

    reached: Ints
    hit: Ints

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return len(self.hit)

    def some(self, which: Ints) -> Counts:
        """The requests of these numbers."""
        return Counts(self.reached[which], self.hit[which])

    def _by_state(self, chain: AcceptanceChain) -> Floats:
        """``[R, S]`` log probability of the state and the counts."""
        if not still(chain):
            raise ValueError("counts can't tell of a state that moves from round to round")
        accept = np.clip(chain.accept, TINY, 1.0)
        reject = np.clip(1 - chain.accept, TINY, 1.0)
        missed = self.reached - self.hit
        both = self.hit @ np.log(accept).T + missed @ np.log(reject).T
        return np.asarray(both + np.log(np.maximum(chain.start, TINY)))

    def log_likelihood(self, chain: AcceptanceChain) -> Floats:
        """See :class:`Evidence`."""
        return np.asarray(np.logaddexp.reduce(self._by_state(chain), axis=1))

    def surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        """See :class:`Evidence`."""
        both = self._by_state(chain)
        of_request = np.logaddexp.reduce(both, axis=1)
        state = np.exp(both - of_request[:, None])
        hit, missed, starts = state.T @ self.hit, state.T @ (self.reached - self.hit), state.sum(0)

        def expected(near: AcceptanceChain) -> float:
            return (
                _weighted(hit, near.accept)
                + _weighted(missed, 1 - near.accept)
                + (_weighted(starts, near.start))
            )

        return float(of_request.sum()), expected


class Sequence:
    """Rounds in order.

    Attributes:
        rounds: what was recorded.
        depth: K of the chains that it is held to.

    """

    def __init__(self, rounds: Rounds, depth: int) -> None:
        self.rounds, self.depth = rounds, depth
        drafted, accepted = rounds.drafted.astype(np.int64), rounds.accepted.astype(np.int64)
        self._width = depth + 1
        known, symbols = np.unique(drafted * self._width + accepted, return_inverse=True)
        self._pairs = [divmod(int(pair), self._width) for pair in known]
        self._symbols = symbols.astype(np.int64)
        self._counts = counts_of(rounds, depth)

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return self.rounds.requests

    def some(self, which: Ints) -> Sequence:
        """The requests of these numbers."""
        return Sequence(self.rounds.some(which), self.depth)

    def _law(self, chain: AcceptanceChain) -> Floats:
        laws = {depth: round_law(chain, depth) for depth in {d for d, _ in self._pairs}}
        found = np.stack([laws[depth][accepted] for depth, accepted in self._pairs])
        return np.asarray(np.maximum(found, TINY))

    def log_likelihood(self, chain: AcceptanceChain) -> Floats:
        """See :class:`Evidence`."""
        if still(chain):
            return self._counts.log_likelihood(chain)
        out = np.empty(self.requests)
        log_likelihood(self._law(chain), chain.start, self._symbols, self.rounds.begins, out)
        return out

    def surrogate(self, chain: AcceptanceChain) -> tuple[float, Surrogate]:
        """See :class:`Evidence`."""
        if still(chain):
            return self._counts.surrogate(chain)
        law, out = self._law(chain), np.empty(self.requests)
        moves, starts = np.zeros_like(law), np.zeros(chain.states)
        longest = int(np.diff(self.rounds.begins).max())
        expected_counts(
            *(law, chain.start, self._symbols, self.rounds.begins, longest, out, moves, starts)
        )

        def expected(near: AcceptanceChain) -> float:
            return _weighted(moves, self._law(near)) + _weighted(starts, near.start)

        return float(out.sum()), expected


def _weighted(weight: Floats, probability: Floats) -> float:
    return float((weight * np.log(np.maximum(probability, TINY))).sum())


def counts_of(rounds: Rounds, depth: int) -> Counts:
    """How often each position was reached and accepted, by request."""
    hit, reached = (np.zeros((rounds.requests, depth), np.int64) for _ in range(2))
    for j in range(depth):
        came = (rounds.accepted >= j) & (rounds.drafted > j)
        for found, rows in ((reached, came), (hit, rounds.accepted > j)):
            total = np.concatenate([[0], np.cumsum(rows)])
            found[:, j] = np.diff(total[rounds.begins])
    return Counts(reached, hit)
