"""The best that a choice of depth by state can do: bounds for adaptive policies, solved exactly.

A semi-Markov decision process. The state is the hidden state in which a round begins, with the
depth of the round before where switching costs something; the action is the depth. With a fixed
number of rounds the ratio E tokens / E time is maximised (Dinkelbach, "On nonlinear fractional
programming", 1967: the price of time is raised until the best balance is 0); with a fixed number of
tokens the expected time is minimised. Both by backward induction over the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.belief_mdp import Beliefs
from mtpsim.exact.chain_solver import round_law, starts_by_tokens, visits

Ints = npt.NDArray[np.intp]

FAR = 3000  # rounds or tokens looked ahead at most; by then the choice has settled
SETTLED = 1e-12  # relative change of the gain a step that ends the induction
RAISES = 30  # of the price of time; each squares the error
LARGEST = 3000  # unknowns of an exact solution


@dataclass(frozen=True)
class Problem:
    """What is to be controlled.

    Attributes:
        chain: the acceptance model.
        times: ``[K + 1]`` mean ms of a round by depth.
        rounds: horizon of a request, or
        tokens: in tokens.
        switch_cost: ms of a round at another depth than the one before.
        catch_up: ms of the first round that drafts after depth 0.
        stale: chance that the first draft of such a round is rejected for that alone.

    """

    chain: AcceptanceChain
    times: Floats
    rounds: int = 0
    tokens: int = 0
    switch_cost: float = 0.0
    catch_up: float = 0.0
    stale: float = 0.0


@dataclass(frozen=True)
class Pace:
    """Expected tokens and ms of a request under a choice of depths."""

    tokens: float
    time: float


class Optimal:
    """The solved problem. Tables go by previous depth + 1 (row 0: none yet) and by state."""

    def __init__(self, problem: Problem) -> None:
        self.problem, chain = problem, problem.chain
        self.depth, self.states, self.start = len(problem.times) - 1, chain.states, chain.start
        self._free = not (problem.switch_cost or problem.catch_up or problem.stale)

    @cached_property
    def laws(self) -> Floats:
        """``[2, K + 1, K + 1, S, S]`` law of a round of a fresh and of a rested draft.

        By depth, accepted drafts, state at its start and state at the next one's start.
        """
        chain, arms = self.problem.chain, self.depth + 1
        laws = np.zeros((2, arms, arms, self.states, self.states))
        for k in range(arms):
            laws[:, k, : k + 1] = round_law(chain, k)
        laws[1, 1:] *= 1 - self.problem.stale
        laws[1, 1:, 0] += self.problem.stale * chain.step[0]
        return laws

    @cached_property
    def _laws_of_seer(self) -> Floats:
        """The same for who drafts just what will be accepted, up to a cap in place of the depth."""
        chain, arms = self.problem.chain, self.depth + 1
        here = chain.clock == "round"
        laws = np.zeros((2, arms, arms, self.states, self.states))
        at = np.eye(self.states)
        for a in range(arms):
            ends = 1 - chain.accept[:, a] if a < self.depth else np.ones(self.states)
            laws[:, a + 1 :, a] = (at * ends) @ chain.step[-1]  # stopped before a rejection
            laws[:, a, a] = at @ chain.step[-1]
            if a < self.depth:
                at = at * chain.accept[:, a] if here else (at * chain.accept[:, a]) @ chain.step[-1]
        laws[1, 1:] *= 1 - self.problem.stale
        laws[1, 1:, 0] += self.problem.stale * chain.step[-1]
        return laws

    @cached_property
    def _costs(self) -> Floats:
        """``[rows, S, K + 1]`` ms of a round."""
        p = self.problem
        if self._free:
            return (p.chain.slowdown[:, None] * p.times)[None]
        previous, depth = np.arange(-1, self.depth + 1)[:, None], np.arange(self.depth + 1)
        extra = p.switch_cost * ((previous >= 0) & (previous != depth))
        extra = extra + p.catch_up * ((previous == 0) & (depth > 0))
        return np.asarray(p.chain.slowdown[None, :, None] * p.times + extra[:, None, :])

    @cached_property
    def _rested(self) -> Ints:
        """``[rows]`` 1 where the draft has rested."""
        rows = np.zeros(len(self._costs), np.intp)
        if not self._free:
            rows[1] = 1
        return rows

    @cached_property
    def _after(self) -> Ints:
        """``[K + 1]`` row that a round at each depth leads to."""
        return np.arange(self.depth + 1) + 1 if not self._free else np.zeros(self.depth + 1, int)

    def _know_state(self, past: Floats, price: float) -> Floats:
        """Value ``[rows, S, K + 1]`` of each depth, from values ``past`` ``[a, rows, S]``."""
        ahead = np.einsum("gkast,akt->gsk", self.laws, past[:, self._after])
        return np.asarray(ahead[self._rested] - price * self._costs)

    def _know_outcome(self, past: Floats, price: float) -> Floats:
        """Value ``[rows, S, K + 1]`` of each cap, for who drafts just what will be accepted."""
        gained = past[np.arange(self.depth + 1), self._after]  # [a, t]: the depth is a
        laws = self._laws_of_seer
        ahead = np.einsum("gcast,at->gsc", laws, gained)[self._rested]
        spent = np.einsum("rcas,rsa->rsc", laws.sum(-1)[self._rested], self._costs)
        return np.asarray(ahead - price * spent)

    def _induct(self, price: float, clairvoyant: bool) -> Floats:
        """Values of each depth far from the end of the request."""
        back = self._know_outcome if clairvoyant else self._know_state
        arms, shape = self.depth + 1, self._costs.shape[:2]
        lengths = np.arange(1, arms + 1.0)[:, None, None]
        past, gain = np.zeros((arms, *shape)), np.zeros(shape)
        if self.problem.rounds:
            value = np.zeros(shape)
            for _ in range(min(self.problem.rounds, FAR)):
                each = back(value + lengths, price)
                new = each.max(-1)
                settled = np.abs(new - value - gain).max() <= SETTLED * np.abs(new - value).max()
                value, gain = new, new - value
                if settled:
                    break
            return each
        for _ in range(min(self.problem.tokens, FAR)):
            each = back(past, 1.0)
            past = np.concatenate([each.max(-1)[None], past[:-1]])
        return each

    def _raise_price(self, clairvoyant: bool) -> Floats:
        """Values at the price of time at which the best balance is 0."""
        if self.problem.tokens:
            return self._induct(1.0, clairvoyant)
        pace = max(self.pace(np.full(self._shape(), k)) for k in range(self.depth + 1))
        for _ in range(RAISES):
            each = self._induct(pace, clairvoyant)
            better = self.pace(each.argmax(-1), clairvoyant)
            if better <= pace * (1 + 1e-12):
                break
            pace = better
        return each

    def _shape(self) -> tuple[int, int]:
        rows, states, _ = self._costs.shape
        return rows, states

    @cached_property
    def _by_state(self) -> Floats:
        return self._raise_price(False)

    def _all_rows(self, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.broadcast_to(table, (self.depth + 2, *table.shape[1:]))

    @cached_property
    def oracle(self) -> Ints:
        """``[K + 2, S]`` the best depth for who knows the state."""
        return self._all_rows(self._by_state.argmax(-1))

    @cached_property
    def values(self) -> Floats:
        """``[K + 2, S, K + 1]`` value of each depth for who knows the state."""
        return self._all_rows(self._by_state)

    @cached_property
    def cap(self) -> Ints:
        """``[K + 2, S]`` the best cap for who drafts just what will be accepted."""
        return self._all_rows(self._raise_price(True).argmax(-1))

    @cached_property
    def beliefs(self) -> Beliefs:
        """Control by the probability of the second of two states."""
        return Beliefs(
            self.laws,
            self._costs,
            self._rested,
            self._after,
            self.start,
            rounds=self.problem.rounds,
            tokens=self.problem.tokens,
        )

    @cached_property
    def by_belief(self) -> Ints | None:
        """``[K + 2, G]`` the best depth by belief in the second of two states; else None."""
        if self.states != 2:
            return None
        return self._all_rows(self.beliefs.solve(1 / float(self.problem.times[0])))

    def pace(self, choice: Ints, clairvoyant: bool = False) -> float:
        """Tokens a ms of a choice, as :meth:`totals`."""
        found = self.totals(choice, clairvoyant)
        return found.tokens / found.time

    def totals(self, choice: Ints, clairvoyant: bool = False) -> Pace:
        """Expected totals of a request.

        Args:
            choice: depth by row and state, ``[rows, S]``.
            clairvoyant: the choice is a cap: of the drafts up to there just those are made that
                will be accepted.

        Raises:
            ValueError: too many unknowns.

        """
        choice = np.asarray(choice)[: len(self._costs)]
        law, costs = (self._law_of_seer if clairvoyant else self._law)(choice)
        size = law.shape[1]
        if size * (len(law) if self.problem.tokens else 1) > LARGEST:
            raise ValueError(
                f"the best depth by state can't be solved: {size:,} unknowns are too many (hidden "
                "states, times depths where switching costs something)"
            )
        first = np.zeros(size)
        first[: self.states] = self.start
        if self.problem.tokens:
            starts = starts_by_tokens(law, first, self.problem.tokens)
            return Pace(float(self.problem.tokens), float(starts @ costs))
        starts = visits(law.sum(0), first, self.problem.rounds)
        accepted = np.einsum("s,ast->a", starts, law)
        return Pace(float(accepted @ np.arange(1, len(law) + 1)), float(starts @ costs))

    def _law(self, choice: Ints) -> tuple[Floats, Floats]:
        """Law of a round ``[K + 1, R S, R S]`` and its ms ``[R S]``, rows and states together."""
        rows, states = self._shape()
        law = np.zeros((self.depth + 1, rows, states, rows, states))
        for r, s in np.ndindex(rows, states):
            k = int(choice[r, s])
            law[:, r, s, self._after[k]] = self.laws[self._rested[r], k, :, s]
        costs = np.take_along_axis(self._costs, choice[..., None], -1)
        return law.reshape(-1, rows * states, rows * states), costs.ravel()

    def _law_of_seer(self, cap: Ints) -> tuple[Floats, Floats]:
        rows, states = self._shape()
        law = np.zeros((self.depth + 1, rows, states, rows, states))
        costs = np.zeros((rows, states))
        for r, s, a in np.ndindex(rows, states, self.depth + 1):
            ends = self._laws_of_seer[self._rested[r], int(cap[r, s]), a, s]
            law[a, r, s, self._after[a]] = ends
            costs[r, s] += ends.sum() * self._costs[r, s, a]
        return law.reshape(-1, rows * states, rows * states), costs.ravel()
