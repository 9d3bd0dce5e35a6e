"""Ctrl-C waits while futures are handled, and is lost nowhere."""

import signal
import threading
from contextlib import suppress

import pytest

import mtpsim
from mtpsim.engine import scheduler as scheduler_module
from mtpsim.engine.interrupts import defer_interrupts, handle_sigint
from tests.support.examples import TWO_DEEP, independent

LONG = independent(0.8, 0.7) + TWO_DEEP + "[simulation]\nprecision = 1e-7\n"


def test_an_interrupt_is_deferred_to_the_end_of_the_outermost_block():
    reached = []

    def nested():
        with defer_interrupts:
            with defer_interrupts:
                signal.raise_signal(signal.SIGINT)
                reached.append("inner")
            reached.append("outer")
        reached.append("never")

    with handle_sigint(), pytest.raises(KeyboardInterrupt):
        nested()
    assert reached == ["inner", "outer"]
    with handle_sigint(), defer_interrupts:  # it was raised once, and is over
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_outside_is_raised_at_once():
    with handle_sigint(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_handler_of_the_caller_is_kept():
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with handle_sigint(), defer_interrupts:
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def test_interrupts_are_not_deferred_in_other_threads():
    with handle_sigint():
        with defer_interrupts:
            thread = threading.Thread(target=lambda: defer_interrupts.__enter__())
            thread.start()
            thread.join()
        assert defer_interrupts.depth == 0


def test_an_interrupt_leaves_no_lock_of_a_future_acquired(monkeypatch):
    """An interrupt right after a lock was taken: workers would wait for it for ever."""
    plainly, released = scheduler_module.wait, []

    def interrupted(futures, timeout, when):
        lock = next(iter(futures))._condition
        lock.acquire()  # as a `with` does it, before it is sure to release
        signal.raise_signal(signal.SIGINT)
        lock.release()
        released.append(True)
        return plainly(futures, timeout, when)

    monkeypatch.setattr(scheduler_module, "wait", interrupted)
    with suppress(KeyboardInterrupt):  # raised where there are no two requests to report yet
        assert not mtpsim.run(mtpsim.parse(LONG)).document["complete"]
    assert released
