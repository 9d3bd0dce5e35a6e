"""Ctrl-C stops a run wherever the main thread is, and is lost nowhere."""

import gc
import signal
import subprocess

import pytest

import mtpsim
from mtpsim.engine.interrupts import interruptible, interrupts
from tests.support.children import python
from tests.support.examples import TWO_DEEP, independent

LONG = independent(0.8, 0.7) + TWO_DEEP + "[simulation]\nprecision = 1e-7\n"


def press(*_):
    signal.raise_signal(signal.SIGINT)


def press_in_garbage_collection(*_):
    """Python prints and ignores an exception that is raised there."""
    gc.callbacks.append(lambda phase, _: phase == "start" and press())
    gc.collect(0)
    gc.callbacks.pop()


def test_an_interrupt_is_raised_at_a_check_until_it_is_handled():
    with interruptible():
        press()
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                interrupts.check()
    interrupts.check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_is_raised_at_once():
    with interruptible():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_an_interrupt_after_the_last_check_is_raised_at_the_end():
    with pytest.raises(KeyboardInterrupt), interruptible():
        press()
    interrupts.check()


def test_a_handler_of_the_caller_is_kept():
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with interruptible():
            press()
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


@pytest.mark.parametrize("executor", ["threads:1", "processes:1"])
@pytest.mark.parametrize("how", [press, press_in_garbage_collection])
def test_an_interrupt_stops_a_run_of_the_library(how, executor):
    pressed = iter([how])
    result = mtpsim.run(
        mtpsim.parse(LONG), executor=executor, on_progress=lambda _: next(pressed, str)()
    )
    assert not result.document["complete"]


# A command that gets to no check, as in a long compilation.
BUSY = """
import signal, sys, time
from mtpsim.engine import interrupts
interrupts.GRACE_SECONDS = float(sys.argv[1])
signal.signal(signal.SIGINT, signal.SIG_DFL)
with interrupts.command_interruptible("last words\\n"):
    print("ready", flush=True)
    while not interrupts.interrupts.requested:
        time.sleep(0.01)
    print("requested", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize(("grace", "presses"), [(0.1, 1), (1000, 2)])
def test_a_command_that_does_not_stop_is_ended(grace, presses):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with python("-c", BUSY, grace, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(presses):
            process.send_signal(signal.SIGINT)
            process.stdout.readline()  # the request was seen
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == "last words\n"
