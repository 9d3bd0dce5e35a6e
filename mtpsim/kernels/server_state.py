"""The state of a server in the kernels: arrays, and what stands where in them.

M is the greatest number of running requests. Each running or preempted request has one of 2 M + 1
slots, and so has the first request of the queue, once it is drawn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.kernels.arrays import ChainArrays, Floats32, Ints, RecordingArrays
from mtpsim.kernels.jit import bare, bare_inlined
from mtpsim.kernels.philox import CALL, HALF, LOW, PATH, TILE, philox
from mtpsim.kernels.server_layout import BINS, LEAST_EXPONENT, OCTAVE_BITS, SHARES
from mtpsim.kernels.server_requests import CLOSED, Workload
from mtpsim.latency.step_costs import StepCosts
from mtpsim.policy.base import BatchOutcome

Longs = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint32]

# of a request: its number, its tokens, prefill left (0: it decodes), next tick of its text, ticks
# whose words are drawn, row of its chain, recorded request, step in which it began to decode, and
# counts of rounds played and of passes without drafts
(
    NUMBER, PROMPT, OUTPUT, EMITTED, TODO, TICK, DRAWN_TICKS, ROW, BASE, SPAN, CLIPPED, SINCE,
    PLAYED, PASSES,
) = range(14)  # fmt: skip
ARRIVED_AT, FIRST_AT, LAST_AT = range(3)  # times of a request
# counts of the server (BEFORE: depth of the last step with decoding, LAST_OFF: last one at depth 0,
# both -1 before the first); from DRAFTED on of the current step
(
    STEP, RUNNING, DECODING, PREFILLING, STACKED, ARRIVED, HEAD, DRAWN, HELD, DECODING_HELD,
    KEPT_DECODING, KEPT_DONE, INSIDE, DEPTH, FREE, HEAD_SLOT,
    BEFORE, LAST_OFF,
    DRAFTED, VERIFIED, MISSED, EMITTED_NOW, DEEPEST, PREFILLED, CHUNKS, CHUNK_CONTEXT, ENDED,
    COMPLETED, PREEMPTED,
) = range(29)  # fmt: skip
# times of the server: now, end of the step, next arrival, arrival of the head of the queue, when
# integrals were last advanced, window within the step, begin of the window, sum of slowdowns, and
# what a change of the depth adds to the step
NOW, END, NEXT, HEAD_AT, SEEN, WITHIN, BEGIN, SLOWDOWNS, EXTRA = range(9)
QUEUED, RAN, WAITED, IN_CACHE, AT_DEPTH = range(5)  # columns of a timeline
LEVELS = 1024  # steps of survival


class Engine(NamedTuple):
    """Limits of the engine, the kept requests, and how goals are judged."""

    max_requests: int
    max_tokens: int
    kv_tokens: int
    warm_up: int  # requests before the kept ones
    requests: int  # kept requests
    goals: Floats  # [3] greatest TTFT, TPOT and end-to-end time in ms
    nodes: Longs  # [K + 1] drafted tokens by depth: as many, or the nodes of a tree's first levels
    proposed: Ints  # [S] drafts that a round proposes, by state; empty: as many as it may
    switch_cost: float = 0.0  # ms of a step at another depth than the one before
    catch_up: float = 0.0  # ms of the first step with drafts after depth 0
    stale: float = 0.0  # probability that a request's first drafts after depth 0 are lost
    resumed: float = 0.0  # probability that a later one is lost


class Laws(NamedTuple):
    """Laws of the confidences of drafts, as equally likely values.

    There is a law for a draft that would be rejected, for one that would be accepted, and for one
    after the first rejection, each by position and law of the state.
    """

    values: Floats32  # [3 K L, Q]; Q = 0: confidences are recorded, or not read
    depth: int  # K
    own: Ints  # [S] law of each hidden state
    proposed: Ints  # [S] drafts that a round proposes, at most


class World(NamedTuple):
    """Everything that an arm reads."""

    key: int
    replication: int
    load: Workload
    engine: Engine
    kind: int  # ROUNDS, POSITIONS or RECORDED
    chain: ChainArrays
    recording: RecordingArrays
    costs: StepCosts
    speculates: bool  # the engine has speculation enabled, even in steps without drafts
    laws: Laws


class BatchRule(NamedTuple):
    """Parameters of a rule by the number of decoding requests, and its memory."""

    p: Floats  # [M + 1, P]
    sizes: Longs  # [M + 1] length of each row of `p`
    rows: Longs  # [M + 1] row of the memory
    first: Longs  # [rows] least number of requests that has this row
    memory: Floats  # [rows, L]
    hints: Floats  # [K] unused


class Drafts(NamedTuple):
    """Drafts of a step; of requests that share a budget, also survivals of earlier steps.

    N requests decode, at most M.
    """

    slots: npt.NDArray[np.uintp]  # [M] of the decoding requests
    scheduled: Ints  # [M] drafts of each
    kept: Ints  # [M] those that are not lost after depth 0
    acceptable: Ints  # [M] those that would be accepted of as many as were not clipped
    accepted: Ints  # [M] those that are accepted
    path: Ints  # [3, M] word and row of the thresholds; -1 as long as no draft is rejected
    states: Ints  # [K + 1, M] hidden states of the drafts, and of the token after them
    # the others have no content without a budget
    verified: Ints  # [M] drafts that are verified
    words: Ints  # [4 C, M] words of the confidences
    confidences: Floats  # [K, M]
    levels: (
        Unsigned  # [K, M] survivals in steps of 1 / LEVELS; 0: not scheduled, or rejected for sure
    )
    earlier: Unsigned  # [K, M] those that set the budget
    survival: Floats  # [M]
    smooth: Floats  # [2 M + 1, K] moving averages of the confidences
    past: Unsigned  # [s, K, 2 M + 1] survivals by step modulo s
    held: Unsigned  # [LEVELS + 1] drafts by survival
    ranked: Unsigned  # [K M] survivals, the greatest first
    times: Floats  # [K M + 1] ms of the step by verified drafts
    best: Floats  # [2] expected tokens, in levels, and ms of the best budget so far


class State(NamedTuple):
    """What changes from step to step."""

    ints: Longs  # [2 M + 1, 14]
    words: Ints  # [2 M + 1, W] random words of the text, by tick modulo W
    times: Floats  # [3, 2 M + 1]
    counts: Longs  # [29]
    clock: Floats  # [9]
    order: Longs  # [M] slots of the running requests, in the order of admission
    stack: Longs  # [M] slots of the preempted ones, the next to be admitted last
    free: Longs  # [2 M + 1] free slots
    ended: Longs  # [M] slots whose requests end in this step
    completed: Longs  # [M] slots whose prefill is completed in this step
    picked: Longs  # [M] slots that need words
    calls: npt.NDArray[np.uint64]  # [2, M] their requests and calls of the generator
    fresh: Ints  # [4, M] the words
    outcome: BatchOutcome  # [K + 1] each; decoding requests of the step
    returned: Floats  # [clients] arrivals in a closed loop, by request modulo clients
    factors: Floats  # [TILE] noise of the steps
    histograms: Longs  # [4, BINS]
    row: Floats  # [COLUMNS]
    timeline: Floats  # [T, 5]; T = 0: none
    used: Longs  # [M + 1, K + 1] request-steps by decoding requests and depth, beside a timeline
    marks: Longs  # [2] rows of the timeline, and steps from one to the next
    drafts: Drafts


def _new_drafts(requests: int, depth: int, stale: int | None) -> Drafts:
    def ints(*shape: int) -> Ints:
        return np.zeros(shape, np.int32)

    def levels(*shape: int) -> Unsigned:
        return np.zeros(shape, np.uint32)

    shared = stale is not None
    deep, slots, calls = shared * depth, 2 * requests + 1, -(-depth // CALL)
    return Drafts(
        slots=np.zeros(requests, np.uintp),
        scheduled=ints(requests),
        kept=ints(requests),
        acceptable=ints(requests),
        accepted=ints(requests),
        path=ints(3, requests),
        states=ints(depth + 1, requests),
        verified=ints(shared * requests),
        words=ints(CALL * calls * shared, requests),
        confidences=np.zeros((deep, requests)),
        levels=levels(deep, requests),
        earlier=levels(deep, requests),
        survival=np.zeros(shared * requests),
        smooth=np.zeros((slots, deep)),
        past=levels(stale or 0, deep, slots),
        held=levels(LEVELS + 1),
        ranked=levels(deep * requests),
        times=np.zeros(deep * requests + 1),
        best=np.zeros(2),
    )


def new_state(
    world: World, depth: int, *, points: int, stale: int | None, row: Floats, histograms: Longs
) -> State:
    """The state before the first arrival.

    Args:
        world: inputs.
        depth: greatest depth K.
        points: most points of the timeline; 0: none.
        stale: steps by which confidences are old; None where requests share no budget.
        row: [COLUMNS] zeros.
        histograms: [METRICS, BINS] zeros.
    """
    slots, most = 2 * world.engine.max_requests + 1, world.engine.max_requests
    clients = world.load.clients if world.load.arrivals == CLOSED else 0
    state = State(
        ints=np.zeros((slots, 14), np.int64),
        words=np.zeros((slots, 1 << (depth + CALL - 1).bit_length()), np.int32),
        times=np.zeros((3, slots)),
        counts=np.zeros(29, np.int64),
        clock=np.zeros(9),
        order=np.zeros(most, np.int64),
        stack=np.zeros(most, np.int64),
        free=np.arange(slots),
        ended=np.zeros(most, np.int64),
        completed=np.zeros(most, np.int64),
        picked=np.zeros(most, np.int64),
        calls=np.zeros((2, most), np.uint64),
        fresh=np.zeros((CALL, most), np.int32),
        outcome=BatchOutcome(*np.zeros((3, depth + 1), np.int64)),
        returned=np.zeros(clients),
        factors=np.ones(TILE),
        histograms=histograms,
        row=row,
        timeline=np.zeros((points, 5)),
        used=np.zeros((most + 1, depth + 1) if points else (0, 0), np.int64),
        marks=np.array([0, 1], np.int64),
        drafts=_new_drafts(most, depth, stale),
    )
    state.clock[NEXT], state.counts[FREE] = np.inf, slots
    state.counts[BEFORE] = state.counts[LAST_OFF] = -1
    return state


@bare_inlined
def is_kept(engine, number):
    """Whether a request is after the warm-up and among those that are measured."""
    return engine.warm_up <= number < engine.warm_up + engine.requests


@bare
def draw_words(world, state, slots, begin, end, ticks):
    """Draw the words of the next ``ticks`` ticks of decoding requests, ``slots`` [begin : end].

    Without branches that depend on the requests, and vectorised over them: a branch to mispredict
    would cost more than all the rest of a round.
    """
    ints, picked, wrap = state.ints, state.picked, state.words.shape[1] - 1
    for _ in range((ticks + CALL - 1) // CALL):
        count = np.int64(0)
        for i in range(begin, end):
            slot = np.uintp(slots[i])
            picked[count] = slot
            count += np.int64(ints[slot, DRAWN_TICKS] < ints[slot, TICK] + ticks)
        for i in range(count):
            slot = np.uintp(picked[i])
            state.calls[0, i] = np.uint64(ints[slot, NUMBER])
            state.calls[1, i] = np.uint64(ints[slot, DRAWN_TICKS] >> 2)
        call_words(world, PATH, state.calls[0], state.calls[1], state.fresh, count)
        for i in range(count):
            slot = np.uintp(picked[i])
            first = ints[slot, DRAWN_TICKS] & wrap
            for place in range(CALL):
                state.words[slot, first + place] = state.fresh[place, i]
            ints[slot, DRAWN_TICKS] += CALL


@bare
def call_words(world, purpose, numbers, calls, fresh, count):
    """Four words ``fresh`` [4, count] of each request ``numbers``, of its call ``calls``."""
    k0, k1, code = world.key & LOW, world.key >> HALF, np.uint64(purpose)
    w0, w1, w2, w3 = fresh[0], fresh[1], fresh[2], fresh[3]
    for i in range(count):
        a, b, c, d = philox(numbers[i], np.uint64(world.replication), calls[i], code, k0, k1)
        w0[i] = np.int32(np.uint32(a))
        w1[i] = np.int32(np.uint32(b))
        w2[i] = np.int32(np.uint32(c))
        w3[i] = np.int32(np.uint32(d))


@bare
def count_time(histogram, ms, times):
    """Add ``times`` to the bin of ``ms`` milliseconds."""
    bits = np.float64(ms).view(np.int64) >> np.int64(52 - OCTAVE_BITS)
    place = bits - ((np.int64(1023) + LEAST_EXPONENT) << np.int64(OCTAVE_BITS))
    histogram[min(max(place, 0), BINS - 1)] += times


@bare
def fill_quantiles(histogram, quantiles):
    """Set ``quantiles`` [SHARES] in ms, linear within a bin; 0 if the histogram is empty."""
    total, below, share = np.int64(0), np.int64(0), 0
    for place in range(BINS):
        total += histogram[place]
    for place in range(BINS):
        inside = histogram[place]
        while inside > 0 and share < len(SHARES) and below + inside >= SHARES[share] * total:
            low, high = _edge(place), _edge(place + 1)
            quantiles[share] = low + (high - low) * (SHARES[share] * total - below) / inside
            share += 1
        below += inside


@bare
def _edge(place):
    octave = place >> OCTAVE_BITS
    part = place - (octave << OCTAVE_BITS)
    return 2.0 ** (octave + LEAST_EXPONENT) * (1.0 + part / (1 << OCTAVE_BITS))
