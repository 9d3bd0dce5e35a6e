"""Rounds whose number of proposed drafts is random, as those of n-gram and suffix drafters."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance.base import AcceptanceChain, stationary
from mtpsim.common.arrays import Floats

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)  # by identity, as other chains
class ThinnedChain(AcceptanceChain):
    """Rounds in which a draft that is not proposed counts as not accepted.

    A round accepts as many drafts as one of :func:`propose`, with fewer states: the number of
    proposed drafts is not one.

    Attributes:
        law (Floats): ``[S, K + 1]`` probability of 0..K proposed drafts by state.
        offered (Floats): ``[S, K]`` acceptance rates of proposed drafts.
    """

    law: Floats = field(default_factory=lambda: np.ones((1, 1)))
    offered: Floats = field(default_factory=lambda: np.ones((1, 0)))

    @property
    def proposed(self) -> AcceptanceChain:
        """The chain of rounds that propose all drafts."""
        return AcceptanceChain(self.start, self.step, self.offered, self.clock, self.slowdown)


def thin(chain: AcceptanceChain, law: Floats) -> ThinnedChain:
    """The chain at a law of the number of proposed drafts.

    Args:
        chain (AcceptanceChain): A chain of the round clock.
        law (Floats): ``[S, K + 1]``, or ``[1, K + 1]`` for all states: probability of 0..K drafts.

    Returns:
        ThinnedChain: Draft j accepted: proposed, if the drafts before it were, and accepted.
    """
    law = np.broadcast_to(law, (chain.states, chain.depth + 1))
    least = np.cumsum(law[:, ::-1], axis=1)[:, ::-1]
    share = np.divide(
        least[:, 1:], least[:, :-1], out=np.zeros(chain.accept.shape), where=least[:, :-1] > 0
    )
    return ThinnedChain(
        start=chain.start,
        step=chain.step,
        accept=chain.accept * np.minimum(share, 1.0),
        clock="round",
        slowdown=chain.slowdown,
        law=law,
        offered=chain.accept,
    )


@dataclass(frozen=True, eq=False)  # by identity, as other chains
class ProposingChain(AcceptanceChain):
    """The chain of rounds that propose a random number of drafts.

    Attributes:
        proposed (Ints): ``[S]`` proposed drafts by state.
    """

    proposed: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def offered(self) -> Floats:
        """``[S, K]`` acceptance rates of proposed drafts by state of the drafter."""
        return self.accept[self.depth :: self.depth + 1]

    @property
    def offered_rates(self) -> Floats:
        """``[K]`` conditional acceptance rates of proposed drafts, pooled over rounds."""
        time, before = stationary(self.step[0], self.start), np.roll(self.survival, 1, axis=1)
        before[:, 0] = 1.0
        offered = time @ (before * (np.arange(self.depth) < self.proposed[:, None]))
        passed = time @ self.survival
        return np.divide(passed, offered, out=np.zeros(self.depth), where=offered > 0)

    @property
    def verified(self) -> Floats:
        """``[K + 1, K + 1]`` share of rounds at depth k that verify j drafts."""
        time, depths = stationary(self.step[0], self.start), self.depth + 1
        made = np.minimum(self.proposed, np.arange(depths)[:, None])
        return np.array([np.bincount(row, time, depths) for row in made])


def propose(
    chain: AcceptanceChain,
    law: Floats,
    *,
    verify: Floats,
    draft: Floats,
    block: bool,
    idle: float = 1.0,
) -> ProposingChain:
    """The chain of rounds that propose a random number of drafts.

    A state is a state of the chain with a number of proposed drafts. At depth k a round verifies
    the proposed drafts, at most k, and takes as long as a round of that many.

    Args:
        chain (AcceptanceChain): A chain of the round clock.
        law (Floats): ``[S, K + 1]`` probability of 0..K proposed drafts by state.
        verify (Floats): ``[K + 1]`` ms of a verify by depth.
        draft (Floats): ``[K + 1]`` ms of drafting by depth.
        block (bool): Whether drafting takes as long whatever is proposed.
        idle (float): Factor on a plain step where drafts are asked for, and none are proposed.

    Returns:
        ProposingChain: States ``(s, d)``, ``d`` fastest, with a slowdown by depth.
    """
    states, depths = law.shape
    proposed = np.arange(depths)
    made = np.minimum(proposed[:, None], proposed)  # [d, k]
    paid = np.where(block & (proposed > 0), draft, draft[made])
    checked = np.where((made == 0) & (proposed > 0), verify[0] * idle, verify[made])
    cost = (checked + paid) / (verify + draft)
    moves = chain.step[:, :, None, :, None] * law[None, None, None]
    size = states * depths
    step = np.broadcast_to(moves, (len(chain.step), states, depths, states, depths))
    masked = chain.accept[:, None] * (proposed[:-1] < proposed[:, None])
    return ProposingChain(
        start=(chain.start[:, None] * law).ravel(),
        step=step.reshape(len(chain.step), size, size),
        accept=masked.reshape(size, depths - 1),
        clock="round",
        slowdown=(chain.slowdown[:, None, None] * cost).reshape(size, depths),
        lengths=None if chain.lengths is None else np.repeat(chain.lengths, depths),
        length_table=None
        if chain.length_table is None
        else replace(chain.length_table, shares=np.repeat(chain.length_table.shares, depths, 0)),
        proposed=np.tile(proposed, states),
    )
