"""Optimal policy for a two-state chain with unobserved state (belief MDP).

The observations are summarised by one number, the probability b of the second state, so the best
depth is a function of b: backward induction on a grid of beliefs, with linear interpolation. A
deeper draft also reveals more about the state, which the induction accounts for.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.exact.switching import Rows

Ints = npt.NDArray[np.intp]

GRID = 401  # beliefs; from 201 on the speedup changes by less than 1e-5
LOOKAHEAD = 1000  # greatest number of rounds or tokens of the induction
ITERATIONS = 20  # of the price of time


class Beliefs:
    """Control by belief.

    Args:
        transitions (Floats): ``[2 or 3, K + 1, K + 1, 2, 2]`` probabilities of a round, as
            :attr:`.oracle_mdp.Optimal.transitions`.
        costs (Floats): ``[rows, 2, K + 1]`` ms of a round by row, state and depth.
        rows (Rows): What is known of the rounds before, by row.
        start (Floats): ``[2]`` distribution of the first state.
        rounds (int): Rounds per request, or 0.
        tokens (int): Tokens per request, or 0; one of the two is given.
    """

    def __init__(
        self,
        transitions: Floats,
        costs: Floats,
        rows: Rows,
        start: Floats,
        *,
        rounds: int,
        tokens: int,
    ) -> None:
        self._rounds, self._tokens, self._start = rounds, tokens, float(start[1])
        self._drafts, self._row_after = rows.drafts, rows.after[: len(transitions)]
        self._grid = np.linspace(0, 1, GRID)
        prior = np.stack([1 - self._grid, self._grid], axis=1)
        joint = np.einsum("bs,fkast->fkabt", prior, transitions)
        self._chance = joint.sum(-1)  # [g, k, a, b]
        belief = np.divide(
            joint[..., 1], self._chance, out=np.zeros_like(self._chance), where=self._chance > 0
        )
        place = np.clip(belief, 0, 1) * (GRID - 1)
        self._left = np.minimum(place.astype(np.intp), GRID - 2)
        self._weight = place - self._left
        self._costs = np.einsum("bs,rsk->rbk", prior, costs)

    def _expected(self, values: Floats) -> Floats:
        """Expected value ``[g, b, k]`` after a round, from ``values`` ``[a, rows, b]``."""
        kinds, depths = self._row_after.shape
        value = np.moveaxis(values[:, self._row_after], 0, 2)  # [g, k, a, b]
        g, k, a, _ = np.ogrid[:kinds, :depths, :depths, :1]
        left = value[g, k, a, self._left]
        right = value[g, k, a, self._left + 1]
        interpolated = left + self._weight * (right - left)
        return np.asarray(np.einsum("fkab,fkab->fbk", self._chance, interpolated))

    def _induct(self, choose: Callable[[Floats], Floats], per_token: float) -> Floats:
        """Values at the start of a request, ``[a, rows, b]``.

        Args:
            choose (Callable): Value of the round ``[rows, b]`` from the expected value after it at
                each depth, ``[rows, b, k]``.
            per_token (float): Reward per token.
        """
        depths, rows = self._row_after.shape[1], len(self._drafts)
        reward = per_token * np.arange(1, depths + 1.0)[:, None, None]
        values = np.zeros((depths, rows, GRID))
        for _ in range(min(self._rounds or self._tokens, LOOKAHEAD)):
            value = choose(self._expected(values + reward)[self._drafts])
            if self._rounds:
                values = np.broadcast_to(value[None], (depths, rows, GRID))
            else:  # by position: a round of a accepted drafts ends a + 1 positions on
                values = np.concatenate([value[None], values[:-1]])
        return values

    def solve(self, price: float) -> Ints:
        """The best depth by belief, far from the end of the request.

        Args:
            price (float): First guess at the greatest pace, in tokens per ms.

        Returns:
            Ints: ``[rows, b]`` depths.
        """
        best = np.zeros((len(self._drafts), GRID), np.intp)

        def greedy(cost: float) -> Callable[[Floats], Floats]:
            def choose(expected: Floats) -> Floats:
                each = expected - cost * self._costs
                best[:] = each.argmax(-1)
                return np.asarray(each.max(-1))

            return choose

        if self._tokens:
            self._induct(greedy(1.0), 0.0)
            return best
        for _ in range(ITERATIONS):
            self._induct(greedy(price), 1.0)
            pace = self.pace(best)
            if abs(pace / price - 1) < 1e-9:
                break
            price = pace
        return best

    def pace(self, depth: Ints) -> float:
        """Expected tokens over expected ms of a request, with depths by belief ``[rows, b]``."""

        def follow(cost: float) -> Callable[[Floats], Floats]:
            def choose(expected: Floats) -> Floats:
                each = expected + cost * self._costs
                return np.asarray(np.take_along_axis(each, depth[..., None], -1)[..., 0])

            return choose

        time = self._at_start(self._induct(follow(1.0), 0.0))
        if self._tokens:
            return min(self._tokens, LOOKAHEAD) / time
        return self._at_start(self._induct(follow(0.0), 1.0)) / time

    def _at_start(self, values: Floats) -> float:
        return float(np.interp(self._start, self._grid, values[0, 0]))
