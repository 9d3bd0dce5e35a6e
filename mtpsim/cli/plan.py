"""``mtpsim plan``: number of requests that a benchmark of the real engine needs."""

import argparse
import json
import re
import sys
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mtpsim.benchmark.power import BenchmarkPlan, plan_benchmark
from mtpsim.cli.arguments import fit as fit_arguments
from mtpsim.cli.main import DONE, one_point, read_experiment
from mtpsim.common.errors import InputError, Problem, cannot_write
from mtpsim.config.experiment import Experiment
from mtpsim.engine.simulate import compiled_latency
from mtpsim.exact.chain_solver import speedups
from mtpsim.report.progress import Progress, progress_display
from mtpsim.report.tables.power import print_plan

OF_LOGS = ("like", "target", "verify", "draft", "format")
MAX_EXPERIMENT = 1 << 20  # bytes in which an experiment names its acceptance model


class PlanOptions(argparse.Namespace):
    """Options of ``mtpsim plan``; :func:`mtpsim.cli.arguments.plan` describes each."""

    delta: float
    power: float
    file: str
    logs: list[str]
    seed: str | None
    set: list[str]
    like: Path | None
    target: float | None
    verify: float | None
    draft: float | None
    format: str | None
    depths: str | None
    picture: Path | None
    json: bool
    quiet: bool


def run(options: PlanOptions) -> int:
    """Plan benchmarks of an experiment, verify the plan, and print it; returns the exit code."""
    with TemporaryDirectory() as folder:  # of an experiment made of a log
        experiment = one_point(_read(options, Path(folder)))
        _check(options)
        plan = _plan(experiment, options)
    if options.picture is not None:
        _draw(plan, options.picture)
        if not options.quiet:
            print(f"wrote {options.picture}", file=sys.stderr)
    warnings = experiment.time_warnings()
    if options.json:
        warnings = [*plan.shortfalls(), *warnings]
        print(json.dumps({**asdict(plan), "warnings": warnings}, indent=2))
    else:
        print_plan(plan, warnings)
    return DONE


def _plan(experiment: Experiment, options: PlanOptions) -> BenchmarkPlan:
    depths = _depths(experiment, options.depths)
    with progress_display(options.quiet or options.json) as report:
        return plan_benchmark(
            experiment,
            effect=options.delta,
            power=options.power,
            pairs=list(combinations(depths, 2)),
            pinned=depths,
            on_progress=lambda label, share: report(Progress(label, share)),
        )


def _read(options: PlanOptions, folder: Path) -> Experiment:
    """Read the experiment, or make one of logs: their replay, or else the fitted model."""
    given = {name: getattr(options, name) for name in OF_LOGS if getattr(options, name) is not None}
    if not _is_log(options.file):
        if given or options.logs:
            what = f"--{next(iter(given))}" if given else options.logs[0]
            message = f"{options.file} is an experiment; only logs take more logs and times"
            raise InputError.of(message, key=what)
        return read_experiment(options)
    arguments = [options.file, *options.logs]
    arguments += [f"--{name}={value}" for name, value in given.items()]
    arguments += ["--quiet"] * (options.quiet or options.json)
    options.file = str(_experiment_of_logs(arguments, folder))
    return read_experiment(options)


def _experiment_of_logs(arguments: list[str], folder: Path) -> Path:
    """Fit logs as ``mtpsim fit`` does, without tables and pictures; return the experiment's path.

    It is the replay where the log has rounds in order, else the fitted model.

    Args:
        arguments: logs and options of the command.
        folder: folder of the experiment and its files.
    """
    from mtpsim.cli import fit

    parser = argparse.ArgumentParser()
    fit_arguments(parser)
    out = folder / "fitted.toml"
    options = parser.parse_args([*arguments, "--out", str(out)], fit.FitOptions())
    options.experiment_only = True
    fit.run(options)
    replay = out.with_suffix(".replay.toml")
    return replay if replay.exists() else out


def _is_log(name: str) -> bool:
    """Return whether a file has no ``acceptance`` section, so that it is no experiment."""
    path = Path(name)
    if path.suffix == ".toml" or not path.is_file():
        return False
    with path.open("rb") as file:
        return not re.search(rb"(?m)^\s*\[?\s*acceptance\b", file.read(MAX_EXPERIMENT))


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
    source = experiment.source
    greatest = source.depth
    if given is not None:
        parts = [part.strip() for part in given.split(",")]
        if not all(p.isdecimal() and 1 <= int(p) <= greatest for p in parts):
            message = f"{given!r} is given; depths are 1 to {greatest}, such as 2,3"
            raise InputError.of(message, key="--depths")
        return sorted({int(part) for part in parts})
    horizon = experiment.simulation.horizon
    times = compiled_latency(experiment).round_time
    best = max(1, int(np.argmax(speedups(source, times, **horizon))))
    return [k for k in (best - 1, best, best + 1) if 1 <= k <= greatest]


def _draw(plan: BenchmarkPlan, path: Path) -> None:
    from mtpsim.report.figures.power import plan_figure
    from mtpsim.report.figures.style import save

    try:
        save(plan_figure(plan), path, dpi=150)
    except (OSError, ValueError) as error:
        raise cannot_write(error, path, "--picture") from None
