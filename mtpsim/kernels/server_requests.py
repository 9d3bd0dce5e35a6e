"""Requests of a server: when they arrive, how long they are, and which drafts they accept.

All words of a request have its own address (replication, number), so that every arm serves the
same requests with the same text.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.kernels.acceptance import BITS, drafts_kept, find_state
from mtpsim.kernels.arrays import Ints
from mtpsim.kernels.jit import bare, bare_inlined
from mtpsim.kernels.noise import CELLS, quantile, to_word
from mtpsim.kernels.philox import HALF, LENGTHS, LOW, PATH, RESUMED, STALE, philox

RATE, CLOSED, BURST, TRACE = range(4)  # kinds of arrivals
ROUNDS, POSITIONS, RECORDED = range(3)  # what a tick is: of a chain, or of a recording
MOST_TOKENS = 1 << 30  # of a prompt or an output
GAP, PROMPT, OUTPUT, PAIR = range(4)  # words of a request


class Workload(NamedTuple):
    """Arrivals and lengths of the requests."""

    arrivals: int  # RATE, CLOSED, BURST or TRACE
    gap_ms: float  # mean time between arrivals
    gap_kind: int
    gap_values: Floats  # quantile table of the time between arrivals, of mean 1
    arrival_ms: Floats  # [N] of a trace, from 0
    clients: int  # of a closed loop
    pairs: Ints  # [N, 2] prompt and output tokens of recorded requests; [0, 2]: lengths by law
    kinds: npt.NDArray[np.int64]  # [2] of the tables of prompt and output
    prompt_values: Floats
    output_values: Floats
    scale: Floats  # [2] a length is floor(scale x quantile + offset)
    offset: Floats  # [2]
    correlation: float  # of the normal scores of prompt and output
    normal: Floats  # quantile table of the standard normal distribution
    recorded_output: bool  # as many tokens as the recorded request has positions


@bare
def draw_gap(key, replication, number, load):
    """Time in ms from the arrival of the request before to that of request ``number``."""
    word = request_words(key, replication, number, LENGTHS)[GAP]
    return load.gap_ms * quantile(load.gap_kind, load.gap_values, _signed(word))


@bare
def draw_lengths(key, replication, number, load):
    """Tokens of prompt and output."""
    words = request_words(key, replication, number, LENGTHS)
    if load.pairs.shape[0] > 0:
        row = np.int64(number)
        if load.arrivals != TRACE:
            row = np.int64((words[PAIR] * np.uint64(load.pairs.shape[0])) >> HALF)
        return np.int64(load.pairs[row, 0]), np.int64(load.pairs[row, 1])
    first, second = _signed(words[PROMPT]), _signed(words[OUTPUT])
    if load.correlation != 0:
        second = _correlated(load.normal, load.correlation, first, second)
    return (
        _length(load.kinds[0], load.prompt_values, load.scale[0], load.offset[0], first),
        _length(load.kinds[1], load.output_values, load.scale[1], load.offset[1], second),
    )


@bare_inlined
def request_words(key, replication, number, purpose):
    """The first four words of a request for a purpose."""
    return philox(
        np.uint64(number), np.uint64(replication), np.uint64(0), np.uint64(purpose),
        key & LOW, key >> HALF,
    )  # fmt: skip


@bare
def drafts_left(world, number, tick, first, drafts):
    """How many of the first drafts of a request that has been at depth 0 are not lost."""
    engine, most = world.engine, np.int64(drafts)
    if engine.resumed > 0:
        word = _tick_word(world, number, tick, RESUMED)
        most = drafts_kept(word, engine.resumed, most)
    if first and engine.stale > 0:
        lost = np.uint32(_tick_word(world, number, tick, STALE)) < engine.stale * 4294967296.0
        most = np.int64(0) if lost else most
    return most


@bare_inlined
def _tick_word(world, number, tick, purpose):
    """The word of a request for a purpose at a tick of its text."""
    words = philox(
        np.uint64(number), np.uint64(world.replication), np.uint64(tick >> 2), np.uint64(purpose),
        world.key & LOW, world.key >> HALF,
    )  # fmt: skip
    return words[tick & 3]


@bare_inlined
def _signed(word):
    return np.int32(np.uint32(word))


@bare
def _length(kind, values, scale, offset, word):
    tokens = scale * quantile(kind, values, word) + offset
    return np.int64(max(min(tokens, float(MOST_TOKENS)), 1.0))


@bare
def _correlated(normal, correlation, first, second):
    """The second word made anew, so that its normal score correlates with the first one's."""
    partner, own = quantile(CELLS, normal, first), quantile(CELLS, normal, second)
    return to_word(correlation * partner + np.sqrt(1.0 - correlation * correlation) * own)


@bare
def draw_recorded(key, replication, number, recording, each):
    """The recorded request that this request plays, by the word that starts a chain.

    In order, a replication of ``each`` requests begins where the one before ends.
    """
    if recording.in_order:
        return (replication * each + number) % (recording.offsets.size - 1)
    words = request_words(key, replication, number, PATH)
    requests = np.uint64(recording.offsets.size - 1)
    return np.int64((words[0] * requests) >> HALF)


@bare_inlined
def pass_token(chain, word, row):
    """The row of the thresholds after a token that was not drafted, a round of no drafts."""
    states = chain.state_bounds.shape[1]
    state = np.int64(find_state(word & BITS, row, chain.state_bounds, chain.guide))
    return state + states if chain.state_bounds.shape[0] > states + 1 else state
