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
    from rich.console import Console, RenderableType
    from rich.live import Live

from mtpsim.common.compilation import COMPILING, compilation
from mtpsim.common.text import counted

SILENT_SECONDS = 1.0
LINE_SECONDS = 2.0
LINE_FRACTION = 0.1
HEARTBEAT_SECONDS = 30.0
LEAST_SHARE = 0.02  # done, from which a remaining time is estimated
BAR_WIDTH = 100  # columns of a terminal with a long bar


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
        point (int): Number of the point of a sweep, from 0.
        points (int): Number of points of the sweep; 1 without a sweep.
    """

    label: str
    fraction: float
    requests: int = 0
    half_width: float | None = None
    target: float | None = None
    units: str = "request"
    point: int = 0
    points: int = 1

    @property
    def share(self) -> float:
        """Share of all points that is done, 0 to 1."""
        return (self.point + self.fraction) / self.points

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
    """One line: a bar, the share of all points, the remaining time, and then the step.

    What a narrow terminal cuts off is last: the name of the point.
    """

    def __init__(self) -> None:
        self._progress = Progress("", 0.0)
        self._share = 0.0
        self._restart()

    def _restart(self) -> None:
        self._start, self._compiled = time.monotonic(), compilation.seconds

    def report(self, progress: Progress) -> None:
        """Move the bar."""
        before = self._progress
        if progress.points == 1 and progress.label != before.label:
            self._share = 0.0
            self._restart()
        self._share = max(self._share, progress.share)  # scenarios of a point begin at 0 again
        self._progress = progress

    @property
    def text(self) -> str:
        """`` 34 %  1:20 left  3/8  12,000 requests, ±0.31 % reached  latency.target = 27``."""
        if compilation.active:
            return f"{COMPILING}; {compilation.seconds - self._compiled:.0f} s so far"
        progress, number = self._progress, ""
        if progress.points > 1:
            number = f"{progress.point + 1}/{progress.points}"
        label = progress.label.removeprefix(f"{number}: ") or "simulating"
        parts = [f"{100 * self._share:3.0f} %", self._remaining(), number, progress.status, label]
        return "  ".join(filter(None, parts))

    def _remaining(self) -> str:
        """``1:20 left``, from the time so far; blank as long as that says nothing."""
        seconds = time.monotonic() - self._start - (compilation.seconds - self._compiled)
        if seconds < SILENT_SECONDS or self._share < LEAST_SHARE:
            return ""
        minutes, rest = divmod(round(seconds * (1 - self._share) / self._share), 60)
        return f"{minutes}:{rest:02} left"

    def line(self, width: int) -> RenderableType:
        """What is drawn on a terminal of ``width`` columns."""
        from rich.progress_bar import ProgressBar as Bar
        from rich.table import Table
        from rich.text import Text

        text = Text(self.text, no_wrap=True, overflow="ellipsis")
        if compilation.active:
            return text
        bar = Bar(total=1.0, completed=self._share, width=24 if width >= BAR_WIDTH else 12)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(bar, text)
        return grid


@contextmanager
def progress_display(
    quiet: bool = False, console: Console | None = None
) -> Iterator[ProgressCallback]:
    """Show progress on stderr while the block runs, and that kernels are being compiled.

    Args:
        quiet (bool): Show nothing.
        console (Console | None): The rich console to draw on; None: stderr.
    """
    terminal = console.is_terminal if console is not None else sys.stderr.isatty()
    if quiet:
        yield ignore_progress
    elif not terminal:
        compilation.on_start = _say_compiling
        try:
            yield ProgressLines().report
        finally:
            compilation.on_start = None
    else:
        bar = ProgressBar()
        with _live(bar, console) as live:
            live.console.show_cursor(True)  # a signal may end the process here
            yield bar.report


def _say_compiling() -> None:
    compilation.on_start = None  # once
    print(COMPILING, file=sys.stderr, flush=True)


def _live(bar: ProgressBar, console: Console | None) -> Live:
    from rich.console import Console
    from rich.live import Live

    screen = console or Console(stderr=True)
    return Live(
        console=screen,
        get_renderable=lambda: bar.line(screen.width),
        refresh_per_second=4,
        transient=True,
    )
