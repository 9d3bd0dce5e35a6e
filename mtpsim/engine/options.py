"""Options of a run that do not change its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["threads", "processes", "dask"]
FORMS = "threads[:N], processes[:N] or dask[:N | :ADDRESS | :SCHEDULER_FILE]"
TIMEOUT = 600.0  # seconds without a finished block after which workers count as lost
MAX_HOURS = 24.0


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

        Raises:
            ValueError: The text is none of them.
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
