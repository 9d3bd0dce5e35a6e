"""Policies on a tape: lane by lane, round by round, by the rule in the policy's file.

Each rule gets a kernel of its own from one template, with the rule's functions as globals. What the
rule reads is a constant, so that inputs which it does not read are not computed.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from mtpsim.kernels.acceptance import BITS, drafts_kept, find_state
from mtpsim.kernels.arrays import LENGTHS, LEVELS, ROUNDS_BY_OUTCOME, TapeArrays
from mtpsim.kernels.jit import bare, bare_inlined, kernel, with_globals
from mtpsim.kernels.noise import CONSTANT, quantile, to_word
from mtpsim.policy.base import RoundContext, RoundOutcome
from mtpsim.policy.base import learn_nothing as learn  # the template's rule, to be replaced
from mtpsim.policy.base import start_empty as start
from mtpsim.policy.fixed import choose

CONFIDENCE = SCORES = OUTCOME = DROPS = GENERAL = ENTRY = RECORDED = True  # see `PolicyInputs`

TICK, PREVIOUS, ROW = range(3)  # columns of a lane's place
TOKENS, TIME, ROUNDS, DEPTHS = range(4)  # columns of its totals
DEPTH, ACCEPTED, STATE = range(3)  # columns of its log


def play_lane(text, base, stop, chain, noise, engine, limits, p, m, place, scores, out, log, hints):
    """Play the rounds of one lane; arguments as for :func:`_play`, but of this lane."""
    # Local names: reading arrays from the tuple in each round would cost more than the round
    # itself, because of reference counting.
    kind, accepts, states, plains, checks, proposals = (
        engine.kind, text.accepts, text.state, text.target, text.verify, text.draft
    )  # fmt: skip
    verify, draft, slowdown = engine.verify, engine.draft, chain.slowdown
    tick, previous, row = place[TICK], place[PREVIOUS], place[ROW]
    rounds, tokens, ms = np.int64(out[ROUNDS]), np.int64(out[TOKENS]), 0.0
    most_rounds, most_tokens = limits[0], limits[1]
    own_noise = GENERAL and engine.by_position and noise.persistence != 0
    while tick < stop and rounds < most_rounds and tokens < most_tokens:
        at = tick - base
        state = np.int64(states[at])
        if GENERAL and kind >= ROUNDS_BY_OUTCOME:
            state = state_by_words(text, chain, at, row)
        most = drafts_left(text, engine, at, previous, out[DEPTHS] > 0, hints.size)
        full = np.int64(0)
        if OUTCOME or engine.full_feedback:
            full, _ = verify_drafts(kind, accepts, text, chain, at, hints.size, row, most)
        if CONFIDENCE:
            fill_confidence(text, engine, at, full, state, hints)
        if RECORDED:
            for j in range(hints.size):
                hints[j] = text.confidences[at, j]
        offered = np.int64(hints.size)
        if GENERAL and engine.proposed.size > 0:
            offered = np.int64(engine.proposed[state])
            if CONFIDENCE:
                hints[offered:] = 0.0
        if SCORES:
            fill_scores(text, engine, at, hints)
        entry = np.int64(text.entries[at]) if ENTRY else np.int64(0)
        depth = choose(p, m, RoundContext(state, previous, full, entry), hints)
        accepted, row = verify_drafts(kind, accepts, text, chain, at, depth, row, most)
        plain, check, propose = plains[at], checks[at], proposals[at]
        if GENERAL and own_noise:
            plain, check, propose = own_factors(noise, check, propose, rounds, scores)
        if noise.shared:
            plain, propose = check, check
        verified = np.int64(min(depth, offered))
        drafted = min(depth + np.int64(m[0]), offered) if DROPS else verified
        time = verify[verified] * (plain if depth == 0 else check) + draft[drafted] * propose
        time *= slowdown[state]
        if previous != depth and previous >= 0:
            time += engine.switch_cost + (engine.catch_up if previous == 0 else 0.0)
        seen, reached = (offered, full) if engine.full_feedback else (verified, accepted)
        learn(p, m, RoundOutcome(depth, accepted, seen, reached, time, depth - verified))
        if rounds < log.shape[0]:
            log[rounds, DEPTH], log[rounds, ACCEPTED], log[rounds, STATE] = depth, accepted, state
        rounds += 1
        tokens += accepted + 1
        ms += time
        out[DEPTHS + depth] += 1
        tick += accepted + 1 if engine.by_position else 1
        previous = depth
    place[TICK], place[PREVIOUS], place[ROW] = tick, previous, row
    out[ROUNDS], out[TOKENS], out[TIME] = rounds, min(tokens, limits[2]), out[TIME] + ms


def _play(tape, base, stop, chain, noise, engine, limits, p, m, place, scores, out, log):
    """Play the rounds that begin before tick ``stop``.

    Args:
        tape: arrays of the tape; its first column is tick ``base``.
        base: tick of the first column.
        stop: where no more rounds begin for now.
        chain: arrays of the chain.
        noise: arrays of the noise.
        engine: arrays of the engine.
        limits: [n, 3] most rounds, most tokens and most counted tokens.
        p: parameters of the policy.
        m: [n, M] its memory.
        place: [n, 3] tick, depth before and row of the thresholds; updated.
        scores: [n, 2] of noise that persists from round to round; updated.
        out: [n, 3 + K + 1] totals: tokens, ms, rounds, rounds by depth; updated.
        log: [n, R, 3] depth, accepted drafts and state of the first rounds.
    """
    hints = np.zeros(engine.rates.size)
    for lane in range(out.shape[0]):
        text = TapeArrays(
            tape.accepts[lane],
            tape.state[lane],
            tape.words[lane],
            tape.target[lane],
            tape.verify[lane],
            tape.draft[lane],
            tape.stale_words[lane],
            tape.resumed_words[lane],
            tape.scores[lane],
            tape.likelihood_ratios[lane],
            tape.rejected_words[lane],
            tape.entries[lane],
            tape.confidences[lane],
        )
        if out[lane, ROUNDS] == 0:
            start(p, m[lane])
        play_lane(
            text, base, stop, chain, noise, engine, limits[lane], p, m[lane],
            place[lane], scores[lane], out[lane], log[lane], hints,
        )  # fmt: skip


@lru_cache
def player(name, rule, inputs):
    """The kernel of a rule, compiled for the given inputs; ``name`` must be unique per rule."""
    name += "".join(str(int(field)) for field in inputs)
    constants = {field.upper(): value for field, value in inputs._asdict().items()}
    functions = {key: bare_inlined(function) for key, function in rule._asdict().items()}
    verify = with_globals(verify_drafts, f"verify_drafts_{name}", **constants)
    functions["verify_drafts"] = bare_inlined(verify)
    lane = bare(with_globals(play_lane, f"play_lane_{name}", **functions, **constants))
    return kernel(with_globals(_play, f"play_{name}", **functions, play_lane=lane))


@bare
def state_by_words(text, chain, at, row):
    """Hidden state at the start of a round, for chains whose transitions depend on outcomes."""
    return np.int64(find_state(text.words[at] & BITS, row, chain.state_bounds, chain.guide))


@bare_inlined
def drafts_left(text, engine, at, previous, resumed, most):
    """How many of the first ``most`` drafts of a round are not lost by rounds at depth 0."""
    most = np.int64(most)
    if resumed and engine.resumed > 0:
        most = drafts_kept(text.resumed_words[at], engine.resumed, most)
    if engine.stale == 0 or previous != 0:
        return most
    lost = np.uint32(text.stale_words[at]) < engine.stale * 4294967296.0
    return np.int64(0) if lost else most


def verify_drafts(kind, accepts, text, chain, at, depth, row, most):
    """Drafts accepted of ``depth``, and the row of the thresholds for the next round.

    Drafts beyond the first ``most`` are rejected, whatever the text.
    """
    accepted, most = np.int64(0), min(most, depth)
    if kind == LENGTHS:
        accepted = min(accepts[at], most)
    elif not GENERAL or kind == LEVELS:
        while accepted < most and (accepts[at + accepted] >> accepted) & 1 != 0:
            accepted += 1
    elif kind == ROUNDS_BY_OUTCOME:
        accepted, row = verify_round_by_outcome(text, chain, at, depth, row, most)
    else:
        accepted, row = verify_positions_by_outcome(text, chain, at, depth, row, most)
    return accepted, row


@bare
def verify_round_by_outcome(text, chain, at, depth, row, most):
    """As :func:`verify_drafts`, for transitions that depend on the outcome of a round."""
    states, word, accepted = chain.state_bounds.shape[1], text.words[at] & BITS, np.int64(0)
    s = find_state(word, row, chain.state_bounds, chain.guide)
    while accepted < most and word <= chain.accept_bounds[row, s, accepted]:
        accepted += 1
    return accepted, np.int64(s + states if accepted == depth else s)


@bare
def verify_positions_by_outcome(text, chain, at, depth, row, most):
    """As :func:`verify_drafts`, for transitions that depend on the outcome of a position."""
    states = chain.state_bounds.shape[1]
    for j in range(depth + 1):
        word = text.words[at + j] & BITS
        s = find_state(word, row, chain.state_bounds, chain.guide)
        if j < depth and (j >= most or word > chain.accept_bounds[row, s, j]):
            return np.int64(j), np.int64(s)
        row = np.int64(s + states)
    return np.int64(depth), row


@bare_inlined
def fill_confidence(text, engine, at, full, state, confidence):
    """The draft's confidence by position: from its laws, or the acceptance by Bayes' rule.

    A draft after the first rejection continues a text that is discarded. Its confidence is drawn as
    if it were accepted with the rate of its position, and of its state where laws are given.
    """
    for j in range(confidence.size):
        i, c = (at + j, 0) if engine.by_position else (at, j)
        own = np.int64(text.state[i]) if engine.kind == LEVELS else state
        if j > full:
            word = np.uint32(text.rejected_words[i, c])
            rates = engine.after_rejection[min(own, engine.after_rejection.shape[0] - 1)]
            good = word < rates[j] * 4294967296.0
        else:
            good = j < full
        if engine.laws.shape[0] > 0:
            confidence[j] = confidence_of(engine.laws, good, j, own, text.likelihood_ratios[i, c])
            continue
        against = engine.odds_against[j] * text.likelihood_ratios[i, c]
        confidence[j] = 1 / (1 + (against if good else against * engine.rejection_factor))


@bare_inlined
def confidence_of(laws, good, position, state, share):
    """The quantile at a probability, linear between those of the table."""
    law = laws[np.int64(good), min(position, laws.shape[1] - 1), min(state, laws.shape[2] - 1)]
    x = share * (law.size - 1)
    cell = np.int64(x)
    return law[cell] + (x - cell) * (law[cell + 1] - law[cell])


@bare_inlined
def fill_scores(text, engine, at, scores):
    """Standard normal random numbers of the round."""
    for j in range(scores.size):
        i, c = (at + j, 0) if engine.by_position else (at, j)
        scores[j] = text.scores[i, c]


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
