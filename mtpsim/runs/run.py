"""A run of an experiment: all its points, with progress, and a result even after Ctrl-C."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mtpsim.common.special  # noqa: F401 # before any thread imports scipy
from mtpsim import __version__
from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment, Point, as_experiment
from mtpsim.config.hashing import content_hash, work_hash
from mtpsim.engine.executors import WorkerPool, open_pool
from mtpsim.engine.interrupts import interruptible
from mtpsim.engine.options import TIMEOUT, ExecutorChoice
from mtpsim.engine.scheduler import BlockFailedError, NoWorkersError, WorkerMismatchError
from mtpsim.kernels.jit import kernel_hash
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.progress import Progress, ProgressCallback, ignore_progress
from mtpsim.results.batch_schedule import by_batch
from mtpsim.results.document import Result
from mtpsim.results.estimated_point import EstimatedPoint, estimate_point, judged_together
from mtpsim.results.point_data import PointData, RoundTimes
from mtpsim.results.shapes import shapes_of
from mtpsim.runs.block_run import BlockRun
from mtpsim.runs.directory import BlockStore
from mtpsim.runs.point_run import PointRun

if TYPE_CHECKING:
    from mtpsim.engine.scenarios import Scenarios
    from mtpsim.engine.server_data import ServerData
    from mtpsim.report.serving_document import LoadGroup

BACKLOG = 4  # points whose documents are not finished


def run(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    executor: ExecutorChoice | Executor | str | None = None,
    on_progress: ProgressCallback | None = None,
    command: list[str] | None = None,
    saved: BlockStore | None = None,
    timeout: float = TIMEOUT,
    part: tuple[int, int] = (1, 1),
    watcher: Any = None,
    patience: float | None = None,
) -> Result:
    """Simulate every point of an experiment.

    The numbers depend on the experiment alone, not on the executor or the number of workers.

    Args:
        experiment (Experiment | Mapping | str | Path): The experiment, from :func:`mtpsim.load` or
            :func:`mtpsim.parse`; or its tables as a dict; or the path of its file.
        executor (ExecutorChoice | Executor | str | None): Threads, processes or dask, as
            ``"processes:4"`` or ``"dask:tcp://HOST:8786"``; or an open executor of
            ``concurrent.futures``, which stays open. None: one thread per core. Processes are
            spawned, so call this under ``if __name__ == "__main__":``.
        on_progress (ProgressCallback | None): Called with a
            :class:`mtpsim.report.progress.Progress` a few times per second, from any thread.
        command (list[str] | None): The command line, for the provenance.
        saved (BlockStore | None): Where finished blocks are stored, and read again.
        timeout (float): Seconds without a finished block after which workers (not threads) count as
            lost and are replaced.
        part (tuple[int, int]): (i, n): simulate part i of n equal parts of the requests. Parts can
            be merged.
        watcher (Any): Older form of ``on_progress``: an object with ``update(label, fraction,
            requests, half_width, target)``.
        patience (float | None): Older name of ``timeout``.

    Returns:
        Result: The result. After a KeyboardInterrupt, or if workers keep failing, it holds what was
            done until then: the unfinished point has ``interrupted`` true, and ``failures`` has the
            reason.

    Raises:
        KeyboardInterrupt: Interrupted before two requests were done.
        NoWorkersError: No workers are left, and nothing was simulated.
        InputError: Workers have other code, or none could be started.
        ValueError: A part of a run to a precision, or an unknown executor.

    Examples:
        >>> import mtpsim
        >>> experiment = mtpsim.load("experiments/article.toml", ["simulation.requests=200"])
        >>> result = mtpsim.run(experiment, executor="threads:1")
        >>> [depth["depth"] for depth in result.points[0]["depths"]]
        [0, 1, 2, 3]
    """
    experiment = as_experiment(experiment)
    choice = ExecutorChoice.parse(executor) if isinstance(executor, str) else executor
    if part != (1, 1) and experiment.planned is None:
        raise ValueError(
            "a part needs simulation.requests or serving.replications: a precision applies to "
            "the whole run"
        )
    if watcher is not None:
        on_progress = _callback_of(watcher)
    start = RunStart(experiment, command)
    points = experiment.points()
    scenarios = [_scenarios(point.experiment) for point in points]
    with (
        interruptible(),
        open_pool(choice or ExecutorChoice(), timeout if patience is None else patience) as pool,
    ):
        runs = (  # compiled one at a time: a long sweep needs the memory of one point
            block_run(number, points, on_progress or ignore_progress, part=part)
            for number in range(len(points))
        )
        done, failures, stop = _simulate_all(runs, scenarios, pool, saved or BlockStore())
    if not done:
        raise stop or NoWorkersError("; ".join(failures) or "there are fewer than two requests")
    return result_of(experiment, done, start.provenance(pool.name), len(points), failures)


def estimated(data: PointData | ServerData) -> EstimatedPoint | ServerData:
    """The document of a point of single requests; one of a server needs all points."""
    return estimate_point(data) if isinstance(data, PointData) else data


def block_run(
    number: int,
    points: Sequence[Point],
    on_progress: ProgressCallback,
    part: tuple[int, int] = (1, 1),
) -> BlockRun:
    """The run of one of the points, of single requests or of a server."""
    point = points[number]
    if point.experiment.serving is None:
        return PointRun(number, len(points), point, on_progress, part)
    from mtpsim.runs.capacity import has_capacity
    from mtpsim.runs.server_run import ServerRun

    served = ServerRun(number, len(points), point, on_progress, part)
    served.with_capacity = has_capacity(points)[number]
    return served


def _callback_of(watcher: Any) -> ProgressCallback:
    def on_progress(progress: Progress) -> None:
        watcher.update(
            progress.label,
            progress.fraction,
            progress.requests,
            progress.half_width,
            progress.target,
        )

    return on_progress


def _scenarios(experiment: Experiment) -> Scenarios | None:
    recorded = experiment.source.hidden_chain is None
    if not (experiment.uncertainty or experiment.robust or recorded):
        return None
    from mtpsim.engine.scenarios import has_scenarios, scenarios_of

    return scenarios_of(experiment) if has_scenarios(experiment) else None


def _simulate_all(
    runs: Iterator[BlockRun], scenarios: list[Scenarios | None], pool: WorkerPool, saved: BlockStore
) -> tuple[list[EstimatedPoint | ServerData], list[str], BaseException | None]:
    """Simulate point by point: documents, failures in words, and what stopped the run early.

    Documents are made in another thread while the next points are simulated.
    """
    done: list[Future[EstimatedPoint | ServerData]] = []
    failures: list[str] = []
    stop, likely_end = None, 0
    with ThreadPoolExecutor(1) as documents:
        for point_run, some in zip(runs, scenarios, strict=True):
            point_run.likely_end = likely_end
            stop = _simulate(point_run, some, pool, saved)
            likely_end = point_run.stopped_at
            if point_run.failure:
                name = f"{point_run.label}: " if point_run.label else ""
                failures.append(name + point_run.failure)
            if point_run.tally.count > 1:
                data = point_run.data(interrupted=bool(stop or point_run.failure))
                done.append(documents.submit(estimated, data))
            if len(done) > BACKLOG:
                done[-BACKLOG].result()  # a long sweep needs the memory of a few points
            if stop:
                break
        return [one.result() for one in done], failures, stop


def _simulate(
    point_run: BlockRun, scenarios: Scenarios | None, pool: WorkerPool, saved: BlockStore
) -> BaseException | None:
    """Simulate a point and its scenarios; returns the error that ends the whole run, or None."""
    try:
        point_run.run(pool, saved)
        if scenarios:
            point_run.outcomes = scenarios.simulate(pool, point_run.report_scenarios)
    except KeyboardInterrupt as interrupt:
        return interrupt
    except BlockFailedError as error:
        point_run.failure = str(error)
    except NoWorkersError as error:
        point_run.failure = str(error)
        return error
    except WorkerMismatchError as error:
        raise InputError.of(str(error), key="--executor") from None
    return None


class RunStart:
    """Time and command of the start of a run."""

    def __init__(self, experiment: Experiment, command: list[str] | None) -> None:
        self._experiment, self._command = experiment, command
        self._monotonic = time.monotonic()
        self._at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def provenance(self, executor: str) -> JsonDict:
        """What is needed to repeat the run; the duration is from a monotonic clock."""
        return {
            "hash": content_hash(self._experiment),
            "work": work_hash(self._experiment),
            "seed": self._experiment.simulation.seed,
            "kernels": kernel_hash(),
            "command": self._command or [],
            "started": self._at,
            "seconds": round(time.monotonic() - self._monotonic, 3),
            "executor": executor,
            "python": sys.version.split()[0],
            "platform": f"{platform.system()} {platform.machine()}",
            **{name: import_module(name).__version__ for name in ("numpy", "numba", "scipy")},
        }


def result_of(
    experiment: Experiment,
    done: list[EstimatedPoint | ServerData],
    provenance: JsonDict,
    points: int,
    failures: list[str],
) -> Result:
    """The result of the simulated points, of ``points`` points in all."""
    single = [point for point in done if isinstance(point, EstimatedPoint)]
    points_served, by_load = _served(done) if len(single) < len(done) else ([], None)
    swept = [point.by_batch for point in single if point.by_batch]
    found = [*judged_together(single), *points_served]
    document = ResultDocument(
        mtpsim=__version__,
        experiment=experiment.model_dump(mode="json"),
        provenance=provenance,
        complete=len(done) == points and not any(point.interrupted for point in found),
        failures=failures,
        points=found,
        by_batch=by_batch(swept) if len(swept) == len(single) else [],
        by_load=by_load,
        shapes=shapes_of(single[0].experiment) if single else None,
    )
    return Result(document, RoundTimes([point.experiment for point in single]))


def _served(
    done: list[EstimatedPoint | ServerData],
) -> tuple[list[PointResult], list[LoadGroup] | None]:
    """Results of the points of a server, and loads side by side."""
    from mtpsim.engine.server_data import ServerData
    from mtpsim.results.serving import served_by_load, served_result

    served = [point for point in done if isinstance(point, ServerData)]
    results = [served_result(point) for point in served]
    return results, served_by_load(served, results)
