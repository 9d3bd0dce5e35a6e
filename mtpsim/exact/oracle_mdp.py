"""Optimal depth by hidden state (semi-Markov decision process): bounds for adaptive policies.

The state is the hidden state in which a round begins and, where switching has a cost, what is known
of the rounds before (:class:`.Rows`); the action is the depth. With a fixed number of rounds the
ratio E tokens / E time is maximised (Dinkelbach, "On nonlinear fractional programming", 1967: the
price of time is raised until the best balance is 0); with a fixed number of tokens the expected
time is minimised. Both by backward induction over the horizon.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.belief_mdp import Beliefs
from mtpsim.exact.chain_solver import round_distribution, starts_by_tokens, visits
from mtpsim.exact.switching import IDLE, Switching

Ints = npt.NDArray[np.intp]

LOOKAHEAD = 3000  # greatest number of rounds or tokens of the induction; the choice settles before
SETTLED = 1e-12  # relative change of the gain per step that ends the induction
ITERATIONS = 30  # of the price of time; each squares the error
LARGEST = 3000  # greatest number of unknowns


@dataclass(frozen=True)
class ControlProblem(Switching):
    """The model to control, and the costs of changing the depth.

    Attributes:
        chain (AcceptanceChain): The acceptance model.
        times (Floats): ``[K + 1]`` mean time of a round in ms by depth.
        rounds (int): Rounds per request, or 0.
        tokens (int): Tokens per request, or 0; one of the two is given.
    """

    chain: AcceptanceChain
    times: Floats
    rounds: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class ExpectedTotals:
    """Expected totals of a request under a choice of depths.

    Attributes:
        tokens (float): Tokens per request.
        time (float): Time of a request in ms.
    """

    tokens: float
    time: float


class Optimal:
    """The solution of a control problem.

    Tables have the rows of :class:`.Rows` and a column per state.

    Args:
        problem (ControlProblem): The model and its costs.
    """

    def __init__(self, problem: ControlProblem) -> None:
        self.problem, chain = problem, problem.chain
        self.depth, self.states, self.start = len(problem.times) - 1, chain.states, chain.start
        self.rows = problem.rows(self.depth)

    @cached_property
    def transitions(self) -> Floats:
        """``[2 or 3, K + 1, K + 1, S, S]`` probabilities of a round, by its drafts.

        By depth, accepted drafts, state at the round's start and at the next round's start. The
        first index is that of :attr:`.Rows.drafts`; without a lasting loss there is no third.
        """
        depths = self.depth + 1
        transitions = np.zeros((self._kinds, depths, depths, self.states, self.states))
        for k in range(depths):
            transitions[:, k, : k + 1] = round_distribution(self.problem.chain, k)
            if self.problem.resumed:
                transitions[IDLE:, k, : k + 1] = round_distribution(self._resumed, k)
        transitions[IDLE, 1:] *= 1 - self.problem.stale
        transitions[IDLE, 1:, 0] += self.problem.stale * self.problem.chain.step[0]
        return transitions

    @property
    def _kinds(self) -> int:
        return 3 if self.problem.resumed else 2

    @cached_property
    def _resumed(self) -> AcceptanceChain:
        """The chain of rounds after depth 0."""
        chain = self.problem.chain
        return replace(chain, accept=chain.accept * (1 - self.problem.resumed))

    @cached_property
    def _clairvoyant_transitions(self) -> Floats:
        """:attr:`transitions` of the clairvoyant bound by cap on the depth; no rejections."""
        transitions = np.repeat(self._by_cap(self.problem.chain)[None], self._kinds, 0)
        if self.problem.resumed:
            transitions[IDLE:] = self._by_cap(self._resumed)
        transitions[IDLE, 1:] *= 1 - self.problem.stale
        transitions[IDLE, 1:, 0] += self.problem.stale * self.problem.chain.step[-1]
        return transitions

    def _by_cap(self, chain: AcceptanceChain) -> Floats:
        """``[K + 1, K + 1, S, S]`` probabilities of a clairvoyant's round by cap and depth."""
        depths, here = self.depth + 1, chain.clock == "round"
        transitions = np.zeros((depths, depths, self.states, self.states))
        at = np.eye(self.states)
        for a in range(depths):
            ends = 1 - chain.accept[:, a] if a < self.depth else np.ones(self.states)
            transitions[a + 1 :, a] = (at * ends) @ chain.step[-1]  # stopped before a rejection
            transitions[a, a] = at @ chain.step[-1]
            if a < self.depth:
                at = at * chain.accept[:, a] if here else (at * chain.accept[:, a]) @ chain.step[-1]
        return transitions

    @cached_property
    def _costs(self) -> Floats:
        """``[rows, S, K + 1]`` time of a round in ms."""
        p = self.problem
        slowdown = p.chain.slowdown
        times = (slowdown if slowdown.ndim == 2 else slowdown[:, None]) * p.times[None, None]
        return np.asarray(times + self.rows.extra[:, None, :])

    def _values_by_depth(self, values: Floats, price: float) -> Floats:
        """Value ``[rows, S, K + 1]`` of each depth, from the next ``values`` ``[a, rows, S]``."""
        after = self.rows.after[: self._kinds]
        expected = np.einsum("gkast,agkt->gsk", self.transitions, values[:, after])
        return np.asarray(expected[self.rows.drafts] - price * self._costs)

    def _values_by_cap(self, values: Floats, price: float) -> Floats:
        """Value ``[rows, S, K + 1]`` of each cap of a clairvoyant, from the next ``values``."""
        after, drafts = self.rows.after[: self._kinds], self.rows.drafts
        gained = values[np.arange(self.depth + 1), after]  # [g, a, t]: the depth is a
        transitions = self._clairvoyant_transitions
        expected = np.einsum("gcast,gat->gsc", transitions, gained)[drafts]
        spent = np.einsum("rcas,rsa->rsc", transitions.sum(-1)[drafts], self._costs)
        return np.asarray(expected - price * spent)

    def _induct(self, price: float, clairvoyant: bool) -> Floats:
        """Values of each depth far from the end of the request."""
        step_back = self._values_by_cap if clairvoyant else self._values_by_depth
        depths, shape = self.depth + 1, self._costs.shape[:2]
        lengths = np.arange(1, depths + 1.0)[:, None, None]
        values, gain = np.zeros((depths, *shape)), np.zeros(shape)
        if self.problem.rounds:
            value = np.zeros(shape)
            for _ in range(min(self.problem.rounds, LOOKAHEAD)):
                each = step_back(value + lengths, price)
                new = each.max(-1)
                settled = np.abs(new - value - gain).max() <= SETTLED * np.abs(new - value).max()
                value, gain = new, new - value
                if settled:
                    break
            return each
        for _ in range(min(self.problem.tokens, LOOKAHEAD)):
            each = step_back(values, 1.0)
            values = np.concatenate([each.max(-1)[None], values[:-1]])
        return each

    def _maximise(self, clairvoyant: bool) -> Floats:
        """Values of each depth at the greatest pace (Dinkelbach's iteration)."""
        if self.problem.tokens:
            return self._induct(1.0, clairvoyant)
        pace = max(self.pace(np.full(self._shape(), k)) for k in range(self.depth + 1))
        for _ in range(ITERATIONS):
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
        return self._maximise(False)

    def _all_rows(self, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows = max(len(table), self.depth + 2)
        return np.broadcast_to(table, (rows, *table.shape[1:]))

    @cached_property
    def oracle(self) -> Ints:
        """``[R, S]`` the best depth if the state is known; R is at least K + 2."""
        return self._all_rows(self._by_state.argmax(-1))

    @cached_property
    def values(self) -> Floats:
        """``[R, S, K + 1]`` value of each depth if the state is known."""
        return self._all_rows(self._by_state)

    @cached_property
    def cap(self) -> Ints:
        """``[R, S]`` the best cap on the depth of a clairvoyant."""
        return self._all_rows(self._maximise(True).argmax(-1))

    @cached_property
    def beliefs(self) -> Beliefs:
        """Control by the probability of the second of two states (belief MDP)."""
        return Beliefs(
            transitions=self.transitions,
            costs=self._costs,
            rows=self.rows,
            start=self.start,
            rounds=self.problem.rounds,
            tokens=self.problem.tokens,
        )

    @cached_property
    def by_belief(self) -> Ints | None:
        """``[R, G]`` the best depth by belief; None unless there are two states."""
        if self.states != 2:
            return None
        return self._all_rows(self.beliefs.solve(1 / float(self.problem.times[0])))

    def pace(self, choice: Ints, clairvoyant: bool = False) -> float:
        """Expected tokens per ms of a choice of depths; arguments of :meth:`totals`."""
        found = self.totals(choice, clairvoyant)
        return found.tokens / found.time

    def totals(self, choice: Ints, clairvoyant: bool = False) -> ExpectedTotals:
        """Expected totals of a request.

        Args:
            choice (Ints): ``[rows, S]`` depth by row and state.
            clairvoyant (bool): Whether the choice is a cap of a clairvoyant, who drafts only what
                will be accepted.

        Returns:
            ExpectedTotals: Tokens and ms per request.

        Raises:
            ValueError: There are too many unknowns.
        """
        choice = np.asarray(choice)[: len(self._costs)]
        joint, costs = (self._clairvoyant_joint if clairvoyant else self._joint)(choice)
        size = joint.shape[1]
        if size * (len(joint) if self.problem.tokens else 1) > LARGEST:
            raise ValueError(
                f"the best depth by state can't be solved: {size:,} unknowns are too many (hidden "
                "states, times depths if switching has a cost)"
            )
        first = np.zeros(size)
        first[: self.states] = self.start
        if self.problem.tokens:
            starts = starts_by_tokens(joint, first, self.problem.tokens)
            return ExpectedTotals(float(self.problem.tokens), float(starts @ costs))
        starts = visits(joint.sum(0), first, self.problem.rounds)
        accepted = np.einsum("s,ast->a", starts, joint)
        return ExpectedTotals(float(accepted @ np.arange(1, len(joint) + 1)), float(starts @ costs))

    def _joint(self, choice: Ints) -> tuple[Floats, Floats]:
        """Probabilities of a round ``[K + 1, R S, R S]`` and its ms ``[R S]``, rows by states."""
        rows, states = self._shape()
        joint = np.zeros((self.depth + 1, rows, states, rows, states))
        for r, s in np.ndindex(rows, states):
            k = int(choice[r, s])
            drafts = self.rows.drafts[r]
            joint[:, r, s, self.rows.after[drafts, k]] = self.transitions[drafts, k, :, s]
        costs = np.take_along_axis(self._costs, choice[..., None], -1)
        return joint.reshape(-1, rows * states, rows * states), costs.ravel()

    def _clairvoyant_joint(self, cap: Ints) -> tuple[Floats, Floats]:
        rows, states = self._shape()
        joint = np.zeros((self.depth + 1, rows, states, rows, states))
        costs = np.zeros((rows, states))
        for r, s, a in np.ndindex(rows, states, self.depth + 1):
            drafts = self.rows.drafts[r]
            ends = self._clairvoyant_transitions[drafts, int(cap[r, s]), a, s]
            joint[a, r, s, self.rows.after[drafts, a]] = ends
            costs[r, s] += ends.sum() * self._costs[r, s, a]
        return joint.reshape(-1, rows * states, rows * states), costs.ravel()
