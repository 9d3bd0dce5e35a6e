"""The run directory: what a finished run leaves, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mtpsim.experiment import Experiment, to_toml
from mtpsim.measured import Document
from mtpsim.problems import InputError, Problem
from mtpsim.result import Result

RESULT = "result.json"


def to_json(document: Document) -> str:
    """The result document as JSON text; NaN and infinity can't occur in it."""
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def prepare(folder: Path) -> None:
    """Make sure that a run can be written, before it is simulated.

    Raises:
        InputError: the folder can't be made or written to, or a file stands in its place.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _cannot_write(folder: Path, error: OSError) -> InputError:
    reason = error.strerror or str(error)
    return InputError([Problem(str(folder), "--out", None, f"can't write the run there: {reason}")])


def finished(folder: Path) -> Document | None:
    """The document of the run in ``folder``, or None where there is none.

    Raises:
        InputError: there is a result file, but not one that can be read.

    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        return {**document, "points": document["points"], "provenance": document["provenance"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"is no result document ({type(error).__name__}); --fresh replaces it"
        raise InputError([Problem(str(path), "", None, message)]) from None


def write(folder: Path, experiment: Experiment, result: Result) -> list[Path]:
    """Write ``result.json``, ``result.csv``, ``experiment.toml`` and the plots.

    All files are written aside and then moved in, ``result.json`` last, so that a reader never
    finds a result without the files that belong to it.

    Raises:
        InputError: the disk is full, or the folder can't be written to any more.
    """
    from mtpsim.report.rows import write_csv

    folder.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    try:
        result.save_plots(aside)
        write_csv(result.document, aside / "result.csv")
        (aside / "experiment.toml").write_text(to_toml(experiment), encoding="utf-8")
        (aside / RESULT).write_text(to_json(result.document), encoding="utf-8")
        names = sorted((path.name for path in aside.iterdir()), key=lambda n: (n == RESULT, n))
        for name in names:
            os.replace(aside / name, folder / name)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return [folder / name for name in names]
