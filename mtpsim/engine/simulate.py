"""Requests through the kernel: an experiment is compiled, and a Tally of a block comes out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mtpsim.acceptance import Source
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.engine.compile import KernelPlan, compile_plan
from mtpsim.engine.policy_player import Log, PolicySet, compile_policies, limits_of, play
from mtpsim.kernels.arrays import RecordingArrays
from mtpsim.kernels.moments import complete_rows, moments
from mtpsim.kernels.replay import simulate_recording
from mtpsim.kernels.round_clock import simulate_rounds, simulate_rounds_to_tokens
from mtpsim.kernels.row_layout import RowLayout
from mtpsim.kernels.token_clock import simulate_positions
from mtpsim.latency import CompiledLatency
from mtpsim.stats.moments import Tally


def simulate_requests(plan: KernelPlan, first: int, count: int) -> Floats:
    """Totals of requests ``first`` .. ``first + count - 1``, ``[count, columns]``.

    A request's row depends on the plan and its number alone.
    """
    rows = np.zeros((count, plan.layout.columns))
    if isinstance(plan.source, RecordingArrays):
        kernel = simulate_recording
    elif plan.clock == "token":
        kernel = simulate_positions
    else:
        kernel = simulate_rounds_to_tokens if plan.task.tokens else simulate_rounds
    key, depth = np.uint64(plan.key), plan.layout.depth
    # Where outcomes steer the chain each depth has its own path, and needs its own pass.
    passes = [(0, depth)] if plan.outcomes == 1 else [(k, k) for k in range(depth + 1)]
    for shallow, deep in passes:
        kernel(key, first, plan.source, plan.noise, plan.task, shallow, deep, rows)
    complete(rows, plan.layout)
    if plan.policy_set:
        totals, _ = play_policies(plan, first, count)
        rows[:, plan.layout.squares.stop :] = totals.swapaxes(0, 1).reshape(count, -1)
    return rows


def play_policies(plan: KernelPlan, first: int, count: int, logged: int = 0) -> tuple[Floats, Log]:
    """What :func:`~.policy_player.play` finds of requests ``first`` .. ``first + count - 1``.

    Raises:
        ValueError: the experiment has no policies.

    """
    if plan.policy_set is None:
        raise ValueError("the experiment has no policies to play")
    horizon = {"rounds": plan.task.rounds, "tokens": plan.task.tokens}
    limits = limits_of(plan.key, plan.source, first, count, **horizon)
    return play(plan.policy_set, plan.key, plan.source, plan.noise, limits, first, logged=logged)


def complete(rows: Floats, layout: RowLayout) -> None:
    """Fill in the derived columns of ``rows`` ``[n, columns]``, in place."""
    at = layout.measured_at
    derived = layout.request_survival.start
    complete_rows(rows, layout.rounds.start + at, layout.accepted(at).start, derived, at)


def tally_block(plan: KernelPlan, first: int, count: int) -> Tally:
    """Tally of one block, a unit of it after the other: memory is that of a unit."""
    tally = Tally.empty(plan.layout.columns)
    for at in range(first, first + count, plan.unit):
        rows = simulate_requests(plan, at, min(plan.unit, first + count - at))
        mean = np.empty(rows.shape[1])
        comoment = np.empty((rows.shape[1], rows.shape[1]))
        moments(rows, mean, comoment)
        tally = tally + Tally(len(rows), mean, comoment)
    return tally


class Compiled(NamedTuple):
    """An experiment without a sweep: which drafts are accepted, how long rounds take, the plan."""

    source: Source
    latency: CompiledLatency
    plan: KernelPlan


def plan_experiment(experiment: Experiment) -> KernelPlan:
    """What the kernels read of an experiment; raises like :func:`compiled`."""
    return compiled(experiment).plan


def compiled(experiment: Experiment) -> Compiled:
    """Compile an experiment without a sweep.

    Raises:
        InputError: a law of the latency can't be tabulated.

    """
    source = experiment.acceptance.chain()
    simulation = experiment.simulation
    latency = compiled_latency(experiment, source.depth)
    plan = compile_plan(
        source,
        latency,
        seed=simulation.seed,
        **simulation.horizon,
        measured_at=experiment.measured_at,
        policy_set=_contest(experiment, source, latency, **simulation.horizon),
    )
    return Compiled(source, latency, plan)


def compiled_latency(experiment: Experiment, depth: int) -> CompiledLatency:
    """Compile the latency of an experiment for depths 0 to ``depth``.

    Raises:
        InputError: a distribution of the latency can't be tabulated.

    """
    try:
        return experiment.latency.compile(depth)
    except ValueError as error:
        raise InputError.of(str(error), key="latency") from None


def _contest(
    experiment: Experiment, source: Source, latency: CompiledLatency, **horizon: int
) -> PolicySet | None:
    if experiment.adaptive is None:
        return None
    try:
        return compile_policies(
            experiment.adaptive, source, latency, batch=experiment.batch, **horizon
        )
    except ValueError as error:
        raise InputError.of(str(error), key="adaptive.policies") from None
