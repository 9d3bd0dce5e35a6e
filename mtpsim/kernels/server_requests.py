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
ALL = 1 << 30  # drafts of a round that may be accepted


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
def _next_state(chain, word, row):
    if chain.two:
        return np.int64(word > chain.state_bounds[row, 0])
    return np.int64(find_state(word, row, chain.state_bounds, chain.guide))


@bare_inlined
def proposed_drafts(world, tick, row, words, drafts):
    """How many of ``drafts`` a round proposes, by the state in which it begins."""
    proposed, word = world.engine.proposed, words[tick & (words.size - 1)] & BITS
    return min(np.int64(proposed[_next_state(world.chain, word, row)]), drafts)


@bare_inlined
def play_round(kind, chain, tick, row, words, depth, most=ALL):
    """A round of a chain: accepted drafts, next tick, next row, state in which it began.

    Of the ``depth`` drafts those beyond the first ``most`` are rejected, whatever the text.
    ``words`` [W] holds the words of the ticks from ``tick`` on, at their ticks modulo W.
    """
    states, last = chain.state_bounds.shape[1], words.size - 1
    outcomes = chain.state_bounds.shape[0] > states + 1
    word = words[tick & last] & BITS
    state = _next_state(chain, word, row)
    begin, accepted, tick = state, np.int64(0), tick + 1
    if kind == ROUNDS:
        for j in range(min(depth, most)):  # accepts are nested
            accepted += np.int64(word <= chain.accept_bounds[row, state, j])
    else:
        # No branch on the outcome: it would be mispredicted in every other round.
        going, by_outcome = np.int64(1), np.int64(outcomes) * states
        for j in range(min(depth, most)):
            going &= np.int64(word <= chain.accept_bounds[row, state, j])
            accepted += going
            after = state + by_outcome
            word = words[(tick + j) & last] & BITS
            row += going * (after - row)
            state += going * (_next_state(chain, word, after) - state)
        tick += accepted
    row = state + states if outcomes and accepted == depth else state
    return accepted, tick, np.int64(row), np.int64(begin)


@bare_inlined
def look_ahead(kind, chain, tick, row, words, states, lane):
    """Drafts of a round of a chain that would be accepted, of K.

    Sets ``states`` [K + 1, lane] to the hidden states of the drafts and of the token after them;
    those after the first rejection have the state of the rejected draft.
    """
    count, last, here = chain.state_bounds.shape[1], words.size - 1, np.int64(row)
    by_outcome = np.int64(chain.state_bounds.shape[0] > count + 1) * count
    word = words[tick & last] & BITS
    state, going, accepted = _next_state(chain, word, here), np.int64(1), np.int64(0)
    states[0, lane] = state
    for j in range(states.shape[0] - 1):
        going &= np.int64(word <= chain.accept_bounds[here, state, j])
        accepted += going
        if kind == POSITIONS:
            word = words[(tick + 1 + j) & last] & BITS
            here += going * (state + by_outcome - here)
            state += going * (_next_state(chain, word, here) - state)
        states[j + 1, lane] = state
    return accepted
