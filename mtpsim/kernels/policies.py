"""Policies on a tape: requests in lockstep, by the rule in the policy's file.

A round of a block of requests goes in stages, each a loop over its requests, so that the processor
computes several at once. Each rule has a small kernel of its own from one template, with the rule's
functions as globals. The kernel that plays a tape is compiled once per engine, and is given the
address of the rule's kernel.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from mtpsim.kernels.acceptance import BITS, drafts_kept, find_state
from mtpsim.kernels.arrays import (
    ACCEPTED,
    ACTIVE,
    AT,
    BLOCK,
    DEPTH,
    DRAFT_SCORE,
    ENTRY,
    FULL,
    KEPT,
    LEVELS,
    MISSING,
    MOST_ROUNDS,
    MOST_TOKENS,
    OBSERVED,
    OFFERED,
    PREVIOUS,
    REACHED,
    ROUND_MS,
    ROUNDS,
    ROUNDS_BY_OUTCOME,
    ROW,
    STATE,
    TAPE_MS,
    TICK,
    TOKENS,
    TOTAL_MS,
    VERIFY_SCORE,
)
from mtpsim.kernels.jit import (
    address_of,
    bare,
    bare_inlined,
    bare_kernel,
    call_at,
    column,
    stack_floats,
    unaliased,
    with_globals,
)
from mtpsim.kernels.noise import CONSTANT, quantile, to_word
from mtpsim.policy.base import RoundContext, RoundOutcome
from mtpsim.policy.base import learn_nothing as learn  # the template's rule, to be replaced
from mtpsim.policy.base import start_empty as start
from mtpsim.policy.fixed import choose

# See `Situation`
OWN_NOISE = BY_OUTCOME = SHARED = PAUSES = PROPOSED = BY_POSITION = SLOW = True
PARAMETERS = 8  # greatest number of parameters of a rule; 0: too many to copy
MEMORY = HINTS = 0  # length of its memory and of its hints; 0: too long for loops without a branch

START, CHOOSE, LEARN = range(3)  # what a rule is asked for


def _play(tape, width, base, stop, chain, noise, engine, reads, rule, p, lanes, hints, log):
    """Play the rounds that begin before tick ``stop``.

    Args:
        tape: arrays of the tape, each in one row; its first row is tick ``base``.
        width: requests on the tape.
        base: tick of the first row.
        stop: where no more rounds begin for now.
        chain: arrays of the chain.
        noise: arrays of the noise.
        engine: arrays of the engine.
        reads: inputs that the rule reads.
        rule: address of the rule's kernel.
        p: parameters of the policy.
        lanes: arrays of the requests; updated.
        hints: [K * BLOCK] scratch.
        log: [n, R, 3] depth, accepted drafts and state of the first rounds; updated.
    """
    for block in range(lanes.ints.shape[0]):
        ints, floats, counts = lanes.ints[block], lanes.floats[block], lanes.counts[block]
        memory, first, tick = lanes.memory[block], block * BLOCK, base
        if base == 0:
            call_at(rule, START, p, ints, floats, hints, memory)
        floats[TAPE_MS : TAPE_MS + BLOCK] = 0.0
        while tick < stop and find_active(stop, ints):
            read_tape(tape, width, base, stop, tick, first, chain, engine, reads, counts, ints)
            if reads.on_tape or reads.scores or reads.confidence:
                read_hints(tape, width, engine, reads, ints, hints)
            call_at(rule, CHOOSE, p, ints, floats, hints, memory)
            if is_any_outside(engine.verify.size - 1, ints):
                raise ValueError("a policy chose a depth that the acceptance model does not have")
            verify_drafts(tape, width, chain, engine, ints)
            add_time(tape, chain, noise, engine, reads.drops, memory, ints, floats)
            call_at(rule, LEARN, p, ints, floats, hints, memory)
            log_rounds(first, ints, log)
            advance(engine.verify.size, ints, floats, counts)
            tick += 0 if BY_POSITION else 1
        for i in range(BLOCK):
            floats[TOTAL_MS + i] += floats[TAPE_MS + i]


@cache
def player(situation):
    """The kernel that plays a tape, compiled for a :class:`Situation`."""
    constants = {field.upper(): value for field, value in situation._asdict().items()}
    name, inner = "_".join(str(int(field)) for field in situation), dict[str, object]()
    stages = drafts_left, verify, round_time, find_active, read_tape, read_hints, verify_drafts
    for function in (*stages, add_time, advance):
        copy = with_globals(function, f"{function.__name__}_{name}", **constants, **inner)
        inner[function.__name__] = bare_inlined(copy)
    return unaliased(with_globals(_play, f"play_{name}", **inner, **constants))


@cache
def rule_address(name, rule, parameters, memory, hints):
    """Address of the kernel of a rule; ``name`` must be unique per rule."""
    inner = {key: bare_inlined(function) for key, function in rule._asdict().items()}
    sizes = {"PARAMETERS": parameters, "MEMORY": memory, "HINTS": hints}
    name = "_".join(map(str, ("apply", name, *sizes.values())))
    return address_of(with_globals(_apply, name, **inner, **sizes))


def _apply(task, given, ints, floats, hints, memory):
    """Apply a rule to each request of a block."""
    # A local copy: the compiler knows that reading it early is safe, so that it can compute both
    # branches of a rule and select one.
    p = given
    if PARAMETERS > 0:
        p = stack_floats(PARAMETERS)[: given.size]
        copy_within(PARAMETERS, given, p)
    # Sizes that are constants let loops over them be unrolled.
    drafts = HINTS if HINTS > 0 else hints.size // BLOCK
    size = MEMORY if MEMORY > 0 else memory.size // BLOCK
    for i in range(BLOCK if task == START else 0):
        start(p, column(memory, i, size))
    for i in range(BLOCK if task == CHOOSE else 0):
        if ints[ACTIVE + i] != 0:  # a rule may count its rounds
            state, full = ints[STATE + i], ints[FULL + i]
            context = RoundContext(state, ints[PREVIOUS + i], full, ints[ENTRY + i])
            m = column(memory, i, size)
            ints[DEPTH + i] = np.int64(choose(p, m, context, column(hints, i, drafts)))
    for i in range(BLOCK if task == LEARN else 0):
        if ints[ACTIVE + i] != 0:
            outcome = RoundOutcome(
                ints[DEPTH + i],
                ints[ACCEPTED + i],
                ints[OBSERVED + i],
                ints[REACHED + i],
                floats[ROUND_MS + i],
                ints[MISSING + i],
            )
            learn(p, column(memory, i, size), outcome)


def find_active(stop, ints):
    """Whether any request begins a round before tick ``stop``."""
    found = 0
    for i in range(BLOCK):
        going = (ints[ROUNDS + i] < ints[MOST_ROUNDS + i]) & (
            ints[TOKENS + i] < ints[MOST_TOKENS + i]
        )
        ints[ACTIVE + i] = going & (ints[TICK + i] < stop)
        found |= ints[ACTIVE + i]
    return found != 0


def read_tape(tape, width, base, stop, tick, first, chain, engine, reads, counts, ints):
    """State and outcome of each round. Requests that have ended read some place of the tape."""
    deep = np.int64(engine.verify.size - 1)
    for i in range(BLOCK):
        here = min(max(ints[TICK + i], base), stop - 1) if BY_POSITION else tick
        at = np.uintp((here - base) * width + first + i)
        state, most = np.int64(tape.state[at]), deep
        if BY_OUTCOME:
            state = state_by_words(tape.words[at], chain, ints[ROW + i])
        if PAUSES:  # counts[i]: rounds at depth 0
            most = drafts_left(tape, engine, at, deep, ints[PREVIOUS + i], counts[i])
        full = np.int64(0)
        if not BY_OUTCOME or reads.outcome or engine.full_feedback:
            full, _ = verify(tape, width, chain, engine, at, deep, ints[ROW + i], most)
        ints[AT + i], ints[STATE + i], ints[KEPT + i], ints[FULL + i] = at, state, most, full
        ints[OFFERED + i] = engine.proposed[np.uintp(state)] if PROPOSED else deep
        ints[ENTRY + i] = 0
    if reads.entry:
        for i in range(BLOCK):
            ints[ENTRY + i] = tape.entries[np.uintp(ints[AT + i])]


def read_hints(tape, width, engine, reads, ints, hints):
    """What the rule may read about the drafts: [K] confidences, or normal scores."""
    values = tape.scores if reads.scores else tape.confidences
    apart = np.int64(width if reads.scores and BY_POSITION else tape.state.size)
    for j in range(engine.verify.size - 1):
        row = hints[j * BLOCK : (j + 1) * BLOCK]
        for i in range(BLOCK if reads.confidence else 0):
            at, full, state = ints[AT + i], ints[FULL + i], ints[STATE + i]
            row[i] = confidence(tape, width, engine, at, j, full, state)
            if PROPOSED:
                row[i] = row[i] if j < ints[OFFERED + i] else 0.0
        for i in range(0 if reads.confidence else BLOCK):
            row[i] = values[np.uintp(ints[AT + i] + j * apart)]


@bare_inlined
def is_any_outside(deep, ints):
    """Whether any depth is outside of 0 to ``deep``."""
    signs = np.int64(0)
    for i in range(BLOCK):
        signs |= ints[DEPTH + i] | (deep - ints[DEPTH + i])
    return signs < 0


def verify_drafts(tape, width, chain, engine, ints):
    """Accepted drafts of each round, and what is observed."""
    for i in range(BLOCK):
        depth, accepted = ints[DEPTH + i], min(ints[FULL + i], ints[DEPTH + i])
        if BY_OUTCOME:
            at, row = np.uintp(ints[AT + i]), ints[ROW + i]
            accepted, row = verify(tape, width, chain, engine, at, depth, row, ints[KEPT + i])
            ints[ROW + i] = row if ints[ACTIVE + i] else ints[ROW + i]
        verified = min(depth, ints[OFFERED + i]) if PROPOSED else depth
        ints[ACCEPTED + i], ints[MISSING + i] = accepted, depth - verified
        ints[OBSERVED + i] = ints[OFFERED + i] if engine.full_feedback else verified
        ints[REACHED + i] = ints[FULL + i] if engine.full_feedback else accepted


def add_time(tape, chain, noise, engine, drops, memory, ints, floats):
    """Duration of each round."""
    for i in range(BLOCK):
        depth, previous = ints[DEPTH + i], ints[PREVIOUS + i]
        verified = depth - ints[MISSING + i]
        drafted = verified
        if drops:
            drafted = min(depth + np.int64(memory[i]), ints[OFFERED + i])
        at = np.uintp(ints[AT + i] if BY_POSITION else ints[AT] + i)
        time = 0.0
        if not OWN_NOISE or ints[ACTIVE + i] != 0:
            time = round_time(tape, noise, engine, at, depth, verified, drafted, i, ints, floats)
        if SLOW:
            time *= chain.slowdown[np.uintp(ints[STATE + i])]
        switch = engine.switch_cost + (engine.catch_up if previous == 0 else 0.0)
        floats[ROUND_MS + i] = time + (switch if (previous != depth) & (previous >= 0) else 0.0)


@bare_inlined
def log_rounds(first, ints, log):
    """Log the rounds of each request."""
    for i in range(BLOCK if log.shape[1] > 0 else 0):
        if ints[ACTIVE + i] != 0 and ints[ROUNDS + i] < log.shape[1]:
            row = log[first + i, ints[ROUNDS + i]]
            row[0], row[1], row[2] = ints[DEPTH + i], ints[ACCEPTED + i], ints[STATE + i]


def advance(depths, ints, floats, counts):
    """Count the rounds and go to the next ones."""
    for depth in range(depths):
        row = counts[depth * BLOCK : (depth + 1) * BLOCK]
        for i in range(BLOCK):
            row[i] += np.int64(ints[DEPTH + i] == depth) & ints[ACTIVE + i]
    for i in range(BLOCK):
        going, emitted = ints[ACTIVE + i], ints[ACCEPTED + i] + 1
        ints[ROUNDS + i] += going
        ints[TOKENS + i] += emitted & -going
        if BY_POSITION:
            ints[TICK + i] += emitted & -going
        floats[TAPE_MS + i] += floats[ROUND_MS + i] if going != 0 else 0.0
        ints[PREVIOUS + i] = ints[DEPTH + i] if going != 0 else ints[PREVIOUS + i]


@bare_inlined
def copy_within(room, source, target):
    """Copy an array of at most ``room`` numbers, a constant, so that the loop can be unrolled."""
    for i in range(room):
        if i < source.size:
            target[i] = source[i]


@bare
def state_by_words(word, chain, row):
    """Hidden state at the start of a round, for chains whose transitions depend on outcomes."""
    return np.int64(find_state(word & BITS, row, chain.state_bounds, chain.guide))


def drafts_left(tape, engine, at, deep, previous, off):
    """Drafts of the round that depth 0 before it has not lost; ``off``: rounds at depth 0."""
    most = deep
    if PAUSES and engine.resumed > 0 and off > 0:
        most = drafts_kept(tape.resumed_words[at], engine.resumed, most)
    if (
        PAUSES
        and engine.stale > 0
        and previous == 0
        and is_below(tape.stale_words[at], engine.stale)
    ):
        most = np.int64(0)
    return most


@bare_inlined
def is_below(word, share):
    """Whether a word is among the given share of all words."""
    return np.uint32(word) < share * 4294967296.0


def verify(tape, width, chain, engine, at, depth, row, most):
    """Drafts accepted of ``depth``, and the row of the thresholds for the next round.

    Drafts beyond the first ``most`` are rejected, whatever the text.
    """
    most = min(most, depth)
    if not BY_OUTCOME:
        return min(tape.accepts[at], most), row
    if engine.kind == ROUNDS_BY_OUTCOME:
        return verify_round_by_outcome(tape.words, chain, at, depth, row, most)
    return verify_positions_by_outcome(tape.words, width, chain, at, depth, row, most)


@bare
def verify_round_by_outcome(words, chain, at, depth, row, most):
    """As :func:`verify`, for transitions that depend on the outcome of a round."""
    states, word, accepted = chain.state_bounds.shape[1], words[at] & BITS, np.int64(0)
    s = find_state(word, row, chain.state_bounds, chain.guide)
    while accepted < most and word <= chain.accept_bounds[row, s, accepted]:
        accepted += 1
    return accepted, np.int64(s + states if accepted == depth else s)


@bare
def verify_positions_by_outcome(words, width, chain, at, depth, row, most):
    """As :func:`verify`, for transitions that depend on the outcome of a position."""
    states = chain.state_bounds.shape[1]
    for j in range(depth + 1):
        word = words[at + np.uintp(j * width)] & BITS
        s = find_state(word, row, chain.state_bounds, chain.guide)
        if j < depth and (j >= most or word > chain.accept_bounds[row, s, j]):
            return np.int64(j), np.int64(s)
        row = np.int64(s + states)
    return np.int64(depth), row


def round_time(tape, noise, engine, at, depth, verified, drafted, i, ints, floats):
    """Duration of a round in ms, without what its state and a switch add."""
    check = tape.verify[at]
    plain, propose = check, check
    if not SHARED:
        plain, propose = tape.target[at], tape.draft[at]
    if OWN_NOISE and noise.persistence != 0:
        plain, check, propose = own_factors(noise, check, propose, i, ints, floats)
        if SHARED:
            plain, propose = check, check
    step = engine.verify[np.uintp(verified)] * (plain if depth == 0 else check)
    return step + engine.draft[np.uintp(drafted)] * propose


@bare_kernel
def fill_confidences(tape, rows, requests, width, engine):
    """Confidences of the rounds that may begin in the first rows of the tape."""
    for j in range(engine.verify.size - 1):
        for row in range(rows):
            for at in range(row * width, row * width + requests):
                full, state = tape.accepts[np.uintp(at)], np.int64(tape.state[np.uintp(at)])
                found = confidence(tape, width, engine, at, j, full, state)
                tape.confidences[np.uintp(at + j * tape.state.size)] = found


@bare_inlined
def confidence(tape, width, engine, at, j, full, state):
    """Confidence of draft ``j`` of a round: from its laws, or the acceptance by Bayes' rule.

    A draft after the first rejection continues a text that is discarded. Its confidence is drawn as
    if it were accepted with the rate of its position, and of its state where laws are given.
    """
    i = np.uintp(at + j * (width if engine.by_position else tape.state.size))
    own = np.int64(tape.state[i]) if engine.kind == LEVELS else state
    rates = engine.after_rejection[min(own, engine.after_rejection.shape[0] - 1)]
    good = (j < full) | ((j > full) & is_below(tape.rejected_words[i], rates[j]))
    if engine.laws.shape[0] > 0:
        return confidence_of(engine.laws, good, j, own, tape.likelihood_ratios[i])
    against = engine.odds_against[j] * tape.likelihood_ratios[i]
    return 1 / (1 + against * (1.0 if good else engine.rejection_factor))


@bare_inlined
def confidence_of(laws, good, position, state, share):
    """The quantile at a probability, linear between those of the table."""
    law = laws[np.int64(good), min(position, laws.shape[1] - 1), min(state, laws.shape[2] - 1)]
    x = share * (law.size - 1)
    cell = np.int64(x)
    return law[cell] + (x - cell) * (law[cell + 1] - law[cell])


@bare
def own_factors(noise, check, propose, i, ints, floats):
    """Noise factors from the tape's normal scores, AR(1) from the policy's own round before."""
    if ints[ROUNDS + i] > 0:
        rest = math.sqrt(1 - noise.persistence * noise.persistence)
        check = noise.persistence * floats[VERIFY_SCORE + i] + rest * check
        propose = noise.persistence * floats[DRAFT_SCORE + i] + rest * propose
    floats[VERIFY_SCORE + i], floats[DRAFT_SCORE + i] = check, propose
    return (
        _factor(noise.kinds[0], noise.target, check),
        _factor(noise.kinds[1], noise.verify, check),
        _factor(noise.kinds[2], noise.draft, propose),
    )


@bare
def _factor(kind, values, score):
    """The quantile of a normal score."""
    return 1.0 if kind == CONSTANT else quantile(kind, values, to_word(score))
