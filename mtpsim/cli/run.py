"""``mtpsim run``: simulate an experiment, write a run directory and print a table."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from mtpsim.cli.main import DONE, INTERRUPTED, read_experiment
from mtpsim.common.arrays import JsonDict
from mtpsim.common.compilation import COMPILING
from mtpsim.common.errors import InputError
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment
from mtpsim.config.hashing import content_hash, work_hash
from mtpsim.engine.interrupts import command_interruptible, interrupts
from mtpsim.engine.options import ExecutorChoice, RunOptions, check_time, cores
from mtpsim.report.document import ResultDocument
from mtpsim.report.experiment_text import rates_are_note, time_estimate
from mtpsim.results.document import Result
from mtpsim.runs import directory as store

NOT_PRECISE, FAILED = 3, 4  # exit codes
LONG_RUN = 20.0  # seconds of a run, at the least, from which its time is announced
RESUMES = (
    "interrupted: finished blocks are saved; the same command without --fresh completes the run"
)

NOTHING_SAVED = (
    "interrupted before any block was saved: the same command starts again; kernels that are "
    "already compiled are kept"
)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit code, as of :func:`run_command`."""
    try:
        executor = ExecutorChoice.parse(options.executor)
    except ValueError as error:
        raise InputError.of(str(error), key="--executor") from None
    if not options.timeout > 0:
        message = f"{options.timeout:g} is given; it must be a number of seconds above 0"
        former = any(word.startswith("--patience") for word in options.command)
        raise InputError.of(message, key="--patience" if former else "--timeout")
    if not options.max_hours > 0:
        message = f"{options.max_hours:g} is given; it must be a number of hours above 0"
        raise InputError.of(message, key="--max-hours")
    experiment = read_experiment(options)
    chosen = RunOptions(
        out=Path(options.out) if options.out else _own_folder(experiment, options),
        json=options.json,
        quiet=options.quiet,
        fresh=options.fresh,
        executor=executor,
        command=options.command,
        timeout=options.timeout,
        part=_parse_part(options.part, experiment.planned),
        max_hours=options.max_hours,
    )
    return run_command(experiment, chosen)


def default_folder(file: str) -> Path:
    """Run directory of an experiment file: ``runs/NAME``."""
    return Path("runs", "stdin" if file == "-" else Path(file).stem)


def _own_folder(experiment: Experiment, options: argparse.Namespace) -> Path:
    """The run directory where none is asked for: ``runs/NAME``, or ``runs/NAME-2`` and so on.

    The first one without a different experiment, so that an edited file keeps the earlier result.
    """
    first = default_folder(options.file)
    folder, number, changed = first, 1, ""
    while not options.fresh and (other := _other_experiment(folder, experiment)):
        changed = changed or _changes(other, experiment.raw())
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    if number > 1:
        say(f"{first} contains a different experiment ({changed}); using {folder}", options.quiet)
    return folder


def _other_experiment(folder: Path, experiment: Experiment) -> JsonDict | None:
    """The experiment of a run directory as plain data, if the new one can reuse nothing of it."""
    before = store.finished(folder)
    if before and before.data.provenance.get("hash") == content_hash(experiment):
        return None
    held = _held(folder, before)
    return held.raw if held and _used(folder, held, experiment) is None else None


@dataclass(frozen=True)
class Held:
    """The experiment whose result or blocks a run directory holds.

    Attributes:
        raw (JsonDict): As plain data.
        work (str): Hash of what its requests depend on.
        seed (int): Its seed.
    """

    raw: JsonDict
    work: str
    seed: int


def _held(folder: Path, before: Result | None) -> Held | None:
    """The experiment of a result, or of the blocks of an unfinished run; None without either."""
    if before is not None:
        made = before.data.provenance
        return Held(before.data.experiment, made["work"], made["seed"])
    if not store.Tallies(folder / store.TALLIES).names():
        return None
    try:
        experiment = store.experiment_of(folder)
    except InputError:  # the blocks name what they are of
        return None
    return Held(experiment.raw(), work_hash(experiment), experiment.simulation.seed)


def _changes(before: JsonDict, after: JsonDict) -> str:
    """``latency.target: 76 then, 70 now``; at most three keys."""
    from mtpsim.report.formatting import value_text
    from mtpsim.results.comparison import input_changes

    found = [
        f"{change.key}: {value_text(change.before)} then, {value_text(change.after)} now"
        for change in input_changes(before, after)
    ]
    return "; ".join(found[:3]) + (f"; {len(found) - 3} more" if len(found) > 3 else "")


def _parse_part(text: str, requests: int | None) -> tuple[int, int]:
    one, slash, all_ = text.partition("/")
    given = one.isdecimal() and all_.isdecimal() and bool(slash)
    part = (int(one), int(all_)) if given else (0, 0)
    if not 1 <= part[0] <= part[1]:
        message = f"{text!r} is given; it must be I/N with I from 1 to N, such as 2/4"
    elif part != (1, 1) and requests is None:
        message = (
            "a part needs a number of requests, since a precision applies to the whole run: "
            "add --set simulation.requests=100000 (of a server serving.replications=100), the "
            "number of all parts together"
        )
    else:
        return part
    raise InputError.of(message, key="--part")


def run_command(experiment: Experiment, options: RunOptions) -> int:
    """Simulate, write the run directory and print; a finished result is only printed.

    Returns:
        int: Exit code: 0 done, 3 precision not reached within the limit, 4 workers failed, 130
            interrupted.

    Raises:
        InputError: The directory can't be written, contains another experiment, or is in use.
        OSError: The result is written, but can't be printed.
    """
    folder = options.out
    with store.reserved(folder):
        try:
            return _run(experiment, options)
        except KeyboardInterrupt:  # between two points, or while printing
            say(_interrupted(folder), options.quiet)
            return INTERRUPTED


def _run(experiment: Experiment, options: RunOptions) -> int:
    folder = options.out
    before = None if options.fresh else store.finished(folder)
    same = before is not None and _same(before.data, experiment, options)
    if before is not None and same and before.data.complete:
        say(f"{folder} already contains this result; --fresh repeats it", options.quiet)
        if not (folder / store.REPORT).exists():
            say(f"it has no figures; {_draw_again(options)}", options.quiet)
        return show(before, options)
    held = None if options.fresh else _held(folder, before)
    if held and not same:
        if (used := _used(folder, held, experiment)) is None:
            message = (
                "already contains results of a different experiment "
                f"({_changes(held.raw, experiment.raw())}); --fresh replaces "
                "them, without --out the run gets a directory of its own"
            )
            raise InputError.of(message, file=folder, key="--out")
        if before is not None:
            say(used, options.quiet)
    _check_part(experiment, options)
    check_time(experiment, options, options.max_hours)
    if options.fresh:
        _forget(folder, options.quiet)
    _say_first(experiment, options)
    store.begin(folder, experiment)
    with command_interruptible(lambda: "" if options.quiet else f"{_interrupted(folder)}\n"):
        result = _simulate(experiment, options)
        return write_and_show(experiment, result, options) if result else FAILED


def _interrupted(folder: Path) -> str:
    """What remains of a run that is ended at once: its blocks, if any is stored."""
    saved = folder / store.TALLIES
    return RESUMES if saved.exists() and saved.stat().st_size else NOTHING_SAVED


def _say_first(experiment: Experiment, options: RunOptions) -> None:
    """Print how rates are read; before a long run also its time and doubts about its inputs."""
    for line in rates_are_note(experiment):
        say(f"note: {line}", options.quiet)
    remote, waits = options.executor.address is not None, []
    if not remote:
        workers = (options.executor.workers or cores()) * options.part[1]
        waits = time_estimate(experiment, workers, longer_than=LONG_RUN)
    if waits or remote:  # else the report with its warnings comes at once
        points = [point.experiment for point in experiment.points()]
        doubts = dict.fromkeys(text for point in points for text in point.time_warnings())
        waits = [*(f"warning: {text}" for text in doubts), *waits]
    for line in waits:
        say(line, options.quiet)
    if options.executor.kind == "processes":  # which compile out of sight
        from mtpsim.kernels.jit import none_compiled

        if none_compiled():
            say(COMPILING, options.quiet)


def write_and_show(
    experiment: Experiment, result: Result, options: RunOptions, incomplete: str = RESUMES
) -> int:
    """Write the result, print it, then draw the figures; returns the exit code of the result.

    The numbers are on disk before anything is drawn. A full disk costs neither the table on screen
    nor, where only the screen is a full disk, the files. Arguments are those of :func:`show`.

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
        code = show(result, options, incomplete)
    except OSError as error:
        unprinted = error
    if unwritten:
        raise unwritten
    try:
        interrupts.check()
        paths += store.write_figures(options.out, experiment, result)
    except KeyboardInterrupt:
        if code != INTERRUPTED:  # else it has been said
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


def _forget(folder: Path, quiet: bool) -> None:
    """Remove the blocks of an earlier run; says so where they are not those of a result."""
    try:
        result = store.finished(folder)
    except InputError:
        result = None
    requests = store.Tallies(folder / store.TALLIES).requests()
    if requests and not (result and result.data.complete):
        left = f"--fresh drops {counted(requests, 'finished request')} of an unfinished run"
        say(f"{left} in {folder}", quiet)
    store.forget(folder)


def _draw_again(options: RunOptions) -> str:
    return f"`mtpsim show {options.out}` draws the figures"


def _same(before: ResultDocument, experiment: Experiment, options: RunOptions) -> bool:
    """Whether a result is of this experiment, and of this part or the whole."""
    made = before.provenance
    if made.get("hash") != content_hash(experiment):
        return False
    return made.get("part") in (None, _part(options))


def _part(options: RunOptions) -> str:
    return "{}/{}".format(*options.part)


def _check_part(experiment: Experiment, options: RunOptions) -> None:
    """Check that every part has a block, and the last part two requests."""
    from mtpsim.engine.block_sizes import first_unit, last_block
    from mtpsim.engine.compiled import compiled

    if options.part == (1, 1):
        return
    points = [point.experiment for point in experiment.points()]
    units = [compiled(point).plan.unit for point in points]
    requests = [point.planned or 0 for point in points]
    blocks = min(last_block(n - 1, unit) for n, unit in zip(requests, units, strict=True))
    if options.part[1] > blocks:
        few, enough = min(requests), int(first_unit(options.part[1] - 1) * max(units)) + 2
        most = f"there are at most {blocks} parts" if blocks > 1 else "there is only one part"
        what = "serving.replications" if experiment.serving else "simulation.requests"
        unit = what.partition(".")[2]
        message = (
            f"{_part(options)} is given, but for {few:,} {unit} per point {most}: "
            f"{options.part[1]} parts need {enough:,} {unit} or more ({what})"
        )
        raise InputError.of(message, key="--part")


def _used(folder: Path, held: Held, experiment: Experiment) -> str | None:
    """Sentence on stored blocks of another precision or sweep that are reused.

    None if there are none: the result is of a different experiment.
    """
    from mtpsim.runs.block_run import name_of  # numba: a finished result does not need it

    kept = set(store.Tallies(folder / store.TALLIES).names())
    points = experiment.points()
    known = [(name_of(p), p.experiment.simulation.seed) in kept for p in points]
    if (held.work, held.seed) == (work_hash(experiment), experiment.simulation.seed):
        text = f"{folder} contains this run at another precision or part; its blocks are "
        return text + ("reused" if any(known) else "of other code, and are simulated again")
    if not any(known) or not (experiment.sweep and held.raw.get("sweep")):
        return None
    new = [str(n + 1) for n, old in enumerate(known) if not old]
    reused = f"blocks of {sum(known)} of {len(points)} points are reused"
    return f"{folder} contains another sweep; {reused}" + f"; new: {', '.join(new)}" * bool(new)


def _simulate(experiment: Experiment, options: RunOptions) -> Result | None:
    """The result; None if workers failed before there was any."""
    from mtpsim.engine.scheduler import NoWorkersError
    from mtpsim.report.progress import progress_display
    from mtpsim.runs.run import run

    saved = store.Tallies(options.out / store.TALLIES)
    if saved.torn:
        records = counted(saved.torn, "torn record")
        say(f"{records} of an earlier run ignored; the blocks are simulated again", options.quiet)
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
        print(f"error: --executor: nothing could be simulated: {error}", file=sys.stderr)
        return None
    if result.data.complete:
        saved.close()
    if options.part != (1, 1):
        result.data.provenance["part"] = _part(options)
    return result


def show(result: Result, options: RunOptions, incomplete: str = RESUMES) -> int:
    """Print the table, or JSON; returns the exit code of the result.

    Args:
        result (Result): Of this run, or of a run directory.
        options (RunOptions): What to print.
        incomplete (str): Message on a result that is not complete.
    """
    if options.json:
        sys.stdout.write(store.to_json(result.document))
        sys.stdout.flush()
    else:
        from mtpsim.report.tables.result import render
        from mtpsim.report.tables.terminal import console_on

        render(result.data, console_on(sys.stdout), every=options.every_point)
    document = result.data
    for failure in document.failures:
        print(f"error: {failure}", file=sys.stderr)
    if document.failures:
        say("workers failed: finished blocks are saved; the same command resumes", options.quiet)
        return FAILED
    if not document.complete:
        say(incomplete, options.quiet)
        return INTERRUPTED
    short = [point for point in document.points if point.precision_reached is False]
    if short:
        many = len(document.points)
        where = f" at {len(short)} of {many} points" if many > 1 else ""
        limit = "serving.max_replications" if short[0].serving else "simulation.max_requests"
        say(f"precision not reached{where}: raise {limit}", options.quiet)
    return NOT_PRECISE if short else DONE


def completeness(folder: Path, result: Result) -> int:
    """Exit code of a command that uses a result: interrupted, with a warning, if incomplete."""
    if result.data.complete:
        return DONE
    say(f"warning: {folder} is not complete: its numbers will change when it is")
    return INTERRUPTED


def say(text: str, quiet: bool = False) -> None:
    """Print a message on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)
