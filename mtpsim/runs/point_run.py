"""One point under way: where it goes on from, when it has enough, and how far it is."""

from __future__ import annotations

import time
from typing import Protocol

from mtpsim import __version__
from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.recording import play
from mtpsim.config.experiment import Point
from mtpsim.config.hashing import work_hash
from mtpsim.engine.blocks import FLOOR, BlockRange, first_unit, next_check
from mtpsim.engine.executors import WorkerPool
from mtpsim.engine.policy_player import Log
from mtpsim.engine.request_quantiles import Tails, policy_tails, sample_policies, sample_rows, tails
from mtpsim.engine.round_traces import Counts, record_requests
from mtpsim.engine.scenarios import ScenarioResults, Scenarios, simulate_scenarios
from mtpsim.engine.scheduler import last_block, simulate
from mtpsim.engine.simulate import play_policies
from mtpsim.engine.stopping import half_width
from mtpsim.engine.tasks import Work
from mtpsim.kernels.jit import kernel_hash
from mtpsim.report.progress import Reporter
from mtpsim.results.point_data import PointData, theory_of
from mtpsim.stats.autocorrelation import dependence, sample_size
from mtpsim.stats.control_variates import Controls, controlled, controls_of
from mtpsim.stats.estimators import ClosedFormPredictor
from mtpsim.stats.moments import Tally

HOLD = 1.0  # seconds between two times that blocks under way are kept
GLANCE = 0.2  # seconds between two looks at the half-width for the progress display
SHARP = ("speedup", "marginal", "difference")  # may be narrowed by control variates
LOGGED, LOGGED_ROUNDS = 512, 400  # requests and rounds that policies are watched in


class Saved(Protocol):
    """Where blocks of points are kept, and found again."""

    def block_ranges(self, point: str, seed: int) -> list[BlockRange]:
        """What is kept of a point, the fewest requests first."""

    def keep(self, point: str, seed: int, stretch: BlockRange) -> None:
        """Keep blocks of a point for good."""

    def hold(self, point: str, seed: int, stretch: BlockRange) -> None:
        """Keep blocks of the point that is under way, instead of those held before."""


class Nowhere:
    """Keeps nothing."""

    def block_ranges(self, point: str, seed: int) -> list[BlockRange]:
        """Nothing."""
        return []

    def keep(self, point: str, seed: int, stretch: BlockRange) -> None:
        """Do nothing."""

    def hold(self, point: str, seed: int, stretch: BlockRange) -> None:
        """Do nothing."""


class PointJob:
    """One point of a run.

    Args:
        number: of the point, from 0.
        of: number of points.
        point: what to simulate.
        watcher: told of progress.
        part: which of how many equal parts of its requests to simulate.

    """

    def __init__(
        self, number: int, of: int, point: Point, watcher: Reporter, part: tuple[int, int] = (1, 1)
    ) -> None:
        self.number, self.of, self.point, self.watcher = number, of, point, watcher
        self.simulation = point.experiment.simulation
        self.work = Work.of(point.experiment)
        self.plan = self.work.plan
        self._theory, self._controls = self._judged()
        self.tally = Tally.empty(self.plan.layout.columns)
        self.reached = False
        self.failure: str | None = None
        self.outcomes: ScenarioResults | None = None
        blocks = last_block(self.most, self.plan.unit)
        self._first, self._end = ((i * blocks) // part[1] for i in (part[0] - 1, part[0]))
        self._last: BlockRange | None = None
        self._looked = self._held = 0.0

    @property
    def label(self) -> str:
        """What the progress display calls the point."""
        values = ", ".join(f"{key} = {value}" for key, value in self.point.set.items())
        return f"{self.number + 1}/{self.of}: {values}" if self.of > 1 else values

    @property
    def name(self) -> str:
        """All that the blocks depend on but for the seed, in short."""
        return name_of(self.point)

    @property
    def most(self) -> int:
        """Requests that are simulated at most."""
        return self.simulation.requests or self.simulation.max_requests

    @property
    def _first_request(self) -> int:
        """Number of the first request of the part that is simulated here."""
        return first_unit(self._first) * self.plan.unit

    def half_width(self, tally: Tally) -> float:
        """Greatest half-width over all depths of the quantity whose precision is asked for."""
        if self._controls is not None:
            tally = controlled(tally, self._controls)
        return half_width(self.simulation, self._theory, self.plan.layout, tally)

    def _judged(self) -> tuple[ClosedFormPredictor, Controls | None]:
        """The closed form, and the controls where they are wanted and may be used."""
        simulation, work = self.simulation, self.work
        theory = theory_of(work.experiment, work.latency)
        if not simulation.control_variates or simulation.precision_of not in SHARP:
            return theory, None
        return theory, controls_of(work.source, work.latency, self.plan.layout, simulation.horizon)

    def enough(self, tally: Tally) -> bool:
        """Whether the precision is reached."""
        precision = self.simulation.precision
        self.reached = precision is not None and self.half_width(tally) <= precision
        return self.reached

    def run(self, pool: WorkerPool, saved: Saved) -> None:
        """Simulate the point, from where an earlier run left it."""
        begin = self._found(saved)
        if begin is not None:
            self.tally = begin.tally
            if self.reached or begin.end == self._end:
                self._keep(saved, begin)  # it may have been held only
                return
        try:
            simulate(
                self.work,
                pool,
                requests=self.most,
                enough=self.enough,
                finished=lambda stretch: self._finished(stretch, saved),
                begin=begin or BlockRange.empty(self.plan.layout.columns, self._first),
                end=self._end,
            )
        except BaseException:
            if self._last is not None:
                saved.hold(self.name, self.simulation.seed, self._last)
            raise
        if self._last is not None:
            self._keep(saved, self._last)
        if self.simulation.precision and not self.reached:
            self.enough(self.tally)  # the limit came between two checks

    def take(self, tally: Tally) -> None:
        """Be done, with a tally from elsewhere."""
        self.tally = tally
        if self.simulation.precision and tally.count > 1:
            self.enough(tally)

    def _keep(self, saved: Saved, stretch: BlockRange) -> None:
        saved.keep(self.name, self.simulation.seed, stretch)

    def _found(self, saved: Saved) -> BlockRange | None:
        """Blocks to go on from: the first that are enough, as if there had been no break, or all.

        The stopping rule is asked where it would have been asked.
        """
        found = None
        for stretch in saved.block_ranges(self.name, self.simulation.seed):
            if stretch.first != self._first or stretch.end > self._end or not self._fits(stretch):
                continue
            found = stretch
            if stretch.end == next_check(stretch.end) and self.enough(stretch.tally):
                break
        return found

    def _fits(self, stretch: BlockRange) -> bool:
        """Whether its blocks are those of this point, the last one not cut short elsewhere."""
        ends = min(first_unit(stretch.end) * self.plan.unit, self.most)
        whole = stretch.tally.count == ends - first_unit(stretch.first) * self.plan.unit
        return whole and stretch.tally.mean.size == self.plan.layout.columns

    def _finished(self, stretch: BlockRange, saved: Saved) -> None:
        """A block is done: keep what is worth keeping, and tell."""
        tally = self.tally = stretch.tally
        self._last, now = stretch, time.monotonic()
        if stretch.end == next_check(stretch.end):
            self._keep(saved, stretch)
        elif now - self._held > HOLD:
            self._held = now
            saved.hold(self.name, self.simulation.seed, stretch)
        if now - self._looked < GLANCE or tally.count < 2:
            return
        self._looked = now
        self._tell(stretch)

    def _tell(self, stretch: BlockRange) -> None:
        count, precision = stretch.tally.count, self.simulation.precision
        half_width = self.half_width(stretch.tally)
        share = (stretch.end - self._first) / max(self._end - self._first, 1)
        if precision is not None:
            reached = min(1.0, (precision / half_width) ** 2) if half_width > 0 else 1.0
            share = max(min(first_unit(stretch.end) / FLOOR, reached), share)
        # A width in ms or in units of the speedup is no percentage: the bar alone moves.
        relative = self.simulation.scale == "relative"
        told = (half_width, precision) if relative else (None, None)
        self.watcher.update(self.label, min(share, 1.0), count, *told)

    def vary(self, variants: Scenarios, pool: WorkerPool) -> None:
        """Simulate the variants of the point."""

        def told(share: float) -> None:
            self.watcher.update(
                f"{self.label} variants".strip(), share, self.tally.count, None, None
            )

        self.outcomes = simulate_scenarios(variants, pool, told)

    def measured(self, interrupted: bool) -> PointData:
        """The point as it was measured."""
        work, confidence = self.work, self.simulation.confidence
        reached = self.reached if self.simulation.precision else None
        found = dependence(self._rounds(work.source), confidence)
        rows = sample_rows(self.plan, self.tally.count, self._first_request)
        return PointData(
            *(self.point, self.plan, work.source, work.latency, self.tally),
            *(reached, interrupted, found, tails(rows, self.plan, confidence)),
            *(self.outcomes, self._log(), self._policy_tails(), self.failure),
        )

    def _policy_tails(self) -> Tails | None:
        """Quantiles of requests under every policy."""
        if self.plan.policy_set is None:
            return None
        totals = sample_policies(self.plan, self.tally.count, self._first_request)
        return policy_tails(totals, self.simulation.confidence)

    def _log(self) -> Log | None:
        """Some requests under every policy, round by round."""
        if self.plan.policy_set is None:
            return None
        longest = self.plan.task.rounds or self.plan.task.tokens or LOGGED_ROUNDS
        count, rounds = min(self.tally.count, LOGGED), min(longest, LOGGED_ROUNDS)
        return play_policies(self.plan, self._first_request, count, rounds)[1]

    def _rounds(self, source: Source) -> Counts:
        """A sample of requests round by round; of recorded ones, each as it was."""
        horizon, depth = self.simulation.horizon, self.plan.layout.measured_at
        if isinstance(source, Recording):
            longest = max(horizon.values()) or int(source.lengths.max())
            most, _ = sample_size(source.requests, longest)
            return play(source, slice(0, most), depth, **horizon)
        count, rounds = sample_size(self.tally.count, max(horizon.values()))
        return record_requests(self.plan, count, rounds, self._first_request)


def name_of(point: Point) -> str:
    """All that the blocks of a point depend on but for the seed, in short."""
    return f"{work_hash(point.experiment)}-{kernel_hash()}-{__version__}"
