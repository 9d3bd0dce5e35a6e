"""Stopping a run by Ctrl-C, or by the SIGTERM of a batch system.

A signal handler that raises does so wherever the main thread happens to be: in a callback of the
garbage collector, where the exception is printed and lost, or with a lock of a future acquired. So
a signal only sets a flag. Wherever the engine waits, and between blocks, it checks the flag and
raises KeyboardInterrupt itself.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import active_children
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import NoReturn

POLL_SECONDS = 0.1  # between two checks while waiting
GRACE_SECONDS = 3.0  # for the engine to get to a check, as after a long compilation
INTERRUPTED = 130  # exit code


class _Interrupts:
    """Whether a stop was requested, and whether a KeyboardInterrupt was raised for it."""

    requested = delivered = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a stop was requested."""
        if self.requested:
            self.delivered = True
            raise KeyboardInterrupt

    def request(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.requested = True

    def request_or_raise(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; the second one is raised at once."""
        self.check()
        self.requested = True


interrupts = _Interrupts()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C request a stop, unless the caller has installed a handler of its own.

    Raises:
        KeyboardInterrupt: A stop was requested too late for any check.
    """
    if not _handler_is(signal.default_int_handler):
        yield
        return
    signal.signal(signal.SIGINT, interrupts.request_or_raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        late = interrupts.requested and not interrupts.delivered
        interrupts.requested = interrupts.delivered = False
    if late:
        raise KeyboardInterrupt


@contextmanager
def command_interruptible(
    message: str | Callable[[], str], grace: float = GRACE_SECONDS
) -> Iterator[None]:
    """Let SIGINT and SIGTERM request a stop of a process that is nothing but this command.

    A second signal ends the process at once, as does a request that gets to no check in time.
    Does nothing in a Python program, which has Python's handler of SIGINT.

    Args:
        message (str | Callable[[], str]): What to print where the process is ended at once.
        grace (float): Seconds for a request to get to a check; 0 where there is none.
    """
    if current_thread() is not main_thread() or _handler_is(signal.default_int_handler):
        yield
        return
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) == signal.SIG_DFL]
    sys.warnoptions.append("ignore:resource_tracker")  # it unlinks semaphores of a process ended so
    wakeup, watched = socket.socketpair()
    wakeup.setblocking(False)
    Thread(target=_watch, args=(watched, message, grace), daemon=True).start()
    signal.set_wakeup_fd(wakeup.fileno())
    for number in numbers:
        signal.signal(number, interrupts.request)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        wakeup.close()


def _handler_is(handler: object) -> bool:
    return current_thread() is main_thread() and signal.getsignal(signal.SIGINT) is handler


def _watch(signals: socket.socket, message: str | Callable[[], str], grace: float) -> None:
    """End the process at the second signal, or if nothing checks the flag in time."""
    if not signals.recv(1):  # closed: there was no signal
        return
    interrupts.requested = True
    end = False
    while not end:
        again = bool(select.select([signals], [], [], grace)[0])
        if again and not signals.recv(1):
            return
        end = again or not interrupts.delivered
    with suppress(OSError):
        text = message if isinstance(message, str) else message()
        os.write(2, text.encode())  # sys.stderr may be locked
    end_process()


def end_process() -> NoReturn:
    """End this process and its workers at once, whatever they do."""
    for worker in active_children():
        with suppress(Exception):  # another thread may close it just now
            worker.kill()
    os._exit(INTERRUPTED)
