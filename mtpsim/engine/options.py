"""Options of a run that do not change its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["threads", "processes", "dask"]
FORMS = "threads[:N], processes[:N] or dask[:N | :ADDRESS | :SCHEDULER_FILE]"
PATIENCE = 600.0  # seconds without a block, after which workers are taken to hang


@dataclass(frozen=True)
class ExecutorChoice:
    """Where blocks are simulated.

    Attributes:
        kind: threads of this process, other processes, or workers of a dask cluster.
        workers: how many; None: one for each core, or all that the cluster has.
        address: of a dask scheduler, or its file; None: a cluster on this machine.

    """

    kind: Kind = "threads"
    workers: int | None = None
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> ExecutorChoice:
        """Read ``threads``, ``threads:4``, ``processes:4``, ``dask`` or ``dask:tcp://HOST:8786``.

        Raises:
            ValueError: it is none of them.

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
    """Where and how to run, and how much to say."""

    out: Path
    json: bool = False
    quiet: bool = False
    fresh: bool = False
    executor: ExecutorChoice = ExecutorChoice()
    command: list[str] = field(default_factory=list)
    patience: float = PATIENCE
    part: tuple[int, int] = (1, 1)
