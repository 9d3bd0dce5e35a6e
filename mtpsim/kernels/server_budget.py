"""A server whose requests share one budget of draft tokens per step: adaptive verification.

Every decoding request is drafted to the greatest depth, as far as its output, the tokens of a step
and the KV cache allow; these drafts are scheduled, and what they leave goes to prefill. Then the
rule decides how many of them are verified. A draft is worth its survival, the product of the
confidences up to it, in steps of 1 / 1024, rounded up. Drafts of equal worth are admitted by
position, then in the order of admission of their requests: a prefix of each request's drafts.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from mtpsim.kernels.jit import bare, bare_inlined
from mtpsim.kernels.philox import CALL, HALF, SCORES
from mtpsim.kernels.server import build, end_round, learn_step, mean_ms
from mtpsim.kernels.server_requests import POSITIONS, RECORDED, look_ahead, proposed_drafts
from mtpsim.kernels.server_state import (
    BASE,
    CHUNK_CONTEXT,
    CHUNKS,
    DEEPEST,
    DEPTH,
    DRAFTED,
    EMITTED,
    EMITTED_NOW,
    HELD,
    LEVELS,
    MISSED,
    NUMBER,
    OUTPUT,
    PREFILLED,
    ROW,
    RUNNING,
    SINCE,
    SLOWDOWNS,
    SPAN,
    STEP,
    TICK,
    TODO,
    VERIFIED,
    call_words,
    draw_words,
)
from mtpsim.kernels.step_costs import fill_step_ms
from mtpsim.policy.base import learn_nothing, start_empty
from mtpsim.policy.budget import EACH, EARLY, KEEP, ORACLE, SEARCH, STALE

NO_AVERAGE = -1.0  # of the confidences of a position: none of its drafts was proposed yet


def draft(world, state, rule, decoding):
    """Draft for every decoding request to the greatest depth, or as many as fit."""
    ints, counts, drafts = state.ints, state.counts, state.drafts
    depth = counts[DEPTH] = drafts.levels.shape[0]
    spare = min(world.engine.max_tokens - decoding, world.engine.kv_tokens - counts[HELD])
    count, drafted, deepest = np.int64(0), np.int64(0), np.int64(0)
    proposes = world.engine.proposed.size > 0
    if proposes:
        draw_words(world, state, state.order, 0, counts[RUNNING], 1)
    for i in range(counts[RUNNING]):
        slot = state.order[i]
        if ints[TODO, slot] > 0:
            continue
        scheduled = min(depth, ints[OUTPUT, slot] - ints[EMITTED, slot] - 1, spare)
        if proposes:
            row, words = ints[ROW, slot], state.words[slot]
            scheduled = proposed_drafts(world, ints[TICK, slot], row, words, scheduled)
        spare -= scheduled
        drafted += scheduled
        deepest = max(deepest, scheduled)
        drafts.slots[count], drafts.scheduled[count] = slot, scheduled
        count += 1
    counts[DRAFTED], counts[DEEPEST] = drafted, deepest


def verify(world, state, rule, decoding, context):
    """Decide how many drafts of each request are verified; the requests play them."""
    drafts, p = state.drafts, rule.p[0]
    search, stale = p[SEARCH], np.int64(p[STALE])
    _look_ahead(world, state, decoding)
    _draw_confidences(world, state, decoding, search == ORACLE)
    if p[KEEP] > 0.0:
        _smooth(world, state, decoding, p[KEEP])
    _rate(drafts, decoding)
    earlier = drafts.levels
    if stale > 0:
        earlier = drafts.earlier
        _recall(state, decoding, stale)
    _clip(drafts, drafts.levels, decoding)
    if search == EACH:
        _each_alone(world, state, decoding, context)
    else:
        budget = _budget(world, state, decoding, context, earlier, search == EARLY)
        _count(drafts, drafts.levels, decoding)
        _allocate(drafts, decoding, budget)
    _play(world, state, decoding)


@bare
def _look_ahead(world, state, decoding):
    """Set the drafts of each request that would be accepted, and their hidden states."""
    ints, drafts, recording = state.ints, state.drafts, world.recording
    depth = drafts.levels.shape[0]
    if world.kind == RECORDED:
        for i in range(decoding):
            slot = drafts.slots[i]
            entry = ints[BASE, slot] + ints[TICK, slot] % ints[SPAN, slot]
            drafts.acceptable[i] = min(recording.accepted[entry], np.int32(depth))
        return
    ticks = depth + 1 if world.kind == POSITIONS else 1
    draw_words(world, state, drafts.slots, 0, decoding, ticks)
    for i in range(decoding):
        slot = drafts.slots[i]
        drafts.acceptable[i] = look_ahead(
            world.kind, world.chain, ints[TICK, slot], ints[ROW, slot], state.words[slot],
            drafts.states, i,
        )  # fmt: skip


@bare
def _draw_confidences(world, state, decoding, oracle):
    """Confidences of all drafts: their outcomes, recorded ones, or drawn from their laws.

    A draft that is not proposed has no outcome: its confidence is one after a rejection.
    """
    drafts, laws, recording = state.drafts, world.laws, world.recording
    proposed = world.engine.proposed
    lengths = drafts.levels.shape[0] + 1 if proposed.size > 0 else 1
    depth, values = drafts.levels.shape[0], np.uint64(laws.shape[1])
    states = laws.shape[0] // (3 * depth)
    for j in range(depth):
        if oracle:
            for i in range(decoding):
                drafts.confidences[j, i] = 1.0 if j < drafts.acceptable[i] else 0.0
        elif values == 0:
            for i in range(decoding):
                slot = drafts.slots[i]
                entry = state.ints[BASE, slot] + state.ints[TICK, slot] % state.ints[SPAN, slot]
                drafts.confidences[j, i] = recording.confidence[entry, j]
        else:
            if j % CALL == 0:
                _draw_confidence_words(world, state, decoding, j // CALL)
            for i in range(decoding):
                full = drafts.acceptable[i]
                here = np.int64(drafts.states[j, i])
                after = j > full or (lengths > 1 and j >= proposed[here])
                outcome = np.int64(j < full) + 2 * np.int64(after)
                own = min(here // lengths, states - 1)
                row = np.uint64((outcome * depth + j) * states + own)
                value = (np.uint64(np.uint32(drafts.words[j, i])) * values) >> HALF
                drafts.confidences[j, i] = laws[row, value]


@bare
def _draw_confidence_words(world, state, decoding, call):
    """Words of four confidences of each request's round."""
    ints, drafts = state.ints, state.drafts
    calls = drafts.words.shape[0] // CALL
    for i in range(decoding):
        slot = drafts.slots[i]
        state.calls[0, i] = np.uint64(ints[NUMBER, slot])
        state.calls[1, i] = np.uint64(ints[TICK, slot] * calls + call)
    words = drafts.words[CALL * call :]
    call_words(world, SCORES, state.calls[0], state.calls[1], words, decoding)


@bare
def _smooth(world, state, decoding, keep):
    """Moving averages of each request's confidences, from the first draft of each position on.

    A draft that is not proposed has no confidence: the average of its position stays.
    """
    drafts, proposed = state.drafts, world.engine.proposed
    depth = np.int64(drafts.levels.shape[0])
    for i in range(decoding):
        slot, made = drafts.slots[i], depth
        if proposed.size > 0:
            made = min(np.int64(proposed[drafts.states[0, i]]), depth)
        if state.counts[STEP] == state.ints[SINCE, slot]:
            drafts.smooth[slot, :] = NO_AVERAGE
        for j in range(depth):
            average, confidence = drafts.smooth[slot, j], drafts.confidences[j, i]
            if average != NO_AVERAGE:
                confidence = average if j >= made else confidence + keep * (average - confidence)
            drafts.confidences[j, i] = confidence
            if j < made:
                drafts.smooth[slot, j] = confidence


@bare
def _rate(drafts, decoding):
    """Survivals of all drafts, in levels."""
    for i in range(decoding):
        drafts.survival[i] = LEVELS
    for j in range(drafts.levels.shape[0]):
        for i in range(decoding):
            survival = drafts.survival[i] * drafts.confidences[j, i]
            drafts.survival[i] = survival
            drafts.levels[j, i] = np.uint32(math.ceil(survival))


@bare
def _recall(state, decoding, stale):
    """Survivals of the drafts of this step as they were ``stale`` steps ago; keep those of now.

    A request that did not decode then counts with confidences of 1, as in vLLM.
    """
    drafts, ring = state.drafts, state.counts[STEP] % stale
    for i in range(decoding):
        slot = drafts.slots[i]
        known = state.counts[STEP] - state.ints[SINCE, slot] >= stale
        for j in range(drafts.levels.shape[0]):
            level = drafts.past[ring, slot, j] if known else np.uint32(LEVELS)
            drafts.earlier[j, i] = level
            drafts.past[ring, slot, j] = drafts.levels[j, i]
    _clip(drafts, drafts.earlier, decoding)


@bare
def _clip(drafts, levels, decoding):
    """Only scheduled drafts can be verified."""
    for j in range(levels.shape[0]):
        for i in range(decoding):
            level = levels[j, i]
            levels[j, i] = level if j < drafts.scheduled[i] else np.uint32(0)


@bare
def _count(drafts, levels, decoding):
    """Set the numbers of drafts by survival."""
    drafts.held[:] = 0
    for j in range(levels.shape[0]):
        for i in range(decoding):
            drafts.held[levels[j, i]] += np.uint32(1)


@bare
def _rank(drafts, levels, decoding):
    """Sort survivals, the greatest first; how many are above 0."""
    _count(drafts, levels, decoding)
    above = np.uint32(0)
    for level in range(LEVELS, -1, -1):
        own = drafts.held[level]
        drafts.held[level] = above
        above += own
    count = np.int64(drafts.held[0])
    for j in range(levels.shape[0]):
        for i in range(decoding):
            level = levels[j, i]
            drafts.ranked[drafts.held[level]] = level
            drafts.held[level] += np.uint32(1)
    return count


@bare
def _fill_times(world, state, decoding, context, count):
    """Mean times of the step, if 0 to ``count`` drafts are verified."""
    counts, cached = state.counts, float(context + state.counts[CHUNK_CONTEXT])
    tokens, requests = decoding + counts[PREFILLED], decoding + counts[CHUNKS]
    times = state.drafts.times[: count + 1]
    fill_step_ms(
        world.costs, counts[DEEPEST], decoding, world.speculates, tokens, requests, cached,
        context, times,
    )  # fmt: skip


@bare
def _budget(world, state, decoding, context, levels, early):
    """Drafts to verify for the most expected tokens per ms.

    The time of the step never falls with the budget: a bump of the table is passed at its height.
    """
    drafts, budget, gain = state.drafts, np.int64(0), np.int64(decoding * LEVELS)
    count = _rank(drafts, levels, decoding)
    _fill_times(world, state, decoding, context, count)
    slowest = drafts.times[0]
    best, best_ms = float(gain), slowest
    for place in range(count):
        gain += drafts.ranked[place]
        slowest = max(slowest, drafts.times[place + 1])
        if gain * best_ms > best * slowest:
            best, best_ms, budget = float(gain), slowest, np.int64(place + 1)
        elif early:
            break
    return budget


@bare
def _allocate(drafts, decoding, budget):
    """Verify the ``budget`` drafts of the greatest survival, of those that are counted."""
    left, level, depth = np.int64(budget), np.uint32(LEVELS), drafts.levels.shape[0]
    while level > 0 and drafts.held[level] <= left:
        left -= drafts.held[level]
        level -= np.uint32(1)
    for i in range(decoding):
        drafts.verified[i] = 0
    for j in range(depth):
        for i in range(decoding):
            drafts.verified[i] += np.int32(drafts.levels[j, i] > level)
    if level == 0:
        return
    for j in range(depth):
        for i in range(decoding):
            if drafts.levels[j, i] == level and left > 0:
                drafts.verified[i] += np.int32(1)
                left -= 1


@bare
def _each_alone(world, state, decoding, context):
    """Each request alone: most tokens over its share of the step and the mean time of a draft."""
    drafts, drafted = state.drafts, state.counts[DRAFTED]
    alone = mean_ms(world, state, decoding, context, np.int64(0))
    together = mean_ms(world, state, decoding, context, drafted)
    share, each = alone / decoding, max(together - alone, 0.0) / max(drafted, 1)
    for i in range(decoding):
        best, best_ms, gain = float(LEVELS), share, np.int64(LEVELS)
        drafts.verified[i] = 0
        for j in range(drafts.scheduled[i]):
            gain += drafts.levels[j, i]
            ms = share + each * (j + 1)
            if gain * best_ms > best * ms:
                best, best_ms = float(gain), ms
                drafts.verified[i] = j + 1


@bare
def _play(world, state, decoding):
    """Every decoding request plays a round of its verified drafts."""
    ints, counts, drafts, chain = state.ints, state.counts, state.drafts, world.chain
    emitted, verified, missed, slowdowns = np.int64(0), np.int64(0), np.int64(0), 0.0
    by_position = world.kind == POSITIONS
    if world.kind == RECORDED:
        by_position = world.recording.by_position
    states = chain.state_bounds.shape[1]
    outcomes = chain.state_bounds.shape[0] > states + 1
    for i in range(decoding):
        slot, count = drafts.slots[i], drafts.verified[i]
        accepted = np.int64(min(drafts.acceptable[i], count))
        ints[TICK, slot] += accepted + 1 if by_position else 1
        if world.kind != RECORDED:
            here = np.int64(drafts.states[accepted, i])
            ints[ROW, slot] = here + states if outcomes and accepted == count else here
            if chain.slow:
                slowdowns += chain.slowdown[drafts.states[0, i]]
        end_round(state, slot, accepted)
        emitted += accepted + 1
        verified += count
        missed += min(drafts.acceptable[i], drafts.scheduled[i]) - accepted
        if state.used.shape[0] > 0:
            state.used[decoding, count] += 1
    counts[EMITTED_NOW], counts[VERIFIED], counts[MISSED] = emitted, verified, missed
    state.clock[SLOWDOWNS] = slowdowns


@cache
def budget_server():
    """The kernel of all rules that share a budget."""
    inner = {"start": bare_inlined(start_empty), "learn": bare_inlined(learn_nothing)}
    return build("budget", (draft, verify, learn_step), inner | {"LEARNS": 0, "SHARED": True})
