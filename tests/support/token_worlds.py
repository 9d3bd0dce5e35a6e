"""Made-up engines whose text is known at every position, so that any depth can be played exactly.

None is a hidden Markov chain by tokens, apart from ``chain``: lengths have a Pareto tail and go
with difficulty, difficulty drifts along a request, some requests fall into a loop until they end,
and a state is left after a stay that is not geometric.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

from mtpsim.acceptance import Recording
from mtpsim.kernels.labelled_tokens import play_positions
from mtpsim.logs import Rounds

DEPTH = 8  # greatest depth that can be played
TRAINED = (0.0, -0.35, *[-0.5] * (DEPTH - 2))  # shift of the logit by draft position
LOOKUP = (0.0,) * DEPTH


@dataclass(frozen=True)
class World:
    """An engine's drafter and its workload.

    Attributes:
        logits: of the acceptance of first drafts in each state.
        stays: mean stay in each state, tokens.
        b: ``[DEPTH]`` shift of the logit by draft position.
        tail: shape of the distribution of a stay; 0 is geometric, above it is heavier (Pareto).
        differ: standard deviation of the logit between requests.
        tied: correlation of a request's difficulty with the rank of its length.
        drift: rise of the logit from the first to the last token of a request.
        loops: share of requests that end in a loop, and the logit within it.
        index: Pareto index of the lengths, 40 to 3000 tokens.
    """

    logits: tuple[float, ...] = (2.8, 0.9, -1.3)
    stays: tuple[float, ...] = (3.0, 2.0, 2.0)
    b: tuple[float, ...] = TRAINED
    tail: float = 0.0
    differ: float = 0.0
    tied: float = 0.0
    drift: float = 0.0
    loops: tuple[float, float] = (0.0, 0.0)
    index: float = 1.4


COMMON = {"differ": 0.5, "drift": 0.4}
WORLDS = {
    "chain": World(),
    "trained": World(**COMMON, tail=0.5, tied=0.6, loops=(0.03, -2.0)),
    "trained, long stays": World(**COMMON, stays=(12, 6, 5), tail=0.6, loops=(0.02, -2.5)),
    "lookup": World(
        (3.5, -3.2), (7, 9), LOOKUP, tail=0.5, differ=0.6, tied=-0.6, loops=(0.04, 4.0)
    ),
    "lookup, short runs": World((2.6, -2.6), (4, 12), LOOKUP, tail=0.4, **COMMON),
}


def text_of(world: World, requests: int, rng: np.random.Generator) -> Recording:
    """Drafts that a round would accept which begins at each position of new requests.

    The last ``DEPTH`` positions are beyond a request's end: its last round may reach there.
    """
    hard = rng.standard_normal(requests)
    rank = ndtr(world.tied * hard + np.sqrt(1 - world.tied**2) * rng.standard_normal(requests))
    lengths = np.minimum(40 * (1 - rank) ** (-1 / world.index), 3000).astype(int)
    spare = lengths + 2 * DEPTH  # a round may begin at the last position
    first = np.concatenate([[0], np.cumsum(spare)])
    at = np.arange(first[-1]) - np.repeat(first[:-1], spare)
    share = at / np.repeat(lengths, spare)
    logit = _by_state(world, first[-1], rng) + world.drift * (share - 0.5)
    logit -= world.differ * np.repeat(hard, spare)
    often, within = world.loops
    begins = np.where(rng.random(requests) < often, rng.random(requests), np.inf)
    logit = np.where(share >= np.repeat(begins, spare), within, logit)
    chance = rng.random(logit.size)
    count, alive = np.zeros(logit.size, np.int32), np.ones(logit.size, bool)
    for j in range(DEPTH):
        hit = np.roll(chance < expit(logit + world.b[j]), -j)
        alive &= hit
        count += alive
    offsets = np.concatenate([[0], np.cumsum(lengths + DEPTH)])
    return Recording(count[at < np.repeat(lengths + DEPTH, spare)], offsets, DEPTH, "token")


def _by_state(world: World, tokens: int, rng: np.random.Generator) -> np.ndarray:
    """Logit of each token, from a semi-Markov chain that leaves to any other state."""
    means, states = np.array(world.stays), len(world.stays)
    number = int(3 * tokens / means.min()) + 100
    moves = rng.integers(1, states, number)
    state = np.cumsum(moves) % states
    mean = means[state]
    if world.tail:  # Lomax distribution, rounded up
        shape = 1 / world.tail
        stay = 1 + rng.pareto(shape, number) * (mean - 1) * (shape - 1)
    else:
        stay = rng.geometric(1 / mean)
    stay = np.minimum(stay, 2000).astype(int)
    return np.repeat(np.array(world.logits)[state], stay)[:tokens]


def log_at(text: Recording, depths: int | np.ndarray) -> tuple[Rounds, Recording]:
    """The rounds that an engine logs which plays each request at its depth, and their text.

    The round that reaches a request's end is logged in full, and the text ends there. Without it
    logs would end where a round would have been long, and so be biased.
    """
    depths = np.broadcast_to(depths, text.requests)
    rows, kept, ends = [], [], []
    for r, depth in enumerate(depths):
        counts = text.accepted[text.offsets[r] : text.offsets[r + 1]].tolist()
        row, at = [], 0
        while at < len(counts) - DEPTH:
            row.append(min(counts[at], depth))
            at += row[-1] + 1
        rows.append(row)
        kept += counts[:at]
        ends.append(at)
    sizes = np.array([len(row) for row in rows])
    rounds = Rounds(
        np.concatenate(rows).astype(np.uint8),
        np.repeat(depths, sizes).astype(np.uint8),
        np.concatenate([[0], np.cumsum(sizes)]),
    )
    offsets = np.concatenate([[0], np.cumsum(ends)])
    return rounds, Recording(np.array(kept, np.int32), offsets, text.depth, "token")


def accept_length(text: Recording, depth: int) -> float:
    """Tokens per round if all requests are played at a depth; last rounds count in full."""
    rounds, accepted = np.empty((2, text.requests), np.int64)
    play_positions(text.accepted, text.offsets, depth, rounds, accepted)
    return float(1 + accepted.sum() / rounds.sum())
