"""``mtpsim show``: print and draw a run directory, or list the runs in a folder."""

import argparse
import json
import sys
from pathlib import Path

from mtpsim.cli.main import DONE
from mtpsim.cli.run import say, show
from mtpsim.common.errors import InputError
from mtpsim.common.text import one_line
from mtpsim.config.experiment import Experiment
from mtpsim.engine.interrupts import command_interruptible
from mtpsim.engine.options import RunOptions
from mtpsim.results.document import Result
from mtpsim.runs import directory as store


def run(options: argparse.Namespace) -> int:
    """Print and draw a run; an unfinished one from its stored blocks. Returns the exit code."""
    folder = Path(options.run)
    if runs := _runs_in(folder):
        return _list(runs, options.json)
    experiment, result = store.read_run(folder)
    if result is None:
        from mtpsim.runs.merge import merge  # numba: a finished run does not need it

        merged = merge([folder])
        result = merged.result
        for text in [*merged.overlaps, *merged.missing]:
            say(text)
        say(f"{folder} is unfinished; this is the result of its stored blocks")
    else:
        result = store.with_round_times(experiment, result)
    out = Path(options.out) if options.out else folder
    return _show(experiment, result, RunOptions(out, options.json, every_point=options.all))


def _show(experiment: Experiment, result: Result, options: RunOptions) -> int:
    folder, code = options.out, show(result, options, "incomplete: only stored blocks are shown")
    try:
        with command_interruptible("interrupted\n"):  # leaves no file that is half written
            paths = store.write_figures(folder, experiment, result)
    except InputError as error:
        say(f"no figures: {error.problems[0]}; choose another directory with --out")
    else:
        say(f"{len(paths) - 1} figures and report.html in {folder}")
    return code


def _runs_in(folder: Path) -> list[Path]:
    """The run directories in a folder that is none itself, by name."""
    if (folder / store.EXPERIMENT).exists() or not folder.is_dir():
        return []
    return sorted(path.parent for path in folder.glob(f"*/{store.EXPERIMENT}"))


def _list(runs: list[Path], as_json: bool) -> int:
    """Print each run's title and headline."""
    found = [{"run": str(folder), **_summary(folder)} for folder in runs]
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return DONE
    from mtpsim.report.tables.terminal import Column, Row, TextTable, console_on, print_table

    columns = [Column(name, left=True, folds=True) for name in ("run", "title", "headline")]
    rows = [Row([one_line(text) for text in entry.values()]) for entry in found]
    print_table(console_on(sys.stdout), TextTable(columns, rows))
    return DONE


def _summary(folder: Path) -> dict[str, str]:
    """Title and headline of a run; of an unfinished or damaged one, that it is."""
    try:
        result = store.finished(folder)
        if result is None:
            title = store.experiment_of(folder).title
            return {"title": title, "headline": "unfinished: show it for its stored blocks"}
    except InputError as error:
        return {"title": "", "headline": f"can't be read: {error.problems[0].text}"}
    headline = _headline(result) + " (incomplete)" * (not result.data.complete)
    return {"title": str(result.data.experiment.get("title") or ""), "headline": headline}


def _headline(result: Result) -> str:
    """The answer in a sentence: what adapting gains, by batch, the depth, or how it moves."""
    from mtpsim.report.formatting import indifference
    from mtpsim.report.tables.policies import policies_heading, verdict
    from mtpsim.report.tables.sweep import batch_sentences, sweep_heading

    points = result.data.points
    if len(points) > 1:
        if any(point.adaptive for point in points):
            return policies_heading(result.data)
        return next(iter(batch_sentences(result.data)), sweep_heading(result.data))
    text = result.advice
    if points and points[0].adaptive:
        text = verdict(points[0].adaptive, indifference(result.data, points[0]))
    return text.partition(". ")[0].removesuffix(".")
