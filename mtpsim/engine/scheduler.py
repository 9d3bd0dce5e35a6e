"""Blocks of requests: results in order whatever happens to workers, and when to stop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.config.simulation import Quantity, Simulation
from mtpsim.engine.block_sizes import last_block, next_check, requests_before
from mtpsim.engine.interrupts import POLL_SECONDS, interrupts
from mtpsim.kernels.arrays import RowLayout
from mtpsim.stats import estimators
from mtpsim.stats.estimators import ClosedFormPredictor, Estimates, Tally

if TYPE_CHECKING:
    from mtpsim.engine.compiled import Compiled
    from mtpsim.engine.executors import WorkerPool

BLOCKS_PER_WORKER = 3  # in flight: enough to keep a worker busy, few to discard
ATTEMPTS = 3  # at a block that fails, before the point is given up
_QUANTITIES: dict[Quantity, Callable[[Floats, RowLayout], Floats]] = {
    "speedup": estimators.with_policies,
    "marginal": estimators.marginal,
    "accept_length": estimators.accept_length,
    "round_time": estimators.round_time,
}


class NoWorkersError(RuntimeError):
    """No workers are left, and none could be started."""


class BlockFailedError(RuntimeError):
    """A block failed in every attempt."""


class WorkerMismatchError(RuntimeError):
    """A worker has other code or other tables, so its numbers would not be those of this run."""


LOST = (BrokenExecutor, CancelledError, TimeoutError, NoWorkersError, ConnectionError)


@dataclass(frozen=True)
class BlockRange:
    """Consecutive blocks of a point and their tally.

    Attributes:
        first (int): Number of the first block.
        end (int): Number of the block after the last one.
        tally (Tally): Moments of all requests of the blocks.
        added (Tally | None): Those of the last block alone, just after its simulation.
    """

    first: int
    end: int
    tally: Tally
    added: Tally | None = None

    @classmethod
    def empty(cls, columns: int, first: int = 0) -> BlockRange:
        """No blocks yet, of rows with ``columns`` totals."""
        return cls(first, first, Tally.empty(columns))


class BlockQueue:
    """Blocks in flight; results come in order, whatever happens to the workers.

    Args:
        pool (WorkerPool): The workers.
        block (Callable): Point, first request and number of requests of the block with a number.
        first (int): Number of the first block.
        end (int): Number of the block after the last one.
        likely_end (int): Blocks from here on wait for those before: they may not be needed.
    """

    def __init__(
        self,
        pool: WorkerPool,
        block: Callable[[int], tuple[Compiled, int, int]],
        first: int,
        end: int,
        likely_end: int = 0,
    ) -> None:
        self._pool, self._block = pool, block
        self._next, self._end, self._likely_end = first, end, min(likely_end, end)
        self._in_flight: dict[int, Future[Tally]] = {}
        self._failures: Counter[int] = Counter()
        self._losses = 0  # of workers, in a row
        self._serial_until = 0  # blocks before this one are simulated one at a time

    def take(self, block: int) -> Tally:
        """Wait for the tally of the next block.

        Raises:
            BlockFailedError: The block failed three times.
            NoWorkersError: No workers are left.
            WorkerMismatchError: A worker has other code.
        """
        while True:
            self._fill(block)
            try:
                tally = self._wait(block)
            except LOST as error:
                self._recover(block, error)
            except WorkerMismatchError:
                raise
            except Exception as error:  # any error that a worker may raise
                del self._in_flight[block]
                self._record_failure(block, f"{type(error).__name__}: {error}")
            else:
                del self._in_flight[block]
                self._losses = 0
                return tally

    def cancel(self) -> None:
        """Discard the blocks in flight."""
        for future in self._in_flight.values():
            future.cancel()
        self._in_flight.clear()

    def _fill(self, head: int) -> None:
        most = 1 if head < self._serial_until else BLOCKS_PER_WORKER * self._pool.count
        end = self._likely_end if head < self._likely_end else self._end
        self._next = max(self._next, head)
        if head not in self._in_flight:
            self._in_flight[head] = self._submit(head)
            self._next = max(self._next, head + 1)
        while len(self._in_flight) < most and self._next < end:
            if self._next not in self._in_flight:
                self._in_flight[self._next] = self._submit(self._next)
            self._next += 1

    def _submit(self, block: int) -> Future[Tally]:
        try:
            return self._pool.submit(*self._block(block))
        except (BrokenExecutor, RuntimeError) as error:  # the pool broke since the last block
            future: Future[Tally] = Future()
            future.set_exception(NoWorkersError(str(error)))
            return future

    def _wait(self, block: int) -> Tally:
        """Wait for a block as long as any block finishes within the timeout."""
        future, last_finished = self._in_flight[block], time.monotonic()
        timeout = self._pool.timeout
        while True:
            interrupts.check()
            running = [f for f in self._in_flight.values() if not f.done()]
            if future not in running:
                return future.result()
            done, _ = wait(running, min(POLL_SECONDS, timeout or POLL_SECONDS), FIRST_COMPLETED)
            if not future.done() and self._pool.disconnected:
                raise NoWorkersError("the connection to the workers is lost")
            if done:
                last_finished = time.monotonic()
            elif timeout and time.monotonic() - last_finished >= timeout:
                raise TimeoutError(f"no block was finished for {timeout:g} seconds")

    def _recover(self, block: int, error: BaseException) -> None:
        """Resubmit what was lost; after two losses in a row, one block at a time."""
        alone = block < self._serial_until
        self._losses += 1
        if self._losses > 1:
            ends = [b + 1 for b in self._in_flight]
            self._serial_until = max([self._serial_until, block + 1, *ends])
        self._in_flight = {b: f for b, f in self._in_flight.items() if _succeeded(f)}
        self._next = block
        self._pool.restart()
        if alone:
            self._record_failure(block, str(error) or "its worker was lost")

    def _record_failure(self, block: int, reason: str) -> None:
        self._failures[block] += 1
        if self._failures[block] >= ATTEMPTS:
            _, first, size = self._block(block)
            raise BlockFailedError(
                f"block {block} (requests {first:,} to {first + size - 1:,}) failed "
                f"{ATTEMPTS} times: {reason}"
            )


def _succeeded(future: Future[Tally]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def simulate(
    point: Compiled,
    pool: WorkerPool,
    *,
    requests: int,
    stop_when: Callable[[Tally], bool],
    on_progress: Callable[[BlockRange], None],
    begin: BlockRange | None = None,
    end: int | None = None,
    likely_end: int = 0,
) -> Tally:
    """Simulate up to ``requests`` requests of one point, in blocks.

    Tallies are added, and the stopping rule is checked, in the order of the blocks. So the result
    is the same to the last bit on any number of workers of any kind.

    Args:
        point (Compiled): The point.
        pool (WorkerPool): The workers.
        requests (int): Greatest number of requests.
        stop_when (Callable): Whether a tally is precise enough. Checked at 30 units and then at
            each 1.2-fold number of units.
        on_progress (Callable): Called after each block with all blocks so far, so that the caller
            has them on a KeyboardInterrupt. The last block may have fewer requests than others.
        begin (BlockRange | None): Blocks that are done already; None: start with block 0.
        end (int | None): Number of the block to stop before; None: continue to ``requests``.
        likely_end (int): Number of the block before which it is likely to stop, as another point
            did: later ones are not simulated in advance.

    Raises:
        BlockFailedError: A block failed three times.
        NoWorkersError: No workers are left.
        WorkerMismatchError: A worker has other code.
    """
    done = begin or BlockRange.empty(point.plan.layout.columns)
    unit = point.plan.unit
    last = last_block(requests, unit) if end is None else end

    def block(number: int) -> tuple[Compiled, int, int]:
        first = requests_before(number, unit)
        return point, first, min(requests_before(number + 1, unit), requests) - first

    queue = BlockQueue(pool, block, done.end, last, likely_end)
    check_at = next_check(done.end + 1)
    try:
        while done.end < last:
            added = queue.take(done.end)
            tally = done.tally + added
            done = BlockRange(done.first, done.end + 1, tally, added)
            on_progress(done)
            if done.end == check_at:
                if stop_when(tally):
                    break
                check_at = next_check(done.end + 1)
    finally:
        queue.cancel()
    return done.tally


def function_of(
    simulation: Simulation, theory: ClosedFormPredictor, layout: RowLayout
) -> Callable[[Floats], Floats]:
    """The quantity as a function of the mean totals ``[..., C]``."""
    quantity = simulation.precision_of
    if quantity == "difference":
        one, other = simulation.between or (0, 0)

        def difference(means: Floats) -> Floats:
            gains = estimators.speedup(means, layout)
            return gains[..., other : other + 1] - gains[..., one : one + 1]

        return difference
    plain = theory.error if quantity == "theory_error" else _QUANTITIES[quantity]
    return lambda means: plain(means, layout)


def half_width(
    simulation: Simulation, theory: ClosedFormPredictor, layout: RowLayout, tally: Tally
) -> float:
    """Greatest half-width of the quantity over all depths, on the scale of the experiment."""
    found = estimators.delta_method(
        function_of(simulation, theory, layout), tally, simulation.confidence
    )
    return float(found.half_width.max()) if simulation.scale == "absolute" else relative(found)


def relative(found: Estimates) -> float:
    """Greatest half-width relative to its estimate; 0 where nothing varies."""
    none = np.full_like(found.half_width, np.inf)
    size = np.abs(found.values)
    widths = np.divide(found.half_width, size, out=none, where=size > 0)
    return float(np.where(found.half_width > 0, widths, 0.0).max())
