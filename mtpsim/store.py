"""The run directory: what a finished run leaves, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mtpsim.experiment import Experiment, to_toml
from mtpsim.measured import Document
from mtpsim.problems import InputError, Problem
from mtpsim.result import Result
from mtpsim.tally import Tally

RESULT, TALLIES = "result.json", "tallies.jsonl"


class Tallies:
    """Finished points of a run, appended as they finish: a sweep goes on where it was stopped.

    A point is known by all that its numbers depend on, so that one which a changed sweep still has
    is not simulated again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Document] = {}
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        self._whole = not text or text.endswith("\n")
        for line in text.splitlines():
            try:
                entry: Document = json.loads(line)
                self._known[str(entry["point"])] = entry
            except (ValueError, KeyError, TypeError):
                continue  # torn by a crash: that point is simulated again

    def find(self, point: str) -> tuple[Tally, bool] | None:
        """The tally of a finished point, and whether its precision was reached."""
        entry = self._known.get(point)
        if entry is None:
            return None
        mean, comoment = (np.array(entry[name], float) for name in ("mean", "comoment"))
        return Tally(int(entry["count"]), mean, comoment), bool(entry["reached"])

    def add(self, point: str, tally: Tally, reached: bool) -> None:
        """Append a finished point; floats are written so that they read back the same."""
        entry = {
            "point": point,
            "count": tally.count,
            "reached": reached,
            "mean": tally.mean.tolist(),
            "comoment": tally.comoment.tolist(),
        }
        # A disk that is full now is told of at the end, when the answer has been shown.
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(("" if self._whole else "\n") + json.dumps(entry, allow_nan=False) + "\n")
            self._whole = True


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


def forget(folder: Path) -> None:
    """Drop the points that an earlier run finished."""
    (folder / TALLIES).unlink(missing_ok=True)


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
