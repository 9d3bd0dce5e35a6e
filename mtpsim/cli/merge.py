"""``mtpsim merge``: add the stored blocks of runs of one experiment."""

import argparse
from pathlib import Path

from mtpsim.cli.run import say, write_and_show
from mtpsim.common.errors import InputError
from mtpsim.engine.interrupts import command_interruptible
from mtpsim.engine.options import RunOptions
from mtpsim.runs import directory as store
from mtpsim.runs.merge import Merged, merge


def run(options: argparse.Namespace) -> int:
    """Merge runs into a new run directory and print the result; returns the exit code."""
    folder, runs = Path(options.out), [Path(name) for name in options.runs]
    if (folder / store.TALLIES).exists() or (folder / store.RESULT).exists():
        message = "already contains a run; choose an empty directory"
        raise InputError.of(message, file=folder, key="--out")
    if len({path.resolve() for path in runs}) < len(runs):
        raise InputError.of("the same run is given twice", key="RUN")
    with store.reserved(folder):
        merged = merge(runs, options.command)
        for text in [*merged.overlaps, *merged.missing]:
            say(text, options.quiet)
        try:
            with command_interruptible("interrupted\n"):
                _keep(merged, folder)
                return write_and_show(
                    store.experiment_of(runs[0]),
                    merged.result,
                    RunOptions(folder, options.json, options.quiet, command=options.command),
                    f"incomplete: merge {folder} with what is missing into another directory",
                )
        except BaseException:
            if not (folder / store.RESULT).exists():  # half a merge would be refused next time
                store.forget(folder)
            raise


def _keep(merged: Merged, folder: Path) -> None:
    kept = store.Tallies(folder / store.TALLIES)
    for name, pieces in merged.used.items():
        for piece in pieces:
            kept.keep(name, piece.seed, piece.blocks)
