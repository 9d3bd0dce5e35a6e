"""Requests of a server arrive, wait, are admitted, preempted and finished."""

from __future__ import annotations

import numpy as np

from mtpsim.kernels import server_layout as column
from mtpsim.kernels.jit import bare, bare_inlined
from mtpsim.kernels.server_requests import (
    BURST,
    CLOSED,
    RATE,
    RECORDED,
    TRACE,
    draw_gap,
    draw_lengths,
    draw_recorded,
    pass_token,
)
from mtpsim.kernels.server_state import (
    ARRIVED,
    ARRIVED_AT,
    BASE,
    BEGIN,
    CHUNK_CONTEXT,
    CHUNKS,
    CLIPPED,
    COMPLETED,
    DECODING,
    DECODING_HELD,
    DRAWN,
    EMITTED,
    EMITTED_NOW,
    END,
    ENDED,
    FIRST_AT,
    FREE,
    HEAD,
    HEAD_AT,
    HEAD_SLOT,
    HELD,
    INSIDE,
    KEPT_DECODING,
    KEPT_DONE,
    LAST_AT,
    NEXT,
    NOW,
    NUMBER,
    OUTPUT,
    PASSES,
    PLAYED,
    PREEMPTED,
    PREFILLED,
    PREFILLING,
    PROMPT,
    ROW,
    RUNNING,
    SEEN,
    SINCE,
    SPAN,
    STACKED,
    STEP,
    TICK,
    TODO,
    WITHIN,
    count_time,
    draw_words,
    is_kept,
)

GONE = -1  # TODO of a finished request
TTFT, TPOT, ITL, E2E = range(4)  # histograms
SMALLEST = 1e-300  # ms: a time that bins can hold


@bare
def begin(world, state):
    """The first arrivals."""
    load, clock = world.load, state.clock
    if load.arrivals == BURST or load.arrivals == CLOSED:
        for _ in range(load.clients):
            _arrive(0.0, world, state)
    else:
        clock[NEXT] = _next_arrival(world, state)


@bare_inlined
def _next_arrival(world, state):
    number = state.counts[ARRIVED]
    if world.load.arrivals == TRACE:
        late = number >= world.load.arrival_ms.size
        return np.inf if late else world.load.arrival_ms[number]
    before = state.clock[NEXT] if number > 0 else 0.0
    return before + draw_gap(world.key, world.replication, number, world.load)


@bare
def _arrive(time, world, state):
    counts, number, engine = state.counts, state.counts[ARRIVED], world.engine
    pass_time(time, state)
    waiting = number - counts[HEAD] + counts[STACKED]
    if number == engine.warm_up:
        counts[INSIDE], state.clock[BEGIN] = 1, time
        state.row[column.FIRST_WAITING] = waiting
    if number == engine.warm_up + engine.requests:
        counts[INSIDE] = 0
        state.row[column.WINDOW] = time - state.clock[BEGIN]
        state.row[column.LAST_WAITING] = waiting
    if world.load.arrivals == CLOSED:
        state.returned[number % world.load.clients] = time
    counts[ARRIVED] = number + 1


@bare
def pass_time(time, state):
    """Advance the integral of the waiting requests, and the part of the step in the window."""
    counts, clock = state.counts, state.clock
    if counts[INSIDE] > 0:
        waiting = counts[ARRIVED] - counts[HEAD] + counts[STACKED]
        state.row[column.WAITING] += waiting * (time - clock[SEEN])
        clock[WITHIN] += time - clock[SEEN]
    clock[SEEN] = time


@bare
def arrive_until(time, world, state):
    """All arrivals up to ``time``."""
    while state.clock[NEXT] <= time:
        _arrive(state.clock[NEXT], world, state)
        state.clock[NEXT] = _next_arrival(world, state)
    pass_time(time, state)


@bare
def preempt(world, state):
    """Preempt the youngest requests until the KV cache holds the next token of all others."""
    ints, counts = state.ints, state.counts
    while counts[HELD] > world.engine.kv_tokens:
        slot = state.order[counts[RUNNING] - 1]
        held = ints[slot, PROMPT] + ints[slot, EMITTED]
        counts[HELD] -= held
        cached = held - ints[slot, TODO]
        if ints[slot, TODO] == 0:
            cached = held - 1
            counts[DECODING] -= 1
            counts[DECODING_HELD] -= held
            counts[KEPT_DECODING] -= is_kept(world.engine, ints[slot, NUMBER])
            ints[slot, PLAYED] += counts[STEP] - ints[slot, SINCE]
            state.times[LAST_AT, slot] = state.clock[NOW]
        else:
            counts[PREFILLING] -= 1
        if counts[INSIDE] > 0:
            state.row[column.PREEMPTIONS] += 1
            state.row[column.RECOMPUTED] += cached
        ints[slot, TODO] = held
        state.stack[counts[STACKED]] = slot
        counts[STACKED] += 1
        counts[RUNNING] -= 1
        counts[PREEMPTED] += 1


@bare_inlined
def _draw_head(world, state):
    """Slot of the first request of the queue."""
    ints, counts = state.ints, state.counts
    if counts[DRAWN] > counts[HEAD]:
        return counts[HEAD_SLOT]
    counts[FREE] -= 1
    slot = counts[HEAD_SLOT] = state.free[counts[FREE]]
    number, load, most = counts[HEAD], world.load, world.engine.kv_tokens
    prompt, output = draw_lengths(world.key, world.replication, number, load)
    ints[slot, :] = 0
    if world.kind == RECORDED:
        each, recording = world.engine.requests, world.recording
        drawn = draw_recorded(world.key, world.replication, number, recording, each)
        ints[slot, BASE] = world.recording.offsets[drawn]
        ints[slot, SPAN] = world.recording.offsets[drawn + 1] - world.recording.offsets[drawn]
        if load.recorded_output:
            output = ints[slot, SPAN]
    ints[slot, NUMBER] = number
    ints[slot, PROMPT] = max(min(prompt, most - 1), 1)
    ints[slot, OUTPUT] = max(min(output, most - ints[slot, PROMPT]), 1)
    cut = ints[slot, PROMPT] != prompt or ints[slot, OUTPUT] != output
    ints[slot, CLIPPED] = np.int64(cut)
    ints[slot, TODO] = ints[slot, PROMPT]
    ints[slot, ROW] = world.chain.state_bounds.shape[0] - 1
    arrived = 0.0
    if load.arrivals == RATE:
        arrived = state.clock[HEAD_AT] + draw_gap(world.key, world.replication, number, load)
        state.clock[HEAD_AT] = arrived
    elif load.arrivals == TRACE:
        arrived = load.arrival_ms[number]
    elif load.arrivals == CLOSED:
        arrived = state.returned[number % load.clients]
    state.times[ARRIVED_AT, slot] = arrived
    counts[DRAWN] = number + 1
    return slot


@bare
def prefill(world, state, left, free, depth):
    """Spend ``left`` tokens on prefill, running requests first, then admit waiting ones.

    Args:
        world: inputs.
        state: state.
        left: tokens of the step that decoding leaves.
        free: tokens of the KV cache that decoding leaves.
        depth: drafts that an admitted request must have place for.
    """
    ints, counts = state.ints, state.counts
    if counts[PREFILLING] > 0:
        for i in range(counts[RUNNING]):
            slot = state.order[i]
            if left > 0 and ints[slot, TODO] > 0:
                left -= _chunk(state, slot, left)
    if counts[PREEMPTED] > 0:
        return
    while left > 0 and counts[RUNNING] < world.engine.max_requests:
        if counts[STACKED] > 0:
            slot = state.stack[counts[STACKED] - 1]
        elif counts[ARRIVED] > counts[HEAD]:
            slot = _draw_head(world, state)
        else:
            return
        held, rest = ints[slot, PROMPT] + ints[slot, EMITTED], ints[slot, OUTPUT]
        drafts = min(depth, rest - ints[slot, EMITTED] - 1)
        if held + 1 + world.engine.nodes[drafts] > free:
            return
        if counts[STACKED] > 0:
            counts[STACKED] -= 1
        else:
            counts[HEAD] += 1
        state.order[counts[RUNNING]] = slot
        counts[RUNNING] += 1
        counts[PREFILLING] += 1
        counts[HELD] += held
        free -= held
        left -= _chunk(state, slot, left)


@bare_inlined
def _chunk(state, slot, left):
    """The next part of a prompt, of at most ``left`` tokens; returns its tokens."""
    ints, counts = state.ints, state.counts
    tokens = min(left, ints[slot, TODO])
    counts[CHUNKS] += 1
    counts[CHUNK_CONTEXT] += ints[slot, PROMPT] + ints[slot, EMITTED] - ints[slot, TODO]
    counts[PREFILLED] += tokens
    ints[slot, TODO] -= tokens
    if ints[slot, TODO] == 0:
        state.completed[counts[COMPLETED]] = slot
        counts[COMPLETED] += 1
    return tokens


@bare
def complete_prefills(world, state):
    """Each completed prefill gives a token; its request decodes from the next step on."""
    ints, counts, end = state.ints, state.counts, state.clock[END]
    for i in range(counts[COMPLETED]):
        slot = state.completed[i]
        kept = is_kept(world.engine, ints[slot, NUMBER])
        ints[slot, EMITTED] += 1
        ints[slot, PASSES] += 1
        counts[PREFILLING] -= 1
        counts[HELD] += 1
        counts[EMITTED_NOW] += 1
        if ints[slot, EMITTED] == 1:
            state.times[FIRST_AT, slot] = end
        else:
            _play_pass(world, state, i)
            if kept:
                gap = end - state.times[LAST_AT, slot]
                state.row[column.ITL] += gap
                state.row[column.ITL_BURSTS] += 1
                count_time(state.histograms[ITL], gap, 1)
        counts[DECODING] += 1
        counts[DECODING_HELD] += ints[slot, PROMPT] + ints[slot, EMITTED]
        counts[KEPT_DECODING] += kept
        ints[slot, SINCE] = counts[STEP] + 1
        if ints[slot, EMITTED] == ints[slot, OUTPUT]:
            state.ended[counts[ENDED]] = slot
            counts[ENDED] += 1


@bare
def _play_pass(world, state, i):
    """Move the text of a completed request past a token that was not drafted."""
    ints, slot = state.ints, state.completed[i]
    if world.kind == RECORDED:
        ints[slot, TICK] += 1
        return
    draw_words(world, state, state.completed, i, i + 1, 1)
    word = state.words[slot, ints[slot, TICK] & (state.words.shape[1] - 1)]
    ints[slot, ROW] = pass_token(world.chain, word, ints[slot, ROW])
    ints[slot, TICK] += 1


@bare
def finish_requests(world, state):
    """Record the requests that end, and free their slots."""
    ints, counts = state.ints, state.counts
    for i in range(counts[ENDED]):
        slot = state.ended[i]
        held = ints[slot, PROMPT] + ints[slot, EMITTED]
        counts[HELD] -= held
        counts[DECODING] -= 1
        counts[DECODING_HELD] -= held
        if is_kept(world.engine, ints[slot, NUMBER]):
            counts[KEPT_DECODING] -= 1
            counts[KEPT_DONE] += 1
            _record(world, state, slot)
        ints[slot, TODO] = GONE
        state.free[counts[FREE]] = slot
        counts[FREE] += 1
    left = np.int64(0)
    for i in range(counts[RUNNING]):
        slot = state.order[i]
        state.order[left] = slot
        left += np.int64(ints[slot, TODO] != GONE)
    counts[RUNNING] = left
    if world.load.arrivals == CLOSED:
        for _ in range(counts[ENDED]):
            _arrive(state.clock[END], world, state)


@bare_inlined
def _record(world, state, slot):
    """Add a finished request to the totals."""
    ints, row, end = state.ints, state.row, state.clock[END]
    arrived, first = state.times[ARRIVED_AT, slot], state.times[FIRST_AT, slot]
    tokens, number = ints[slot, OUTPUT], ints[slot, NUMBER]
    ttft, e2e, tpot = first - arrived, end - arrived, 0.0
    early = number - world.engine.warm_up < world.engine.requests // 2
    row[column.REQUESTS] += 1
    row[column.CLIPPED] += ints[slot, CLIPPED]
    row[column.OUTPUT_TOKENS] += tokens
    row[column.PROMPT_TOKENS] += ints[slot, PROMPT]
    row[column.ITL_TOKENS] += tokens - 1
    row[column.TTFT] += ttft
    row[column.E2E] += e2e
    count_time(state.histograms[TTFT], ttft, 1)
    count_time(state.histograms[E2E], e2e, 1)
    if tokens > 1:
        tpot = (end - first) / (tokens - 1)
        row[column.TPOT] += tpot
        row[column.TPOT_REQUESTS] += 1
        count_time(state.histograms[TPOT], tpot, 1)
    goals = world.engine.goals
    row[column.GOOD] += ttft <= goals[0] and tpot <= goals[1] and e2e <= goals[2]
    if early:
        row[column.HALF_REQUESTS] += 1
        row[column.HALF_TTFT] += ttft
        row[column.HALF_E2E] += e2e
        row[column.HALF_TPOT] += tpot
        row[column.HALF_TPOT_REQUESTS] += tokens > 1
