"""``mtpsim plan``: number of requests that a benchmark of the real engine needs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from mtpsim.benchmark.power import BenchmarkPlan, plan_benchmark
from mtpsim.cli.main import add_experiment_arguments, read_experiment
from mtpsim.common.errors import InputError, Problem
from mtpsim.config.experiment import Experiment
from mtpsim.engine.simulate import compiled_latency
from mtpsim.exact.chain_solver import speedups
from mtpsim.report.progress import Progress, progress_display
from mtpsim.report.tables.power import print_plan


@dataclass(frozen=True)
class PlanOptions:
    """Options of ``mtpsim plan``.

    Attributes:
        delta (float): Smallest relative difference to detect, and half-width of a speedup.
        power (float): Wanted probability of a right decision.
        depths (str | None): Depths to compare, such as ``2,3``; None: the best and its neighbours.
        picture (Path | None): Where to draw power by number of requests.
        as_json (bool): Print the plan as JSON.
        quiet (bool): Print no progress.
    """

    delta: float
    power: float
    depths: str | None
    picture: Path | None
    as_json: bool
    quiet: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_experiment_arguments(parser)
    parser.add_argument(
        "--delta",
        type=float,
        default=0.01,
        metavar="X",
        help="smallest relative difference to detect (default: 0.01)",
    )
    parser.add_argument(
        "--power",
        type=float,
        default=0.9,
        metavar="P",
        help="probability of detecting it (default: 0.9)",
    )
    parser.add_argument(
        "--depths", metavar="K,K", help="depths to compare (default: the best and its neighbours)"
    )
    parser.add_argument("--picture", metavar="PNG", help="draw the power by number of requests")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Run the command; raises like :func:`plan_command`."""
    experiment = read_experiment(options)
    picture = Path(options.picture) if options.picture else None
    chosen = PlanOptions(
        delta=options.delta,
        power=options.power,
        depths=options.depths,
        picture=picture,
        as_json=options.json,
        quiet=options.quiet,
    )
    return plan_command(experiment, chosen)


def plan_command(experiment: Experiment, options: PlanOptions) -> int:
    """Plan benchmarks of an experiment, verify the plan, and print it.

    Args:
        experiment (Experiment): Without a sweep over several points.
        options (PlanOptions): Of the command line.

    Returns:
        int: Exit code 0.

    Raises:
        InputError: A number is out of range, the experiment has several points, or the picture
            can't be written.
    """
    _check(options)
    points = experiment.points()
    if len(points) > 1:
        message = f"the sweep has {len(points)} points; select one of them with --set"
        raise InputError.of(message, key="sweep")
    (point,) = points
    depths = _depths(point.experiment, options.depths)
    with progress_display(options.quiet or options.as_json) as report:
        plan = plan_benchmark(
            point.experiment,
            effect=options.delta,
            power=options.power,
            pairs=list(combinations(depths, 2)),
            pinned=depths,
            on_progress=lambda label, share: report(Progress(label, share)),
        )
    if options.picture is not None:
        _draw(plan, options.picture)
        if not options.quiet:
            print(f"wrote {options.picture}", file=sys.stderr)
    if options.as_json:
        print(json.dumps(asdict(plan), indent=2))
    else:
        print_plan(plan)
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
    """Depths to compare: as given, or the best one and its neighbours."""
    source = experiment.acceptance.chain()
    greatest = source.depth
    if given is not None:
        parts = [part.strip() for part in given.split(",")]
        if not all(p.isdecimal() and 1 <= int(p) <= greatest for p in parts):
            message = f"{given!r} is given; depths are 1 to {greatest}, such as 2,3"
            raise InputError.of(message, key="--depths")
        return sorted({int(part) for part in parts})
    horizon = experiment.simulation.horizon
    times = compiled_latency(experiment, greatest).round_time
    best = max(1, int(np.argmax(speedups(source, times, **horizon))))
    return [k for k in (best - 1, best, best + 1) if 1 <= k <= greatest]


def _draw(plan: BenchmarkPlan, path: Path) -> None:
    from mtpsim.report.figures.power import plan_figure
    from mtpsim.report.figures.style import save

    try:
        save(plan_figure(plan), path, dpi=150)
    except (OSError, ValueError) as error:
        message = f"can't be written: {getattr(error, 'strerror', None) or error}"
        raise InputError.of(message, file=path, key="--picture") from None
