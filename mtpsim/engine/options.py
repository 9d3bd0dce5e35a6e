"""Options of a run that do not change its numbers, and the estimated time of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from mtpsim.common.errors import InputError

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment
    from mtpsim.config.serving import Serving

Kind = Literal["threads", "processes", "dask"]
FORMS = "threads[:N], processes[:N] or dask[:N | :ADDRESS | :SCHEDULER_FILE]"
TIMEOUT = 600.0  # seconds without a finished block after which workers count as lost
MAX_HOURS = 24.0
ROUNDS_PER_SECOND = 1e8  # of one core at a depth of 3, with noise; half to twice as many are usual
REQUEST_STEPS_PER_SECOND = 3e7  # of a server with few running requests; 7e7 with many
WITHIN = 3.0  # factor within which a time is estimated


@dataclass(frozen=True)
class ExecutorChoice:
    """Where blocks are simulated.

    Attributes:
        kind (str): ``"threads"`` of this process, ``"processes"``, or workers of a ``"dask"``
            cluster.
        workers (int | None): Number of workers; None: one per core, or all of the cluster.
        address (str | None): Address of a dask scheduler, or its scheduler file; None: start a
            cluster on this machine.

    Examples:
        >>> ExecutorChoice.parse("processes:4")
        ExecutorChoice(kind='processes', workers=4, address=None)
    """

    kind: Kind = "threads"
    workers: int | None = None
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> ExecutorChoice:
        """Read ``threads``, ``threads:4``, ``processes:4``, ``dask`` or ``dask:tcp://HOST:8786``.

        Args:
            text (str): Kind, and after a colon the number of workers, 1 to 1024, or an address.

        Returns:
            ExecutorChoice: The kind, number and address of the workers.

        Raises:
            ValueError: The text is none of them.

        Examples:
            >>> ExecutorChoice.parse("dask:tcp://node7:8786").address
            'tcp://node7:8786'
        """
        given, colon, rest = text.partition(":")
        kind: Kind | None = next((k for k in get_args(Kind) if k == given), None)
        if kind is None or (colon and not rest):
            raise ValueError(f"{text!r} is given; it must be {FORMS}")
        if not rest:
            return cls(kind)
        if rest.isdecimal():
            if not 1 <= int(rest) <= 1024:
                raise ValueError(f"{rest} workers are given; it must be 1 to 1024")
            return cls(kind, int(rest))
        if kind != "dask":
            raise ValueError(f"{text!r} is given; it must be {FORMS}")
        return cls(kind, None, rest)


@dataclass(frozen=True)
class RunOptions:
    """Where and how to run, and what to print.

    Attributes:
        out (Path): Run directory.
        json (bool): Print the result document instead of the table.
        quiet (bool): Print no progress and no messages.
        fresh (bool): Replace an earlier result.
        executor (ExecutorChoice): Kind and number of workers.
        command (list[str]): The command line, for the provenance.
        timeout (float): Seconds without a finished block after which workers count as lost.
        max_hours (float): Estimated hours above which a run is refused.
        part (tuple[int, int]): (i, n): simulate part i of n equal parts of the requests.
        every_point (bool): Print a row per point of a long sweep.
    """

    out: Path
    json: bool = False
    quiet: bool = False
    fresh: bool = False
    executor: ExecutorChoice = ExecutorChoice()
    command: list[str] = field(default_factory=list)
    timeout: float = TIMEOUT
    max_hours: float = MAX_HOURS
    part: tuple[int, int] = (1, 1)
    every_point: bool = False


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_seconds(point: Experiment) -> float:
    """Estimated seconds of one core per request of a point, within a factor of :data:`WITHIN`."""
    if point.serving is not None:
        return _replication_seconds(point, point.serving)
    simulation, source = point.simulation, point.source
    rounds = simulation.rounds or simulation.tokens or source.mean_length
    chain = source.hidden_chain
    if simulation.tokens and chain and (lengths := chain.lengths_of(simulation.tokens)):
        rounds = float(lengths.tokens.max())  # the longest of many in lockstep
    by_depth = (source.depth + 3) / 6 * (source.depth + 1 if source.outcomes == 2 else 1)
    policies = len(point.adaptive.policies) if point.adaptive else 0
    return rounds * (by_depth + 5 * policies) / ROUNDS_PER_SECOND


def _replication_seconds(point: Experiment, serving: Serving) -> float:
    """The same of a replication of a server: at worst a step per token and arm."""
    depth = point.source.depth
    fixed = depth + 1 if serving.depths == "each" else len(serving.depths)
    recorded = serving.output == "recorded"
    output = point.source.mean_length if recorded else serving.mean_lengths[1]
    tokens = (serving.measured + serving.dropped) * output
    return tokens * (fixed + len(serving.policies)) / REQUEST_STEPS_PER_SECOND


def check_time(experiment: Experiment, options: RunOptions, most: float) -> None:
    """Check that a run may end in a given time.

    Args:
        experiment (Experiment): The experiment.
        options (RunOptions): Its workers and its part; a cluster of unknown size is not limited.
        most (float): Greatest number of hours.

    Raises:
        InputError: Its estimate is above it.
    """
    if options.executor.address is not None:
        return
    workers = options.executor.workers or cores()
    points = [point.experiment for point in experiment.points()]
    seconds = sum((one.planned or 0) * core_seconds(one) for one in points)
    hours = seconds / 3600 / workers / options.part[1]
    if hours > most:
        what = "replications" if experiment.serving else "requests"
        raise InputError.of(
            f"{experiment.planned or 0:,} {what} would take about {hours:,.3g} hours on {workers} "
            f"workers, and {most:g} are allowed: lower it, split the run (--part), or raise "
            "--max-hours",
            key="serving.requests" if experiment.serving else "simulation.requests",
        )
