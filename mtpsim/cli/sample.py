"""``mtpsim sample``: write an engine log of simulated requests."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.draft_lengths import ProposingChain
from mtpsim.cli.main import DONE, one_point, read_experiment
from mtpsim.cli.streams import write_while_read
from mtpsim.common.errors import InputError, cannot_write, nearest
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment
from mtpsim.engine.round_traces import Ints, play_rounds
from mtpsim.engine.simulate import compile_plan, compiled_latency, lengths_of
from mtpsim.logs.files import create_text
from mtpsim.logs.logged import LoggedRequest
from mtpsim.logs.write import WRITERS

BLOCK = 256  # requests simulated at a time


class SampleOptions(argparse.Namespace):
    """Options of ``mtpsim sample``; :func:`mtpsim.cli.arguments.sample` describes each."""

    form: str
    requests: int
    depth: str | None
    out: Path | None


def sample_requests(
    experiment: Experiment, depths: list[int], count: int
) -> Iterator[LoggedRequest]:
    """Simulate requests of an experiment round by round: the same requests as in a run.

    Args:
        experiment (Experiment): One point: acceptance model, latency and request length.
        depths (list[int]): Drafts per round; with several, successive requests take them in turn.
        count (int): Number of requests.

    Yields:
        LoggedRequest: Each request with its accepted drafts and round times.
    """
    source = experiment.source
    latency = compiled_latency(experiment)
    simulation = experiment.simulation
    plan = compile_plan(
        source,
        latency,
        seed=simulation.seed,
        rounds=simulation.rounds or 0,
        tokens=simulation.tokens or 0,
    )
    for first in range(0, count, BLOCK):
        size = min(BLOCK, count - first)
        played = {depth: play_rounds(source, plan, depth, size, first) for depth in set(depths)}
        most = lengths_of(plan, first, size)
        for number in range(size):
            depth = depths[(first + number) % len(depths)]
            trace, times = played[depth]
            live = trace.accepted[number] >= 0
            accepted = trace.accepted[number, live]
            made = int((accepted + 1).sum())
            longest = simulation.tokens if most is None else int(most[number])
            yield LoggedRequest(
                accepted=accepted.tolist(),
                depth=depth,
                times=times[number, live].tolist(),
                tokens=min(made, longest or made),
                proposed=_proposed(source, trace.state[number, live], depth),
            )


def _proposed(source: Source, states: Ints, depth: int) -> list[int]:
    """Return the proposed drafts of rounds by their states, where their number is random."""
    if not isinstance(source, ProposingChain):
        return []
    drafts: list[int] = np.minimum(source.proposed[states], depth).tolist()
    return drafts


def run(options: SampleOptions) -> int:
    """Write a log of simulated requests; returns the exit code."""
    form, requests, out = options.form, options.requests, options.out
    if requests < 1:
        raise InputError.of(f"{requests} is given; at least 1 is needed", key="--requests")
    experiment = one_point(read_experiment(options))
    if form not in WRITERS:
        message = f"{form!r} is none of {', '.join(WRITERS)}{nearest(form, WRITERS)}"
        raise InputError.of(message, key="--as")
    source = experiment.source
    chosen = _depths(options.depth, source.depth)
    if isinstance(source, Recording) and requests > source.requests:
        message = f"{requests} is given, but {counted(source.requests, 'request', 'are')} recorded"
        raise InputError.of(message, key="--requests")
    try:
        text = WRITERS[form](sample_requests(experiment, chosen, requests))
        if out is None:
            write_while_read(text, sys.stdout)
        else:
            with create_text(out) as file:
                file.writelines(text)
            print(f"wrote {counted(requests, 'request')} to {out}", file=sys.stderr)
    except ValueError as error:
        raise InputError.of(str(error), key="--depth") from None
    except OSError as error:
        raise cannot_write(error, out or "stdout") from None
    return DONE


def _depths(given: str | None, greatest: int) -> list[int]:
    parts = (given or str(greatest)).split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= greatest for part in parts):
        message = f"{given!r} is given; depths are 1 to {greatest}, such as 2 or 1,3"
        raise InputError.of(message, key="--depth")
    return [int(part) for part in parts]
