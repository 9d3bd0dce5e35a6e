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

from mtpsim.experiment import Experiment
from mtpsim.identity import to_toml
from mtpsim.measured import Document
from mtpsim.problems import InputError, Problem
from mtpsim.result import Result
from mtpsim.simulate import Prefix
from mtpsim.tally import Tally

RESULT, TALLIES, HELD = "result.json", "tallies.jsonl", "under_way.json"


class Tallies:
    """Blocks of a run's points: those at which the stopping rule was asked, and those under way.

    The first are appended to ``tallies.jsonl``; the last are written whole to ``under_way.json``,
    aside and then moved in, about once a second. So a crash loses a second of work, and a run that
    goes on gives the numbers of one that was never stopped.

    Attributes:
        torn: records that a crash left broken; they were dropped.

    """

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, path.with_name(HELD)
        self._known: dict[str, dict[int, Prefix]] = {}
        self.torn = 0
        text = _text(path)
        self._whole = not text or text.endswith("\n")
        self._kept = self._read(text)
        self._read(_text(self._held))

    def _read(self, text: str) -> set[tuple[str, int]]:
        """Take the records of a file; returns the points and requests of those that are whole."""
        found = set()
        for line in text.splitlines():
            try:
                entry: Document = json.loads(line)
                point, tally = str(entry["point"]), _tally(entry)
                prefix = Prefix(int(entry["blocks"]), tally)
            except (ValueError, KeyError, TypeError):
                self.torn += 1
                continue
            self._known.setdefault(point, {})[tally.count] = prefix
            found.add((point, tally.count))
        return found

    def prefixes(self, point: str) -> list[Prefix]:
        """What is kept of a point, the fewest blocks first."""
        known = self._known.get(point, {})
        return [known[count] for count in sorted(known)]

    def keep(self, point: str, prefix: Prefix) -> None:
        """Append blocks of a point; floats are written so that they read back the same."""
        count = prefix.tally.count
        if (point, count) in self._kept:
            return
        self._kept.add((point, count))
        self._known.setdefault(point, {})[count] = prefix
        # A disk that is full now is told of at the end, when the answer has been shown.
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(("" if self._whole else "\n") + _line(point, prefix))
            self._whole = True

    def hold(self, point: str, prefix: Prefix) -> None:
        """Write blocks of the point under way, instead of those before."""
        aside = self._held.with_suffix(".writing")
        with suppress(OSError):
            aside.write_text(_line(point, prefix), encoding="utf-8")
            os.replace(aside, self._held)

    def close(self) -> None:
        """Drop what was held; for a run that is complete."""
        self._held.unlink(missing_ok=True)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _tally(entry: Document) -> Tally:
    mean, comoment = (np.array(entry[name], float) for name in ("mean", "comoment"))
    if comoment.shape != (mean.size, mean.size):
        raise ValueError("the moments are of different sizes")
    return Tally(int(entry["count"]), mean, comoment)


def _line(point: str, prefix: Prefix) -> str:
    entry = {
        "point": point,
        "blocks": prefix.blocks,
        "count": prefix.tally.count,
        "mean": prefix.tally.mean.tolist(),
        "comoment": prefix.tally.comoment.tolist(),
    }
    return json.dumps(entry, allow_nan=False) + "\n"


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
    """Drop the blocks that an earlier run left."""
    for name in (TALLIES, HELD):
        (folder / name).unlink(missing_ok=True)


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
