"""``mtpsim show``: print and draw a run directory, without simulating."""

from __future__ import annotations

import argparse
from pathlib import Path

from mtpsim.cli.main import DONE
from mtpsim.cli.run import EDITED, say, show
from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.hashing import content_hash
from mtpsim.engine.options import RunOptions
from mtpsim.results.document import Result
from mtpsim.runs import directory as store


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
    out = Path(options.out) if options.out else folder
    experiment, document = store.experiment_of(folder), store.finished(folder)
    if document is None:
        from mtpsim.runs.merge import merge  # numba: a finished run does not need it

        merged = merge([folder])
        for text in merged.overlaps:
            say(text)
        say(f"{folder} is unfinished; this is the result of its stored blocks")
        return _show(experiment, merged.result, out, options.json)
    with store.as_written(folder, document):
        _check_same(folder, experiment, document)
        if store.edited(document):
            say(f"{folder / store.RESULT} {EDITED}")
        return _show(experiment, _result_of(experiment, document), out, options.json)


def _show(experiment: Experiment, result: Result, folder: Path, json: bool) -> int:
    show(result, RunOptions(folder, json))
    try:
        paths = store.write_figures(folder, experiment, result)
    except InputError as error:
        say(f"no figures: {error.problems[0]}; choose another directory with --out")
    else:
        say(f"{len(paths) - 1} figures and report.html in {folder}")
    return DONE


def _check_same(folder: Path, experiment: Experiment, document: JsonDict) -> None:
    """Refuse a result of another experiment: its figures would be of both.

    Raises:
        InputError: The experiment file was changed after the run.
    """
    if document["provenance"].get("hash") != content_hash(experiment):
        message = (
            f"is not the experiment of {store.RESULT}: it, or a file it reads, was changed after "
            "the run; put it back, or run it again in another directory"
        )
        raise InputError.of(message, file=folder / store.EXPERIMENT)


def _result_of(experiment: Experiment, document: JsonDict) -> Result:
    """A finished result, with round times that are sampled again for its figures."""
    from mtpsim.results.point_data import RoundTimes

    points = experiment.points()[: len(document["points"])]
    return Result.of(document, RoundTimes([point.experiment for point in points]))
