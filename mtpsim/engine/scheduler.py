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

from mtpsim.engine.blocks import Stretch, asked_at, blocks_for, edge
from mtpsim.engine.executors import Crew, LostWorkersError
from mtpsim.engine.interrupts import held
from mtpsim.engine.tasks import Work, WorkerMismatchError
from mtpsim.stats.moments import Tally

IN_FLIGHT = 3  # blocks a worker: enough to keep it busy, few to throw away
TRIES = 3  # of a block that fails, before it is given up
GLANCE = 0.5  # seconds between two looks whether workers can be reached, and for Ctrl-C
LOST = (BrokenExecutor, CancelledError, TimeoutError, LostWorkersError, ConnectionError)


class PoisonBlockError(RuntimeError):
    """A block that fails wherever it is tried."""


class Queue:
    """Blocks of a point under way: results come in order, whatever befalls the workers.

    Args:
        crew: who simulates.
        block: what a block is: its point, first request and number of requests.
        first: block to begin with.
        end: block to end before.

    """

    def __init__(
        self, crew: Crew, block: Callable[[int], tuple[Work, int, int]], first: int, end: int
    ) -> None:
        self._crew, self._block = crew, block
        self._next, self._end = first, end
        self._under_way: dict[int, Future[Tally]] = {}
        self._failed: Counter[int] = Counter()
        self._losses = self._careful = 0  # before block `careful`, one at a time

    def take(self, block: int) -> Tally:
        """The tally of the next block.

        Raises:
            PoisonBlockError: it failed three times.
            LostWorkersError: nobody is left.
            WorkerMismatchError: a worker has other code.

        """
        while True:
            with held:
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
        with held:
            for future in self._under_way.values():
                future.cancel()
            self._under_way.clear()

    def _fill(self, head: int) -> None:
        most = 1 if head < self._careful else IN_FLIGHT * self._crew.count
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
            return self._crew.submit(*self._block(block))
        except (BrokenExecutor, RuntimeError) as error:  # the pool broke since it was last asked
            future: Future[Tally] = Future()
            future.set_exception(LostWorkersError(str(error)))
            return future

    def _wait(self, block: int) -> Tally:
        """Wait for a block as long as any block is being finished."""
        future, heard = self._under_way[block], time.monotonic()
        while True:
            with held:
                open_ = [f for f in self._under_way.values() if not f.done()]
                if future not in open_:
                    return future.result()
                done, _ = wait(open_, self._glance, FIRST_COMPLETED)
                late = not future.done()
            if late and self._crew.cut_off:
                raise LostWorkersError("the way to the workers is lost")
            if done:
                heard = time.monotonic()
            elif self._crew.patience and time.monotonic() - heard >= self._crew.patience:
                raise TimeoutError(f"no block was finished for {self._crew.patience:g} seconds")

    @property
    def _glance(self) -> float:
        return min(GLANCE, self._crew.patience or GLANCE)

    def _lost(self, block: int, error: BaseException) -> None:
        """Simulate again what was lost; after two losses in a row, one block at a time."""
        alone = block < self._careful
        self._losses += 1
        if self._losses > 1:
            self._careful = max([self._careful, block + 1, *(b + 1 for b in self._under_way)])
        kept = {b: f for b, f in self._under_way.items() if _fine(f)}
        self._under_way = kept
        self._next = block
        self._crew.renew()
        if alone:
            self._blame(block, str(error) or "its worker was lost")

    def _blame(self, block: int, why: str) -> None:
        self._failed[block] += 1
        if self._failed[block] >= TRIES:
            _, first, size = self._block(block)
            raise PoisonBlockError(
                f"block {block} (requests {first:,} to {first + size - 1:,}) failed "
                f"{TRIES} times: {why}"
            )


def _fine(future: Future[Tally]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def simulate(
    work: Work,
    crew: Crew,
    *,
    requests: int,
    enough: Callable[[Tally], bool],
    finished: Callable[[Stretch], None],
    begin: Stretch | None = None,
    end: int | None = None,
) -> Tally:
    """Simulate up to ``requests`` requests of one point, in blocks.

    Tallies are added and the stopping rule is asked on the contiguous blocks done only, so that
    the answer is the same, bit for bit, on any number of workers of any kind.

    Args:
        work: the point.
        crew: who simulates.
        requests: never more than these.
        enough: asked at the floor of 30 units and then each time there are 1.2 times more.
        finished: told the blocks so far after each one; on KeyboardInterrupt the caller has from
            it all that was done. The last block may have fewer requests than others.
        begin: blocks that are done already, of no more than ``requests`` requests.
        end: block to end before; None: go on to ``requests``.

    Raises:
        PoisonBlockError: a block failed three times.
        LostWorkersError: nobody is left.
        WorkerMismatchError: a worker has other code.

    """
    done = begin or Stretch.empty(work.plan.layout.columns)
    unit = work.plan.unit
    last = last_block(requests, unit) if end is None else end

    def block(number: int) -> tuple[Work, int, int]:
        first = edge(number) * unit
        return work, first, min(edge(number + 1) * unit, requests) - first

    queue, ask_at = Queue(crew, block, done.end, last), asked_at(done.end + 1)
    try:
        while done.end < last:
            tally = done.tally + queue.take(done.end)
            done = Stretch(done.first, done.end + 1, tally)
            finished(done)
            if done.end == ask_at:
                if enough(tally):
                    break
                ask_at = asked_at(done.end + 1)
    finally:
        queue.cancel()
    return done.tally


def last_block(requests: int, unit: int) -> int:
    """Number of blocks that ``requests`` requests make."""
    return blocks_for(-(-requests // unit))
