"""``mtpsim merge`` and ``mtpsim show``: what kept blocks say, without simulating."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtpsim.cli.run import DONE, EDITED, say, show, write_and_show
from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.hashing import content_hash
from mtpsim.engine.options import RunOptions
from mtpsim.results.document import Result
from mtpsim.runs import directory as store

if TYPE_CHECKING:
    from mtpsim.runs.merge import Merged


def merge_command(runs: list[Path], options: RunOptions) -> int:
    """Merge runs into a new run directory and print what they say together.

    Returns:
        The exit code, as of ``run``.

    Raises:
        InputError: runs can't be merged, or the directory can't be written or holds a run.
        OSError: the result is written, but can't be printed.

    """
    from mtpsim.runs.merge import merge  # numba: `show` may do without

    folder = options.out
    if (folder / store.TALLIES).exists() or (folder / store.RESULT).exists():
        message = "holds a run already; give an empty directory"
        raise InputError.of(message, file=folder, key="--out")
    if len({run.resolve() for run in runs}) < len(runs):
        raise InputError.of("the same run is given twice", key="RUN")
    store.prepare(folder)
    with store.locked(folder):
        merged = merge(runs, options.command)
        for text in merged.overlaps:
            say(text, options.quiet)
        try:
            _keep(merged, folder)
            return write_and_show(store.experiment_of(runs[0]), merged.result, options)
        except BaseException:
            if not (folder / store.RESULT).exists():  # half a merge would be refused next time
                store.forget(folder)
            raise


def _keep(merged: Merged, folder: Path) -> None:
    kept = store.Tallies(folder / store.TALLIES)
    for name, pieces in merged.used.items():
        for piece in pieces:
            kept.keep(name, piece.seed, piece.blocks)


def show_command(run: Path, out: Path | None, json: bool) -> int:
    """Print and draw a run again; an unfinished one from the blocks that it has kept.

    Returns:
        The exit code, as of ``run``.

    Raises:
        InputError: it not a run directory, or its files can't be read.

    """
    experiment = store.experiment_of(run)
    document = store.finished(run)
    if document is None:
        from mtpsim.runs.merge import merge  # numba: not for a run that is finished

        merged = merge([run])
        for text in merged.overlaps:
            say(text)
        say(f"{run} is unfinished: this is what its blocks say so far")
        return _show(experiment, merged.result, out or run, json)
    with store.as_written(run, document):
        _check_same(run, experiment, document)
        if store.edited(document):
            say(f"{run / store.RESULT} {EDITED}")
        return _show(experiment, _again(experiment, document), out or run, json)


def _show(experiment: Experiment, result: Result, folder: Path, json: bool) -> int:
    show(result, RunOptions(folder, json))
    try:
        paths = store.write_figures(folder, experiment, result)
    except InputError as error:
        say(f"no figures: {error.problems[0]}; choose another folder with --out")
    else:
        say(f"{len(paths) - 1} figures and report.html in {folder}")
    return DONE


def _check_same(run: Path, experiment: Experiment, document: JsonDict) -> None:
    """Refuse a result whose experiment is another one by now: its plots would be of both.

    Raises:
        InputError: it is.

    """
    if document["provenance"].get("hash") != content_hash(experiment):
        message = (
            f"is not what {store.RESULT} is of: it, or a file it reads, was changed after the run; "
            "put it back, or run it again elsewhere"
        )
        raise InputError.of(message, file=str(run / store.EXPERIMENT))


def _again(experiment: Experiment, document: JsonDict) -> Result:
    """A finished run with what its plots need besides the document: round times, drawn anew."""
    from mtpsim.results.round_times import RoundTimes

    points = experiment.points()[: len(document["points"])]
    return Result.of(document, RoundTimes([point.experiment for point in points]))
