"""A sample of requests recorded round by round, for what totals can't show.

The kernel's requests, word for word, walked by plain array code: a compiled twin would cost more
time to compile than this takes to run.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mtpsim.engine.compile import KernelPlan
from mtpsim.kernels.acceptance import BITS
from mtpsim.kernels.arrays import ChainArrays, RecordingArrays
from mtpsim.kernels.philox import PATH, TILE, words_at

Counts = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def record_requests(plan: KernelPlan, count: int, rounds: int, first: int = 0) -> Counts:
    """Accepted drafts of some requests at depth M, round by round.

    Args:
        plan: the compiled point, of a chain.
        count: number of requests.
        rounds: most rounds of a request.
        first: number of the first request.

    Returns:
        ``[count, rounds]``, -1 after a request's last round.

    """
    chain, depth = plan.source, plan.layout.measured_at
    if isinstance(chain, RecordingArrays):
        raise TypeError("requests that were recorded need no recording")
    counts = np.full((count, rounds), -1, np.int32)
    done, tokens, so_far = (np.zeros(count, np.int64) for _ in range(3))
    row = np.full(count, len(chain.upto) - 1)
    words = np.empty((TILE, count), np.int32)
    limit, tick = plan.task.tokens or np.inf, 0
    while (live := (done < rounds) & (tokens < limit)).any():
        if tick % TILE == 0:
            words_at(np.uint64(plan.key), first, tick, PATH, words)
        word = words[tick % TILE] & BITS
        state = (word[:, None] > chain.upto[row]).sum(1)
        accepts = word[:, None] <= chain.cut[row, state]
        if plan.clock == "token":
            ended, rejected = _judge_position(accepts, depth, so_far)
        else:
            so_far = accepts[:, :depth].sum(1)
            ended, rejected = np.ones(count, bool), so_far < depth
        row = _next_row(chain, state, rejected)
        wrote = np.flatnonzero(live & ended)
        counts[wrote, done[wrote]] = so_far[wrote]
        done[wrote] += 1
        tokens[wrote] += so_far[wrote] + 1
        so_far = np.where(ended, 0, so_far)
        tick += 1
    return counts


def _judge_position(accepts: Bools, depth: int, so_far: Ints) -> tuple[Bools, Bools]:
    """Judge the next draft at a position: does the round end, and by a rejection?

    Adds to ``so_far`` where the draft is accepted.
    """
    drafted = so_far < depth
    place = np.minimum(so_far, accepts.shape[1] - 1)
    hit = drafted & accepts[np.arange(len(accepts)), place]
    so_far += hit
    return ~hit, drafted & ~hit


def _next_row(chain: ChainArrays, state: Ints, rejected: Bools) -> Ints:
    """Row of the thresholds that the next tick reads."""
    states = chain.upto.shape[1]
    steered = len(chain.upto) > states + 1
    return np.asarray(state + states * (steered & ~rejected))
