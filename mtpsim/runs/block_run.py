"""A point of a run, block by block: from stored blocks or from the start, until it is precise."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from mtpsim import __version__
from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.hashing import point_hash
from mtpsim.engine.block_sizes import (
    FLOOR,
    SCHEDULE,
    first_unit,
    is_stored,
    last_block,
    next_check,
    part_edges,
    requests_before,
)
from mtpsim.engine.executors import WorkerPool
from mtpsim.engine.scheduler import BlockRange, simulate
from mtpsim.kernels.jit import kernel_hash
from mtpsim.report.formatting import set_label
from mtpsim.report.progress import Progress, ProgressCallback
from mtpsim.runs.directory import BlockStore
from mtpsim.stats.estimators import Tally

if TYPE_CHECKING:
    from mtpsim.engine.compiled import Compiled
    from mtpsim.engine.scenarios import ScenarioResults
    from mtpsim.engine.server_data import ServerData
    from mtpsim.results.point_data import PointData

SAVE_SECONDS = 1.0  # between two times that blocks in flight are stored
PROGRESS_SECONDS = 0.2  # between two progress reports, each of which computes a half-width


class BlockRun(ABC):
    """One point of a run: its blocks, their storage and when to stop.

    A subclass says what a block is of, what its precision is, and what becomes of the tally.

    Args:
        number (int): Number of the point, from 0.
        of (int): Number of points.
        point (Point): The point.
        on_progress (ProgressCallback): Called with the progress.
        part (tuple[int, int]): (i, n): simulate part i of n equal parts of the requests.
    """

    likely_end = 0  # number of blocks after which the point before this one was precise
    scale = "relative"  # of the precision
    units = "request"  # of which the tally is

    def __init__(
        self,
        number: int,
        of: int,
        point: Point,
        on_progress: ProgressCallback,
        part: tuple[int, int] = (1, 1),
    ) -> None:
        self.number, self.of, self.point, self.on_progress = number, of, point, on_progress
        self._point, self.most, self.precision = self._compile(point.experiment)
        self.simulation = point.experiment.simulation
        self.tally = Tally.empty(self._point.plan.layout.columns)
        self.reached = False
        self.failure: str | None = None
        self.outcomes: ScenarioResults | None = None
        edges = part_edges(last_block(self.most, self.unit), part[1])
        self._first, self._end = edges[part[0] - 1 : part[0] + 1]
        self._last: BlockRange | None = None
        self._checked: list[BlockRange] = []  # at the last two checks of a precision
        self._reported, self._saved = 0.0, time.monotonic() if number else 0.0

    @property
    def label(self) -> str:
        """Name of the point in the progress display."""
        values = set_label(self.point.set)
        return f"{self.number + 1}/{self.of}: {values}" if self.of > 1 else values

    @property
    def stopped_at(self) -> int:
        """Number of blocks after which it was precise; 0 if it was not, or simulated nothing."""
        return self._last.end if self.reached and self._last else 0

    @cached_property
    def name(self) -> str:
        """Hash of everything that the blocks depend on, except the seed."""
        return name_of(self.point)

    @property
    def _first_request(self) -> int:
        """Number of the first request of the simulated part."""
        return requests_before(self._first, self.unit)

    @property
    def unit(self) -> int | Fraction:
        """Requests, or replications, per unit of a block."""
        return self._point.plan.unit

    @abstractmethod
    def _compile(self, experiment: Experiment) -> tuple[Compiled, int, float | None]:
        """The point compiled, its most requests or replications, and the half-width to reach."""

    @abstractmethod
    def half_width(self, tally: Tally) -> float:
        """Greatest half-width of the quantity of the stopping rule."""

    @abstractmethod
    def data(self, interrupted: bool) -> PointData | ServerData:
        """Everything that the result document needs of the point."""

    def is_precise(self, tally: Tally) -> bool:
        """Whether the precision is reached."""
        self.reached = self.precision is not None and self.half_width(tally) <= self.precision
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
                self._point,
                pool,
                requests=self.most,
                stop_when=self.is_precise,
                on_progress=lambda blocks: self._block_done(blocks, store),
                begin=begin or BlockRange.empty(self._point.plan.layout.columns, self._first),
                end=self._end,
                likely_end=self.likely_end,
            )
        except BaseException:
            if self._last is not None:
                store.hold(self.name, self.simulation.seed, self._last)
            raise
        for blocks in filter(None, (*self._checked, self._last)):
            self._keep(store, blocks)
        if self.precision and not self.reached:
            self.is_precise(self.tally)  # the limit came between two checks

    def take(self, tally: Tally) -> None:
        """Use a tally from elsewhere instead of a simulation."""
        self.tally = tally
        if self.precision and tally.count > 1:
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
        ends = min(requests_before(blocks.end, self.unit), self.most)
        whole = blocks.tally.count == ends - requests_before(blocks.first, self.unit)
        return whole and blocks.tally.mean.size == self._point.plan.layout.columns

    def _block_done(self, blocks: BlockRange, store: BlockStore) -> None:
        """Store blocks and report progress after a block.

        A part stores each block alone too: a merge adds them one by one, as a whole run does, and
        so gets its numbers to the last bit.
        """
        self.tally, self._last, now = blocks.tally, blocks, time.monotonic()
        if self._first and blocks.added:
            self._keep(store, BlockRange(blocks.end - 1, blocks.end, blocks.added))
        if self.precision and blocks.end == next_check(blocks.end):
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
        precision, half_width = self.precision, self.half_width(blocks.tally)
        fraction = (blocks.end - self._first) / max(self._end - self._first, 1)
        if precision is not None:
            reached = min(1.0, (precision / half_width) ** 2) if half_width > 0 else 1.0
            fraction = max(min(first_unit(blocks.end) / FLOOR, reached), fraction)
        # An absolute width, in ms or in units of the speedup, is not a percentage.
        relative = self.scale == "relative"
        self.on_progress(
            Progress(
                self.label,
                min(fraction, 1.0),
                requests=blocks.tally.count,
                half_width=half_width if relative else None,
                target=precision if relative else None,
                units=self.units,
                point=self.number,
                points=self.of,
            )
        )

    def report_scenarios(self, fraction: float) -> None:
        """Report the share of the point's scenarios that is done."""
        self._report_step(f"{self.label} scenarios".strip(), fraction)

    def _report_step(self, label: str, fraction: float) -> None:
        """Report the share of a step after the simulation of the point."""
        self.on_progress(
            Progress(
                label,
                fraction,
                requests=self.tally.count,
                units=self.units,
                point=self.number,
                points=self.of,
            )
        )


def name_of(point: Point) -> str:
    """Hash of everything that the blocks of a point depend on, except the seed."""
    return f"{point_hash(point)}-{code_hash()}"


def code_hash() -> str:
    """Kernels, block schedule and version: blocks of one point may be added if it agrees."""
    return f"{kernel_hash()}-{SCHEDULE}-{__version__}"
