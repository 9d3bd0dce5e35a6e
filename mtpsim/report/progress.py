"""Progress of a run on stderr: a bar on a terminal, few plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

from mtpsim.common.text import counted

SILENT_SECONDS = 1.0
LINE_SECONDS = 2.0
LINE_FRACTION = 0.1
HEARTBEAT_SECONDS = 30.0


class Reporter(Protocol):
    """What a running simulation tells; safe to call from any thread."""

    def update(
        self,
        point_label: str,
        done_fraction: float,
        requests: int,
        half_width: float | None,
        target: float | None,
    ) -> None:
        """Say how far a point is.

        Args:
            point_label: which point; a new label starts a new bar.
            done_fraction: share of the point that is done, 0 to 1.
            requests: requests finished.
            half_width: relative half-width of the interval so far, None while unknown.
            target: relative half-width to reach, None where the number of requests is fixed.

        """


def status(requests: int, half_width: float | None, target: float | None) -> str:
    """``12,000 requests, ±0.31 % (target ±0.1 %)``."""
    parts = [counted(requests, "request")] if requests else []
    if half_width is not None and half_width < float("inf"):
        parts.append(f"±{100 * half_width:.2g} %")
    text = ", ".join(parts)
    return text if target is None else f"{text} (target ±{100 * target:.2g} %)"


class Silent:
    """Says nothing, so that a caller never has to ask whether anybody listens."""

    def update(
        self,
        point_label: str,
        done_fraction: float,
        requests: int,
        half_width: float | None,
        target: float | None,
    ) -> None:
        """Do nothing."""


class Lines:
    """Plain lines for logs and pipes: none in the first second, then about ten a point."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = self._start = time.monotonic()
        self._label: str | None = None
        self._fraction = 0.0

    def update(
        self,
        point_label: str,
        done_fraction: float,
        requests: int,
        half_width: float | None,
        target: float | None,
    ) -> None:
        """Write a line where time has passed and the last one is out of date."""
        with self._lock:
            if not self._due(point_label, done_fraction):
                return
            self._last, self._label, self._fraction = time.monotonic(), point_label, done_fraction
            name = f"{point_label}: " if point_label else ""
            told = status(requests, half_width, target)
            line = f"{name}{done_fraction:.0%}{', ' * bool(told)}{told}"
            print(line, file=sys.stderr, flush=True)

    def _due(self, label: str, fraction: float) -> bool:
        now = time.monotonic()
        if now - self._start < SILENT_SECONDS or now - self._last < LINE_SECONDS:
            return False
        moved = label != self._label or fraction >= self._fraction + LINE_FRACTION
        return moved or now - self._last >= HEARTBEAT_SECONDS


class Bar:
    """A rich progress bar with the time left; one bar, started anew at each point."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._task: TaskID | None = None
        self._label = ""

    def update(
        self,
        point_label: str,
        done_fraction: float,
        requests: int,
        half_width: float | None,
        target: float | None,
    ) -> None:
        """Move the bar."""
        with self._lock:
            self._bar.update(
                self._task_of(point_label),
                completed=done_fraction,
                status=status(requests, half_width, target),
            )

    def _task_of(self, label: str) -> TaskID:
        if self._task is None or label != self._label:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(label or "simulating", total=1.0, status="")
            self._label = label
        return self._task


@contextmanager
def progress(quiet: bool = False, console: Console | None = None) -> Iterator[Reporter]:
    """Report progress on stderr while the block runs.

    Args:
        quiet: say nothing.
        console: a rich console to draw on; by default stderr.

    """
    terminal = console.is_terminal if console is not None else sys.stderr.isatty()
    if quiet or not terminal:
        yield Silent() if quiet else Lines()
        return
    with _rich_bar(console) as bar:
        yield Bar(bar)


def _rich_bar(console: Console | None) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=console or Console(stderr=True),
        transient=True,
    )
