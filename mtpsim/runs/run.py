"""A run from experiment to result: every point, with progress, and nothing lost on Ctrl-C."""

from __future__ import annotations

import platform
import sys
import time
from concurrent.futures import Executor
from importlib.metadata import version

from mtpsim import __version__
from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.hashing import content_hash, work_hash
from mtpsim.engine.executors import NoWorkersError, WorkerPool, open_pool
from mtpsim.engine.interrupts import handle_sigint
from mtpsim.engine.options import PATIENCE, ExecutorChoice
from mtpsim.engine.scenarios import Scenarios, scenarios_of
from mtpsim.engine.scheduler import BlockFailedError
from mtpsim.engine.tasks import WorkerMismatchError
from mtpsim.kernels.jit import kernel_hash
from mtpsim.report.document import ResultDocument
from mtpsim.report.progress import Reporter, Silent
from mtpsim.results.batch_schedule import by_batch
from mtpsim.results.document import Result, point_results
from mtpsim.results.point_data import PointData
from mtpsim.results.round_times import RoundTimes
from mtpsim.runs.point_run import Nowhere, PointJob, Saved


def run(
    experiment: Experiment,
    *,
    executor: ExecutorChoice | Executor | str | None = None,
    watcher: Reporter | None = None,
    command: list[str] | None = None,
    saved: Saved | None = None,
    patience: float = PATIENCE,
    part: tuple[int, int] = (1, 1),
) -> Result:
    """Simulate every point of an experiment.

    The numbers depend on the experiment alone, never on the executor or its number of workers.

    Args:
        experiment: from :func:`mtpsim.load`.
        executor: threads, processes or dask, as ``"dask:tcp://HOST:8786"`` too; by default a thread
            for each core. Or any executor of ``concurrent.futures``, which stays open. With
            processes, call this under ``if __name__ == "__main__":``, since they are spawned.
        watcher: told of progress.
        command: kept in the provenance.
        saved: where blocks are kept, and found again.
        patience: seconds without a block after which workers (not threads) are taken to hang,
            and are replaced.
        part: (i, n): simulate the i-th of n parts of the requests only; parts can be merged.

    Returns:
        The result. On KeyboardInterrupt, or where workers fail for good, it holds what was done
        until then, the point under way with ``interrupted`` true, and ``failures`` says why.

    Raises:
        KeyboardInterrupt: interrupted before there were two requests to report.
        NoWorkersError: nobody is left to simulate, and nothing to report.
        InputError: workers have other code, or none are to be had.
        ValueError: a part of a run to a precision is asked for; the executor's name is wrong.

    """
    choice = ExecutorChoice.parse(executor) if isinstance(executor, str) else executor
    if part != (1, 1) and experiment.simulation.requests is None:
        raise ValueError("a part of a run needs simulation.requests: a precision is of the whole")
    started = Started(experiment, command)
    points = experiment.points()
    measured: list[PointData] = []
    failures: list[str] = []
    stop: BaseException | None = None
    variants = [scenarios_of(point.experiment) for point in points]
    with handle_sigint(), open_pool(choice or ExecutorChoice(), patience) as pool:
        for number, (point, some) in enumerate(zip(points, variants, strict=True)):
            job = PointJob(number, len(points), point, watcher or Silent(), part)
            stop = _one(job, some, pool, saved or Nowhere())
            if job.failure:
                failures.append(f"{job.label}: {job.failure}" if job.label else job.failure)
            if job.tally.count > 1:
                measured.append(job.measured(bool(stop or job.failure)))
            if stop:
                break
        name = pool.name
    if not measured:
        raise stop or NoWorkersError("; ".join(failures) or "there are fewer than two requests")
    return result_of(experiment, measured, started.provenance(name), len(points), failures)


def _one(
    job: PointJob, variants: Scenarios, pool: WorkerPool, saved: Saved
) -> BaseException | None:
    """Simulate a point; returns what stops the whole run, if anything does."""
    try:
        job.run(pool, saved)
        job.vary(variants, pool)
    except KeyboardInterrupt as interrupt:
        return interrupt
    except BlockFailedError as error:
        job.failure = str(error)
    except NoWorkersError as error:
        job.failure = str(error)
        return error
    except WorkerMismatchError as error:
        raise InputError.of(str(error), key="--executor") from None
    return None


class Started:
    """When and how a run began."""

    def __init__(self, experiment: Experiment, command: list[str] | None) -> None:
        self._experiment, self._command = experiment, command
        self._began = time.monotonic()
        self._at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def provenance(self, executor: str) -> JsonDict:
        """What a reader needs to run it again; the clock may jump, the duration does not."""
        return {
            "hash": content_hash(self._experiment),
            "work": work_hash(self._experiment),
            "seed": self._experiment.simulation.seed,
            "kernels": kernel_hash(),
            "command": self._command or [],
            "started": self._at,
            "seconds": round(time.monotonic() - self._began, 3),
            "executor": executor,
            "python": sys.version.split()[0],
            "platform": f"{platform.system()} {platform.machine()}",
            **{name: version(name) for name in ("numpy", "numba", "scipy")},
        }


def result_of(
    experiment: Experiment,
    measured: list[PointData],
    provenance: JsonDict,
    points: int,
    failures: list[str],
) -> Result:
    """The result of points that were measured, of ``points`` in all."""
    done = len(measured) == points and not any(m.interrupted for m in measured)
    document = ResultDocument(
        mtpsim=__version__,
        experiment=experiment.model_dump(mode="json"),
        provenance=provenance,
        complete=done,
        failures=failures,
        points=point_results(measured),
        by_batch=by_batch(measured),
    )
    return Result(document, RoundTimes([m.experiment for m in measured]))
