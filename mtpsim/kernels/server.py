"""A server, step by step: requests that come and go share each step of the engine.

Iteration-level scheduling with chunked prefill (Orca, OSDI 2022; vLLM v1). In each step every
decoding request is given its next token and its drafts, clipped by its remaining output, by the
tokens of a step and by the free KV cache. The rest of the step goes to prefill, first come first
served. If the KV cache runs out, the youngest request is preempted, and recomputed later.

Each rule that chooses depths has a kernel of its own from one template, as in
:mod:`mtpsim.kernels.policies`; a fixed depth is the simplest rule.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mtpsim.kernels import server_layout as column
from mtpsim.kernels.jit import bare, bare_inlined, kernel, with_globals
from mtpsim.kernels.noise import CONSTANT, draw_factors, fill_noise_words
from mtpsim.kernels.philox import TILE
from mtpsim.kernels.server_queue import (
    ITL,
    arrive_until,
    begin,
    complete_prefills,
    finish_requests,
    preempt,
    prefill,
)
from mtpsim.kernels.server_requests import BURST, TRACE
from mtpsim.kernels.server_rounds import begin_rounds, end_rounds, lose
from mtpsim.kernels.server_state import (
    ARRIVED,
    AT_DEPTH,
    BEFORE,
    BEGIN,
    CHUNK_CONTEXT,
    CHUNKS,
    COMPLETED,
    DECODING,
    DECODING_HELD,
    DEEPEST,
    DEPTH,
    DRAFTED,
    EMITTED_NOW,
    END,
    ENDED,
    EXTRA,
    HEAD,
    HELD,
    IN_CACHE,
    INSIDE,
    KEPT_DECODING,
    KEPT_DONE,
    LAST_OFF,
    MISSED,
    NEXT,
    NOW,
    OUTPUT,
    PASSES,
    PLAYED,
    PREEMPTED,
    PREFILLED,
    PREFILLING,
    QUEUED,
    RAN,
    RUNNING,
    SINCE,
    SLOWDOWNS,
    STACKED,
    STEP,
    VERIFIED,
    WAITED,
    WITHIN,
    count_time,
    fill_quantiles,
)
from mtpsim.kernels.step_costs import step_ms, verify_ms
from mtpsim.policy.base import RoundContext, RoundOutcome
from mtpsim.policy.base import learn_nothing as learn  # the template's rule, to be replaced
from mtpsim.policy.base import start_empty as start
from mtpsim.policy.fixed import choose

NOTHING, MEAN, POOLED, FINISHED = range(4)  # what a rule learns from, see `PolicySpec.learns_from`
LEARNS = MEAN  # of the template
SHARED = False  # whether the requests share a budget of drafts, see `server_budget`
SERVER = 0xFFFFFFFF  # number of the request whose words are the noise of the steps


def draft(world, state, rule, decoding):
    """Choose the depth of the step; every decoding request plays as many drafts as fit."""
    counts, outcome, drafts = state.counts, state.outcome, state.drafts
    depth = counts[DEPTH] = choose_depth(rule, decoding, counts[DEPTH])
    begin_rounds(world, state, depth)
    kept, behind = drafts.scheduled, np.int64(0)
    if counts[LAST_OFF] >= 0 and depth > 0:
        kept, behind = drafts.kept, lose(world, state, decoding)
    end_rounds(world, state, decoding, drafts.scheduled, kept)
    if LEARNS == POOLED:
        for i in range(decoding):
            made, accepted = drafts.scheduled[i], drafts.accepted[i]
            outcome.drafted[made] += 1
            outcome.verified[min(accepted + 1, made)] += 1
            outcome.accepted[accepted] += 1
    counts[VERIFIED] = counts[DRAFTED]
    _note_depth(world, state, depth, behind)


@bare_inlined
def _note_depth(world, state, depth, behind):
    """What a change of the depth adds to the step; ``behind`` requests resume drafting in it."""
    counts, extra = state.counts, 0.0
    if counts[BEFORE] >= 0 and counts[BEFORE] != depth:
        extra += world.engine.switch_cost
    if behind > 0:
        extra += world.engine.catch_up
    state.clock[EXTRA], counts[BEFORE] = extra, depth
    if depth == 0:
        counts[LAST_OFF] = counts[STEP]


def verify(world, state, rule, decoding, context):
    """What is decided once the prefill of the step is known: nothing, for one depth."""


@bare_inlined
def mean_ms(world, state, decoding, context, drafts):
    """Mean time of the step in ms, if ``drafts`` are verified.

    ``context`` is the sum of the contexts of the ``decoding`` requests, in tokens.
    """
    counts = state.counts
    tokens = decoding + drafts + counts[PREFILLED]
    cached = float(context + counts[CHUNK_CONTEXT])
    # If each token reads the context of its request: a chunk of a prompt still does so once.
    reads = cached + (context * (drafts / decoding) if decoding > 0 else 0.0)
    ms = verify_ms(world.costs, tokens, decoding + counts[CHUNKS], cached, reads)
    return step_ms(world.costs, counts[DEEPEST], decoding, world.speculates, ms)


@bare_inlined
def _step_time(world, state, decoding, context, factor):
    """Time of the step in ms: ``decoding`` requests whose contexts are ``context`` tokens."""
    ms = mean_ms(world, state, decoding, context, state.counts[VERIFIED]) * factor
    if world.chain.slow and decoding > 0:
        ms *= state.clock[SLOWDOWNS] / decoding
    return ms + state.clock[EXTRA]


@bare_inlined
def _account(state, decoding, kv):
    """Add a step to the totals; its end is known, its requests are still in their slots."""
    counts, row, clock = state.counts, state.row, state.clock
    ms = clock[END] - clock[NOW]
    if counts[KEPT_DECODING] > 0:
        row[column.ROUNDS] += counts[KEPT_DECODING]
        row[column.ITL_BURSTS] += counts[KEPT_DECODING]
        row[column.ITL] += counts[KEPT_DECODING] * ms
        count_time(state.histograms[ITL], ms, counts[KEPT_DECODING])
    row[column.RUNNING] += counts[RUNNING] * clock[WITHIN]
    row[column.KV] += kv * clock[WITHIN]
    if counts[INSIDE] == 0:
        return
    row[column.STEPS] += 1
    row[column.STEP_TIME] += ms
    row[column.REQUEST_STEPS] += decoding
    row[column.DRAFTED] += counts[DRAFTED]
    row[column.ACCEPTED] += counts[EMITTED_NOW] - decoding
    row[column.UNVERIFIED] += counts[DRAFTED] - counts[VERIFIED]
    row[column.REJECTED] += counts[VERIFIED] - (counts[EMITTED_NOW] - decoding)
    row[column.MISSED] += counts[MISSED]
    row[column.TOKENS] += counts[EMITTED_NOW] + counts[COMPLETED]
    row[column.DEPTH_STEPS] += counts[DEEPEST]
    row[column.DECODE_STEPS] += decoding > 0
    row[column.PREFILL_TOKENS] += counts[PREFILLED]
    row[column.PEAK_RUNNING] = max(row[column.PEAK_RUNNING], counts[RUNNING])
    row[column.PEAK_KV] = max(row[column.PEAK_KV], kv)


@bare
def _mark(state, kv, depth):
    """Add the step to the timeline; where it is full, keep every second point."""
    counts, marks, timeline = state.counts, state.marks, state.timeline
    if counts[STEP] % marks[1] != 0:
        return
    if marks[0] == timeline.shape[0]:
        for place in range(0, marks[0], 2):
            for field in range(5):
                timeline[place // 2, field] = timeline[place, field]
        marks[0] = (marks[0] + 1) // 2
        marks[1] *= 2
        if counts[STEP] % marks[1] != 0:
            return
    point = timeline[marks[0]]
    point[QUEUED] = state.clock[NOW]
    point[RAN] = counts[RUNNING]
    point[WAITED] = counts[ARRIVED] - counts[HEAD] + counts[STACKED]
    point[IN_CACHE] = kv
    point[AT_DEPTH] = depth
    marks[0] += 1


def choose_depth(rule, requests, previous):
    """The depth of a step with ``requests`` decoding requests."""
    p = rule.p[requests, : rule.sizes[requests]]
    memory = rule.memory[rule.rows[requests]]
    return np.int64(choose(p, memory, RoundContext(0, previous, 0), rule.hints))


def learn_step(rule, state, requests, depth, ms):
    """What a rule learns from a step."""
    p = rule.p[requests, : rule.sizes[requests]]
    memory = rule.memory[rule.rows[requests]]
    if LEARNS == MEAN:
        accepted = (state.counts[EMITTED_NOW] - requests) / requests
        learn(p, memory, RoundOutcome(depth, accepted, depth, accepted, ms))
    if LEARNS == POOLED:
        learn(p, memory, depth, state.outcome)  # type: ignore[call-arg] # of a rule that pools
        state.outcome.drafted[:] = 0
        state.outcome.verified[:] = 0
        state.outcome.accepted[:] = 0
    if LEARNS == FINISHED:
        for i in range(state.counts[ENDED]):
            slot = state.ended[i]
            rounds = state.ints[slot, PLAYED] + state.counts[STEP] + 1 - state.ints[slot, SINCE]
            if rounds > 0:
                tokens = state.ints[slot, OUTPUT] - state.ints[slot, PASSES]
                accepted = tokens / rounds - 1.0
                learn(p, memory, RoundOutcome(depth, accepted, depth, accepted, ms))


def step(world, state, rule, factor):
    """One step; requests that arrive during it wait for the next one."""
    counts, clock = state.counts, state.clock
    for place in range(DRAFTED, PREEMPTED + 1):
        counts[place] = 0
    clock[WITHIN] = clock[EXTRA] = 0.0
    if counts[RUNNING] == 0 and counts[STACKED] == 0 and counts[ARRIVED] == counts[HEAD]:
        clock[NOW] = clock[NEXT]
        arrive_until(clock[NOW], world, state)
        clock[WITHIN] = 0.0
    if counts[HELD] > world.engine.kv_tokens:
        preempt(world, state)
    decoding, held = counts[DECODING], counts[HELD]
    if decoding > 0:
        draft(world, state, rule, decoding)
    context, drafted = counts[DECODING_HELD] - decoding, counts[DRAFTED]
    waits = counts[ARRIVED] > counts[HEAD] or counts[STACKED] > 0
    if counts[PREFILLING] > 0 or (waits and counts[RUNNING] < world.engine.max_requests):
        left = world.engine.max_tokens - decoding - drafted
        prefill(world, state, left, world.engine.kv_tokens - held - drafted, counts[DEPTH])
    if decoding > 0:
        verify(world, state, rule, decoding, context)
    kv = counts[HELD] + drafted
    clock[END] = clock[NOW] + _step_time(world, state, decoding, context, factor)
    if state.timeline.shape[0] > 0:
        depth = float(counts[DEEPEST])
        if SHARED and decoding > 0:
            depth = counts[VERIFIED] / decoding
        _mark(state, kv, depth)
        if not SHARED and decoding > 0:
            state.used[decoding, counts[DEPTH]] += decoding
    arrive_until(clock[END], world, state)
    _account(state, decoding, kv)
    counts[HELD] += counts[EMITTED_NOW]
    counts[DECODING_HELD] += counts[EMITTED_NOW]
    if decoding > 0:
        learn_step(rule, state, decoding, counts[DEPTH], clock[END] - clock[NOW])
    if counts[COMPLETED] > 0:
        complete_prefills(world, state)
    if counts[ENDED] > 0:
        finish_requests(world, state)
    clock[NOW] = clock[END]
    counts[STEP] += 1


def run_tile(world, state, rule):
    """A tile of steps; whether kept requests are left, or their window is open."""
    counts, drains = state.counts, world.load.arrivals == BURST or world.load.arrivals == TRACE
    for at in range(TILE):
        if counts[KEPT_DONE] == world.engine.requests and (drains or counts[INSIDE] == 0):
            return False
        step(world, state, rule, state.factors[at])
    return True


@bare
def _fill_factors(world, noise, s, memory, state):
    """Noise factors of the next tile of steps, the same for every arm."""
    address = (np.uint64(world.replication) << np.uint64(32)) | np.uint64(SERVER)
    tick = state.counts[STEP]
    fill_noise_words(world.key, address, tick, TILE, noise, s)
    draw_factors(noise, s.everywhere, tick == 0, TILE, memory, s)
    for at in range(TILE):
        state.factors[at] = s.verify[at, 0]


@bare
def _complete_row(world, state):
    """Fill in the window of a drain and the replication's own quantiles."""
    if world.load.arrivals == BURST or world.load.arrivals == TRACE:
        state.row[column.WINDOW] = state.clock[NOW] - state.clock[BEGIN]
    for metric in range(state.histograms.shape[0]):
        first = column.QUANTILES + metric * len(column.SHARES)
        fill_quantiles(state.histograms[metric], state.row[first:])


def serve(world, noise, rule, state, s, memory):
    """Simulate one replication under one arm.

    Args:
        world: inputs, of this replication.
        noise: arrays of the noise.
        rule: rule that chooses the depth or the drafts, its memory unset.
        state: a new state; its row, histograms and timeline are the result.
        s: scratch of one lane.
        memory: [2, 1] zeros.
    """
    for place in range(rule.memory.shape[0]):
        requests = rule.first[place]
        start(rule.p[requests, : rule.sizes[requests]], rule.memory[place])
    noisy = noise.kinds[1] != CONSTANT
    begin(world, state)
    live = True
    while live:
        if noisy:
            _fill_factors(world, noise, s, memory, state)
        live = run_tile(world, state, rule)
    _complete_row(world, state)


@lru_cache
def server(name, rule, learns):
    """The kernel of a rule; ``name`` must be unique per rule."""
    name += str(learns)
    inner = {key: bare_inlined(function) for key, function in rule._asdict().items()}
    inner["LEARNS"] = learns
    return build(name, (choose_depth, draft, verify, learn_step), inner)


def build(name, parts, inner):
    """A kernel from the template of :func:`serve`.

    Args:
        name: of the kernel, unique.
        parts: functions of the template, or in their place; each may call those before it.
        inner: other global variables of the template, by name.
    """
    for function in (*parts, step):
        copy = with_globals(function, f"{function.__name__}_{name}", **inner)
        inner[function.__name__] = bare_inlined(copy)
    inner["run_tile"] = bare(with_globals(run_tile, f"run_tile_{name}", **inner))
    return kernel(with_globals(serve, f"serve_{name}", **inner))
