"""``mtpsim run``: from an experiment to a run directory and a table."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment
from mtpsim.config.hashing import content_hash, work_hash
from mtpsim.engine.interrupts import defer_interrupts
from mtpsim.engine.options import RunOptions
from mtpsim.report.experiment_text import rates_are_note
from mtpsim.results.document import Result
from mtpsim.runs import directory as store

DONE, NOT_PRECISE, FAILED, INTERRUPTED = 0, 3, 4, 130
EDITED = "was edited after the run: this is what it says now"
GOES_ON = "interrupted: what was done is kept; the same command completes it"


def run_command(experiment: Experiment, options: RunOptions) -> int:
    """Run, write the run directory, print; or say that it is all there already.

    Returns:
        The exit code: 0 done, 3 precision not reached within the limit, 4 workers failed,
        130 interrupted.

    Raises:
        InputError: the directory can't be written, holds another experiment or is in use.
        OSError: the result is written, but can't be printed.

    """
    folder = options.out
    store.prepare(folder)
    with store.locked(folder):
        try:
            return _run(experiment, options)
        except KeyboardInterrupt:  # between two points, or while tables and plots are made
            say(GOES_ON, options.quiet)
            return INTERRUPTED


def _run(experiment: Experiment, options: RunOptions) -> int:
    folder = options.out
    if options.fresh:
        store.forget(folder)
    before = None if options.fresh else store.finished(folder)
    if before is not None:
        with store.as_written(folder, before):
            same = _same(before, experiment, options)
            if same and before.get("complete"):
                say(f"{folder} holds this very run, finished; --fresh runs it again", options.quiet)
                if store.edited(before):
                    say(f"{folder / store.RESULT} {EDITED}", options.quiet)
                return show(Result.of(before), options)
            if not same:
                say(_used(folder, before, experiment), options.quiet)
    _check_part(experiment, options)
    for line in rates_are_note(experiment):
        say(f"note: {line}", options.quiet)
    store.begin(folder, experiment)
    return write_and_show(experiment, _simulate(experiment, options), options)


def write_and_show(experiment: Experiment, result: Result, options: RunOptions) -> int:
    """Write the result, print it, then draw the figures; returns the exit code of the run.

    The numbers are on disk before anything is drawn. A full disk costs neither the table on screen
    nor, where only the screen is a full disk, the files.

    Raises:
        InputError: the directory can't be written.
        OSError: the result is written, but can't be printed.

    """
    paths: list[Path] = []
    unwritten, unprinted, code = None, None, DONE
    try:
        paths = store.write_result(options.out, experiment, result)
    except InputError as error:
        unwritten = error
    try:
        code = show(result, options)
    except OSError as error:
        unprinted = error
    if unwritten:
        raise unwritten
    try:
        paths += store.write_figures(options.out, experiment, result)
    except KeyboardInterrupt:
        say(f"interrupted: the result is complete; {_draw_again(options)}", options.quiet)
        return INTERRUPTED
    except InputError:
        say(f"the result is complete, the figures are not; {_draw_again(options)}", options.quiet)
        raise
    if unprinted:
        raise unprinted
    names = ", ".join(sorted(path.name for path in paths))
    say(f"\n{len(paths)} files in {options.out}: {names}", options.quiet)
    return code


def _draw_again(options: RunOptions) -> str:
    return f"`mtpsim show {options.out}` draws the figures"


def _same(before: JsonDict, experiment: Experiment, options: RunOptions) -> bool:
    """Whether it is this run, and this part of it or the whole."""
    made, requests = before["provenance"], experiment.simulation.requests
    if made.get("hash") != content_hash(experiment):
        return False
    whole = all(point.get("requests") == requests for point in before["points"])
    return whole or requests is None or made.get("part") == _part(options)


def _part(options: RunOptions) -> str:
    return "{}/{}".format(*options.part)


def _check_part(experiment: Experiment, options: RunOptions) -> None:
    """Refuse parts of which some would have no block, or the last one a single request.

    Raises:
        InputError: there are more parts than such blocks at a point.

    """
    from mtpsim.engine.scheduler import first_unit, last_block
    from mtpsim.engine.simulate import compile_point

    if options.part == (1, 1):
        return
    points = [point.experiment for point in experiment.points()]
    units = [compile_point(point).plan.unit for point in points]
    requests = [point.simulation.requests or 0 for point in points]
    blocks = min(last_block(n - 1, unit) for n, unit in zip(requests, units, strict=True))
    if options.part[1] > blocks:
        few, enough = min(requests), first_unit(options.part[1] - 1) * max(units) + 2
        most = f"they make {blocks} parts at most" if blocks > 1 else "they can't be divided"
        message = (
            f"{_part(options)} is given, but of {few:,} requests a point {most}: {options.part[1]} "
            f"parts need {enough:,} requests or more (simulation.requests)"
        )
        raise InputError.of(message, key="--part")


def _used(folder: Path, before: JsonDict, experiment: Experiment) -> str:
    """What of another run is used: one of another precision, or of other points.

    Raises:
        InputError: nothing of it is: it is of another experiment.

    """
    from mtpsim.runs.point_run import name_of  # numba: not where a run is there already

    made, now = before["provenance"], experiment.simulation.seed
    if made.get("work") == work_hash(experiment) and made.get("seed") == now:
        return f"{folder} holds this run to another precision or part: its blocks are used"
    kept = set(store.Tallies(folder / store.TALLIES).names())
    points = experiment.points()
    known = [(name_of(p), p.experiment.simulation.seed) in kept for p in points]
    if not any(known) or not (experiment.sweep and before["experiment"].get("sweep")):
        message = "holds a run of another experiment; --fresh replaces it, --out writes elsewhere"
        raise InputError.of(message, file=folder, key="--out")
    new = [str(n + 1) for n, old in enumerate(known) if not old]
    told = f"{sum(known)} of {len(points)} points are unchanged: their blocks are used"
    return f"{folder} holds another sweep: {told}" + f"; new: {', '.join(new)}" * bool(new)


def _simulate(experiment: Experiment, options: RunOptions) -> Result:
    from mtpsim.engine.scheduler import NoWorkersError
    from mtpsim.report.progress import progress_display
    from mtpsim.runs.run import run

    signal.signal(signal.SIGTERM, defer_interrupts.interrupt)
    saved = store.Tallies(options.out / store.TALLIES)
    if saved.torn:
        told = f"an earlier run left {counted(saved.torn, 'torn record')}: what was lost runs again"
        say(told, options.quiet)
    try:
        with progress_display(options.quiet) as report:
            result = run(
                experiment,
                executor=options.executor,
                on_progress=report,
                command=options.command,
                saved=saved,
                timeout=options.timeout,
                part=options.part,
            )
    except NoWorkersError as error:
        message = f"nothing could be simulated: {error}"
        raise InputError.of(message, key="--executor") from None
    if result.data.complete:
        saved.close()
    if options.part != (1, 1):
        result.data.provenance["part"] = _part(options)
    return result


def show(result: Result, options: RunOptions) -> int:
    """Print the table, or JSON; returns the exit code that the run deserves."""
    if options.json:
        sys.stdout.write(store.to_json(result.document))
        sys.stdout.flush()
    else:
        from mtpsim.report.tables.result import render
        from mtpsim.report.tables.terminal import console_on

        render(result.data, console_on(sys.stdout))
    document = result.data
    for failure in document.failures:
        print(f"error: {failure}", file=sys.stderr)
    if document.failures:
        say("workers failed: what was done is kept; the same command goes on", options.quiet)
        return FAILED
    if any(point.interrupted for point in document.points) or not document.complete:
        say(GOES_ON, options.quiet)
        return INTERRUPTED
    short = [point for point in document.points if point.precision_reached is False]
    if short:
        many = len(document.points)
        where = f" at {len(short)} of {many} points" if many > 1 else ""
        say(f"precision not reached{where}: raise simulation.max_requests", options.quiet)
    return NOT_PRECISE if short else DONE


def say(text: str, quiet: bool = False) -> None:
    """A message, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)
