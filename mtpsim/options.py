"""Options of a run that do not change its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ExecutorChoice:
    """Where blocks are simulated; ``workers`` None: one for each core."""

    kind: Literal["threads", "processes"] = "threads"
    workers: int | None = None

    @classmethod
    def parse(cls, text: str) -> ExecutorChoice:
        """Read ``threads``, ``threads:4``, ``processes`` or ``processes:4``.

        Raises:
            ValueError: it is neither.

        """
        kind, _, count = text.partition(":")
        if kind not in ("threads", "processes") or (":" in text and not count.isdecimal()):
            raise ValueError(f"{text!r} is given; it must be threads[:N] or processes[:N]")
        if count and not 1 <= int(count) <= 1024:
            raise ValueError(f"{count} workers are given; it must be 1 to 1024")
        return cls("threads" if kind == "threads" else "processes", int(count) if count else None)


@dataclass(frozen=True)
class RunOptions:
    """Where and how to run, and how much to say."""

    out: Path
    json: bool = False
    quiet: bool = False
    fresh: bool = False
    executor: ExecutorChoice = ExecutorChoice()
    command: list[str] = field(default_factory=list)
