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
from mtpsim.kernels.server import build, learn_step, mean_ms
from mtpsim.kernels.server_requests import POSITIONS
from mtpsim.kernels.server_rounds import begin_rounds, end_rounds
from mtpsim.kernels.server_state import (
    BASE,
    CHUNK_CONTEXT,
    CHUNKS,
    DEEPEST,
    DEPTH,
    DRAFTED,
    LEVELS,
    MISSED,
    NUMBER,
    PREFILLED,
    SINCE,
    SPAN,
    STEP,
    TICK,
    VERIFIED,
    call_words,
)
from mtpsim.kernels.step_costs import fill_step_ms
from mtpsim.policy.base import learn_nothing, start_empty
from mtpsim.policy.budget import EACH, EARLY, KEEP, ORACLE, SEARCH, STALE

NO_AVERAGE = -1.0  # of the confidences of a position: none of its drafts was proposed yet


def draft(world, state, rule, decoding):
    """Draft for every decoding request to the greatest depth, or as many as fit."""
    counts = state.counts
    counts[DEPTH] = state.drafts.levels.shape[0]
    begin_rounds(world, state, counts[DEPTH])


def verify(world, state, rule, decoding, context):
    """Decide how many drafts of each request are verified; the requests play them."""
    drafts, p = state.drafts, rule.p[0]
    search, stale = p[SEARCH], np.int64(p[STALE])
    _draw_confidences(world, state, decoding, search == ORACLE)
    if p[KEEP] > 0.0:
        _smooth(world, state, decoding, p[KEEP])
    _rate(drafts, decoding)
    earlier = drafts.levels
    if stale > 0:
        earlier = drafts.earlier
        _recall(state, decoding, stale)
    else:
        _clip(drafts, drafts.levels, decoding)
    if search == EACH:
        _each_alone(world, state, decoding, context)
    else:
        budget = _budget(world, state, decoding, context, earlier, search == EARLY)
        _allocate(drafts, decoding, budget)
    _play(world, state, decoding)


@bare
def _draw_confidences(world, state, decoding, oracle):
    """Confidences of all drafts: their outcomes, recorded ones, or drawn from their laws."""
    drafts, ints, recorded = state.drafts, state.ints, world.laws.values.shape[1] == 0
    for j in range(drafts.levels.shape[0]):
        found, states = drafts.confidences[j], drafts.states[j if world.kind == POSITIONS else 0]
        if oracle:
            for i in range(decoding):
                found[i] = np.float64(j < drafts.acceptable[i])
        elif recorded:
            for i in range(decoding):
                slot = drafts.slots[i]
                entry = ints[slot, BASE] + ints[slot, TICK] % ints[slot, SPAN]
                found[i] = world.recording.confidence[entry, j]
        else:
            if j % CALL == 0:
                _draw_confidence_words(world, state, decoding, j // CALL)
            _look_up(world.laws, j, drafts.acceptable, states, drafts.words[j], found, decoding)


@bare
def _look_up(laws, j, acceptable, states, words, found, decoding):
    """Confidences of the drafts at a position.

    A draft that is not proposed has no outcome: its confidence is one after a rejection.
    """
    depth, values = laws.depth, np.uint64(laws.values.shape[1])
    each = laws.values.shape[0] // (3 * depth)
    for i in range(decoding):
        full, here = np.int64(acceptable[i]), np.uintp(states[i])
        after = np.int64(j > full) | np.int64(j >= laws.proposed[here])
        row = ((np.int64(j < full) + 2 * after) * depth + j) * each + laws.own[here]
        value = (np.uint64(np.uint32(words[i])) * values) >> HALF
        found[i] = laws.values[np.uintp(row), np.uintp(value)]


@bare
def _draw_confidence_words(world, state, decoding, call):
    """Words of four confidences of each request's round."""
    ints, drafts = state.ints, state.drafts
    calls = drafts.words.shape[0] // CALL
    for i in range(decoding):
        slot = drafts.slots[i]
        state.calls[0, i] = np.uint64(ints[slot, NUMBER])
        state.calls[1, i] = np.uint64(ints[slot, TICK] * calls + call)
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
        if state.counts[STEP] == state.ints[slot, SINCE]:
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
    drafts, step = state.drafts, state.counts[STEP]
    for i in range(decoding):
        slot = drafts.slots[i]
        if step == state.ints[slot, SINCE]:
            drafts.past[:, :, slot] = LEVELS
    for j in range(drafts.levels.shape[0]):
        past, now, then = drafts.past[step % stale, j], drafts.levels[j], drafts.earlier[j]
        for i in range(decoding):
            slot, scheduled = drafts.slots[i], np.uint32(j < drafts.scheduled[i])
            level = now[i]
            then[i] = scheduled * past[slot]
            past[slot] = level
            now[i] = scheduled * level


@bare
def _clip(drafts, levels, decoding):
    """Only scheduled drafts can be verified."""
    for j in range(levels.shape[0]):
        for i in range(decoding):
            level = levels[j, i]
            levels[j, i] = level if j < drafts.scheduled[i] else np.uint32(0)


@bare
def _rank(drafts, levels, decoding):
    """Sort survivals, the greatest first; how many are above 0."""
    held, ranked, depth = drafts.held, drafts.ranked, np.uintp(levels.shape[0])
    held[:] = 0
    for j in range(depth):
        for i in range(decoding):
            held[np.uintp(levels[j, np.uintp(i)])] += np.uint32(1)
    above = np.uint32(0)
    for level in range(LEVELS, -1, -1):
        own = held[level]
        held[level] = above
        above += own
    count = np.int64(held[0])
    for j in range(depth):
        for i in range(decoding):
            level = levels[j, np.uintp(i)]
            place = held[np.uintp(level)]
            ranked[np.uintp(place)] = level
            held[np.uintp(level)] = place + np.uint32(1)
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
    # In memory, so that the compiler keeps the branch, which is predicted: a selection would wait
    # for the one at the place before.
    slowest, best = drafts.times[0], drafts.best
    best[0], best[1] = float(gain), slowest
    for place in range(count):
        gain += drafts.ranked[place]
        slowest = max(slowest, drafts.times[place + 1])
        if gain * best[1] > best[0] * slowest:
            best[0], best[1], budget = float(gain), slowest, np.int64(place + 1)
        elif early:
            break
    return budget


@bare
def _allocate(drafts, decoding, budget):
    """Verify the ``budget`` drafts of the greatest survival, of those above 0."""
    level, beyond, left = np.uint32(0), np.uint32(LEVELS + 1), np.int64(budget)
    while beyond - level > 1:  # `beyond` and above are at most `budget` drafts, `level` has more
        middle = np.uint32((level + beyond) // 2)
        above = _count_from(drafts.levels, middle, decoding)
        if above > budget:
            level = middle
        else:
            beyond, left = middle, budget - above
    for i in range(decoding):
        drafts.verified[i] = 0
    for j in range(drafts.levels.shape[0]):
        for i in range(decoding):
            drafts.verified[i] += np.int32(drafts.levels[j, i] > level)
    if level == 0:
        return
    for j in range(drafts.levels.shape[0]):
        for i in range(decoding):
            if left == 0:
                return
            if drafts.levels[j, i] == level:
                drafts.verified[i] += np.int32(1)
                left -= 1


@bare
def _count_from(levels, level, decoding):
    """Number of drafts with at least this survival."""
    total = np.int64(0)
    for j in range(levels.shape[0]):
        for i in range(decoding):
            total += np.int64(levels[j, i] >= level)
    return total


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
    counts, drafts = state.counts, state.drafts
    end_rounds(world, state, decoding, drafts.verified, drafts.verified)
    verified, missed = np.int64(0), np.int64(0)
    for i in range(decoding):
        verified += drafts.verified[i]
        missed += min(drafts.acceptable[i], drafts.scheduled[i]) - drafts.accepted[i]
    if state.used.shape[0] > 0:
        for i in range(decoding):
            state.used[decoding, drafts.verified[i]] += 1
    counts[VERIFIED], counts[MISSED] = verified, missed


@cache
def budget_server():
    """The kernel of all rules that share a budget."""
    inner = {"start": bare_inlined(start_empty), "learn": bare_inlined(learn_nothing)}
    return build("budget", (draft, verify, learn_step), inner | {"LEARNS": 0, "SHARED": True})
