"""``mtpsim show``: print and draw a run directory, without simulating."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mtpsim.cli.run import say, show
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.engine.interrupts import command_interruptible
from mtpsim.engine.options import RunOptions
from mtpsim.results.document import Result
from mtpsim.runs import directory as store

if TYPE_CHECKING:
    from mtpsim.results.point_data import RoundTimes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--json", action="store_true", help="print the result document only")
    parser.add_argument("--out", metavar="DIR", help="directory of the figures (default: RUN)")


def run(options: argparse.Namespace) -> int:
    """Print and draw a run; an unfinished one from its stored blocks. Returns the exit code.

    Raises:
        InputError: It is not a run directory, or its files can't be read.
    """
    folder = Path(options.run)
    experiment, result = store.read_run(folder)
    if result is None:
        from mtpsim.runs.merge import merge  # numba: a finished run does not need it

        merged = merge([folder])
        result = merged.result
        for text in [*merged.overlaps, *merged.missing]:
            say(text)
        say(f"{folder} is unfinished; this is the result of its stored blocks")
    else:
        result = Result.of(result.document, _round_times(experiment, result))
    return _show(experiment, result, Path(options.out) if options.out else folder, options.json)


def _show(experiment: Experiment, result: Result, folder: Path, json: bool) -> int:
    code = show(result, RunOptions(folder, json), "incomplete: only stored blocks are shown")
    try:
        with command_interruptible("interrupted\n"):  # leaves no file that is half written
            paths = store.write_figures(folder, experiment, result)
    except InputError as error:
        say(f"no figures: {error.problems[0]}; choose another directory with --out")
    else:
        say(f"{len(paths) - 1} figures and report.html in {folder}")
    return code


def _round_times(experiment: Experiment, result: Result) -> RoundTimes:
    """The round times of a finished result, sampled again; points without requests have none."""
    from mtpsim.results.point_data import RoundTimes

    done = [point.set for point in result.data.points]
    return RoundTimes([point.experiment for point in experiment.points() if point.set in done])
