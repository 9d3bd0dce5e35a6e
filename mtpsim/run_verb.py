"""``mtpsim run``: from an experiment to a run directory and a table."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mtpsim import store
from mtpsim.experiment import Experiment
from mtpsim.identity import content_hash, work_hash
from mtpsim.measured import Document
from mtpsim.options import RunOptions
from mtpsim.problems import InputError, Problem
from mtpsim.result import Result

if TYPE_CHECKING:
    from types import FrameType

PIPE_WIDTH = 170
DONE, NOT_PRECISE, INTERRUPTED = 0, 3, 130


def run_command(experiment: Experiment, options: RunOptions) -> int:
    """Run, write the run directory, print; or say that it is all there already.

    Returns:
        The exit code: 0 done, 3 precision not reached within the limit, 130 interrupted.

    Raises:
        InputError: the directory can't be written or holds another experiment.

    """
    folder = options.out
    store.prepare(folder)
    if options.fresh:
        store.forget(folder)
    before = None if options.fresh else store.finished(folder)
    if before is not None:
        same = _same(folder, before, experiment)
        if not same:
            _say(options, f"{folder} holds this run to another precision: its blocks are used")
        if same and before.get("complete"):
            _say(options, f"{folder} holds this very run, finished; --fresh runs it again")
            return _show(before, options)
    result = _simulate(experiment, options)
    code = _show(result.document, options)  # first: a full disk must not cost the answer
    paths = store.write(folder, experiment, result)
    _say(options, f"\n{len(paths)} files in {folder}: " + ", ".join(p.name for p in paths))
    return code


def _same(folder: Path, before: Document, experiment: Experiment) -> bool:
    """Whether a run is of this very experiment; False: it differs only in how much is asked of it.

    Raises:
        InputError: it is of another experiment.

    """
    if before["provenance"].get("hash") == content_hash(experiment):
        return True
    if before["provenance"].get("work") != work_hash(experiment):
        message = "holds a run of another experiment; --fresh replaces it, --out writes elsewhere"
        raise InputError([Problem(str(folder), "--out", None, message)])
    return False


def _simulate(experiment: Experiment, options: RunOptions) -> Result:
    from mtpsim.job import run
    from mtpsim.report.progress import progress

    signal.signal(signal.SIGTERM, _as_interrupt)
    saved = store.Tallies(options.out / store.TALLIES)
    if saved.torn:
        _say(options, f"{saved.torn} records of an earlier run are torn: their blocks run again")
    with progress(options.quiet) as watcher:
        result = run(
            experiment,
            executor=options.executor,
            watcher=watcher,
            command=options.command,
            saved=saved,
        )
    if result.document["complete"]:
        saved.close()
    return result


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    # A scheduler's SIGTERM deserves the same care as Ctrl-C: what was done is saved.
    raise KeyboardInterrupt


def _show(document: Document, options: RunOptions) -> int:
    if options.json:
        sys.stdout.write(store.to_json(document))
    else:
        from rich.console import Console

        from mtpsim.report.table import render

        # A pipe has no width; a log is better off with the whole table than with a folded one.
        render(document, Console(width=None if sys.stdout.isatty() else PIPE_WIDTH))
    if any(point["interrupted"] for point in document["points"]) or not document["complete"]:
        _say(options, "interrupted: what was done is kept; the same command completes it")
        return INTERRUPTED
    short = [point for point in document["points"] if point["precision_reached"] is False]
    if short:
        _say(
            options, f"precision not reached at {len(short)} points: raise simulation.max_requests"
        )
    return NOT_PRECISE if short else DONE


def _say(options: RunOptions, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)
