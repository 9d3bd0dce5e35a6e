"""Rounds of the decoding requests of a step, in passes over all of them.

A pass is a short loop without branches that depend on the requests: few values compete for
registers, nothing is mispredicted, and what an experiment does not use costs one test per step.
"""

from __future__ import annotations

import numpy as np

from mtpsim.kernels.acceptance import BITS, find_state
from mtpsim.kernels.jit import bare, bare_inlined
from mtpsim.kernels.server_requests import POSITIONS, RECORDED, drafts_left
from mtpsim.kernels.server_state import (
    BASE,
    DEEPEST,
    DRAFTED,
    EMITTED,
    EMITTED_NOW,
    ENDED,
    HELD,
    LAST_OFF,
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
    draw_words,
)


@bare_inlined
def is_by_position(world):
    """Whether a tick is a position, 1 or 0; else it is a round."""
    if world.kind == RECORDED:
        return np.int64(world.recording.by_position)
    return np.int64(world.kind == POSITIONS)


@bare
def begin_rounds(world, state, depth):
    """Begin a round of every decoding request, with up to ``depth`` drafts, as many as fit.

    Lists the requests in the order of their admission, and looks ahead which drafts would be
    accepted.
    """
    ints, counts, drafts, engine = state.ints, state.counts, state.drafts, world.engine
    slots, scheduled, count = drafts.slots, drafts.scheduled, np.int64(0)
    for i in range(counts[RUNNING]):
        slot = np.uintp(state.order[i])
        slots[count] = slot
        count += np.int64(ints[slot, TODO] == 0)
    if world.kind == RECORDED:
        _read(world.recording, ints, drafts, count, depth)
    else:
        draw_words(world, state, slots, 0, count, depth + 1 if world.kind == POSITIONS else 1)
        _look_ahead(world, state, count, depth)
    for i in range(count):
        left = ints[slots[i], OUTPUT] - ints[slots[i], EMITTED] - 1
        scheduled[i] = np.int32(min(depth, left))
    if engine.proposed.size > 0:
        for i in range(count):
            scheduled[i] = min(scheduled[i], engine.proposed[drafts.states[0, i]])
    spare = min(engine.max_tokens - count, engine.kv_tokens - counts[HELD])
    if count * engine.nodes[depth] > spare:
        _clip(scheduled, engine.nodes, spare, count)
    drafted, deepest = np.int64(0), np.int32(0)
    for i in range(count):
        drafted += engine.nodes[np.uintp(scheduled[i])]
        deepest = max(deepest, scheduled[i])
    counts[DRAFTED], counts[DEEPEST] = drafted, deepest


@bare
def _read(recording, ints, drafts, count, depth):
    """Set the drafts of each recorded round that are accepted, of ``depth``."""
    for i in range(count):
        slot = drafts.slots[i]
        entry = ints[slot, BASE] + ints[slot, TICK] % ints[slot, SPAN]
        drafts.acceptable[i] = min(recording.accepted[entry], np.int32(depth))


@bare
def _look_ahead(world, state, count, depth):
    """Set the drafts of each round that would be accepted, of ``depth``.

    Sets also its hidden state, and for a chain of positions those of its drafts and of the token
    after them; those after the first rejection have the state of the rejected draft.
    """
    chain, drafts, ints, last = world.chain, state.drafts, state.ints, state.words.shape[1] - 1
    states, bounds = chain.state_bounds.shape[1], chain.accept_bounds
    by_outcome = np.int64(states if chain.state_bounds.shape[0] > states + 1 else 0)
    for i in range(count):
        slot = np.uintp(drafts.slots[i])
        tick, row, words = ints[slot, TICK], np.uintp(ints[slot, ROW]), state.words[slot]
        word = words[np.uintp(tick & last)] & BITS
        here, accepted, going = _next_state(chain, word, row), np.int64(0), np.int64(1)
        drafts.states[0, i] = here
        if world.kind == POSITIONS:
            for j in range(np.uintp(depth)):
                # No branch on the outcome: it would be mispredicted in every other round.
                going &= np.int64(word <= bounds[row, np.uintp(here), j])
                accepted += going
                word = words[np.uintp((tick + np.int64(j) + 1) & last)] & BITS
                row = np.uintp(np.int64(row) + going * (here + by_outcome - np.int64(row)))
                here += going * (_next_state(chain, word, row) - here)
                drafts.states[j + np.uintp(1), i] = here
        else:
            for j in range(np.uintp(depth)):  # accepts are nested
                accepted += np.int64(word <= bounds[row, np.uintp(here), j])
        drafts.acceptable[i] = accepted


@bare_inlined
def _next_state(chain, word, row):
    if chain.two:
        return np.int64(word > chain.state_bounds[row, np.uintp(0)])
    return np.int64(find_state(word, row, chain.state_bounds, chain.guide))


@bare
def _clip(scheduled, nodes, spare, count):
    """Cut drafts until all of them have at most ``spare`` nodes, those of later requests first."""
    for i in range(count):
        drafts = scheduled[i]
        while nodes[drafts] > spare:
            drafts -= np.int32(1)
        spare -= nodes[drafts]
        scheduled[i] = drafts


@bare
def lose(world, state, decoding):
    """Set how many scheduled drafts are not lost; returns how many requests resume drafting."""
    ints, counts, drafts = state.ints, state.counts, state.drafts
    last_off, behind = counts[LAST_OFF], np.int64(0)
    first = last_off == counts[STEP] - 1
    for i in range(decoding):
        slot, most = drafts.slots[i], drafts.scheduled[i]
        drafts.kept[i] = most
        if most > 0 and last_off >= ints[slot, SINCE]:  # it has been at depth 0
            behind += np.int64(first)
            kept = drafts_left(world, ints[slot, NUMBER], ints[slot, TICK], first, most)
            drafts.kept[i] = np.int32(kept)
    return behind


@bare
def end_rounds(world, state, decoding, verified, kept):
    """Emit the accepted drafts of each round and the token after them, and move its text.

    Args:
        world: inputs.
        state: state.
        decoding: number of requests.
        verified: [M] drafts of each request.
        kept: [M] of these, how many are not lost.
    """
    ints, drafts, chain, each = state.ints, state.drafts, world.chain, is_by_position(world)
    states, ended, total = chain.state_bounds.shape[1], state.counts[ENDED], decoding
    by_outcome = np.int64(chain.state_bounds.shape[0] > states + 1) * states
    for i in range(decoding):
        slot, accepted = drafts.slots[i], np.int64(min(drafts.acceptable[i], kept[i]))
        drafts.accepted[i] = accepted
        ints[slot, TICK] += each * accepted + 1
        at = drafts.states[np.uintp(each * accepted), np.uintp(i)]
        ints[slot, ROW] = at + by_outcome * np.int64(accepted == verified[i])
        made = ints[slot, EMITTED] + accepted + 1
        ints[slot, EMITTED] = made
        state.ended[np.uintp(ended)] = slot
        ended += np.int64(made >= ints[slot, OUTPUT])
        total += accepted
    state.counts[ENDED], state.counts[EMITTED_NOW] = ended, total
    if chain.slow:
        slowdowns = 0.0
        for i in range(decoding):
            slowdowns += chain.slowdown[drafts.states[0, i]]
        state.clock[SLOWDOWNS] = slowdowns
