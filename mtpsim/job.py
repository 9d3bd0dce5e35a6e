"""A run from experiment to result: every point, with progress, and nothing lost on Ctrl-C."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import version
from typing import Protocol

import numpy as np

from mtpsim import __version__, estimate
from mtpsim.acceptance import Recording, Source
from mtpsim.by_batch import by_batch
from mtpsim.compile import FLOOR_BLOCKS
from mtpsim.contest import Log
from mtpsim.dependence import dependence, sample_size
from mtpsim.exact import solve
from mtpsim.experiment import Experiment, Point
from mtpsim.identity import content_hash, work_hash
from mtpsim.kernels.jit import kernel_hash
from mtpsim.measured import Document, Measured
from mtpsim.options import ExecutorChoice
from mtpsim.record import Counts, record_requests
from mtpsim.replay import play
from mtpsim.report.progress import Reporter, Silent
from mtpsim.result import Result, documents
from mtpsim.simulate import (
    Prefix,
    Submit,
    asked_at,
    plan_experiment,
    play_policies,
    simulate,
    workers,
)
from mtpsim.tally import Floats, Tally
from mtpsim.variants import Outcomes, Variants, simulate_variants, variants_of

HOLD = 1.0  # seconds between two times that blocks under way are kept
GLANCE = 0.2  # seconds between two looks at the half-width for the progress display
LOGGED, LOGGED_ROUNDS = 512, 400  # requests and rounds that policies are watched in
SAMPLE = 20_000  # round times drawn for the latency plot


class Saved(Protocol):
    """Where blocks of points are kept, and found again."""

    def prefixes(self, point: str) -> list[Prefix]:
        """What is kept of a point, the fewest blocks first."""

    def keep(self, point: str, prefix: Prefix) -> None:
        """Keep blocks of a point for good."""

    def hold(self, point: str, prefix: Prefix) -> None:
        """Keep blocks of the point that is under way, instead of those held before."""


class _Nowhere:
    def prefixes(self, point: str) -> list[Prefix]:
        return []

    def keep(self, point: str, prefix: Prefix) -> None:
        pass

    def hold(self, point: str, prefix: Prefix) -> None:
        pass


class _Point:
    """One point under way: when it has enough, and how far it is."""

    def __init__(self, number: int, of: int, point: Point, watcher: Reporter) -> None:
        self.number, self.of, self.point, self.watcher = number, of, point, watcher
        self.plan = plan_experiment(point.experiment)
        self.tally = Tally.empty(self.plan.layout.columns)
        self.reached = False
        self.outcomes: Outcomes | None = None
        self._last: Prefix | None = None
        self._looked = self._held = 0.0

    @property
    def label(self) -> str:
        """What the progress display calls the point."""
        values = ", ".join(f"{key} = {value}" for key, value in self.point.set.items())
        return f"{self.number + 1}/{self.of}: {values}" if self.of > 1 else values

    def half_width(self, tally: Tally) -> float:
        """Greatest relative half-width of the speedup over all depths."""
        layout = self.plan.layout
        gain = estimate.delta(
            lambda means: estimate.with_policies(means, layout),
            tally,
            self.point.experiment.simulation.confidence,
        )
        return float((gain.half_width / gain.values).max())

    def enough(self, tally: Tally) -> bool:
        precision = self.point.experiment.simulation.precision
        self.reached = precision is not None and self.half_width(tally) <= precision
        return self.reached

    def finished(self, prefix: Prefix, saved: Saved) -> None:
        """A block is done: keep what is worth keeping, and tell."""
        tally = self.tally = prefix.tally
        self._last, now = prefix, time.monotonic()
        if prefix.blocks == asked_at(prefix.blocks):
            saved.keep(self.name, prefix)
        elif now - self._held > HOLD:
            self._held = now
            saved.hold(self.name, prefix)
        if now - self._looked < GLANCE or tally.count < 2:
            return
        self._looked = now
        simulation = self.point.experiment.simulation
        half_width = self.half_width(tally)
        if simulation.requests:
            share = tally.count / simulation.requests
        else:
            share = tally.count / (FLOOR_BLOCKS * self.plan.block)
            if half_width > 0 and simulation.precision:
                share = min(share, (simulation.precision / half_width) ** 2)
            share = max(share, tally.count / simulation.max_requests)
        self.watcher.update(
            self.label, min(share, 1.0), tally.count, half_width, simulation.precision
        )

    @property
    def name(self) -> str:
        """All that the blocks depend on, in short."""
        return f"{work_hash(self.point.experiment)}-{kernel_hash()}-{__version__}"

    @property
    def most(self) -> int:
        """Requests that are simulated at most."""
        simulation = self.point.experiment.simulation
        return simulation.requests or simulation.max_requests

    def run(self, submit: Submit, worker_count: int, saved: Saved) -> None:
        """Simulate the point, from where an earlier run left it."""
        begin = self._found(saved)
        if begin is not None:
            self.tally = begin.tally
        if begin is not None and (self.reached or self.tally.count == self.most):
            saved.keep(self.name, begin)  # it may have been held only
            return
        try:
            simulate(
                self.number,
                self.plan,
                submit,
                worker_count,
                requests=self.most,
                enough=self.enough,
                finished=lambda prefix: self.finished(prefix, saved),
                begin=begin,
            )
        except BaseException:
            if self._last is not None:
                saved.hold(self.name, self._last)
            raise
        if self._last is not None:
            saved.keep(self.name, self._last)
        if self.point.experiment.simulation.precision and not self.reached:
            self.enough(self.tally)  # the limit came between two checks

    def _found(self, saved: Saved) -> Prefix | None:
        """Blocks to go on from: the first that are enough, as if there had been no break, or all.

        The stopping rule is asked where it would have been asked.
        """
        found = None
        for prefix in saved.prefixes(self.name):
            count, fits = prefix.tally.count, prefix.tally.mean.size == self.plan.layout.columns
            whole = count == prefix.blocks * self.plan.block  # else its last block was cut short
            if not fits or count > self.most or not (whole or count == self.most):
                continue
            found = prefix
            if prefix.blocks == asked_at(prefix.blocks) and self.enough(prefix.tally):
                break
        return found

    def vary(self, variants: Variants, first: int, submit: Submit, worker_count: int) -> None:
        """Simulate the variants of the point; the first is number ``first`` for workers."""

        def told(share: float) -> None:
            self.watcher.update(
                f"{self.label} variants".strip(), share, self.tally.count, None, None
            )

        self.outcomes = simulate_variants(variants, first, submit, worker_count, told)

    def measured(self, interrupted: bool) -> Measured:
        experiment = self.point.experiment
        source = experiment.acceptance.chain()
        latency = experiment.latency.compile(source.depth)
        reached = self.reached if experiment.simulation.precision else None
        found = dependence(self._rounds(source), experiment.simulation.confidence)
        return Measured(
            *(self.point, self.plan, source, latency, self.tally, reached, interrupted, found),
            *(self.outcomes, self._log()),
        )

    def _log(self) -> Log | None:
        """Some requests under every policy, round by round."""
        if self.plan.contest is None:
            return None
        longest = self.plan.task.rounds or self.plan.task.tokens or LOGGED_ROUNDS
        count, rounds = min(self.tally.count, LOGGED), min(longest, LOGGED_ROUNDS)
        return play_policies(self.plan, 0, count, rounds)[1]

    def _rounds(self, source: Source) -> Counts:
        """A sample of requests round by round; of recorded ones, each as it was."""
        simulation, depth = self.point.experiment.simulation, self.plan.layout.measured_at
        horizon = {"rounds": simulation.rounds or 0, "tokens": simulation.tokens or 0}
        if isinstance(source, Recording):
            longest = max(horizon.values()) or int(source.lengths.max())
            most, _ = sample_size(source.requests, longest)
            return play(source, slice(0, most), depth, **horizon)
        count, rounds = sample_size(self.tally.count, max(horizon.values()))
        return record_requests(self.plan, count, rounds)


def run(
    experiment: Experiment,
    *,
    executor: ExecutorChoice | None = None,
    watcher: Reporter | None = None,
    command: list[str] | None = None,
    saved: Saved | None = None,
) -> Result:
    """Simulate every point of an experiment.

    The numbers depend on the experiment alone, never on the executor or its number of workers.

    Args:
        experiment: from :func:`mtpsim.load`.
        executor: threads or processes; by default a thread for each core. With processes, call
            this under ``if __name__ == "__main__":``, since they are spawned.
        watcher: told of progress.
        command: kept in the provenance.
        saved: where blocks are kept, and found again.

    Returns:
        The result. On KeyboardInterrupt it holds what was done until then, the point under way
        with ``interrupted`` true.

    Raises:
        KeyboardInterrupt: interrupted before there were two requests to report.

    """
    choice = executor or ExecutorChoice()
    points = experiment.points()
    began, started = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    measured: list[Measured] = []
    interrupted = False
    variants = [variants_of(point.experiment) for point in points]
    everything = [point.experiment for point in points]
    everything += [experiment for some in variants for experiment in some.experiments]
    first = len(points)
    with workers(choice, everything) as (submit, worker_count):
        for number, (point, some) in enumerate(zip(points, variants, strict=True)):
            job = _Point(number, len(points), point, watcher or Silent())
            try:
                job.run(submit, worker_count, saved or _Nowhere())
                job.vary(some, first, submit, worker_count)
                first += len(some.experiments)
            except KeyboardInterrupt:
                interrupted = True
            if job.tally.count > 1:
                measured.append(job.measured(interrupted))
            if interrupted:
                break
    if not measured:
        raise KeyboardInterrupt
    seconds = time.monotonic() - began
    provenance = _provenance(experiment, choice, worker_count, started, seconds, command)
    return _result(experiment, measured, provenance, len(points))


def _result(
    experiment: Experiment, measured: list[Measured], provenance: Document, points: int
) -> Result:
    document = {
        "mtpsim": __version__,
        "experiment": experiment.model_dump(mode="json"),
        "provenance": provenance,
        "complete": len(measured) == points and not any(m.interrupted for m in measured),
        "points": documents(measured),
        "by_batch": by_batch(measured),
    }
    times = [
        [_round_times(m, k, experiment.simulation.seed) for k in range(m.plan.layout.depth + 1)]
        for m in measured
    ]
    return Result(document, times)


def _round_times(measured: Measured, depth: int, seed: int) -> Floats:
    """A sample of single rounds' times in ms, the slowdown of their states included."""
    times = measured.latency.sample_round_times(depth, SAMPLE, seed)
    source = measured.source
    if isinstance(source, Recording) or (source.slowdown == 1).all():
        return times
    starts = solve(source, depth, **measured.horizon).starts
    rng = np.random.default_rng((seed, depth))
    return np.asarray(times * rng.choice(source.slowdown, SAMPLE, p=starts))


def _provenance(
    experiment: Experiment,
    choice: ExecutorChoice,
    worker_count: int,
    started: str,
    seconds: float,
    command: list[str] | None,
) -> Document:
    return {
        "hash": content_hash(experiment),
        "work": work_hash(experiment),
        "seed": experiment.simulation.seed,
        "kernels": kernel_hash(),
        "command": command or [],
        "started": started,
        "seconds": round(seconds, 3),
        "executor": f"{choice.kind}:{worker_count}",
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        **{name: version(name) for name in ("numba", "scipy")},
    }
