"""Workers for blocks: threads, processes, a dask cluster, or an executor of the caller.

Workers in other processes compile a point for themselves, and check that they get the same tables.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from mtpsim import __version__
from mtpsim.common.errors import InputError
from mtpsim.engine.compiled import compiled, tally_of
from mtpsim.engine.interrupts import POLL_SECONDS, interrupts
from mtpsim.engine.options import TIMEOUT, ExecutorChoice, cores
from mtpsim.engine.scheduler import NoWorkersError, WorkerMismatchError
from mtpsim.kernels.jit import kernel_hash
from mtpsim.stats.estimators import Tally

if TYPE_CHECKING:
    from mtpsim.engine.compiled import Compiled, Plan

CONNECT_SECONDS = 15  # to find a dask scheduler
DISCONNECT_SECONDS = 10
SCHEDULER_FILE = 1 << 20  # characters that are read of one
RETRIES = 3  # of a block on other dask workers, before it counts as failed


@dataclass(frozen=True)
class RemoteTask:
    """A point for a worker in another process, which compiles it for itself.

    Attributes:
        experiment (bytes): The experiment, pickled; a few kB. The worker reads files of samples and
            traces itself.
        version (str): Version of mtpsim.
        kernels (str): Hash of the kernels' code.
        tables (str): Hash of the compiled point.
    """

    experiment: bytes
    version: str
    kernels: str
    tables: str


@lru_cache(maxsize=4)
def remote_task(point: Compiled) -> RemoteTask:
    """The task by which a worker in another process compiles the same point."""
    experiment = pickle.dumps(point.experiment)
    return RemoteTask(experiment, __version__, kernel_hash(), fingerprint(point.plan))


def fingerprint(plan: Plan) -> str:
    """Hash of every number that the kernels of a plan read."""
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(plan):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value):
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part)
    elif not callable(value):
        yield repr(value).encode()


@lru_cache(maxsize=4)
def _compile_task(task: RemoteTask) -> Plan:
    here = f"the worker {os.getpid()} on {platform.node()}"
    for what, own, expected in (
        ("mtpsim", __version__, task.version),
        ("the kernels", kernel_hash(), task.kernels),
    ):
        if own != expected:
            raise WorkerMismatchError(f"{here} has {what} {own}, this run {expected}")
    plan = compiled(pickle.loads(task.experiment)).plan
    if fingerprint(plan) != task.tables:
        raise WorkerMismatchError(
            f"{here} compiles the point to different numbers than this run: it has numpy "
            f"{np.__version__}; install the same versions of numpy and scipy everywhere"
        )
    return plan


def simulate_remotely(task: RemoteTask, first: int, count: int) -> Tally:
    """Tally of one block, in a worker process.

    Raises:
        WorkerMismatchError: The worker's code or tables are not those of the run.
    """
    return tally_of(_compile_task(task), first, count)


class WorkerPool:
    """A pool of workers in other processes.

    Attributes:
        name (str): Kind and number of workers, for the provenance.
        count (int): Number of workers; each has a few blocks at a time.
        timeout (float | None): Seconds without a finished block after which the workers count as
            lost; None: no limit.
    """

    def __init__(self, kind: str, count: int, timeout: float | None, pool: Executor) -> None:
        self.name, self.count, self.timeout = f"{kind}:{count}", count, timeout
        self._pool = pool

    def submit(self, point: Compiled, first: int, size: int) -> Future[Tally]:
        """Simulate requests ``first`` .. ``first + size - 1`` of a point."""
        return self._pool.submit(simulate_remotely, remote_task(point), first, size)

    @property
    def disconnected(self) -> bool:
        """Whether the connection to the workers is lost, so that no result can arrive."""
        return False

    def restart(self) -> None:
        """Replace lost or hanging workers; submitted blocks that are not done are lost.

        Raises:
            NoWorkersError: None could be started.
        """
        raise NoWorkersError(f"workers of {self.name} are lost or hang")

    def close(self) -> None:
        """Shut down the pool; after an interrupt, without waiting for blocks in progress."""
        self._pool.shutdown(wait=not interrupts.requested, cancel_futures=True)


class Threads(WorkerPool):
    """Threads of this process: they can't be lost, and one that hangs can't be stopped."""

    def __init__(self, count: int) -> None:
        super().__init__("threads", count, None, ThreadPoolExecutor(count))

    def submit(self, point: Compiled, first: int, size: int) -> Future[Tally]:
        """Simulate with the plan itself, since memory is shared."""
        return self._pool.submit(tally_of, point.plan, first, size)


class Worker:
    """A process that simulates one block at a time; it ends with this process."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def simulate(self, task: RemoteTask, first: int, size: int) -> Tally:
        """Tally of one block.

        Raises:
            ConnectionError: The process has ended.
        """
        try:
            self._pipe.send((task, first, size))
            found = self._pipe.recv()
        except (EOFError, OSError):
            raise ConnectionError("a worker process has ended") from None
        if isinstance(found, Exception):
            raise found
        tally: Tally = found
        return tally

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()


def _serve(pipe: Connection) -> None:
    """Work of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            task, first, size = pipe.recv()
            try:
                pipe.send(simulate_remotely(task, first, size))
            except Exception as error:  # any error that a block may raise
                pipe.send(error)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Processes(WorkerPool):
    """Processes of this machine, all replaced if one of them is lost."""

    def __init__(self, count: int, timeout: float) -> None:
        super().__init__("processes", count, timeout, ThreadPoolExecutor(count))
        self._start()

    def _start(self) -> None:
        with _interrupts_blocked():
            self.workers = [Worker() for _ in range(self.count)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self.workers:
            self._idle.put(worker)

    def submit(self, point: Compiled, first: int, size: int) -> Future[Tally]:
        """Simulate in a process, for which a thread of this one waits."""
        return self._pool.submit(self._simulate, remote_task(point), first, size)

    def _simulate(self, task: RemoteTask, first: int, size: int) -> Tally:
        worker = self._idle.get()
        try:
            return worker.simulate(task, first, size)
        finally:
            self._idle.put(worker)

    def restart(self) -> None:
        """Kill all processes and start new ones; a hanging process never ends by itself."""
        self.close()
        self._pool = ThreadPoolExecutor(self.count)
        self._start()

    def close(self) -> None:
        """Kill all processes; the threads that wait for them end too."""
        for worker in self.workers:
            worker.kill()
        super().close()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT for this thread, and for processes and threads that it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it later would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ExternalPool(WorkerPool):
    """An executor of the caller, who also closes it."""

    def __init__(self, pool: Executor, timeout: float) -> None:
        count = int(getattr(pool, "_max_workers", None) or cores())
        super().__init__(type(pool).__name__, count, timeout, pool)

    def close(self) -> None:
        """Do nothing."""


class Dask(WorkerPool):
    """Workers of a dask cluster; dask itself moves the blocks of a lost worker to others."""

    def __init__(self, choice: ExecutorChoice, timeout: float) -> None:
        self._choice = choice
        self._client = _in_background(lambda: _client(choice))
        count = sum(self._client.nthreads().values()) or choice.workers or cores()
        super().__init__("dask", count, timeout, self._executor())

    def _executor(self) -> Executor:
        pool: Executor = self._client.get_executor(retries=RETRIES, pure=False)
        return pool

    def submit(self, point: Compiled, first: int, size: int) -> Future[Tally]:
        """Simulate on the cluster; a client that reconnects would lose what is submitted."""
        if self.disconnected:
            raise NoWorkersError("the connection to the scheduler is lost")
        return super().submit(point, first, size)

    @property
    def disconnected(self) -> bool:
        """Whether the scheduler does not answer any more."""
        return bool(self._client.status != "running")

    def restart(self) -> None:
        """Connect to the scheduler again."""
        self.close()
        try:
            self._client = _in_background(lambda: _client(self._choice))
        except InputError as error:
            raise NoWorkersError(error.problems[0].message) from None
        self._pool = self._executor()

    def close(self) -> None:
        """Leave the cluster in bounded time, and at once after an interrupt.

        A client without its scheduler may hang; workers that were started here end with this
        process.
        """
        closing, end = (
            Thread(target=self._close, daemon=True),
            time.monotonic() + DISCONNECT_SECONDS,
        )
        closing.start()
        while closing.is_alive() and not interrupts.requested and time.monotonic() < end:
            closing.join(POLL_SECONDS)

    def _close(self) -> None:
        """Close the client, and the cluster if it was started here."""
        cluster = self._client.cluster
        # Without a scheduler each of these may fail with any error.
        with suppress(Exception):
            self._pool.shutdown(wait=False)
        with suppress(Exception):
            self._client.close(timeout=2)
        if cluster is not None:
            with suppress(Exception):
                cluster.close(timeout=5)


def _in_background(function: Callable[[], Any]) -> Any:
    """Value of a function that may block; it and the processes it starts never see Ctrl-C."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            with _interrupts_blocked():
                future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    while not wait([future], POLL_SECONDS).done:
        interrupts.check()
    return future.result()


def _client(choice: ExecutorChoice) -> Any:
    try:
        import distributed
    except ImportError:
        message = "dask is not installed: pip install 'mtpsim[dask]'"
        raise InputError.of(message, key="--executor") from None
    dask: Any = distributed
    try:
        if choice.address is None:
            workers = choice.workers or cores()
            # A scheduler runs any code sent to it as its user: only this machine can reach it.
            options = {
                **{"host": "127.0.0.1", "threads_per_worker": 1, "silence_logs": 50},
                "dashboard_address": "127.0.0.1:0",  # any free port, without a warning
                "scheduler_kwargs": {"dashboard": False},
            }
            return dask.Client(dask.LocalCluster(workers, **options))
        address = _scheduler_address(choice.address)
        return dask.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        message = f"no dask scheduler answers at {choice.address!r} ({error})"
        raise InputError.of(message, key="--executor") from None


def _scheduler_address(given: str) -> str:
    """The address itself, or the one in a scheduler file.

    Raises:
        InputError: The file is not one that a dask scheduler wrote.
    """
    path = Path(given)
    if not path.is_file():
        return given
    try:
        found = json.loads(path.read_text(encoding="utf-8")[:SCHEDULER_FILE])["address"]
        if isinstance(found, str):
            return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    message = 'not a file of `dask scheduler --scheduler-file`: it has no JSON with an "address"'
    raise InputError.of(message, file=path, key="--executor")


@contextmanager
def open_pool(choice: ExecutorChoice | Executor, timeout: float = TIMEOUT) -> Iterator[WorkerPool]:
    """Open a pool for all points of a run, and close it at the end.

    Args:
        choice (ExecutorChoice | Executor): Kind and number of workers, or an open executor.
        timeout (float): Seconds without a finished block after which workers count as lost.

    Raises:
        InputError: dask is not installed, or no scheduler answers.
    """
    pool: WorkerPool
    if isinstance(choice, Executor):
        pool = ExternalPool(choice, timeout)
    elif choice.kind == "dask":
        pool = Dask(choice, timeout)
    elif choice.kind == "processes":
        pool = Processes(choice.workers or cores(), timeout)
    else:
        pool = Threads(choice.workers or cores())
    try:
        yield pool
    finally:
        pool.close()
