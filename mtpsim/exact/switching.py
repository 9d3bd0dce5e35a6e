"""What a change of the depth costs, and what of the earlier rounds it depends on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats

Ints = npt.NDArray[np.intp]

USUAL, IDLE, RESUMED = range(3)  # drafts of a round: as usual, the first after depth 0, later ones


@dataclass(frozen=True, kw_only=True)
class Switching:
    """Costs of changing the depth.

    Attributes:
        switch_cost (float): Extra ms of a round at another depth than the round before.
        catch_up (float): Extra ms of the first round with drafts after depth 0.
        stale (float): Probability that the first draft of such a round is rejected because the
            draft model was idle.
        resumed (float): Probability that a draft that would be accepted is rejected, in every round
            after one at depth 0.
    """

    switch_cost: float = 0.0
    catch_up: float = 0.0
    stale: float = 0.0
    resumed: float = 0.0

    @property
    def free(self) -> bool:
        """Whether earlier rounds don't matter."""
        return not (self.switch_cost or self.catch_up or self.stale or self.resumed)

    def rows(self, depth: int) -> Rows:
        """What is known of the earlier rounds, for depths 0 to ``depth``."""
        previous = np.arange(-1, depth + 1) if not self.free else np.array([-1])
        drafts = np.where(previous == 0, IDLE, USUAL)
        if self.resumed:
            previous = np.append(previous, np.arange(1, depth + 1))
            drafts = np.append(drafts, np.full(depth, RESUMED))
        after = np.zeros((3, depth + 1), np.intp)
        if not self.free:
            after += np.arange(depth + 1) + 1
        if self.resumed:
            after[IDLE:, 1:] += depth
        return Rows(previous, drafts, after, self)


@dataclass(frozen=True)
class Rows:
    """Rows of a table of control: what is known of the earlier rounds of a request.

    Row 0 is for a request without any, row k + 1 for a round before at depth k. Where drafts lose
    acceptance permanently after depth 0, K more rows are for rounds before at depths 1 to K of a
    request that has been at depth 0. A single row stands for all if none of it matters.

    Attributes:
        previous (Ints): ``[rows]`` depth of the round before; -1 without one.
        drafts (Ints): ``[rows]`` 0 if drafts are as usual, 1 in the first round after depth 0, 2 in
            later rounds after depth 0 if drafts still lose acceptance.
        after (Ints): ``[3, K + 1]`` row that a round at each depth leads to, by ``drafts``.
        switching (Switching): Costs of changing the depth.
    """

    previous: Ints
    drafts: Ints
    after: Ints
    switching: Switching

    @cached_property
    def extra(self) -> Floats:
        """``[rows, K + 1]`` extra ms of a round by row and depth."""
        previous, depth = self.previous[:, None], np.arange(self.after.shape[1])
        extra = self.switching.switch_cost * ((previous >= 0) & (previous != depth))
        return np.asarray(extra + self.switching.catch_up * ((previous == 0) & (depth > 0)))
