"""An experiment is compiled to a kernel plan; the kernels turn a block of requests into a tally."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mtpsim.acceptance import Source
from mtpsim.acceptance.base import WORDS, Counts, LengthTable
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.engine.block_sizes import CHUNK_UNITS, UNIT_TICKS, unit_of
from mtpsim.kernels.acceptance import BITS
from mtpsim.kernels.arrays import (
    ChainArrays,
    NoiseArrays,
    RecordingArrays,
    RequestArrays,
    RowLayout,
)
from mtpsim.kernels.moments import complete_rows, moments
from mtpsim.kernels.philox import PATH, TILE, TOKENS, words_at
from mtpsim.kernels.round_clock import simulate_rounds, simulate_rounds_to_tokens
from mtpsim.latency import CompiledLatency
from mtpsim.latency.quantile_table import normal_table
from mtpsim.stats.estimators import Tally
from mtpsim.stats.quantiles import Tails

if TYPE_CHECKING:
    from mtpsim.engine.policy_player import Log, PolicySet

TABLE_KINDS = {"constant": 0, "cells": 1, "samples": 2}
MOST = 50_000  # requests that are simulated again for quantiles: 500 of them are beyond p99
MOST_TICKS = 2**26  # rounds or tokens that are simulated again: some tenths of a second
MOST_PLAYED = 2**23  # rounds or tokens of all policies together: each costs about 20 times as much
MOST_EXACT = 2**25  # rounds or tokens of all policies, of recorded requests played once each
LEAST = 100  # requests, however long they are


@dataclass(frozen=True)
class KernelPlan:
    """Everything that the kernels read of a point.

    Attributes:
        key (int): Key of all random words.
        clock (str): ``"round"`` or ``"token"``: what a tick is.
        outcomes (int): 2 if transitions depend on the outcome of the tick, else 1.
        source (ChainArrays | RecordingArrays): Which drafts are accepted.
        noise (NoiseArrays): Quantile tables of the round times.
        task (RequestArrays): Length of a request and mean round times by depth.
        layout (RowLayout): Columns of a row of totals.
        unit (int): Requests per unit of a block.
        chunk (int): Requests per call of a kernel, which bounds the memory.
        policy_set (PolicySet | None): Adaptive policies; None if there are none.
        lengths (LengthTable | None): Tokens of a request by its first state; None: all have those
            of ``task``, which is otherwise the greatest.
        slowdown (Floats | None): ``[S, K + 1]`` factor on the round time by state and depth; None:
            that of ``source`` at every depth.
    """

    key: int
    clock: str
    outcomes: int
    source: ChainArrays | RecordingArrays
    noise: NoiseArrays
    task: RequestArrays
    layout: RowLayout
    unit: int
    chunk: int
    policy_set: PolicySet | None = None
    lengths: LengthTable | None = None
    slowdown: Floats | None = None

    def at_depth(self, depth: int) -> ChainArrays:
        """The arrays of the chain with the slowdown of a depth."""
        assert isinstance(self.source, ChainArrays)
        if self.slowdown is None:
            return self.source
        return self.source._replace(slowdown=self.slowdown[:, depth].copy(), slow=True)

    @property
    def text(self) -> bytes:
        """Hash of what the accepted drafts of a request with a given number depend on."""
        arrays = [part for part in self.source if isinstance(part, np.ndarray)]
        if self.lengths is not None:
            arrays += [self.lengths.tokens, self.lengths.shares]
        ends = self.clock, self.key, self.task.rounds, self.task.tokens, self.layout.measured_at
        parts = [f"{ends}".encode(), *(part.tobytes() for part in arrays)]
        return hashlib.blake2b(b"".join(parts)).digest()


@dataclass(frozen=True, eq=False)
class CompiledPoint:
    """A point of an experiment, compiled.

    Attributes:
        experiment (Experiment): The point: an experiment without a sweep.
        source (Source): Which drafts are accepted.
        latency (CompiledLatency): How long rounds take.
        plan (KernelPlan): What the kernels read.
    """

    experiment: Experiment
    source: Source
    latency: CompiledLatency
    plan: KernelPlan


def compile_point(experiment: Experiment) -> CompiledPoint:
    """Compile an experiment without a sweep.

    Raises:
        InputError: A distribution of the latency can't be tabulated, or a policy can't be solved.
    """
    source, simulation = experiment.source, experiment.simulation
    latency = compiled_latency(experiment)
    policy_set = None
    if experiment.adaptive is not None:
        from mtpsim.engine.policy_player import compile_policies

        try:
            policy_set = compile_policies(
                experiment.adaptive,
                source,
                latency,
                batch=experiment.batch,
                **simulation.horizon,
            )
        except ValueError as error:
            raise InputError.of(str(error), key="adaptive.policies") from None
    plan = compile_plan(
        source,
        latency,
        seed=simulation.seed,
        **simulation.horizon,
        measured_at=experiment.measured_at,
        policy_set=policy_set,
    )
    return CompiledPoint(experiment, source, latency, plan)


def compiled_latency(experiment: Experiment) -> CompiledLatency:
    """Compile the latency of an experiment.

    Raises:
        InputError: A distribution of the latency can't be tabulated.
    """
    try:
        return experiment.compiled_latency()
    except ValueError as error:
        raise InputError.of(str(error), key="latency") from None


def compile_plan(
    source: Source,
    latency: CompiledLatency,
    *,
    seed: int,
    rounds: int = 0,
    tokens: int = 0,
    measured_at: int | None = None,
    policy_set: PolicySet | None = None,
) -> KernelPlan:
    """Compile what the kernels read of one point.

    Args:
        source (Source): Which drafts are accepted.
        latency (CompiledLatency): How long rounds take; compiled for the same depths.
        seed (int): Seed of all random numbers.
        rounds (int): Rounds per request; 0 if requests end otherwise.
        tokens (int): Tokens per request; 0 if requests end otherwise. With ``rounds`` and
            ``tokens`` 0, recorded requests have their recorded length.
        measured_at (int | None): Depth at which acceptance rates are measured; None: the greatest.
        policy_set (PolicySet | None): Adaptive policies to simulate too.
    """
    policies = len(policy_set.players) if policy_set else 0
    chain = source.hidden_chain
    lengths = chain.lengths_of(tokens) if chain and tokens else None
    longest = int(lengths.tokens.max()) if lengths else tokens
    unit, chunk = unit_of(source, rounds, longest, policies)
    by_depth = source.slowdown.ndim == 2
    every = source.clock == "token" or source.outcomes == 2 or tokens > 0 or by_depth
    measured = measured_at or source.depth
    times = np.stack([latency.verify, latency.draft]).astype(np.float64)
    return KernelPlan(
        key=random_key(seed),
        clock=source.clock,
        outcomes=source.outcomes,
        source=source.arrays(),
        noise=noise_arrays(latency),
        task=RequestArrays(rounds, longest, measured, times, every),
        layout=RowLayout(
            depth=source.depth,
            every=every,
            measured_at=measured,
            positions=source.clock == "token",
            policies=policies,
        ),
        unit=unit,
        chunk=chunk,
        policy_set=policy_set,
        lengths=lengths,
        slowdown=source.slowdown if by_depth else None,
    )


def noise_arrays(latency: CompiledLatency) -> NoiseArrays:
    """Quantile tables of the noise; that of the normal distribution only if scores are needed."""
    tables = (latency.target_noise, latency.verify_noise, latency.draft_noise)
    scores = latency.correlation != 0 or latency.persistence != 0
    return NoiseArrays(
        kinds=np.array([TABLE_KINDS[table.kind] for table in tables], np.int64),
        target=latency.target_noise.values,
        verify=latency.verify_noise.values,
        draft=latency.draft_noise.values,
        normal=normal_table().values if scores else np.zeros((1, 2)),
        shared=latency.shared,
        correlation=float(latency.correlation),
        persistence=float(latency.persistence),
        arm=0,
    )


def random_key(seed: int) -> int:
    """Key of the random words of a seed.

    All points of an experiment share the key, so that depths, models and swept values are compared
    on common random numbers.
    """
    return int.from_bytes(hashlib.blake2b(f"mtpsim {seed}".encode(), digest_size=8).digest(), "big")


def simulate_requests(plan: KernelPlan, first: int, count: int) -> Floats:
    """Totals of requests ``first`` .. ``first + count - 1``, ``[count, columns]``.

    The row of a request depends on the plan and the number of the request alone.
    """
    rows = np.zeros((count, plan.layout.columns))
    own = lengths_of(plan, first, count)
    task = plan.task if own is None else plan.task._replace(lengths=own.astype(np.int32))
    key, depth = np.uint64(plan.key), plan.layout.depth
    # Where transitions depend on outcomes, each depth has its own path, and needs its own pass; and
    # where the slowdown of a state depends on the depth.
    each = plan.outcomes == 2 or plan.slowdown is not None
    for shallow, deep in [(k, k) for k in range(depth + 1)] if each else [(0, depth)]:
        source = plan.source if plan.slowdown is None else plan.at_depth(deep)
        _kernel_of(plan)(key, first, source, plan.noise, task, shallow, deep, rows)
    complete(rows, plan.layout)
    if plan.policy_set:
        totals, _ = play_policies(plan, first, count)
        rows[:, plan.layout.squares.stop :] = totals.swapaxes(0, 1).reshape(count, -1)
    return rows


def _kernel_of(plan: KernelPlan) -> Callable[..., None]:
    if isinstance(plan.source, RecordingArrays):
        from mtpsim.kernels.replay import simulate_recording

        return simulate_recording
    if plan.clock == "token":
        from mtpsim.kernels.token_clock import simulate_positions

        return simulate_positions
    return simulate_rounds_to_tokens if plan.task.tokens else simulate_rounds


def lengths_of(plan: KernelPlan, first: int, count: int) -> Counts | None:
    """Tokens of each request, ``[count]``, by its first state; None where all have as many."""
    if plan.lengths is None or not isinstance(plan.source, ChainArrays):
        return None
    words = np.empty((TILE, count), np.int32)
    words_at(np.uint64(plan.key), first, 0, PATH, words)
    first_state = ((words[0] & BITS)[:, None] > plan.source.state_bounds[-1]).sum(1)
    words_at(np.uint64(plan.key), first, 0, TOKENS, words)
    share = (words[0] & BITS) / WORDS
    below = plan.lengths.shares.cumsum(1)[:, :-1]  # its last entry is 1, but for rounding
    return np.asarray(plan.lengths.tokens[(share[:, None] >= below[first_state]).sum(1)])


def play_policies(plan: KernelPlan, first: int, count: int, logged: int = 0) -> tuple[Floats, Log]:
    """Simulate requests ``first`` .. ``first + count - 1`` under every policy.

    Returns:
        Totals and log, as of :func:`mtpsim.engine.policy_player.play`.

    Raises:
        ValueError: The experiment has no policies.
    """
    if plan.policy_set is None:
        raise ValueError("the experiment has no policies to simulate")
    from mtpsim.engine.policy_player import limits_of, play

    horizon = {"rounds": plan.task.rounds, "tokens": plan.task.tokens}
    limits = limits_of(plan.key, plan.source, first, count, **horizon)
    if (own := lengths_of(plan, first, count)) is not None:
        limits[:, 1:] = own[:, None]
    return play(plan.policy_set, plan.key, plan.source, plan.noise, limits, first, logged=logged)


def play_each_once(plan: KernelPlan) -> Floats | None:
    """Tokens per ms of every policy over all recorded requests, each played once without noise.

    Returns:
        ``[policies]``, which are exact; NaN for policies whose choices depend on random numbers or
        on noise. None unless recorded requests are replayed, or if they are too long.
    """
    source, policies = plan.source, plan.policy_set
    if policies is None or not isinstance(source, RecordingArrays):
        return None
    if policies.engine.stale or policies.engine.resumed:
        return None
    count = len(source.offsets) - 1
    ticks = count * (plan.task.rounds or plan.task.tokens) or int(source.offsets[-1])
    if ticks * len(policies.players) > MOST_EXACT:
        return None
    constant = plan.noise._replace(kinds=np.zeros_like(plan.noise.kinds), correlation=0.0)
    quiet = replace(
        plan,
        source=source._replace(in_order=True),
        noise=constant._replace(persistence=0.0),
    )
    totals = play_policies(quiet, 0, count)[0].sum(1)
    noisy = bool(plan.noise.kinds.any())
    random = [
        player.inputs.scores or player.drawn or (noisy and player.spec.reads_time)
        for player in policies.players
    ]
    return np.where(random, np.nan, totals[:, 0] / totals[:, 1])


def complete(rows: Floats, layout: RowLayout) -> None:
    """Fill in the derived columns of ``rows`` ``[n, columns]``, in place."""
    at = layout.measured_at
    derived = layout.request_survival.start
    complete_rows(rows, layout.rounds.start + at, layout.accepted(at).start, derived, at)


def tally_block(plan: KernelPlan, first: int, count: int) -> Tally:
    """Tally of one block."""
    tally = Tally.empty(plan.layout.columns)
    for at in range(first, first + count, plan.chunk):
        rows = simulate_requests(plan, at, min(plan.chunk, first + count - at))
        mean = np.empty(rows.shape[1])
        comoment = np.empty((rows.shape[1], rows.shape[1]))
        moments(rows, mean, comoment)
        tally = tally + Tally(len(rows), mean, comoment)
    return tally


def sample_rows(plan: KernelPlan, requests: int, first: int = 0) -> Floats:
    """Totals of the first requests of a point, ``[n, columns]``.

    Args:
        plan (KernelPlan): The point.
        requests (int): Number of requests of the point.
        first (int): Number of its first request.
    """
    plain = replace(plan, policy_set=None)
    pieces = _pieces(plan, requests, MOST_TICKS, first)
    return np.concatenate([simulate_requests(plain, *piece) for piece in pieces])


def sample_policies(plan: KernelPlan, requests: int, first: int = 0) -> Floats:
    """Tokens and ms of the first requests under every policy, ``[policies, n, 2]``.

    Args:
        plan (KernelPlan): The point; it has policies.
        requests (int): Number of requests of the point.
        first (int): Number of its first request. Each policy has the same
            requests as the fixed depths.
    """
    pieces = _pieces(plan, requests, MOST_PLAYED // plan.layout.policies, first)
    return np.concatenate([play_policies(plan, *piece)[0][..., :2] for piece in pieces], axis=1)


def _pieces(plan: KernelPlan, requests: int, most_ticks: int, first: int) -> list[tuple[int, int]]:
    """First request and number of requests of each chunk that is simulated again."""
    ticks = plan.task.rounds or plan.task.tokens or CHUNK_UNITS * UNIT_TICKS // plan.chunk
    most = min(requests, MOST, max(most_ticks // ticks, LEAST))
    return [(first + at, min(plan.chunk, most - at)) for at in range(0, most, plan.chunk)]


def tails(rows: Floats, plan: KernelPlan, confidence: float) -> Tails:
    """Quantiles of requests by depth; ``rows`` as of :func:`sample_rows`."""
    return Tails.of(rows[:, plan.layout.tokens].T, rows[:, plan.layout.time_ms].T, confidence)


def policy_tails(totals: Floats, rows: Floats, plan: KernelPlan, confidence: float) -> Tails:
    """Quantiles of requests by policy.

    Args:
        totals (Floats): Requests under every policy, as of :func:`sample_policies`.
        rows (Floats): The same and further requests, as of :func:`sample_rows`.
        plan (KernelPlan): The point.
        confidence (float): Two-sided confidence of the intervals.
    """
    first = rows[: totals.shape[1]]
    plain = np.stack([first[:, plan.layout.tokens][:, 0], first[:, plan.layout.time_ms][:, 0]])
    return Tails.of(totals[..., 0], totals[..., 1], confidence, plain)
