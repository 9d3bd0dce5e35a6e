"""Blocks in order, from workers that may finish them in any order, be lost, or hang."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Future,
    wait,
)

from mtpsim.engine.blocks import BlockRange, blocks_for, first_unit, next_check
from mtpsim.engine.executors import NoWorkersError, WorkerPool
from mtpsim.engine.interrupts import defer_interrupts
from mtpsim.engine.tasks import Work, WorkerMismatchError
from mtpsim.stats.moments import Tally

IN_FLIGHT = 3  # blocks a worker: enough to keep it busy, few to throw away
TRIES = 3  # of a block that fails, before it is given up
GLANCE = 0.5  # seconds between two looks whether workers can be reached, and for Ctrl-C
LOST = (BrokenExecutor, CancelledError, TimeoutError, NoWorkersError, ConnectionError)


class BlockFailedError(RuntimeError):
    """A block that fails wherever it is tried."""


class Queue:
    """Blocks of a point under way: results come in order, whatever befalls the workers.

    Args:
        pool: who simulates.
        block: what a block is: its point, first request and number of requests.
        first: block to begin with.
        end: block to end before.

    """

    def __init__(
        self, pool: WorkerPool, block: Callable[[int], tuple[Work, int, int]], first: int, end: int
    ) -> None:
        self._pool, self._block = pool, block
        self._next, self._end = first, end
        self._under_way: dict[int, Future[Tally]] = {}
        self._failed: Counter[int] = Counter()
        self._losses = self._careful = 0  # before block `handle_sigint`, one at a time

    def take(self, block: int) -> Tally:
        """The tally of the next block.

        Raises:
            BlockFailedError: it failed three times.
            NoWorkersError: nobody is left.
            WorkerMismatchError: a worker has other code.

        """
        while True:
            with defer_interrupts:
                self._fill(block)
            try:
                tally = self._wait(block)
            except LOST as error:
                self._lost(block, error)
            except WorkerMismatchError:
                raise
            except Exception as error:  # whatever a worker may raise
                del self._under_way[block]
                self._blame(block, f"{type(error).__name__}: {error}")
            else:
                del self._under_way[block]
                self._losses = 0
                return tally

    def cancel(self) -> None:
        """Drop what is under way."""
        with defer_interrupts:
            for future in self._under_way.values():
                future.cancel()
            self._under_way.clear()

    def _fill(self, head: int) -> None:
        most = 1 if head < self._careful else IN_FLIGHT * self._pool.count
        self._next = max(self._next, head)
        if head not in self._under_way:
            self._under_way[head] = self._submit(head)
            self._next = max(self._next, head + 1)
        while len(self._under_way) < most and self._next < self._end:
            if self._next not in self._under_way:
                self._under_way[self._next] = self._submit(self._next)
            self._next += 1

    def _submit(self, block: int) -> Future[Tally]:
        try:
            return self._pool.submit(*self._block(block))
        except (BrokenExecutor, RuntimeError) as error:  # the pool broke since it was last asked
            future: Future[Tally] = Future()
            future.set_exception(NoWorkersError(str(error)))
            return future

    def _wait(self, block: int) -> Tally:
        """Wait for a block as long as any block is being finished."""
        future, heard = self._under_way[block], time.monotonic()
        while True:
            with defer_interrupts:
                open_ = [f for f in self._under_way.values() if not f.done()]
                if future not in open_:
                    return future.result()
                done, _ = wait(open_, self._glance, FIRST_COMPLETED)
                late = not future.done()
            if late and self._pool.disconnected:
                raise NoWorkersError("the way to the workers is lost")
            if done:
                heard = time.monotonic()
            elif self._pool.patience and time.monotonic() - heard >= self._pool.patience:
                raise TimeoutError(f"no block was finished for {self._pool.patience:g} seconds")

    @property
    def _glance(self) -> float:
        return min(GLANCE, self._pool.patience or GLANCE)

    def _lost(self, block: int, error: BaseException) -> None:
        """Simulate again what was lost; after two losses in a row, one block at a time."""
        alone = block < self._careful
        self._losses += 1
        if self._losses > 1:
            self._careful = max([self._careful, block + 1, *(b + 1 for b in self._under_way)])
        kept = {b: f for b, f in self._under_way.items() if _fine(f)}
        self._under_way = kept
        self._next = block
        self._pool.restart()
        if alone:
            self._blame(block, str(error) or "its worker was lost")

    def _blame(self, block: int, why: str) -> None:
        self._failed[block] += 1
        if self._failed[block] >= TRIES:
            _, first, size = self._block(block)
            raise BlockFailedError(
                f"block {block} (requests {first:,} to {first + size - 1:,}) failed "
                f"{TRIES} times: {why}"
            )


def _fine(future: Future[Tally]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def simulate(
    work: Work,
    pool: WorkerPool,
    *,
    requests: int,
    enough: Callable[[Tally], bool],
    finished: Callable[[BlockRange], None],
    begin: BlockRange | None = None,
    end: int | None = None,
) -> Tally:
    """Simulate up to ``requests`` requests of one point, in blocks.

    Tallies are added and the stopping rule is asked on the contiguous blocks done only, so that
    the answer is the same, bit for bit, on any number of workers of any kind.

    Args:
        work: the point.
        pool: who simulates.
        requests: never more than these.
        enough: asked at the floor of 30 units and then each time there are 1.2 times more.
        finished: told the blocks so far after each one; on KeyboardInterrupt the caller has from
            it all that was done. The last block may have fewer requests than others.
        begin: blocks that are done already, of no more than ``requests`` requests.
        end: block to end before; None: go on to ``requests``.

    Raises:
        BlockFailedError: a block failed three times.
        NoWorkersError: nobody is left.
        WorkerMismatchError: a worker has other code.

    """
    done = begin or BlockRange.empty(work.plan.layout.columns)
    unit = work.plan.unit
    last = last_block(requests, unit) if end is None else end

    def block(number: int) -> tuple[Work, int, int]:
        first = first_unit(number) * unit
        return work, first, min(first_unit(number + 1) * unit, requests) - first

    queue, ask_at = Queue(pool, block, done.end, last), next_check(done.end + 1)
    try:
        while done.end < last:
            tally = done.tally + queue.take(done.end)
            done = BlockRange(done.first, done.end + 1, tally)
            finished(done)
            if done.end == ask_at:
                if enough(tally):
                    break
                ask_at = next_check(done.end + 1)
    finally:
        queue.cancel()
    return done.tally


def last_block(requests: int, unit: int) -> int:
    """Number of blocks that ``requests`` requests make."""
    return blocks_for(-(-requests // unit))
