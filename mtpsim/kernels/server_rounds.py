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

WORD, AT, GOING = range(3)  # rows of `Drafts.path`


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
        scheduled[count] = min(depth, ints[slot, OUTPUT] - ints[slot, EMITTED] - 1)
        count += np.int64(ints[slot, TODO] == 0)
    if world.kind == RECORDED:
        _read(world.recording, ints, drafts, count, depth)
    else:
        draw_words(world, state, slots, 0, count, depth + 1 if world.kind == POSITIONS else 1)
        _look_ahead(world, state, count, depth)
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
    for i in range(count):
        slot = np.uintp(drafts.slots[i])
        row = np.uintp(ints[slot, ROW])
        word = state.words[slot, np.uintp(ints[slot, TICK] & last)] & BITS
        here, accepted = np.uintp(_next_state(chain, word, row)), np.int32(0)
        drafts.states[0, i] = here
        if world.kind == POSITIONS:
            drafts.path[WORD, i], drafts.path[AT, i], drafts.path[GOING, i] = word, row, -1
        else:
            for j in range(np.uintp(depth)):  # accepts are nested
                accepted += np.int32(word <= chain.accept_bounds[row, here, j])
        drafts.acceptable[i] = accepted
    if world.kind == POSITIONS:
        for j in range(depth):
            _verify_position(chain, ints, state.words, drafts, count, j)


@bare
def _verify_position(chain, ints, words, drafts, count, j):
    """Verify draft ``j`` of each round, as long as none before it is rejected.

    The rounds do not wait for each other, unlike the positions of a round. No branch on the
    outcome, which would be mispredicted in every other round: masks with all bits set or none.
    """
    states, last = chain.state_bounds.shape[1], words.shape[1] - 1
    by_outcome = np.int32(states if chain.state_bounds.shape[0] > states + 1 else 0)
    word, row, going = drafts.path[WORD], drafts.path[AT], drafts.path[GOING]
    here, after, acceptable = drafts.states[j], drafts.states[j + 1], drafts.acceptable
    for i in range(count):
        slot = np.uintp(drafts.slots[i])
        bound = chain.accept_bounds[np.uintp(row[i]), np.uintp(here[i]), np.uintp(j)]
        passes = going[i] & ~((bound - word[i]) >> np.int32(31))
        going[i] = passes
        acceptable[i] -= passes
        own = words[slot, np.uintp((ints[slot, TICK] + j + 1) & last)] & BITS
        at = row[i] + (passes & (here[i] + by_outcome - row[i]))
        word[i], row[i] = own, at
        found = np.int32(_next_state(chain, own, np.uintp(at)))
        after[i] = here[i] + (passes & (found - here[i]))


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
