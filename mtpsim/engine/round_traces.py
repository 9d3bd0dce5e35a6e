"""Traces of a sample of requests round by round, for statistics that totals do not contain.

NumPy code reproduces the requests of the kernels from the same random words: another kernel would
take longer to compile than this takes to run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.recording import play
from mtpsim.common.arrays import Floats
from mtpsim.engine.simulate import KernelPlan, lengths_of
from mtpsim.kernels.acceptance import BITS
from mtpsim.kernels.arrays import ChainArrays, RecordingArrays
from mtpsim.kernels.noise import round_factors
from mtpsim.kernels.philox import ARMS, DRAFT, PATH, TILE, VERIFY, words_at

SAMPLED_ROUNDS = 80_000  # approximate maximum
SAMPLED_REQUESTS = 64  # minimum; takes precedence over the maximum number of rounds

Counts = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RoundTrace:
    """Requests at one depth, round by round.

    Attributes:
        accepted (Counts): ``[n, R]`` accepted drafts per round; -1 after a request's last round.
        tick (Ints): ``[n, R]`` tick of the random words at which each round starts.
        state (Ints): ``[n, R]`` hidden state in which each round starts.
    """

    accepted: Counts
    tick: Ints
    state: Ints


def record_requests(plan: KernelPlan, count: int, rounds: int, first: int = 0) -> Counts:
    """Accepted drafts of some requests at depth M, round by round: see :func:`trace_requests`."""
    return trace_requests(plan, plan.layout.measured_at, count, rounds, first).accepted


def trace_requests(
    plan: KernelPlan, depth: int, count: int, rounds: int, first: int = 0
) -> RoundTrace:
    """Record some requests of a run, round by round.

    Args:
        plan (KernelPlan): The compiled point, of a chain.
        depth (int): Drafts per round, 0 to K.
        count (int): Number of requests n.
        rounds (int): Greatest number R of recorded rounds per request.
        first (int): Number of the first request.

    Returns:
        RoundTrace: The requests ``first`` to ``first + count - 1``.

    Raises:
        TypeError: The requests are recorded ones.
    """
    chain = plan.source
    if isinstance(chain, RecordingArrays):
        raise TypeError("recorded requests are replayed, not traced: see trace_recording")
    if plan.clock == "round" and plan.outcomes == 1 and not plan.task.tokens:
        return _trace_rounds(plan, chain, depth, count, rounds, first)
    trace = RoundTrace(
        accepted=np.full((count, rounds), -1, np.int32),
        tick=np.zeros((count, rounds), np.int64),
        state=np.zeros((count, rounds), np.int64),
    )
    done, tokens, so_far = (np.zeros(count, np.int64) for _ in range(3))
    row = np.full(count, len(chain.state_bounds) - 1)
    words = np.empty((TILE, count), np.int32)
    own, tick = lengths_of(plan, first, count), 0
    limit = own if own is not None else plan.task.tokens or np.inf
    while (live := (done < rounds) & (tokens < limit)).any():
        if tick % TILE == 0:
            words_at(np.uint64(plan.key), first, tick, PATH, words)
        word = words[tick % TILE] & BITS
        state = (word[:, None] > chain.state_bounds[row]).sum(1)
        accepts = word[:, None] <= chain.accept_bounds[row, state]
        starts = np.flatnonzero(live & (so_far == 0))
        trace.tick[starts, done[starts]], trace.state[starts, done[starts]] = tick, state[starts]
        if plan.clock == "token":
            ended, rejected = _verify_position(accepts, depth, so_far)
        else:
            so_far = accepts[:, :depth].sum(1)
            ended, rejected = np.ones(count, bool), so_far < depth
        row = _next_row(chain, state, rejected)
        wrote = np.flatnonzero(live & ended)
        trace.accepted[wrote, done[wrote]] = so_far[wrote]
        done[wrote] += 1
        tokens[wrote] += so_far[wrote] + 1
        so_far = np.where(ended, 0, so_far)
        tick += 1
    return trace


def _trace_rounds(
    plan: KernelPlan, chain: ChainArrays, depth: int, count: int, rounds: int, first: int
) -> RoundTrace:
    """The same where each tick is a round of every request, whatever was accepted before."""
    words = np.empty((-(-rounds // TILE) * TILE, count), np.int32)
    words_at(np.uint64(plan.key), first, 0, PATH, words)
    words = words[:rounds] & BITS
    state = np.zeros((rounds, count), np.int64)
    bounds, start = chain.accept_bounds, len(chain.state_bounds) - 1
    if (chain.state_bounds[:, 0] >= BITS).all():  # no state but the first is entered
        accepted = _count_accepted(words, bounds[0, 0, :depth])
        accepted[0] = _count_accepted(words[0], bounds[start, 0, :depth])
    else:
        row = np.full((rounds, count), start)
        for tick in range(rounds):
            state[tick] = (words[tick][:, None] > chain.state_bounds[row[tick]]).sum(1)
            row[tick + 1 : tick + 2] = state[tick]
        place = row * chain.state_bounds.shape[1] + state
        by_draft = bounds.reshape(-1, bounds.shape[2]).T[:depth]
        accepted = _count_accepted(words, (bound.take(place) for bound in by_draft))
    return RoundTrace(accepted.T, np.broadcast_to(np.arange(rounds), (count, rounds)), state.T)


def _count_accepted(words: Counts, bounds: Iterable[Counts]) -> Counts:
    """Accepted drafts of rounds, by the bounds of the words of each draft."""
    accepted = np.zeros(words.shape, np.int32)
    for bound in bounds:
        accepted += words <= bound
    return accepted


def trace_recording(
    recording: Recording, requests: slice, depth: int, *, rounds: int = 0, tokens: int = 0
) -> RoundTrace:
    """Replay recorded requests, each once; see :func:`mtpsim.acceptance.recording.play`."""
    accepted = play(recording, requests, depth, rounds=rounds, tokens=tokens)
    steps = accepted + 1 if recording.clock == "token" else np.ones_like(accepted)
    tick = np.cumsum(steps, axis=1, dtype=np.int64) - steps
    return RoundTrace(accepted, tick, np.zeros_like(tick))


def play_rounds(
    source: Source, plan: KernelPlan, depth: int, count: int, first: int = 0
) -> tuple[RoundTrace, Floats]:
    """Play whole requests at one depth: a trace and its times.

    Args:
        source (Source): The acceptance model; recorded requests are replayed in order, each once.
        plan (KernelPlan): The compiled point of the same model.
        depth (int): Drafts per round, 0 to K.
        count (int): Number of requests n.
        first (int): Number of the first request.

    Returns:
        tuple[RoundTrace, Floats]: The trace, and ``[n, R]`` times in ms.
    """
    rounds, tokens = plan.task.rounds, plan.task.tokens
    if isinstance(source, Recording):
        requests = slice(first, first + count)
        trace = trace_recording(source, requests, depth, rounds=rounds, tokens=tokens)
    else:
        trace = trace_requests(plan, depth, count, rounds or tokens, first)
    return trace, round_times(plan, trace, depth, first)


def sample_rounds(source: Source, plan: KernelPlan, depth: int) -> tuple[Counts, Floats]:
    """A sample of single rounds: accepted drafts and times in ms, each ``[N]``.

    All rounds of whole requests; their number depends on the length of a request.
    Arguments as in :func:`play_rounds`.
    """
    longest = plan.task.rounds or plan.task.tokens
    if isinstance(source, Recording):
        longest = longest or int(source.lengths.max())
    requests = max(SAMPLED_ROUNDS // longest, SAMPLED_REQUESTS)
    trace, times = play_rounds(source, plan, depth, requests)
    live = trace.accepted >= 0
    return trace.accepted[live], times[live]


def round_times(plan: KernelPlan, trace: RoundTrace, depth: int, first: int = 0) -> Floats:
    """Times of traced rounds, equal to those in the kernels.

    Args:
        plan (KernelPlan): The compiled point.
        trace (RoundTrace): The rounds of n requests.
        depth (int): Drafts per round, 0 to K, as in the trace.
        first (int): Number of the first request.

    Returns:
        Floats: ``[n, R]`` ms; not meaningful after a request's last round.
    """
    requests, rounds = trace.tick.shape
    tick = np.zeros((-(-rounds // TILE) * TILE, requests), np.int64)
    tick[:rounds] = trace.tick.T
    words = np.empty((int(tick.max()) // TILE * TILE + TILE, requests), np.int32)
    at_start = []
    for purpose in (VERIFY, DRAFT):
        words_at(np.uint64(plan.key), first, 0, purpose + ARMS * plan.noise.arm, words)
        at_start.append(np.take_along_axis(words, tick, axis=0))
    factors = np.empty((3, *tick.shape))
    round_factors(plan.noise, at_start[0], at_start[1], factors)
    target, verify, draft = factors[:, :rounds].swapaxes(1, 2)
    check = verify if depth else target
    time = plan.task.times[0, depth] * check + plan.task.times[1, depth] * draft
    if isinstance(plan.source, RecordingArrays):
        return np.asarray(time)
    return np.asarray(time * plan.at_depth(depth).slowdown[trace.state])


def _verify_position(accepts: Bools, depth: int, so_far: Ints) -> tuple[Bools, Bools]:
    """Verify the next draft at a position; return whether the round ends, and whether by rejection.

    Adds to ``so_far`` where the draft is accepted.
    """
    drafted = so_far < depth
    place = np.minimum(so_far, accepts.shape[1] - 1)
    hit = drafted & accepts[np.arange(len(accepts)), place]
    so_far += hit
    return ~hit, drafted & ~hit


def _next_row(chain: ChainArrays, state: Ints, rejected: Bools) -> Ints:
    """Row of the thresholds that the next tick reads."""
    states = chain.state_bounds.shape[1]
    by_outcome = len(chain.state_bounds) > states + 1
    return np.asarray(state + states * (by_outcome & ~rejected))
