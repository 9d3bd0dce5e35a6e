"""``mtpsim plan``: how many requests a benchmark on the real engine needs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from mtpsim.benchmark.power import Planned, plan_benchmark
from mtpsim.common.errors import InputError, Problem
from mtpsim.config.experiment import Experiment
from mtpsim.engine.simulate import compiled_latency
from mtpsim.exact.chain_solver import speedups
from mtpsim.report.progress import progress
from mtpsim.report.tables.power import print_plan


@dataclass(frozen=True)
class PlanOptions:
    """What the command line asks of a plan.

    Attributes:
        delta: relative difference to tell, and half-width of a speedup to reach.
        power: probability to decide right.
        depths: to tell apart, as ``2,3``; by default the best and its neighbours.
        picture: where to draw the power by requests.
        as_json: print the plan as JSON.
        quiet: no progress.

    """

    delta: float
    power: float
    depths: str | None
    picture: Path | None
    as_json: bool
    quiet: bool


def plan_command(experiment: Experiment, options: PlanOptions) -> int:
    """Plan, try, and print.

    Raises:
        InputError: a number is out of its range, or the experiment has several points.

    """
    _check(options)
    points = experiment.points()
    if len(points) > 1:
        message = f"the sweep has {len(points)} points; plan one of them: choose it with --set"
        raise InputError.of(message, key="sweep")
    (point,) = points
    depths = _depths(point.experiment, options.depths)
    with progress(options.quiet or options.as_json) as watcher:
        planned = plan_benchmark(
            point.experiment,
            effect=options.delta,
            power=options.power,
            pairs=list(combinations(depths, 2)),
            pinned=depths,
            told=lambda label, share: watcher.update(label, share, 0, None, None),
        )
    if options.picture is not None:
        _draw(planned, options.picture)
        if not options.quiet:
            print(f"wrote {options.picture}", file=sys.stderr)
    if options.as_json:
        print(json.dumps(asdict(planned), indent=2))
    else:
        print_plan(planned)
    return 0


def _check(options: PlanOptions) -> None:
    problems = []
    if not 1e-4 <= options.delta <= 1:
        message = f"{options.delta:g} is given; a relative difference from 0.0001 to 1 is needed"
        problems.append(Problem(message, key="--delta"))
    if not 0.5 <= options.power <= 0.999:
        message = f"{options.power:g} is given; a probability from 0.5 to 0.999 is needed"
        problems.append(Problem(message, key="--power"))
    if problems:
        raise InputError(problems)


def _depths(experiment: Experiment, given: str | None) -> list[int]:
    """Depths to compare: as given, or the best and those next to it."""
    source = experiment.acceptance.chain()
    greatest = source.depth
    if given is not None:
        parts = [part.strip() for part in given.split(",")]
        if not all(p.isdecimal() and 1 <= int(p) <= greatest for p in parts) or len(parts) < 1:
            message = f"{given!r} is given; depths are 1 to {greatest}, as 2,3"
            raise InputError.of(message, key="--depths")
        return sorted({int(part) for part in parts})
    horizon = experiment.simulation.horizon
    times = compiled_latency(experiment, greatest).round_time
    best = max(1, int(np.argmax(speedups(source, times, **horizon))))
    return [k for k in (best - 1, best, best + 1) if 1 <= k <= greatest]


def _draw(planned: Planned, path: Path) -> None:
    from mtpsim.report.figures.power import plan_figure
    from mtpsim.report.figures.style import save

    try:
        save(plan_figure(planned), path, dpi=150)
    except (OSError, ValueError) as error:
        message = f"can't be written: {getattr(error, 'strerror', None) or error}"
        raise InputError.of(message, file=path, key="--picture") from None
