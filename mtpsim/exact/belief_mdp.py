"""The best that can be done by who knows a chain of two states, but not which one it is in.

What was seen is summed up in one number, the probability b of the second state, so the best depth
is a function of b: backward induction on a grid of beliefs, with straight lines between its points.
A deeper draft also tells more about the state, and that is counted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats

Ints = npt.NDArray[np.intp]

GRID = 401  # beliefs; from 201 on the speedup moves by less than 1e-5
FAR = 1000  # rounds or tokens looked ahead at most
RAISES = 20  # of the price of time


class Beliefs:
    """Control by belief.

    Args:
        laws: ``[2, K + 1, K + 1, 2, 2]`` law of a round, as in :class:`.oracle_mdp.Optimal`.
        costs: ``[rows, 2, K + 1]`` ms of a round, by what the round before was.
        rested: ``[rows]`` which of the laws a row has.
        after: ``[K + 1]`` the row that a round at each depth leads to.
        start: ``[2]`` law of the first state.
        rounds: horizon of a request, or
        tokens: in tokens.

    """

    def __init__(
        self,
        laws: Floats,
        costs: Floats,
        draft_was_idle: Ints,
        after: Ints,
        start: Floats,
        *,
        rounds: int,
        tokens: int,
    ) -> None:
        self._rounds, self._tokens = rounds, tokens
        self._rested, self._after, self._start = draft_was_idle, after, float(start[1])
        self._grid = np.linspace(0, 1, GRID)
        law = np.stack([1 - self._grid, self._grid], axis=1)
        joint = np.einsum("bs,fkast->fkabt", law, laws)
        self._chance = joint.sum(-1)  # [2, k, a, b]
        belief = np.divide(
            joint[..., 1], self._chance, out=np.zeros_like(self._chance), where=self._chance > 0
        )
        place = np.clip(belief, 0, 1) * (GRID - 1)
        self._left = np.minimum(place.astype(np.intp), GRID - 2)
        self._weight = place - self._left
        self._costs = np.einsum("bs,rsk->rbk", law, costs)

    def _ahead(self, past: Floats) -> Floats:
        """Expected value ``[2, b, k]`` after a round, from values ``past`` ``[a, rows, b]``."""
        arms = len(self._after)
        value = past[:, self._after].swapaxes(0, 1)  # [k, a, b]
        k, a = np.ogrid[:arms, :arms]
        left = value[k[..., None], a[..., None], self._left]
        right = value[k[..., None], a[..., None], self._left + 1]
        met = left + self._weight * (right - left)
        return np.asarray(np.einsum("fkab,fkab->fbk", self._chance, met))

    def _backwards(self, take: Callable[[Floats], Floats], gained: float) -> Floats:
        """Value at the start of a request; ``gained`` for each token.

        ``take`` turns the expected value after a round ``[rows, b, k]`` into that of the round.
        """
        arms, rows = len(self._after), len(self._rested)
        lengths = gained * np.arange(1, arms + 1.0)[:, None, None]
        past = np.zeros((arms, rows, GRID))
        for _ in range(min(self._rounds or self._tokens, FAR)):
            value = take(self._ahead(past + lengths)[self._rested])
            past = np.concatenate([value[None], past[: 0 if self._rounds else -1]])
            past = np.broadcast_to(past[:1], (arms, rows, GRID)) if self._rounds else past
        return past

    def solve(self, price: float) -> Ints:
        """``[rows, b]`` the best depth, far from the end of the request.

        ``price`` is a first guess at the best pace, in tokens a ms.
        """
        best = np.zeros((len(self._rested), GRID), np.intp)

        def greedy(cost: float) -> Callable[[Floats], Floats]:
            def take(ahead: Floats) -> Floats:
                each = ahead - cost * self._costs
                best[:] = each.argmax(-1)
                return np.asarray(each.max(-1))

            return take

        if self._tokens:
            self._backwards(greedy(1.0), 0.0)
            return best
        for _ in range(RAISES):
            self._backwards(greedy(price), 1.0)
            pace = self.pace(best)
            if abs(pace / price - 1) < 1e-9:
                break
            price = pace
        return best

    def pace(self, depth: Ints) -> float:
        """Expected tokens over expected ms of a request under a table of depths by belief."""

        def follow(cost: float) -> Callable[[Floats], Floats]:
            def take(ahead: Floats) -> Floats:
                each = ahead + cost * self._costs
                return np.asarray(np.take_along_axis(each, depth[..., None], -1)[..., 0])

            return take

        time = self._at_start(self._backwards(follow(1.0), 0.0))
        if self._tokens:
            return min(self._tokens, FAR) / time
        return self._at_start(self._backwards(follow(0.0), 1.0)) / time

    def _at_start(self, past: Floats) -> float:
        return float(np.interp(self._start, self._grid, past[0, 0]))
