"""Progress of a command on stderr: a bar on a terminal, a few lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

from mtpsim.common.text import counted

SILENT_SECONDS = 1.0
LINE_SECONDS = 2.0
LINE_FRACTION = 0.1
HEARTBEAT_SECONDS = 30.0


@dataclass(frozen=True)
class Progress:
    """How far a step of a command is.

    Attributes:
        label (str): Name of the step, as a point of a sweep; a new label starts a new bar.
        fraction (float): Share of the step that is done, 0 to 1.
        requests (int): Number of requests finished, or of other ``units``.
        half_width (float | None): Relative half-width of the interval so far; None if unknown.
        target (float | None): Relative half-width to reach; None if the number of requests is
            fixed.
        units (str): What is counted, in the singular.
    """

    label: str
    fraction: float
    requests: int = 0
    half_width: float | None = None
    target: float | None = None
    units: str = "request"

    @property
    def status(self) -> str:
        """``12,000 requests, ±0.31 % reached, ±0.1 % asked``."""
        parts = [counted(self.requests, self.units)] if self.requests else []
        if self.half_width is not None and self.half_width < float("inf"):
            parts.append(f"±{100 * self.half_width:.2g} % reached")
        if self.target is not None:
            parts.append(f"±{100 * self.target:.2g} % asked")
        return ", ".join(parts)


ProgressCallback = Callable[[Progress], None]  # may be called from any thread


def ignore_progress(progress: Progress) -> None:
    """Do nothing."""


class ProgressLines:
    """Plain lines for logs and pipes: none in the first second, then about ten per step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_time = self._start = time.monotonic()
        self._last = Progress("", 0.0)
        self._printed = False

    def report(self, progress: Progress) -> None:
        """Print a line if the last one is out of date."""
        with self._lock:
            if not self._due(progress):
                return
            self._last_time, self._last, self._printed = time.monotonic(), progress, True
            name = f"{progress.label}: " if progress.label else ""
            parts = [f"{name}{100 * progress.fraction:.0f} % done", progress.status]
            print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def _due(self, progress: Progress) -> bool:
        now = time.monotonic()
        if now - self._start < SILENT_SECONDS or now - self._last_time < LINE_SECONDS:
            return False
        moved = progress.fraction >= self._last.fraction + LINE_FRACTION
        new = not self._printed or progress.label != self._last.label
        return new or moved or now - self._last_time >= HEARTBEAT_SECONDS


class ProgressBar:
    """A rich progress bar with the remaining time; a new bar per label."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._task: TaskID | None = None
        self._label = ""

    def report(self, progress: Progress) -> None:
        """Move the bar."""
        with self._lock:
            if self._task is None or progress.label != self._label:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                label = progress.label or "simulating"
                self._task = self._bar.add_task(label, total=1.0, status="")
                self._label = progress.label
            self._bar.update(self._task, completed=progress.fraction, status=progress.status)


@contextmanager
def progress_display(
    quiet: bool = False, console: Console | None = None
) -> Iterator[ProgressCallback]:
    """Show progress on stderr while the block runs.

    Args:
        quiet (bool): Show nothing.
        console (Console | None): The rich console to draw on; None: stderr.
    """
    terminal = console.is_terminal if console is not None else sys.stderr.isatty()
    if quiet:
        yield ignore_progress
    elif not terminal:
        yield ProgressLines().report
    else:
        with _rich_bar(console) as bar:
            bar.console.show_cursor(True)  # a signal may end the process here
            yield ProgressBar(bar).report


def _rich_bar(console: Console | None) -> RichProgress:
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
