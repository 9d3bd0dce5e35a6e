"""Plain reference implementation of the policy kernels.

It shares only the rules with the package; tests/policy/test_rules.py checks those.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtpsim.policy import RoundContext, RoundOutcome
from tests.support.naive import pick


@dataclass(frozen=True)
class Engine:
    verify: np.ndarray
    draft: np.ndarray
    rates: np.ndarray
    switch_cost: float = 0.0
    catch_up: float = 0.0
    stale: float = 0.0
    resumed: float = 0.0
    full_feedback: bool = False
    auc: float = 0.8
    confidence: Any = None  # laws, instead of the AUC


class Text:
    """Ticks of one request: a state, a uniform number for its outcome, and a normal score."""

    def __init__(self, rng, chain):
        self.rng, self.chain, self.ticks = rng, chain, []

    def at(self, tick, rejected=None):
        """The tick; with outcome-dependent transitions, ``rejected`` is that of the last tick."""
        while len(self.ticks) <= tick:
            if not self.ticks:
                state = pick(self.rng, self.chain.start)
            else:
                row = 0 if rejected or len(self.chain.step) == 1 else 1
                state = pick(self.rng, self.chain.step[row][self.ticks[-1][0]])
            self.ticks.append((state, self.rng.random(), self.rng.normal()))
        return self.ticks[tick]


def accepted_drafts(text, chain, tick, depth):
    """Accepted drafts of a round of ``depth`` that begins at this tick."""
    if chain.hidden_chain is None:  # recorded requests
        return min(text.accepted(tick), depth)
    for j in range(depth):
        state, u, _ = text.at(tick + j, False) if chain.clock == "token" else text.at(tick)
        limit = chain.accept[state, : j + 1].prod() if chain.clock == "round" else None
        if u >= (chain.accept[state, j] if limit is None else limit):
            return j
    return depth


class Record:
    """A recorded request, read again from its beginning after its end."""

    def __init__(self, counts, row=0, confidence=None):
        self.counts, self.row, self.confidence = counts, row, confidence

    def at(self, tick, rejected=None):
        return 0, 0.0, 0.0

    def accepted(self, tick):
        return int(self.counts[tick % len(self.counts)])


def normal(x):
    return math.exp(-0.5 * x * x)


def drawn_confidence(rng, law, good):
    """A confidence given the outcome: a normal logit is drawn until its draft has this outcome."""
    if rng.random() < law.at_one[0 if good else 1]:
        return 1.0
    if law.edges:
        counts = law.accepted if good else law.rejected
        b = pick(rng, np.array(counts) / sum(counts))
        return law.edges[b] + rng.random() * (law.edges[b + 1] - law.edges[b])
    while True:
        logit = rng.normal(law.mean, law.sd)
        if (rng.random() < 1 / (1 + math.exp(-logit - law.shift))) == good:
            return 1 / (1 + math.exp(-logit))


def confidences(rng, engine, full, scores, chain=None, states=None):
    """Posterior from a normal score whose mean is higher for accepted drafts."""
    from scipy.special import ndtri

    apart = math.sqrt(2) * ndtri(engine.auc)
    found = []
    for j, rate in enumerate(engine.rates):
        own = chain.accept[states[j], j] if engine.confidence else rate
        good = j < full if j <= full else rng.random() < own
        if engine.confidence and engine.confidence.own_rate:
            found.append(own)
            continue
        if laws := engine.confidence:
            own = laws.positions[j] if laws.positions else laws
            law = laws.states[states[j]] if laws.states else own
            found.append(drawn_confidence(rng, law, good))
            continue
        x = scores[j] + apart * good
        yes, no = rate * normal(x - apart), (1 - rate) * normal(x)
        found.append(yes / (yes + no))
    return np.array(found)


def hints_of(rng, text, chain, spec, engine, tick, full, state):
    """What a policy sees of the drafts of a round: confidences, random scores or zeros."""
    deep, by_position = engine.rates.size, chain.clock == "token"
    if spec.reads_confidence and isinstance(text, Record):
        return text.confidence[tick % len(text.counts)]
    if not (spec.uses_random_numbers or spec.reads_confidence):
        return np.zeros(deep)
    scores = [text.at(tick + j)[2] if by_position else rng.normal() for j in range(deep)]
    if not spec.reads_confidence:
        return scores
    states = [text.at(tick + j)[0] if by_position else state for j in range(deep)]
    return confidences(rng, engine, full, scores, chain, states)


def request(
    rng, chain, spec, environment, engine, *, text=None, rounds=None, tokens=None, law=None
):
    """One request under a policy: tokens, ms, rounds, rounds at each depth.

    ``text`` may hold the random numbers of the kernel; by default it is drawn by ``rng``. ``law``
    is that of the number of proposed drafts by state, which a policy that knows the state reads
    too; by default all are proposed.
    """
    p, m = spec.parameters(environment), np.zeros(max(spec.memory_size(environment), 1))
    rule, text, deep = spec.functions(), text or Text(rng, chain), environment.depth
    rule.start(p, m)
    made, ms, tick, previous, played = 0, 0.0, 0, -1, []
    rejected = None
    while (rounds is None or len(played) < rounds) and (tokens is None or made < tokens):
        state = text.at(tick, rejected)[0]
        proposed = most = deep if law is None else pick(rng, law[state])
        if engine.resumed and 0 in played:  # each draft may be lost
            most = next((j for j in range(most) if rng.random() < engine.resumed), most)
        if previous == 0 and rng.random() < engine.stale:
            most = 0
        looks = spec.reads_confidence or spec.sees_outcome or engine.full_feedback
        full = min(accepted_drafts(text, chain, tick, deep), most) if looks and most else 0
        by_position = chain.clock == "token"
        hints = np.array(hints_of(rng, text, chain, spec, engine, tick, full, state))
        if spec.reads_confidence:
            hints[proposed:] = 0.0
        entry = text.row + tick if spec.sees_entry and isinstance(text, Record) else 0
        known = state if law is None else state * (deep + 1) + proposed
        context = RoundContext(known, previous, full, entry)
        depth = rule.choose(p, m, context, hints)
        accepted = min(accepted_drafts(text, chain, tick, depth), most) if most else 0
        rejected = accepted < depth
        drafted = min(depth + (int(m[0]) if spec.discards_drafts else 0), proposed)
        verified = min(depth, proposed)
        time = (engine.verify[verified] + engine.draft[drafted]) * chain.slowdown[state]
        time += engine.switch_cost if previous not in (-1, depth) else 0
        time += engine.catch_up if previous == 0 and depth > 0 else 0
        seen, reached = (proposed, full) if engine.full_feedback else (verified, accepted)
        rule.learn(p, m, RoundOutcome(depth, accepted, seen, reached, time, depth - verified))
        if by_position:
            text.at(tick + accepted, False)  # the bonus token, or the target's own
        played.append(depth)
        made, ms, previous = made + accepted + 1, ms + time, depth
        tick += accepted + 1 if by_position else 1
    made = made if tokens is None else min(made, tokens)
    return [made, ms, len(played), *np.bincount(played, minlength=deep + 1)]


def simulate(rng, chain, spec, environment, engine, requests, **horizon):
    """``[requests, 4 + K]``."""
    rows = [request(rng, chain, spec, environment, engine, **horizon) for _ in range(requests)]
    return np.array(rows, float)
