"""One point of a run: from stored blocks or from the start, until it is precise enough."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from mtpsim import __version__
from mtpsim.acceptance import Recording
from mtpsim.acceptance.recording import play
from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Point
from mtpsim.config.hashing import point_hash
from mtpsim.engine.executors import WorkerPool
from mtpsim.engine.policy_player import Log
from mtpsim.engine.round_traces import Counts, record_requests
from mtpsim.engine.scheduler import (
    FLOOR,
    SCHEDULE,
    BlockRange,
    first_unit,
    half_width,
    is_stored,
    last_block,
    next_check,
    part_edges,
    simulate,
)
from mtpsim.engine.simulate import (
    compile_point,
    play_policies,
    policy_tails,
    sample_policies,
    sample_rows,
    tails,
)
from mtpsim.kernels.jit import kernel_hash
from mtpsim.report.progress import Progress, ProgressCallback
from mtpsim.results.point_data import PointData, theory_of
from mtpsim.stats.autocorrelation import dependence, sample_size
from mtpsim.stats.control_variates import controlled, controls_of
from mtpsim.stats.estimators import Estimates, Tally
from mtpsim.stats.quantiles import Tails, quantile_speedups

if TYPE_CHECKING:
    from mtpsim.engine.scenarios import ScenarioResults

SAVE_SECONDS = 1.0  # between two times that blocks in flight are stored
PROGRESS_SECONDS = 0.2  # between two progress reports, each of which computes a half-width
CONTROLLED = ("speedup", "marginal", "difference")  # quantities that control variates may narrow
LOGGED, LOGGED_ROUNDS = 512, 400  # requests and rounds in the log of the policies


class BlockStore(Protocol):
    """Storage of the blocks of points."""

    def block_ranges(self, point: str, seed: int) -> list[BlockRange]:
        """The stored blocks of a point, the fewest requests first."""

    def keep(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Store blocks of a point."""

    def hold(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Store blocks of the unfinished point, replacing those stored before."""


class NoStore:
    """Stores nothing."""

    def block_ranges(self, point: str, seed: int) -> list[BlockRange]:
        """No blocks."""
        return []

    def keep(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Do nothing."""

    def hold(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Do nothing."""


class PointRun:
    """One point of a run.

    Args:
        number (int): Number of the point, from 0.
        of (int): Number of points.
        point (Point): The point.
        on_progress (ProgressCallback): Called with the progress.
        part (tuple[int, int]): (i, n): simulate part i of n equal parts of the requests.
    """

    def __init__(
        self,
        number: int,
        of: int,
        point: Point,
        on_progress: ProgressCallback,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self.number, self.of, self.point, self.on_progress = number, of, point, on_progress
        self.simulation = point.experiment.simulation
        self.compiled = compile_point(point.experiment)
        self.plan = self.compiled.plan
        self._theory = theory_of(point.experiment, self.compiled.latency)
        self._controls = None
        if self.simulation.control_variates and self.simulation.precision_of in CONTROLLED:
            self._controls = controls_of(
                self.compiled.source,
                self.compiled.latency,
                self.plan.layout,
                self.simulation.horizon,
            )
        self.tally = Tally.empty(self.plan.layout.columns)
        self.reached = False
        self.failure: str | None = None
        self.outcomes: ScenarioResults | None = None
        edges = part_edges(last_block(self.most, self.plan.unit), part[1])
        self._first, self._end = edges[part[0] - 1 : part[0] + 1]
        self._last: BlockRange | None = None
        self._checked: list[BlockRange] = []  # at the last two checks of a precision
        self._reported = self._saved = 0.0

    @property
    def label(self) -> str:
        """Name of the point in the progress display."""
        values = ", ".join(f"{key} = {value}" for key, value in self.point.set.items())
        return f"{self.number + 1}/{self.of}: {values}" if self.of > 1 else values

    @cached_property
    def name(self) -> str:
        """Hash of everything that the blocks depend on, except the seed."""
        return name_of(self.point)

    @property
    def most(self) -> int:
        """Greatest number of requests."""
        return self.simulation.requests or self.simulation.max_requests

    @property
    def _first_request(self) -> int:
        """Number of the first request of the simulated part."""
        return first_unit(self._first) * self.plan.unit

    def half_width(self, tally: Tally) -> float:
        """Greatest half-width over all depths of the quantity of the stopping rule."""
        if self._controls is not None:
            tally = controlled(tally, self._controls)
        return half_width(self.simulation, self._theory, self.plan.layout, tally)

    def is_precise(self, tally: Tally) -> bool:
        """Whether the precision is reached."""
        precision = self.simulation.precision
        self.reached = precision is not None and self.half_width(tally) <= precision
        return self.reached

    def run(self, pool: WorkerPool, store: BlockStore) -> None:
        """Simulate the point, starting from stored blocks if there are any."""
        begin = self._stored(store)
        if begin is not None:
            self.tally = begin.tally
            if self.reached or begin.end == self._end:
                self._keep(store, begin)  # an interrupted run may have stored it as unfinished only
                return
        try:
            simulate(
                self.compiled,
                pool,
                requests=self.most,
                stop_when=self.is_precise,
                on_progress=lambda blocks: self._block_done(blocks, store),
                begin=begin or BlockRange.empty(self.plan.layout.columns, self._first),
                end=self._end,
            )
        except BaseException:
            if self._last is not None:
                store.hold(self.name, self.simulation.seed, self._last)
            raise
        for blocks in filter(None, (*self._checked, self._last)):
            self._keep(store, blocks)
        if self.simulation.precision and not self.reached:
            self.is_precise(self.tally)  # the limit came between two checks

    def take(self, tally: Tally) -> None:
        """Use a tally from elsewhere instead of a simulation."""
        self.tally = tally
        if self.simulation.precision and tally.count > 1:
            self.is_precise(tally)

    def _keep(self, store: BlockStore, blocks: BlockRange) -> None:
        store.keep(self.name, self.simulation.seed, blocks)

    def _stored(self, store: BlockStore) -> BlockRange | None:
        """Stored blocks to continue from.

        The stopping rule is checked where an uninterrupted run would have checked it, so that the
        result is the same: the first blocks that are precise enough, or all. Not every check is
        stored: blocks that are precise count only if those at the check before are stored too.
        """
        found = None
        for blocks in store.block_ranges(self.name, self.simulation.seed):
            if blocks.first != self._first or blocks.end > self._end or not self._fits(blocks):
                continue
            if blocks.end == next_check(blocks.end) and self.is_precise(blocks.tally):
                self.reached = next_check((found.end if found else 0) + 1) == blocks.end
                return blocks if self.reached else found
            found = blocks
        return found

    def _fits(self, blocks: BlockRange) -> bool:
        """Whether the blocks have the requests and columns of this point."""
        ends = min(first_unit(blocks.end) * self.plan.unit, self.most)
        whole = blocks.tally.count == ends - first_unit(blocks.first) * self.plan.unit
        return whole and blocks.tally.mean.size == self.plan.layout.columns

    def _block_done(self, blocks: BlockRange, store: BlockStore) -> None:
        """Store blocks and report progress after a block."""
        self.tally, self._last, now = blocks.tally, blocks, time.monotonic()
        if self.simulation.precision and blocks.end == next_check(blocks.end):
            self._checked = [*self._checked[-1:], blocks]
        if is_stored(blocks.end):
            self._keep(store, blocks)
        elif now - self._saved > SAVE_SECONDS:
            self._saved = now
            store.hold(self.name, self.simulation.seed, blocks)
        if now - self._reported >= PROGRESS_SECONDS and blocks.tally.count > 1:
            self._reported = now
            self._report(blocks)

    def _report(self, blocks: BlockRange) -> None:
        precision, half_width = self.simulation.precision, self.half_width(blocks.tally)
        fraction = (blocks.end - self._first) / max(self._end - self._first, 1)
        if precision is not None:
            reached = min(1.0, (precision / half_width) ** 2) if half_width > 0 else 1.0
            fraction = max(min(first_unit(blocks.end) / FLOOR, reached), fraction)
        # An absolute width, in ms or in units of the speedup, is not a percentage.
        relative = self.simulation.scale == "relative"
        self.on_progress(
            Progress(
                self.label,
                min(fraction, 1.0),
                requests=blocks.tally.count,
                half_width=half_width if relative else None,
                target=precision if relative else None,
            )
        )

    def report_scenarios(self, fraction: float) -> None:
        """Report the share of the point's scenarios that is done."""
        label = f"{self.label} scenarios".strip()
        self.on_progress(Progress(label, fraction, requests=self.tally.count))

    def data(self, interrupted: bool) -> PointData:
        """Everything that the result document needs of the point."""
        confidence = self.simulation.confidence
        rows = sample_rows(self.plan, self.tally.count, self._first_request)
        return PointData(
            point=self.point,
            plan=self.plan,
            source=self.compiled.source,
            latency=self.compiled.latency,
            tally=self.tally,
            precision_reached=self.reached if self.simulation.precision else None,
            interrupted=interrupted,
            dependence=dependence(self._rounds(), confidence),
            tails=tails(rows, self.plan, confidence),
            objective=self._objective(rows),
            outcomes=self.outcomes,
            log=self._policy_log(),
            policy_tails=self._policy_tails(rows),
            failure=self.failure,
        )

    def _objective(self, rows: Floats) -> Estimates | None:
        """Speedups at the quantile that the depths are chosen by; None: they are by the mean."""
        share = self.point.experiment.decision.quantile
        if share is None:
            return None
        times = rows[:, self.plan.layout.time_ms].T
        return quantile_speedups(times, share, self.simulation.confidence)

    def _policy_tails(self, rows: Floats) -> Tails | None:
        """Quantiles of requests under every policy."""
        if self.plan.policy_set is None:
            return None
        totals = sample_policies(self.plan, self.tally.count, self._first_request)
        return policy_tails(totals, rows, self.plan, self.simulation.confidence)

    def _policy_log(self) -> Log | None:
        """A sample of requests under every policy, round by round."""
        if self.plan.policy_set is None:
            return None
        longest = self.plan.task.rounds or self.plan.task.tokens or LOGGED_ROUNDS
        count, rounds = min(self.tally.count, LOGGED), min(longest, LOGGED_ROUNDS)
        return play_policies(self.plan, self._first_request, count, rounds)[1]

    def _rounds(self) -> Counts:
        """A sample of requests round by round; recorded ones as they were recorded."""
        source, horizon = self.compiled.source, self.simulation.horizon
        if isinstance(source, Recording):
            longest = max(horizon.values()) or int(source.lengths.max())
            most, _ = sample_size(source.requests, longest)
            return play(source, slice(0, most), self.plan.layout.measured_at, **horizon)
        count, rounds = sample_size(self.tally.count, max(horizon.values()))
        return record_requests(self.plan, count, rounds, self._first_request)


def name_of(point: Point) -> str:
    """Hash of everything that the blocks of a point depend on, except the seed."""
    return f"{point_hash(point)}-{code_hash()}"


def code_hash() -> str:
    """Kernels, block schedule and version: blocks of one point may be added if it agrees."""
    return f"{kernel_hash()}-{SCHEDULE}-{__version__}"
