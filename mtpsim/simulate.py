"""Blocks of requests through the kernel, in order, until there are enough: a Tally comes out.

A block is a fixed range of requests. Workers finish blocks in any order, but tallies are added and
the stopping rule is asked on the contiguous prefix only, so that the answer is the same, bit for
bit, on any number of workers of any kind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context

import numpy as np

from mtpsim.acceptance import Source
from mtpsim.compile import FLOOR_BLOCKS, Plan, plan_of
from mtpsim.contest import Contest, Log, contest_of, limits_of, play
from mtpsim.experiment import Experiment
from mtpsim.kernels.arguments import RecordingArrays
from mtpsim.kernels.moments import complete_rows, moments
from mtpsim.kernels.positions import simulate_positions
from mtpsim.kernels.replay import simulate_recording
from mtpsim.kernels.rounds import simulate_rounds, simulate_rounds_to_tokens
from mtpsim.latency import CompiledLatency
from mtpsim.layout import Layout
from mtpsim.options import ExecutorChoice
from mtpsim.problems import InputError, Problem
from mtpsim.tally import Floats, Tally

CHECK_GROWTH = 1.2  # the stopping rule is asked at 30, 36, 44, ... blocks
IN_FLIGHT = 3  # blocks a worker: enough to keep it busy, few to throw away


def simulate_requests(plan: Plan, first: int, count: int) -> Floats:
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
    if plan.contest:
        totals, _ = play_policies(plan, first, count)
        rows[:, plan.layout.squares.stop :] = totals.swapaxes(0, 1).reshape(count, -1)
    return rows


def play_policies(plan: Plan, first: int, count: int, logged: int = 0) -> tuple[Floats, Log]:
    """What :func:`mtpsim.contest.play` finds of requests ``first`` .. ``first + count - 1``.

    Raises:
        ValueError: the experiment has no policies.

    """
    if plan.contest is None:
        raise ValueError("the experiment has no policies to play")
    horizon = {"rounds": plan.task.rounds, "tokens": plan.task.tokens}
    limits = limits_of(plan.key, plan.source, first, count, **horizon)
    return play(plan.contest, plan.key, plan.source, plan.noise, limits, first, logged=logged)


def complete(rows: Floats, layout: Layout) -> None:
    """Fill in the derived columns of ``rows`` ``[n, columns]``, in place."""
    at = layout.measured_at
    derived = layout.own_survival.start
    complete_rows(rows, layout.rounds.start + at, layout.accepted(at).start, derived, at)


def tally_block(plan: Plan, first: int, count: int) -> Tally:
    """Tally of one block."""
    rows = simulate_requests(plan, first, count)
    mean = np.empty(rows.shape[1])
    comoment = np.empty((rows.shape[1], rows.shape[1]))
    moments(rows, mean, comoment)
    return Tally(count, mean, comoment)


def plan_experiment(experiment: Experiment) -> Plan:
    """Compile an experiment without a sweep.

    Raises:
        InputError: a law of the latency can't be tabulated.
    """
    source = experiment.acceptance.chain()
    simulation = experiment.simulation
    try:
        latency = experiment.latency.compile(source.depth)
    except ValueError as error:
        raise InputError([Problem("", "latency", None, str(error))]) from None
    horizon = {"rounds": simulation.rounds or 0, "tokens": simulation.tokens or 0}
    return plan_of(
        source,
        latency,
        seed=simulation.seed,
        **horizon,
        measured_at=experiment.measured_at,
        contest=_contest(experiment, source, latency, **horizon),
    )


def _contest(
    experiment: Experiment, source: Source, latency: CompiledLatency, **horizon: int
) -> Contest | None:
    if experiment.adaptive is None:
        return None
    try:
        return contest_of(experiment.adaptive, source, latency, batch=experiment.batch, **horizon)
    except ValueError as error:
        raise InputError([Problem("", "adaptive.policies", None, str(error))]) from None


# What a worker process keeps: the points that it was started with, compiled when first needed.
_points: list[Experiment] = []


def _start_worker(points: list[Experiment]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    _points[:] = points


@lru_cache(maxsize=4)
def _worker_plan(number: int) -> Plan:
    return plan_experiment(_points[number])


def _work(number: int, first: int, count: int) -> Tally:
    return tally_block(_worker_plan(number), first, count)


Submit = Callable[[int, Plan, int, int], "Future[Tally]"]


@contextmanager
def workers(choice: ExecutorChoice, points: list[Experiment]) -> Iterator[tuple[Submit, int]]:
    """Workers for all points of a run: how to submit a block, and how many there are."""
    count = choice.workers or len(os.sched_getaffinity(0))
    pool: Executor
    if choice.kind == "processes":
        pool = ProcessPoolExecutor(
            count, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(points,)
        )

        def submit(number: int, plan: Plan, first: int, size: int) -> Future[Tally]:
            return pool.submit(_work, number, first, size)
    else:
        pool = ThreadPoolExecutor(count)

        def submit(number: int, plan: Plan, first: int, size: int) -> Future[Tally]:
            return pool.submit(tally_block, plan, first, size)

    try:
        yield submit, count
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Prefix:
    """The first blocks of a point, all of them whole, and their tally."""

    blocks: int
    tally: Tally


def asked_at(blocks: int) -> int:
    """The least number of blocks, ``blocks`` or more, at which the stopping rule is asked."""
    ask = FLOOR_BLOCKS
    while ask < blocks:
        ask = int(np.ceil(ask * CHECK_GROWTH))
    return ask


def simulate(
    number: int,
    plan: Plan,
    submit: Submit,
    worker_count: int,
    *,
    requests: int,
    enough: Callable[[Tally], bool],
    finished: Callable[[Prefix], None],
    begin: Prefix | None = None,
) -> Tally:
    """Simulate up to ``requests`` requests of one point, in blocks.

    Args:
        number: of the point, for worker processes.
        plan: the compiled point.
        submit: from :func:`workers`.
        worker_count: from :func:`workers`.
        requests: never more than these.
        enough: asked at the floor of 30 blocks and then each time there are 1.2 times more.
        finished: told the blocks so far after each one; on KeyboardInterrupt the caller has from
            it all that was done. The last block may have fewer requests than others.
        begin: blocks that are done already, of no more than ``requests`` requests.

    """
    start = begin or Prefix(0, Tally.empty(plan.layout.columns))
    blocks = -(-requests // plan.block)
    todo = ((b, min(plan.block, requests - b * plan.block)) for b in range(start.blocks, blocks))
    under_way: list[Future[Tally]] = []
    tally, done, ask_at = start.tally, start.blocks, asked_at(start.blocks + 1)
    try:
        while done < blocks:
            while len(under_way) < IN_FLIGHT * worker_count and (job := next(todo, None)):
                block, size = job
                under_way.append(submit(number, plan, block * plan.block, size))
            tally = tally + under_way.pop(0).result()
            done += 1
            finished(Prefix(done, tally))
            if done == ask_at:
                if enough(tally):
                    break
                ask_at = asked_at(done + 1)
    finally:
        for future in under_way:
            future.cancel()
    return tally
