"""Rounds whose number of proposed drafts is random, as those of n-gram and suffix drafters."""

from __future__ import annotations

import numpy as np

from mtpsim.acceptance.base import AcceptanceChain
from mtpsim.common.arrays import Floats


def propose(
    chain: AcceptanceChain, law: Floats, *, verify: Floats, draft: Floats, block: bool
) -> AcceptanceChain:
    """The chain of rounds that propose a random number of drafts.

    A state is a state of the chain with a number of proposed drafts. At depth k a round verifies
    the proposed drafts, at most k, and takes as long as a round of that many.

    Args:
        chain (AcceptanceChain): A chain of the round clock.
        law (Floats): ``[S, K + 1]`` probability of 0..K proposed drafts by state.
        verify (Floats): ``[K + 1]`` ms of a verify by depth.
        draft (Floats): ``[K + 1]`` ms of drafting by depth.
        block (bool): Whether drafting takes as long whatever is proposed.

    Returns:
        AcceptanceChain: States ``(s, d)``, ``d`` fastest, with a slowdown by depth.
    """
    states, depths = law.shape
    proposed = np.arange(depths)
    made = np.minimum(proposed[:, None], proposed)  # [d, k]
    paid = np.where(block & (proposed > 0), draft, draft[made])
    cost = (verify[made] + paid) / (verify + draft)
    moves = chain.step[:, :, None, :, None] * law[None, None, None]
    size = states * depths
    step = np.broadcast_to(moves, (len(chain.step), states, depths, states, depths))
    masked = chain.accept[:, None] * (proposed[:-1] < proposed[:, None])
    return AcceptanceChain(
        start=(chain.start[:, None] * law).ravel(),
        step=step.reshape(len(chain.step), size, size),
        accept=masked.reshape(size, depths - 1),
        clock="round",
        slowdown=(chain.slowdown[:, None, None] * cost).reshape(size, depths),
    )
