"""Workers for blocks: threads, processes, a dask cluster, or any executor that a caller has."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from threading import Thread
from typing import Any

from mtpsim.common.errors import InputError
from mtpsim.engine.interrupts import defer_interrupts
from mtpsim.engine.options import PATIENCE, ExecutorChoice
from mtpsim.engine.simulate import tally_block
from mtpsim.engine.tasks import Work, work_block
from mtpsim.stats.moments import Tally

CONNECT = 15  # seconds to find a scheduler
LEAVE = 10  # seconds to take leave of it
RETRIES = 3  # times that dask moves a block to another worker, before it is ours to decide


class NoWorkersError(RuntimeError):
    """There is nobody left to simulate, and nobody to be had."""


class WorkerPool:
    """Who simulates: a pool of workers elsewhere, closed with it.

    Attributes:
        name: for the provenance.
        count: of workers; each has a few blocks at a time.
        patience: seconds without a block, after which they are taken to hang; None: for ever.

    """

    def __init__(self, kind: str, count: int, patience: float | None, pool: Executor) -> None:
        self.name, self.count, self.patience = f"{kind}:{count}", count, patience
        self._pool = pool

    def submit(self, work: Work, first: int, size: int) -> Future[Tally]:
        """Simulate requests ``first`` .. ``first + size - 1`` of a point."""
        return self._pool.submit(work_block, work.order, first, size)

    @property
    def disconnected(self) -> bool:
        """Whether the way to the workers is gone, so that what is under way will never come."""
        return False

    def restart(self) -> None:
        """Replace lost or hanging workers; all that was submitted and not done is lost.

        Raises:
            NoWorkersError: there are none to be had.

        """
        raise NoWorkersError(f"workers of {self.name} are lost or hang")

    def close(self) -> None:
        """Send everybody home."""
        with defer_interrupts:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool.shutdown(wait=True)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads(WorkerPool):
    """Threads of this process. They can't be lost; one that hangs can't be stopped either."""

    def __init__(self, count: int) -> None:
        super().__init__("threads", count, None, ThreadPoolExecutor(count))

    def submit(self, work: Work, first: int, size: int) -> Future[Tally]:
        """Simulate with the plan as it is: memory is shared."""
        return self._pool.submit(tally_block, work.plan, first, size)


class Processes(WorkerPool):
    """Processes of this machine, replaced all at once where one of them is lost."""

    def __init__(self, count: int, patience: float) -> None:
        super().__init__("processes", count, patience, _processes(count))

    def submit(self, work: Work, first: int, size: int) -> Future[Tally]:
        """Simulate there; this may start a process, which Ctrl-C is not for even while it loads."""
        with _interrupts_held():
            return super().submit(work, first, size)

    def restart(self) -> None:
        """Kill what is left and start anew: hanging processes would be waited for for ever."""
        for process in list((getattr(self._pool, "_processes", None) or {}).values()):
            process.kill()
        self.close()
        self._pool = _processes(self.count)


def _processes(count: int) -> ProcessPoolExecutor:
    context = get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_ignore_interrupts)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Interrupts wait until the end; processes that are started meanwhile never see one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start lets them through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle


class Given(WorkerPool):
    """An executor of the caller's, who also closes it."""

    def __init__(self, pool: Executor, patience: float) -> None:
        count = int(getattr(pool, "_max_workers", None) or cores())
        super().__init__(type(pool).__name__, count, patience, pool)

    def close(self) -> None:
        """Do nothing."""


class Dask(WorkerPool):
    """Workers of a dask cluster; dask itself moves the blocks of a lost worker to others."""

    def __init__(self, choice: ExecutorChoice, patience: float) -> None:
        self._choice = choice
        self._client = _client(choice)
        count = sum(self._client.nthreads().values()) or choice.workers or cores()
        super().__init__("dask", count, patience, self._executor())

    def _executor(self) -> Executor:
        pool: Executor = self._client.get_executor(retries=RETRIES, pure=False)
        return pool

    def submit(self, work: Work, first: int, size: int) -> Future[Tally]:
        """Simulate there; a client that looks for its scheduler would forget what it is given."""
        if self.disconnected:
            raise NoWorkersError("the connection to the scheduler is lost")
        return super().submit(work, first, size)

    @property
    def disconnected(self) -> bool:
        """Whether the scheduler does not answer any more."""
        return bool(self._client.status != "running")

    def restart(self) -> None:
        """Look for the scheduler again."""
        self.close()
        try:
            self._client = _client(self._choice)
        except InputError as error:
            raise NoWorkersError(error.problems[0].text) from None
        self._pool = self._executor()

    def close(self) -> None:
        """Leave the cluster in bounded time: a client that lost its scheduler may hang there."""
        leaving = Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(LEAVE)

    def _leave(self) -> None:
        """Close the client, and the cluster where it is our own."""
        cluster = self._client.cluster
        # Where the scheduler has gone, each of these may fail in its own way.
        with suppress(Exception):
            self._pool.shutdown(wait=False)
        with suppress(Exception):
            self._client.close(timeout=2)
        if cluster is not None:
            with suppress(Exception):
                cluster.close(timeout=5)


def _client(choice: ExecutorChoice) -> Any:
    try:
        import distributed
    except ImportError:
        raise _no_dask("dask is not installed: pip install 'mtpsim[dask]'") from None
    dask: Any = distributed
    try:
        if choice.address is None:
            workers = choice.workers or cores()
            options = {"dashboard_address": None, "silence_logs": 50}
            return dask.Client(dask.LocalCluster(workers, threads_per_worker=1, **options))
        if Path(choice.address).is_file():
            return dask.Client(scheduler_file=choice.address, timeout=CONNECT)
        return dask.Client(choice.address, timeout=CONNECT)
    except (OSError, ValueError, TimeoutError) as error:
        raise _no_dask(f"no dask scheduler answers at {choice.address!r} ({error})") from None


def _no_dask(message: str) -> InputError:
    return InputError.of(message, key="--executor")


@contextmanager
def open_pool(
    choice: ExecutorChoice | Executor, patience: float = PATIENCE
) -> Iterator[WorkerPool]:
    """A pool for all points of a run.

    Raises:
        InputError: dask is not installed, or no scheduler answers.

    """
    pool: WorkerPool
    if isinstance(choice, Executor):
        pool = Given(choice, patience)
    elif choice.kind == "dask":
        pool = Dask(choice, patience)
    elif choice.kind == "processes":
        pool = Processes(choice.workers or cores(), patience)
    else:
        pool = Threads(choice.workers or cores())
    try:
        yield pool
    finally:
        pool.close()
