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
from mtpsim.kernels.philox import CALL, SCORES
from mtpsim.kernels.policies import confidence_of
from mtpsim.kernels.server import build, learn_step, mean_ms, play_drafts
from mtpsim.kernels.server_requests import POSITIONS, RECORDED, look_ahead, proposed_drafts
from mtpsim.kernels.server_state import (
    BASE,
    DEEPEST,
    DEPTH,
    DRAFTED,
    EMITTED,
    EMITTED_NOW,
    GROUP,
    HELD,
    LEVELS,
    MISSED,
    NUMBER,
    OUTPUT,
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
from mtpsim.policy.base import learn_nothing, start_empty
from mtpsim.policy.budget import EACH, EARLY, KEEP, ORACLE, SEARCH, STALE


def draft(world, state, rule, decoding):
    """Draft for every decoding request to the greatest depth, or as many as fit."""
    ints, counts, drafts = state.ints, state.counts, state.drafts
    depth = counts[DEPTH] = drafts.states.size
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
    drafts, counts, p = state.drafts, state.counts, rule.p[0]
    if world.kind != RECORDED:
        ticks = drafts.states.size + 1 if world.kind == POSITIONS else 1
        draw_words(world, state, drafts.slots, 0, decoding, ticks)
    search = p[SEARCH]
    if search != ORACLE and world.confidences.laws.shape[0] > 0:
        _draw_confidences(world, state, decoding)
    rate_drafts(world, state, decoding, p)
    if search == EACH:
        _each_alone(world, state, decoding, context)
    else:
        ring = np.int64(p[STALE]) + 1
        now, before = counts[STEP] % ring, (counts[STEP] + 1) % ring
        worth = _count_levels(state, decoding, before, ring - 1)
        budget = _budget(world, state, decoding, context, worth, search == EARLY)
        if ring > 1:
            _count_levels(state, decoding, now, 0)
        _allocate(state, decoding, now, budget)
    _play(world, state, decoding)


@bare
def _draw_confidences(world, state, decoding):
    """Words of the confidences: by text position, or by round and position in it."""
    ints, drafts = state.ints, state.drafts
    for call in range(drafts.words.shape[0] // CALL):
        for i in range(decoding):
            slot = drafts.slots[i]
            first = first_word(world, ints[TICK, slot], drafts.states.size)
            state.calls[0, i] = np.uint64(ints[NUMBER, slot])
            state.calls[1, i] = np.uint64(first // CALL + call)
        call_words(world, SCORES, state.calls[0], state.calls[1], state.fresh, decoding)
        for place in range(CALL):
            for i in range(decoding):
                drafts.words[CALL * call + place, i] = state.fresh[place, i]


@bare_inlined
def first_word(world, tick, depth):
    """Tick of the word of a round's first confidence; the others follow it."""
    if world.kind == POSITIONS or (world.kind == RECORDED and world.recording.by_position):
        return tick
    return tick * ((depth + CALL - 1) // CALL) * CALL


@bare
def rate_drafts(world, state, decoding, p):
    """Set the outcome and the survival of every draft of the step."""
    ints, counts, drafts, recording = state.ints, state.counts, state.drafts, world.recording
    laws, rates = world.confidences.laws, world.confidences.after_rejection
    depth = drafts.states.size
    now, keep, oracle = counts[STEP] % drafts.levels.shape[0], p[KEEP], p[SEARCH] == ORACLE
    entry = np.int64(0)
    for i in range(decoding):
        slot = drafts.slots[i]
        tick = ints[TICK, slot]
        if world.kind == RECORDED:
            entry = ints[BASE, slot] + tick % ints[SPAN, slot]
            full = min(np.int64(recording.accepted[entry]), depth)
        else:
            full = look_ahead(
                world.kind, world.chain, tick, ints[ROW, slot], state.words[slot], drafts.states
            )
        drafts.acceptable[i] = full
        first, survival = first_word(world, tick, depth) % CALL, 1.0
        for j in range(depth):
            if oracle:
                confidence = 1.0 if j < full else 0.0
            elif laws.shape[0] > 0:
                word = drafts.words[first + j, i]
                confidence = _confidence(laws, rates, word, j, full, drafts.states[j])
            else:
                confidence = float(recording.confidence[entry, j])
            if keep > 0.0:
                if counts[STEP] > ints[SINCE, slot]:
                    confidence += keep * (drafts.smooth[slot, j] - confidence)
                drafts.smooth[slot, j] = confidence
            survival *= confidence
            drafts.levels[now, slot, j] = np.int64(math.ceil(survival * LEVELS))


@bare_inlined
def _confidence(laws, rates, word, position, full, state):
    """The confidence of a draft by its word.

    A draft after the first rejection continues a text that is discarded: the word first says
    whether it would be accepted, at the rate of its position, and then what its confidence is.
    """
    share, good = (np.uint32(word) + 0.5) / 4294967296.0, position < full
    if position > full:
        rate = rates[min(state, rates.shape[0] - 1), position]
        good = share < rate
        share = share / rate if good else (share - rate) / (1.0 - rate)
    return confidence_of(laws, good, position, state, share)


@bare
def _count_levels(state, decoding, ring, stale):
    """Histogram of the survivals ``stale`` steps ago, of the drafts of this step; their sum.

    A request that did not decode then counts with confidences of 1, as in vLLM.
    """
    drafts, counts, worth = state.drafts, state.counts, np.int64(0)
    drafts.held[:] = 0
    drafts.groups[:] = 0
    for i in range(decoding):
        slot = drafts.slots[i]
        known = counts[STEP] - state.ints[SINCE, slot] >= stale
        for j in range(drafts.scheduled[i]):
            level = drafts.levels[ring, slot, j] if known else np.int64(LEVELS)
            drafts.held[level] += 1
            drafts.groups[level // GROUP] += 1
            worth += level
    return worth


@bare
def _budget(world, state, decoding, context, worth, early):
    """Drafts to verify, of those in the histogram, for most expected tokens per ms.

    The time of the step never falls with the budget: a bump of the table is passed at its height.
    """
    drafts, budget, admitted, gain = state.drafts, np.int64(0), np.int64(0), np.int64(0)
    slowest = mean_ms(world, state, decoding, context, np.int64(0))
    best, most = decoding / slowest, decoding + worth / LEVELS
    for group in range(LEVELS // GROUP, -1, -1):
        if drafts.groups[group] == 0:
            continue
        for level in range(min(LEVELS, group * GROUP + GROUP - 1), group * GROUP - 1, -1):
            for _ in range(drafts.held[level]):
                admitted += 1
                gain += level
                ms = mean_ms(world, state, decoding, context, admitted)
                slowest = max(slowest, ms)
                pace = (decoding + gain / LEVELS) / slowest
                if pace > best:
                    best, budget = pace, admitted
                elif early or most <= best * slowest:
                    return budget
    return budget


@bare
def _allocate(state, decoding, ring, budget):
    """Verify the ``budget`` drafts of the greatest survival in the histogram."""
    drafts, left, level = state.drafts, np.int64(budget), np.int64(LEVELS)
    while left > 0 and drafts.held[level] <= left:
        left -= drafts.held[level]
        level -= 1
    for i in range(decoding):
        slot, count = drafts.slots[i], np.int64(0)
        for j in range(drafts.scheduled[i]):
            count += np.int64(drafts.levels[ring, slot, j] > level)
        drafts.verified[i] = count
    for j in range(drafts.states.size if left > 0 else 0):
        for i in range(decoding):
            if j < drafts.scheduled[i] and left > 0 and drafts.verified[i] == j:
                tied = np.int64(drafts.levels[ring, drafts.slots[i], j] == level)
                drafts.verified[i] += tied
                left -= tied


@bare
def _each_alone(world, state, decoding, context):
    """Each request alone: most tokens over its share of the step and the mean time of a draft."""
    drafts, drafted = state.drafts, state.counts[DRAFTED]
    alone = mean_ms(world, state, decoding, context, np.int64(0))
    all_ms = mean_ms(world, state, decoding, context, drafted)
    share, each = alone / decoding, max(all_ms - alone, 0.0) / max(drafted, 1)
    now = state.counts[STEP] % drafts.levels.shape[0]
    for i in range(decoding):
        best, gain = 1.0 / share, np.int64(0)
        drafts.verified[i] = 0
        for j in range(drafts.scheduled[i]):
            gain += drafts.levels[now, drafts.slots[i], j]
            pace = (1.0 + gain / LEVELS) / (share + each * (j + 1))
            if pace > best:
                best = pace
                drafts.verified[i] = j + 1


@bare
def _play(world, state, decoding):
    """Every decoding request plays a round of its verified drafts."""
    counts, drafts = state.counts, state.drafts
    emitted, verified, missed, slowdowns = np.int64(0), np.int64(0), np.int64(0), 0.0
    for i in range(decoding):
        count = drafts.verified[i]
        accepted, slowdown = play_drafts(world, state, drafts.slots[i], count)
        emitted += accepted + 1
        verified += count
        missed += min(drafts.acceptable[i], drafts.scheduled[i]) - accepted
        slowdowns += slowdown
        if state.used.shape[0] > 0:
            state.used[decoding, count] += 1
    counts[EMITTED_NOW], counts[VERIFIED], counts[MISSED] = emitted, verified, missed
    state.clock[SLOWDOWNS] = slowdowns


@cache
def budget_server():
    """The kernel of all rules that share a budget."""
    inner = {"start": bare_inlined(start_empty), "learn": bare_inlined(learn_nothing)}
    return build("budget", (draft, verify, learn_step), inner | {"LEARNS": 0, "SHARED": True})
