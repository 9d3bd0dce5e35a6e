"""``mtpsim sample``: the log that an engine would have written, from an experiment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mtpsim.acceptance import Recording, Source
from mtpsim.cli.streams import write_while_read
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError, nearest
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment
from mtpsim.engine.round_traces import Counts, round_times, trace_recording, trace_requests
from mtpsim.engine.simulate import KernelPlan, compile_plan, compiled_latency
from mtpsim.logs.files import written
from mtpsim.logs.write import WRITERS, Told

BLOCK = 256  # requests simulated at a time


def sample_requests(experiment: Experiment, depths: list[int], count: int) -> Iterator[Told]:
    """Simulate requests of an experiment round by round: the same requests as in a run.

    Args:
        experiment: one point: acceptance model, latency and horizon.
        depths: drafts per round; with several, successive requests take them in turn.
        count: number of requests.

    Yields:
        Each request with its accepted drafts and round times.

    Raises:
        InputError: a distribution of the latency can't be tabulated.

    """
    source = experiment.acceptance.chain()
    latency = compiled_latency(experiment, source.depth)
    simulation = experiment.simulation
    plans = {
        depth: compile_plan(
            source,
            latency,
            seed=simulation.seed,
            rounds=simulation.rounds or 0,
            tokens=simulation.tokens or 0,
            measured_at=depth,
        )
        for depth in depths
    }
    for first in range(0, count, BLOCK):
        size = min(BLOCK, count - first)
        played = {k: _play(source, plan, k, first, size) for k, plan in plans.items()}
        for number in range(size):
            depth = depths[(first + number) % len(depths)]
            accepted, times = (part[number] for part in played[depth])
            live = accepted >= 0
            made = int((accepted[live] + 1).sum())
            tokens = min(made, simulation.tokens or made)
            yield Told(accepted[live].tolist(), depth, times[live].tolist(), tokens)


def _play(
    source: Source, plan: KernelPlan, depth: int, first: int, count: int
) -> tuple[Counts, Floats]:
    """Accepted drafts and times in ms of the rounds of some requests, each ``[count, R]``."""
    rounds, tokens = plan.task.rounds, plan.task.tokens
    if isinstance(source, Recording):
        requests = slice(first, first + count)
        trace = trace_recording(source, requests, depth, rounds=rounds, tokens=tokens)
    else:
        trace = trace_requests(plan, count, rounds or tokens, first)
    return trace.accepted, round_times(plan, trace, depth, first)


def sample_command(
    experiment: Experiment, form: str, requests: int, depths: str | None, out: Path | None
) -> int:
    """Write a log to ``out`` or to stdout.

    Raises:
        InputError: there is no such form, or the depths are not those of the model.

    """
    if form not in WRITERS:
        message = f"{form!r} is none of {', '.join(WRITERS)}{nearest(form, WRITERS)}"
        raise InputError.of(message, key="--as")
    source = experiment.acceptance.chain()
    chosen = _depths(depths, source.depth)
    if isinstance(source, Recording) and requests > source.requests:
        message = f"{requests} is given, but {counted(source.requests, 'request', 'are')} recorded"
        raise InputError.of(message, key="--requests")
    try:
        text = WRITERS[form](sample_requests(experiment, chosen, requests))
        if out is None:
            write_while_read(text, sys.stdout)
        else:
            with written(out) as file:
                file.writelines(text)
            print(f"wrote {counted(requests, 'request')} to {out}", file=sys.stderr)
    except ValueError as error:
        raise InputError.of(str(error), key="--depth") from None
    except OSError as error:
        message = f"can't be written: {error.strerror}"
        raise InputError.of(message, file=str(out or "stdout"), key="--out") from None
    return 0


def _depths(given: str | None, greatest: int) -> list[int]:
    parts = (given or str(greatest)).split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= greatest for part in parts):
        message = f"{given!r} is given; depths are 1 to {greatest}, as 2 or 1,3"
        raise InputError.of(message, key="--depth")
    return [int(part) for part in parts]
