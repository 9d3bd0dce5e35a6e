"""``mtpsim sample``: the log that an engine would have written, from an experiment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.recording import play
from mtpsim.cli.streams import write_while_read
from mtpsim.common.errors import InputError, nearest
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment
from mtpsim.engine.compile import compile_plan
from mtpsim.engine.round_traces import Counts, record_requests
from mtpsim.latency import CompiledLatency
from mtpsim.logs.files import written
from mtpsim.logs.write import WRITERS, Told

BLOCK = 256  # requests made at a time


def sample_requests(experiment: Experiment, depths: list[int], count: int) -> Iterator[Told]:
    """Requests of an experiment, round by round, the same ones that a run simulates.

    Args:
        experiment: its model, its times and the length of a request.
        depths: drafts a round; with several, requests take them in turn.
        count: number of requests.

    """
    source = experiment.acceptance.chain()
    latency = experiment.latency.compile(source.depth)
    for first in range(0, count, BLOCK):
        size = min(BLOCK, count - first)
        made = {k: _played(experiment, source, latency, k, first, size) for k in depths}
        for number in range(size):
            depth = depths[(first + number) % len(depths)]
            accepted = made[depth][number]
            yield _told(experiment, latency, accepted[accepted >= 0], depth, first + number)


def _played(
    experiment: Experiment,
    source: Source,
    latency: CompiledLatency,
    depth: int,
    first: int,
    size: int,
) -> Counts:
    horizon = experiment.simulation.horizon
    if isinstance(source, Recording):
        return play(source, slice(first, first + size), depth, **horizon)
    seed = experiment.simulation.seed
    plan = compile_plan(source, latency, seed=seed, measured_at=depth, policy_set=None, **horizon)
    return record_requests(plan, size, max(horizon.values()), first)


def _told(
    experiment: Experiment, latency: CompiledLatency, accepted: Counts, depth: int, number: int
) -> Told:
    times = latency.sample_round_times(depth, accepted.size, experiment.simulation.seed + number)
    made = int(accepted.sum()) + accepted.size
    tokens = min(made, experiment.simulation.tokens or made)
    return Told(accepted.tolist(), depth, times.tolist(), tokens)


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
