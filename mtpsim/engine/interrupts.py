"""Deferred handling of Ctrl-C while futures are handled.

Python raises KeyboardInterrupt between any two steps of the main thread: also right after a lock of
``concurrent.futures`` is acquired and before it is certain to be released. Workers would
then wait for the lock, and the program for its workers: a deadlock.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType, TracebackType


class _DeferInterrupts:
    """Context manager: an interrupt inside of it is raised at its end."""

    depth, pending = 0, False

    def __enter__(self) -> None:
        if current_thread() is main_thread():
            self.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if current_thread() is not main_thread():
            return
        self.depth -= 1
        if self.pending and not self.depth:
            self.pending = False
            raise KeyboardInterrupt

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT, or the SIGTERM of a batch system."""
        self.pending = self.depth > 0
        if not self.pending:
            raise KeyboardInterrupt


defer_interrupts = _DeferInterrupts()


@contextmanager
def handle_sigint() -> Iterator[None]:
    """Install the deferring SIGINT handler, unless the caller has installed another handler."""
    main = current_thread() is main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, defer_interrupts.interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
