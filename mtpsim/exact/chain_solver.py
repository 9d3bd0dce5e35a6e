"""The chain solved exactly: what the simulation must agree with, by linear algebra alone.

All follows from the *law of a round*: matrices ``D[a]`` ``[S, S]`` with the probability that a
round which starts in state s accepts a drafts and that the next one starts in state s'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import AcceptanceChain, Recording, Source
from mtpsim.acceptance.chain import stationary
from mtpsim.acceptance.recording import play
from mtpsim.common.arrays import Floats

CHUNK = 4096  # recorded requests played at once


def round_law(chain: AcceptanceChain, depth: int) -> Floats:
    """``D`` ``[depth + 1, S, S]``: accepted drafts and next start of a round, by its start.

    Under the token clock the next round starts after the position that rejected (or after the
    bonus token), so ``D.sum(0)`` is the chain embedded at round starts.
    """
    return (_round_clock if chain.clock == "round" else _token_clock)(chain, depth)


def _round_clock(chain: AcceptanceChain, depth: int) -> Floats:
    states = chain.states
    reach = np.concatenate([np.ones((states, 1)), chain.survival[:, :depth]], axis=1)
    exactly = reach - np.concatenate([reach[:, 1:], np.zeros((states, 1))], axis=1)
    after = np.repeat(chain.step[:1], depth + 1, axis=0)
    after[depth] = chain.step[-1]  # all accepted: no rejection
    return np.asarray(exactly.T[:, :, None] * after)


def _token_clock(chain: AcceptanceChain, depth: int) -> Floats:
    rejected, passed = chain.step[0], chain.step[-1]
    at = np.eye(chain.states)  # law of the state at the next position, by the round's start
    law = []
    for j in range(depth):
        accept = chain.accept[:, j]
        law.append((at * (1 - accept)) @ rejected)
        at = (at * accept) @ passed
    return np.stack([*law, at @ passed])


def visits(step: Floats, start: Floats, ticks: int) -> Floats:
    """Expected visits to each state in ``ticks`` ticks: sum of start step^t over t < ticks.

    By doubling, so that a long horizon costs its logarithm.
    """
    total, law = np.zeros_like(start), start.copy()
    some, power = np.eye(len(start)), step  # sum over the next 2^b ticks, and step^(2^b)
    while ticks:
        if ticks & 1:
            total = total + law @ some
            law = law @ power
        ticks >>= 1
        if ticks:
            some, power = some + some @ power, power @ power
    return total


def starts_by_tokens(law: Floats, start: Floats, tokens: int) -> Floats:
    """Expected round starts in each state at positions below ``tokens``."""
    lengths, states = law.shape[:2]
    # Companion form: the tick is a position, the state "a round starts in s after i more".
    step = np.zeros((lengths * states, lengths * states))
    for wait in range(1, lengths):
        here, sooner = wait * states, (wait - 1) * states
        step[here : here + states, sooner : sooner + states] = np.eye(states)
    step[:states] = law.transpose(1, 0, 2).reshape(states, -1)
    first = np.zeros(lengths * states)
    first[:states] = start
    return visits(step, first, tokens)[:states]


@dataclass(frozen=True)
class Exact:
    """Expected totals of a request at one depth; ratios of them are what a long run shows.

    Attributes:
        tokens: tokens a request (per round, in the steady state).
        rounds: rounds a request.
        slow_rounds: rounds weighted by the slowdown of the state that they start in.
        accepted: ``[depth + 1]`` P(exactly a drafts accepted), over rounds.
        starts: ``[S]`` share of rounds that start in each state.

    """

    tokens: float
    rounds: float
    slow_rounds: float
    accepted: Floats
    starts: Floats

    @property
    def accept_length(self) -> float:
        """Tokens a round."""
        return self.tokens / self.rounds

    @property
    def conditional(self) -> Floats:
        """``[depth]`` P(draft j accepted | 1..j-1 accepted), pooled over rounds."""
        reach = np.cumsum(self.accepted[::-1])[::-1]
        return np.divide(reach[1:], reach[:-1], out=np.zeros(len(reach) - 1), where=reach[:-1] > 0)


def solve(source: Source, depth: int, *, rounds: int = 0, tokens: int = 0) -> Exact:
    """Solve the model at ``depth``.

    Args:
        source: the model; of a recording, each request is played once.
        depth: 0..K.
        rounds: horizon of a request in rounds, or
        tokens: in tokens, where the last round's tokens past the limit are dropped (its time and
            its accepted drafts count in full). With neither: the steady state, per round; of a
            recording, the requests as long as they were.

    """
    if isinstance(source, Recording):
        return _play_all(source, depth, rounds, tokens)
    chain = source.hidden_chain
    if chain is None:
        raise TypeError(f"{type(source).__name__} is neither a chain nor a recording")
    law = round_law(chain, depth)
    if tokens:
        starts = starts_by_tokens(law, chain.start, tokens)
    elif rounds:
        starts = visits(law.sum(0), chain.start, rounds)
    else:
        starts = stationary(law.sum(0), chain.start)
    accepted = np.einsum("s,ast->a", starts, law)
    produced = tokens or float(accepted @ np.arange(1, depth + 2))
    return Exact(
        float(produced),
        float(starts.sum()),
        float(starts @ chain.slowdown),
        accepted / starts.sum(),
        starts / starts.sum(),
    )


def break_even_rate(conditional: Floats, round_time: Floats, tokens: int) -> Floats:
    """The rate p_k above which depth k beats depth k - 1 in requests of ``tokens``, ``[K]``.

    Like :func:`mtpsim.formula.closed_form.break_even_rate`, of rounds that are independent, but
    the last round of a request is cut at its end: deep drafts lose more there, so that the rate is
    higher.
    """
    found, shallower = [], 1.0
    for k, rate in enumerate(conditional):

        def length(p: float, first: Floats = conditional[:k]) -> float:
            return _length(np.append(first, p), tokens)

        found.append(_rate_of(shallower * float(round_time[k + 1] / round_time[k]), length))
        shallower = length(rate)
    return np.array(found)


def _rate_of(wanted: float, length: Callable[[float], float]) -> float:
    """The rate that gives the accept length; beyond 1 on a straight line; at least 0."""
    from scipy.optimize import brentq

    least, most = length(0.0), length(1.0)
    if least >= wanted:
        return 0.0
    if most <= wanted:
        return 1 + (wanted - most) / (most - least) if most > least else np.inf
    return float(brentq(lambda p: length(p) - wanted, 0.0, 1.0))


def _length(conditional: Floats, tokens: int) -> float:
    """Accept length of independent rounds in requests of ``tokens``."""
    one = np.ones(1)
    chain = AcceptanceChain(one, np.ones((1, 1, 1)), conditional[None, :], "round", one)
    return solve(chain, len(conditional), tokens=tokens).accept_length


@dataclass(frozen=True)
class CountMoments:
    """Moments of the accepted drafts a_1 .. a_N of the rounds of a request.

    Attributes:
        mean: ``[N]`` E a_t.
        square: ``[N]`` E a_t^2.
        covariance: ``[N, N]`` of a_t and a_u.

    """

    mean: Floats
    square: Floats
    covariance: Floats

    @property
    def variance(self) -> float:
        """Of the accepted drafts of a round drawn at random."""
        return float(self.square.mean() - self.mean.mean() ** 2)

    @property
    def design_effect(self) -> float:
        """Variance of the sum over what it were with independent rounds."""
        return float(self.covariance.sum() / (len(self.mean) * self.variance))

    def autocorrelation(self, lag: int) -> float:
        """Correlation of rounds ``lag`` apart, all such pairs together."""
        early, late = self.mean[:-lag], self.mean[lag:]
        product = np.diag(self.covariance, lag) + early * late
        return float((product.mean() - early.mean() * late.mean()) / self.variance)

    @property
    def lasting_share(self) -> float:
        """Covariance of the mean in the first and in the last third, over the variance."""
        third = max(len(self.mean) // 3, 1)
        return float(self.covariance[:third, -third:].mean() / self.variance)


def count_moments(chain: AcceptanceChain, depth: int, rounds: int) -> CountMoments:
    """How the rounds of a request of ``rounds`` rounds hang together, solved exactly."""
    law = round_law(chain, depth)
    count = np.arange(depth + 1)
    step, weighted = law.sum(0), np.einsum("a,ast->st", count, law)
    here, ahead = np.empty((rounds, chain.states)), np.empty((chain.states, rounds))
    start, later = chain.start, weighted.sum(1)
    for t in range(rounds):
        here[t], ahead[:, t] = start, later
        start, later = start @ step, step @ later
    mean = here @ weighted.sum(1)
    square = here @ (count**2 @ law.sum(2))
    product = here @ weighted @ ahead  # E a_t a_(t + 1 + lag), by t and lag
    first, second = np.triu_indices(rounds, 1)
    covariance = np.diag(square - mean**2)
    line = product[first, second - first - 1] - mean[first] * mean[second]
    covariance[first, second] = covariance[second, first] = line
    return CountMoments(mean, square, covariance)


def _play_all(recording: Recording, depth: int, rounds: int, tokens: int) -> Exact:
    """Mean totals over the recorded requests, which are drawn alike."""
    counts, produced = np.zeros(depth + 1), 0.0
    for at in range(0, recording.requests, CHUNK):
        some = slice(at, min(at + CHUNK, recording.requests))
        played = play(recording, some, depth, rounds=rounds, tokens=tokens)
        counts += np.bincount(played[played >= 0], minlength=depth + 1)
        made = (played + 1).sum(1)
        if recording.clock == "token" and not rounds and not tokens:
            made = np.minimum(made, recording.lengths[some])
        produced += float(np.minimum(made, tokens).sum() if tokens else made.sum())
    n = counts.sum()
    per_request = n / recording.requests
    return Exact(produced / recording.requests, per_request, per_request, counts / n, np.ones(1))


def speedups(chain: Source, times: Floats, *, rounds: int = 0, tokens: int = 0) -> Floats:
    """Exact speedup ``[K + 1]`` as the ratio of means; ``times`` ``[K + 1]`` mean ms a round.

    Noise of mean one that does not depend on the path leaves it unchanged.
    """
    solved = [solve(chain, k, rounds=rounds, tokens=tokens) for k in range(chain.depth + 1)]
    pace = np.array([s.tokens / (s.slow_rounds * t) for s, t in zip(solved, times, strict=True)])
    return np.asarray(pace / pace[0])
