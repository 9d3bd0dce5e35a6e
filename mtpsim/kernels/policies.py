"""Policies on a tape: lane by lane, round by round, by the rule in the policy's file.

Each rule gets a kernel of its own from one template, with the rule's functions as globals. What the
rule reads is a constant, so that inputs which it does not read are not computed.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from mtpsim.kernels.acceptance import BITS, drafts_kept, find_state
from mtpsim.kernels.arrays import LEVELS, ROUNDS_BY_OUTCOME, TICKS
from mtpsim.kernels.jit import bare, bare_inlined, bare_kernel, stack_floats, with_globals
from mtpsim.kernels.noise import CONSTANT, quantile, to_word
from mtpsim.policy.base import RoundContext, RoundOutcome
from mtpsim.policy.base import learn_nothing as learn  # the template's rule, to be replaced
from mtpsim.policy.base import start_empty as start
from mtpsim.policy.fixed import choose

# See `PolicyInputs`
CONFIDENCE = SCORES = OUTCOME = DROPS = OWN_NOISE = BY_OUTCOME = SHARED = PAUSES = True
PROPOSED = ENTRY = ON_TAPE = True
MEMORY, PARAMETERS = 8, 8
MOST_HINTS = 64

TICK, PREVIOUS, ROW = range(3)  # columns of a lane's place
TOKENS, TIME, ROUNDS, DEPTHS = range(4)  # columns of its totals
DEPTH, ACCEPTED, STATE = range(3)  # columns of its log


def _play(
    tape, width, base, stop, chain, noise, engine, limits, given, memory, place, scores, out, log
):
    """Play the rounds that begin before tick ``stop``.

    Args:
        tape: arrays of the tape, each in one row; its first column is tick ``base``. Here and in
            the other tuples, None stands for an array that the policy does not need.
        width: number of columns.
        base: tick of the first column.
        stop: where no more rounds begin for now.
        chain: arrays of the chain.
        noise: arrays of the noise.
        engine: arrays of the engine.
        limits: [n, 3] most rounds, most tokens and most counted tokens.
        given: parameters of the policy.
        memory: [n, M] its memory.
        place: [n, 3] tick, depth before and row of the thresholds; updated.
        scores: [n, 2] of noise that persists from round to round; updated.
        out: [n, 3 + K + 1] totals: tokens, ms, rounds, rounds by depth; updated.
        log: [n, R, 3] depth, accepted drafts and state of the first rounds.
    """
    deep = np.int64(engine.verify.size - 1)
    # Local copies: the compiler knows that nothing else writes to them, and that reading them early
    # is safe, so that it can compute both branches of a rule and select one.
    local, p = stack_floats(MEMORY)[: memory.shape[1]], given
    if PARAMETERS > 0:
        p = stack_floats(PARAMETERS)[: given.size]
        copy_within(PARAMETERS, given, p)
    scratch, played = stack_floats(MOST_HINTS)[:deep], stack_floats(TICKS)
    for lane in range(out.shape[0]):
        tick, previous, row = place[lane, TICK], place[lane, PREVIOUS], place[lane, ROW]
        rounds, tokens, ms = np.int64(out[lane, ROUNDS]), np.int64(out[lane, TOKENS]), 0.0
        if rounds == 0:
            start(p, memory[lane])
        m = local if MEMORY > 0 else memory[lane]
        copy_within(MEMORY, memory[lane], m)
        column, first, off = lane * width - base, rounds, np.int64(out[lane, DEPTHS])
        while tick < stop and rounds < limits[lane, 0] and tokens < limits[lane, 1]:
            at = np.uintp(tick + column)
            state = np.int64(tape.state[at])
            if BY_OUTCOME:
                state = state_by_words(tape.words[at], chain, row)
            most = drafts_left(tape, engine, at, deep, previous, off)
            full = np.int64(0)
            if not BY_OUTCOME or OUTCOME or engine.full_feedback:
                full, _ = verify(tape, chain, engine, at, deep, row, most)
            offered = np.int64(engine.proposed[np.uintp(state)]) if PROPOSED else deep
            hints = hints_of(tape, engine, tick + column, full, state, offered, scratch)
            entry = np.int64(tape.entries[at]) if ENTRY else np.int64(0)
            depth = np.int64(choose(p, m, RoundContext(state, previous, full, entry), hints))
            accepted = min(full, depth)
            if BY_OUTCOME:
                accepted, row = verify(tape, chain, engine, at, depth, row, most)
            verified = min(depth, offered) if PROPOSED else depth
            drafted = min(depth + np.int64(m[0]), offered) if DROPS else verified
            time = round_time(
                tape, noise, engine, at, depth, verified, drafted, rounds, scores[lane]
            )
            time *= chain.slowdown[np.uintp(state)]
            if previous != depth and previous >= 0:
                time += engine.switch_cost + (engine.catch_up if previous == 0 else 0.0)
            seen, reached = (offered, full) if engine.full_feedback else (verified, accepted)
            learn(p, m, RoundOutcome(depth, accepted, seen, reached, time, depth - verified))
            if rounds < log.shape[1]:
                note(log[lane, rounds], depth, accepted, state)
            played[rounds - first] = depth
            off += depth == 0
            rounds += 1
            tokens += accepted + 1
            ms += time
            tick += accepted + 1 if engine.by_position else 1
            previous = depth
        copy_within(MEMORY, m, memory[lane])
        place[lane, TICK], place[lane, PREVIOUS], place[lane, ROW] = tick, previous, row
        out[lane, ROUNDS], out[lane, TOKENS] = rounds, min(tokens, limits[lane, 2])
        out[lane, TIME] += ms
        count_depths(played[: rounds - first], out[lane, DEPTHS:])


@lru_cache
def player(name, rule, inputs):
    """The kernel of a rule, compiled for the given inputs; ``name`` must be unique per rule."""
    name += "_".join(str(int(field)) for field in inputs)
    constants = {field.upper(): value for field, value in inputs._asdict().items()}
    inner = {key: bare_inlined(function) for key, function in rule._asdict().items()}
    for function in (drafts_left, verify, hints_of, round_time):
        copy = with_globals(function, f"{function.__name__}_{name}", **constants)
        inner[function.__name__] = bare_inlined(copy)
    return bare_kernel(with_globals(_play, f"play_{name}", **inner, **constants))


@bare_inlined
def copy_within(room, source, target):
    """Copy an array of at most ``room`` numbers, a constant, so that the loop can be unrolled."""
    for i in range(room):
        if i < source.size:
            target[i] = source[i]


@bare_inlined
def count_depths(played, counts):
    """Add the rounds at each depth. A count in each round would wait for the count before it."""
    for depth in range(counts.size):
        rounds = 0
        for i in range(played.size):
            rounds += played[i] == depth
        counts[depth] += rounds


@bare_inlined
def note(row, depth, accepted, state):
    """Log a round."""
    row[DEPTH], row[ACCEPTED], row[STATE] = depth, accepted, state


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


def verify(tape, chain, engine, at, depth, row, most):
    """Drafts accepted of ``depth``, and the row of the thresholds for the next round.

    Drafts beyond the first ``most`` are rejected, whatever the text.
    """
    most = min(most, depth)
    if not BY_OUTCOME:
        return min(tape.accepts[at], most), row
    if engine.kind == ROUNDS_BY_OUTCOME:
        return verify_round_by_outcome(tape.words, chain, at, depth, row, most)
    return verify_positions_by_outcome(tape.words, chain, at, depth, row, most)


@bare
def verify_round_by_outcome(words, chain, at, depth, row, most):
    """As :func:`verify`, for transitions that depend on the outcome of a round."""
    states, word, accepted = chain.state_bounds.shape[1], words[at] & BITS, np.int64(0)
    s = find_state(word, row, chain.state_bounds, chain.guide)
    while accepted < most and word <= chain.accept_bounds[row, s, accepted]:
        accepted += 1
    return accepted, np.int64(s + states if accepted == depth else s)


@bare
def verify_positions_by_outcome(words, chain, at, depth, row, most):
    """As :func:`verify`, for transitions that depend on the outcome of a position."""
    states = chain.state_bounds.shape[1]
    for j in range(depth + 1):
        word = words[at + np.uintp(j)] & BITS
        s = find_state(word, row, chain.state_bounds, chain.guide)
        if j < depth and (j >= most or word > chain.accept_bounds[row, s, j]):
            return np.int64(j), np.int64(s)
        row = np.int64(s + states)
    return np.int64(depth), row


def hints_of(tape, engine, at, full, state, offered, scratch):
    """What the rule may read about the drafts: [K] confidences, or normal scores."""
    deep = scratch.size
    if ON_TAPE:
        return tape.confidences[at * deep : at * deep + deep]
    if SCORES:
        first = at if engine.by_position else at * deep
        return tape.scores[first : first + deep]
    if CONFIDENCE:
        fill_confidence(tape, engine, np.uintp(at), full, state, scratch)
    if PROPOSED:
        scratch[offered:] = 0.0
    return scratch


def round_time(tape, noise, engine, at, depth, verified, drafted, rounds, scores):
    """Duration of a round in ms, without what its state and a switch add."""
    check = tape.verify[at]
    plain, propose = check, check
    if not SHARED:
        plain, propose = tape.target[at], tape.draft[at]
    if OWN_NOISE and noise.persistence != 0:
        plain, check, propose = own_factors(noise, check, propose, rounds, scores)
        if SHARED:
            plain, propose = check, check
    step = engine.verify[np.uintp(verified)] * (plain if depth == 0 else check)
    return step + engine.draft[np.uintp(drafted)] * propose


@bare_inlined
def fill_confidence(tape, engine, at, full, state, hints):
    """The draft's confidence by position, in a round whose outcome depends on the policy."""
    first = at if engine.by_position else at * np.uintp(hints.size)
    for j in range(hints.size):
        hints[j] = confidence(tape, engine, first + np.uintp(j), j, full, state)


@bare_kernel
def fill_confidences(tape, width, stop, engine, lanes):
    """Confidences of the rounds that may begin in columns 0 .. ``stop`` - 1 of the first lanes."""
    deep = np.uintp(engine.verify.size - 1)
    for lane in range(lanes):
        for column in range(stop):
            at = np.uintp(lane * width + column)
            full, state = tape.accepts[at], np.int64(tape.state[at])
            first = at if engine.by_position else at * deep
            for j in range(engine.verify.size - 1):
                i = np.uintp(j)
                found = confidence(tape, engine, first + i, j, full, state)
                tape.confidences[at * deep + i] = found


@bare_inlined
def confidence(tape, engine, i, j, full, state):
    """Confidence of draft ``j``: from its laws, or the acceptance by Bayes' rule.

    A draft after the first rejection continues a text that is discarded. Its confidence is drawn as
    if it were accepted with the rate of its position, and of its state where laws are given.
    """
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
def own_factors(noise, check, propose, rounds, memory):
    """Noise factors from the tape's normal scores, AR(1) from the policy's own round before."""
    if rounds > 0:
        rest = math.sqrt(1 - noise.persistence * noise.persistence)
        check = noise.persistence * memory[0] + rest * check
        propose = noise.persistence * memory[1] + rest * propose
    memory[0], memory[1] = check, propose
    return (
        _factor(noise.kinds[0], noise.target, check),
        _factor(noise.kinds[1], noise.verify, check),
        _factor(noise.kinds[2], noise.draft, propose),
    )


@bare
def _factor(kind, values, score):
    """The quantile of a normal score."""
    return 1.0 if kind == CONSTANT else quantile(kind, values, to_word(score))
