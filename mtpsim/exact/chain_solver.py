"""Exact expectations of an acceptance model by linear algebra, to check the simulation against.

Everything follows from the matrices ``D[a]`` ``[S, S]`` of a round: the probability that a round
which starts in state s accepts a drafts and that the next round starts in state s'.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mtpsim.acceptance import AcceptanceChain, Recording, Source
from mtpsim.acceptance.base import LengthTable, stationary
from mtpsim.acceptance.recording import play
from mtpsim.common.arrays import Floats

SMALL_CHAIN = 1024  # states of the companion form that are solved by doubling
CHUNK = 4096  # recorded requests played at once
FEW_LENGTHS, MOST_POSITIONS = 8, 50_000  # beyond these lengths are solved at once, or one by one


def round_distribution(chain: AcceptanceChain, depth: int) -> Floats:
    """The matrices ``D`` ``[depth + 1, S, S]`` of a round at a depth from 0 to K.

    Under the token clock the next round starts after the rejected position (or after the bonus
    token), so the sum over a is the chain embedded at round starts.
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
    at = np.eye(chain.states)  # distribution of the state at the next position, by the start
    joint = []
    for j in range(depth):
        accept = chain.accept[:, j]
        joint.append((at * (1 - accept)) @ rejected)
        at = (at * accept) @ passed
    return np.stack([*joint, at @ passed])


def steady_accepted(step: Floats, accept: Floats, depth: int) -> Floats:
    """P(exactly a drafts accepted) in the steady state of many token-clock chains at once.

    Args:
        step: ``[N, S, S]`` transition probabilities from token to token, each chain irreducible.
        accept: ``[N, S, K]`` acceptance rates by state and draft position.
        depth: drafts per round, at most K.

    Returns:
        ``[N, depth + 1]``, as :attr:`Exact.accepted` of each chain.
    """
    states = step.shape[1]
    at, joint = np.broadcast_to(np.eye(states), step.shape), []
    for j in range(depth):
        rate = accept[:, None, :, j]
        joint.append((at * (1 - rate)) @ step)
        at = (at * rate) @ step
    by_count = np.stack([*joint, at @ step])
    balance = np.swapaxes(by_count.sum(0), 1, 2) - np.eye(states)
    balance[:, -1] = 1.0  # the shares sum to 1, in place of an equation that the others imply
    total = np.zeros((len(step), states, 1))
    total[:, -1] = 1.0
    starts = np.linalg.solve(balance, total)[..., 0]
    return np.asarray(np.einsum("ns,anst->na", starts, by_count))


def visits(step: Floats, start: Floats, ticks: int) -> Floats:
    """Expected visits to each state in a number of ticks: the sum of start step^t over t < ticks.

    By doubling, so that the cost grows with the logarithm of ``ticks``.
    """
    total, now = np.zeros_like(start), start.copy()
    some, power = np.eye(len(start)), step  # sum over the next 2^b ticks, and step^(2^b)
    while ticks:
        if ticks & 1:
            total = total + now @ some
            now = now @ power
        ticks >>= 1
        if ticks:
            some, power = some + some @ power, power @ power
    return total


def one_by_one_operations(states: int, lengths: int, tokens: int) -> float:
    """Operations of following a request token by token, as many as take as long in products."""
    return 10.0 * tokens * max(lengths * states**2, 2000)


def solve_operations(states: int, lengths: int, tokens: int) -> float:
    """Operations to find where the rounds of a request of ``tokens`` tokens start.

    By doubling; large chains token by token where that is less work.
    """
    size = lengths * states
    doubling = 2.0 * size**3 * max(tokens.bit_length(), 1)
    if size <= SMALL_CHAIN:
        return doubling
    return min(doubling, one_by_one_operations(states, lengths, tokens))


def _starts_one_by_one(joint: Floats, start: Floats, tokens: int) -> Floats:
    lengths, states = joint.shape[:2]
    after = joint.reshape(lengths * states, states)
    recent = np.zeros((lengths, states))  # starts at 1, 2, .. positions before
    recent[0] = total = start.copy()
    for _ in range(1, tokens):
        here = recent.ravel() @ after
        recent[1:] = recent[:-1]
        recent[0] = here
        total = total + here
    return total


def starts_by_tokens(joint: Floats, start: Floats, tokens: int) -> Floats:
    """Expected round starts in each state ``[S]`` at positions below ``tokens``."""
    lengths, states = joint.shape[:2]
    if solve_operations(states, lengths, tokens) == one_by_one_operations(states, lengths, tokens):
        return _starts_one_by_one(joint, start, tokens)
    # Companion form: the tick is a position, the state "a round starts in s after i more".
    step = np.zeros((lengths * states, lengths * states))
    for wait in range(1, lengths):
        here, sooner = wait * states, (wait - 1) * states
        step[here : here + states, sooner : sooner + states] = np.eye(states)
    step[:states] = joint.transpose(1, 0, 2).reshape(states, -1)
    first = np.zeros(lengths * states)
    first[:states] = start
    return visits(step, first, tokens)[:states]


@dataclass(frozen=True)
class Exact:
    """Expected totals of a request at one depth; their ratios are the limits of a long run.

    Attributes:
        tokens (float): Tokens per request (per round, in the steady state).
        rounds (float): Rounds per request.
        slow_rounds (float): Rounds per request, weighted by the slowdown of their first state.
        accepted (Floats): ``[depth + 1]`` P(exactly a drafts accepted), over rounds.
        starts (Floats): ``[S]`` share of rounds that start in each state.

    Examples:
        >>> from mtpsim.acceptance import Independent
        >>> found = solve(Independent(model="independent", rates=[0.8, 0.74]).chain(), depth=2)
        >>> found.conditional.round(2).tolist(), found.accepted.round(3).tolist()
        ([0.8, 0.74], [0.2, 0.208, 0.592])
    """

    tokens: float
    rounds: float
    slow_rounds: float
    accepted: Floats
    starts: Floats

    @property
    def accept_length(self) -> float:
        """Accept length: tokens per round, the bonus token included."""
        return self.tokens / self.rounds

    @property
    def conditional(self) -> Floats:
        """``[depth]`` P(draft j accepted | 1..j-1 accepted), pooled over rounds."""
        reach = np.cumsum(self.accepted[::-1])[::-1]
        return np.divide(reach[1:], reach[:-1], out=np.zeros(len(reach) - 1), where=reach[:-1] > 0)


def solve(source: Source, depth: int, *, rounds: int = 0, tokens: int = 0) -> Exact:
    """Exact expected totals of a request at one depth.

    Args:
        source (Source): The acceptance model; each request of a recording is replayed once.
        depth (int): Drafts per round, 0 to K.
        rounds (int): Rounds per request, or 0.
        tokens (int): Tokens per request, or 0. Tokens of the last round beyond the limit are
            dropped; its time and its accepted drafts count in full. If both are 0: the steady
            state, per round; for a recording, requests of recorded length.

    Returns:
        Exact: Expected tokens, rounds and accepted drafts.

    Raises:
        TypeError: The source is neither a chain nor a recording.

    Examples:
        >>> from mtpsim.acceptance import Independent
        >>> chain = Independent(model="independent", rates=[0.8, 0.74, 0.67]).chain()
        >>> round(solve(chain, depth=2).accept_length, 6)
        2.392
        >>> round(solve(chain, depth=2, tokens=10).accept_length, 6)  # cut at the request's end
        2.196642
    """
    return _solve(source, depth, rounds, tokens)


@lru_cache(maxsize=256)  # points of a sweep over times have one source
def _solve(source: Source, depth: int, rounds: int, tokens: int) -> Exact:
    if isinstance(source, Recording):
        return _play_all(source, depth, rounds, tokens)
    chain = source.hidden_chain
    if chain is None:
        raise TypeError(f"{type(source).__name__} is neither a chain nor a recording")
    if tokens and (lengths := chain.lengths_of(tokens)) is not None:
        return _solve_lengths(chain, depth, lengths)
    joint = round_distribution(chain, depth)
    if tokens:
        starts = starts_by_tokens(joint, chain.start, tokens)
    elif rounds:
        starts = visits(joint.sum(0), chain.start, rounds)
    else:
        starts = stationary(joint.sum(0), chain.start)
    accepted = np.einsum("s,ast->a", starts, joint)
    produced = tokens or float(accepted @ np.arange(1, depth + 2))
    return Exact(
        float(produced),
        float(starts.sum()),
        float(starts @ chain.slowdown_at(depth)),
        accepted / starts.sum(),
        starts / starts.sum(),
    )


def _solve_lengths(chain: AcceptanceChain, depth: int, lengths: LengthTable) -> Exact:
    """Totals of requests whose length depends on their first state: a sum over the lengths."""
    if lengths.tokens.size > FEW_LENGTHS and lengths.tokens[-1] <= MOST_POSITIONS:
        return _solve_at_once(chain, depth, lengths)
    found = []
    for length, shares in zip(lengths.tokens, lengths.shares.T, strict=True):
        start = chain.start * shares
        if share := float(start.sum()):
            part = replace(chain, start=start / share, lengths=None, length_table=None)
            found.append((share, solve(part, depth, tokens=int(length))))
    rounds = sum(share * part.rounds for share, part in found)
    shares = [(share * part.rounds / rounds, part) for share, part in found]
    return Exact(
        tokens=sum(share * part.tokens for share, part in found),
        rounds=rounds,
        slow_rounds=sum(share * part.slow_rounds for share, part in found),
        accepted=np.sum([share * part.accepted for share, part in shares], axis=0),
        starts=np.sum([share * part.starts for share, part in shares], axis=0),
    )


def _solve_at_once(chain: AcceptanceChain, depth: int, lengths: LengthTable) -> Exact:
    """The same for many lengths: all requests end together, and start at different positions."""
    joint = round_distribution(chain, depth)
    after = joint.reshape((depth + 1) * chain.states, chain.states)
    start = chain.start[:, None] * lengths.shares
    most = int(lengths.tokens[-1])
    begin = {most - int(length): start[:, i] for i, length in enumerate(lengths.tokens)}
    recent, starts = np.zeros((depth + 1, chain.states)), np.zeros(chain.states)
    for position in range(most):
        here = recent.ravel() @ after + begin.get(position, 0.0)
        recent[1:] = recent[:-1]
        recent[0] = here
        starts += here
    return Exact(
        tokens=float(start.sum(0) @ lengths.tokens),
        rounds=float(starts.sum()),
        slow_rounds=float(starts @ chain.slowdown_at(depth)),
        accepted=np.einsum("s,ast->a", starts, joint) / starts.sum(),
        starts=starts / starts.sum(),
    )


def break_even_rate(conditional: Floats, round_time: Floats, tokens: int) -> Floats:
    """Break-even rates p_k of independent rounds in requests of a number of tokens.

    Like :func:`mtpsim.formula.closed_form.break_even_rate`, but the last round is cut at the
    request's end. Deep drafts lose more there, so the rates are higher.

    Args:
        conditional (Floats): ``[K]`` conditional rates.
        round_time (Floats): ``[K + 1]`` verify + draft time by depth, in ms or any other unit.
        tokens (int): Tokens per request.

    Returns:
        Floats: ``[K]`` rates above which depth k is faster than depth k - 1; above 1, linearly
        extrapolated.

    Examples:
        >>> times = np.array([76.0, 98.0, 118.0, 139.0])
        >>> break_even_rate(np.array([0.8, 0.74, 0.67]), times, tokens=64).round(3)
        array([0.294, 0.47 , 0.744])
    """
    found, shallower = [], 1.0
    for k, rate in enumerate(conditional):

        def length(p: float, first: Floats = conditional[:k]) -> float:
            return _length(np.append(first, p), tokens)

        found.append(_rate_of(shallower * float(round_time[k + 1] / round_time[k]), length))
        shallower = length(rate)
    return np.array(found)


def _rate_of(wanted: float, length: Callable[[float], float]) -> float:
    """The rate that gives the wanted accept length, at least 0; extrapolated beyond 1."""
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
    """Moments of the accepted drafts a_1 .. a_N in the N rounds of a request.

    Attributes:
        mean (Floats): ``[N]`` E a_t.
        square (Floats): ``[N]`` E a_t^2.
        covariance (Floats): ``[N, N]`` Cov(a_t, a_u).
    """

    mean: Floats
    square: Floats
    covariance: Floats

    @property
    def variance(self) -> float:
        """Variance of the accepted drafts of a random round."""
        return float(self.square.mean() - self.mean.mean() ** 2)

    @property
    def design_effect(self) -> float:
        """Variance of the sum, relative to independent rounds (Kish 1965)."""
        return float(self.covariance.sum() / (len(self.mean) * self.variance))

    def autocorrelation(self, lag: int) -> float:
        """Correlation of rounds ``lag`` apart, pooled over all such pairs."""
        early, late = self.mean[:-lag], self.mean[lag:]
        product = np.diag(self.covariance, lag) + early * late
        return float((product.mean() - early.mean() * late.mean()) / self.variance)

    @property
    def lasting_share(self) -> float:
        """Covariance of the means of the first and last third, over the variance of a round."""
        third = max(len(self.mean) // 3, 1)
        return float(self.covariance[:third, -third:].mean() / self.variance)


@lru_cache(maxsize=16)
def count_moments(chain: AcceptanceChain, depth: int, rounds: int) -> CountMoments:
    """Exact moments of the accepted drafts of a request's rounds.

    Args:
        chain (AcceptanceChain): The acceptance model.
        depth (int): Drafts per round, 0 to K.
        rounds (int): Rounds per request, N.

    Returns:
        CountMoments: Means, mean squares and covariances.

    Examples:
        >>> from mtpsim.acceptance import Independent
        >>> chain = Independent(model="independent", rates=[0.8, 0.5]).chain()
        >>> moments = count_moments(chain, depth=2, rounds=3)
        >>> moments.mean.round(6)
        array([1.2, 1.2, 1.2])
        >>> round(moments.design_effect, 6)
        1.0
    """
    joint = round_distribution(chain, depth)
    count = np.arange(depth + 1)
    step, weighted = joint.sum(0), np.einsum("a,ast->st", count, joint)
    here, ahead = np.empty((rounds, chain.states)), np.empty((chain.states, rounds))
    start, later = chain.start, weighted.sum(1)
    for t in range(rounds):
        here[t], ahead[:, t] = start, later
        start, later = start @ step, step @ later
    mean = here @ weighted.sum(1)
    square = here @ (count**2 @ joint.sum(2))
    product = here @ weighted @ ahead  # E a_t a_(t + 1 + lag), by t and lag
    first, second = np.triu_indices(rounds, 1)
    covariance = np.diag(square - mean**2)
    line = product[first, second - first - 1] - mean[first] * mean[second]
    covariance[first, second] = covariance[second, first] = line
    return CountMoments(mean, square, covariance)


def _play_all(recording: Recording, depth: int, rounds: int, tokens: int) -> Exact:
    """Mean totals over the recorded requests, which are equally likely."""
    counts, produced = np.zeros(depth + 1), 0.0
    for at in range(0, recording.requests, CHUNK):
        some = slice(at, min(at + CHUNK, recording.requests))
        played = play(recording, some, depth, rounds=rounds, tokens=tokens)
        counts += np.bincount(played[played >= 0], minlength=depth + 1)
        made = (played + 1).sum(1)
        if recording.clock == "token" and not rounds and not tokens:
            made = made if recording.whole else np.minimum(made, recording.lengths[some])
        produced += float(np.minimum(made, tokens).sum() if tokens else made.sum())
    n = counts.sum()
    per_request = n / recording.requests
    return Exact(produced / recording.requests, per_request, per_request, counts / n, np.ones(1))


def speedups(chain: Source, times: Floats, *, rounds: int = 0, tokens: int = 0) -> Floats:
    """Exact speedup over plain decoding by depth: ratios of expected tokens per ms.

    Noise of mean 1 that does not depend on the accepted drafts leaves it unchanged.

    Args:
        chain (AcceptanceChain | Recording): The acceptance model, of depth K.
        times (Floats): ``[K + 1]`` mean time of a round by depth in ms.
        rounds (int): Rounds per request, or 0; as in :func:`solve`.
        tokens (int): Tokens per request, or 0; as in :func:`solve`.

    Returns:
        Floats: ``[K + 1]`` speedups; 1 at depth 0.

    Raises:
        ValueError: ``times`` has another length.

    Examples:
        >>> from mtpsim.acceptance import Independent
        >>> chain = Independent(model="independent", rates=[0.8, 0.74]).chain()
        >>> speedups(chain, np.array([76.0, 98.0, 118.0])).round(4)
        array([1.    , 1.3959, 1.5406])
    """
    solved = [solve(chain, k, rounds=rounds, tokens=tokens) for k in range(chain.depth + 1)]
    pace = np.array([s.tokens / (s.slow_rounds * t) for s, t in zip(solved, times, strict=True)])
    return np.asarray(pace / pace[0])
