"""Ctrl-C at a moment when it does no harm.

Python raises KeyboardInterrupt between any two steps of the main thread: also right after a lock of
``concurrent.futures`` was taken and before it is sure to be given back. Workers would wait for that
lock for ever, and the program for its workers. So an interrupt waits while futures are handled.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType, TracebackType


class _Held:
    """A block during which an interrupt waits; it is raised at the end."""

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
        """Handle SIGINT, or the SIGTERM of a scheduler, which deserves the same care."""
        self.pending = self.depth > 0
        if not self.pending:
            raise KeyboardInterrupt


defer_interrupts = _Held()


@contextmanager
def handle_sigint() -> Iterator[None]:
    """Ctrl-C waits where it has to, unless the caller handles or ignores it in another way."""
    ours = current_thread() is main_thread()
    before = signal.getsignal(signal.SIGINT) if ours else None
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, defer_interrupts.interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
