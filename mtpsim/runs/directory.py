"""The run directory: stored blocks, and files that are written whole or not at all."""

import errno
import json
import os
import shutil
import tempfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, cannot_write, nearest_file
from mtpsim.config.experiment import Experiment, load
from mtpsim.config.hashing import content_hash, seal, to_toml
from mtpsim.engine.scheduler import BlockRange
from mtpsim.report.columns import LAYOUT, by_column
from mtpsim.results.document import Result
from mtpsim.results.point_data import RoundTimes
from mtpsim.stats.estimators import Tally

RESULT, TALLIES, HELD, LOCK = "result.json", "tallies.jsonl", "under_way.json", ".lock"
EXPERIMENT = "experiment.toml"
INDENTED = 50  # most points of a document that is indented, and not by column
PACKED = "histograms"  # in records of a server's blocks
NUMBERS = ("seed", "first", "end", "count", "mean", "comoment", PACKED)  # of a record of blocks
REPORT = "report.html"
FIGURES = [  # what `Result.save_report` may write
    REPORT,
    *(f"{name}.png" for name in ("speedup", "marginal", "accepted", "theory", "dependence")),
    *(f"{name}.png" for name in ("requests", "batch", "policies", "timeline", "learning")),
    *(f"{name}.png" for name in ("uncertainty", "latency", "tree")),
]
ASIDE = ".writing"  # what is written aside, before it is moved in
HELD_ASIDE = Path(HELD).with_suffix(ASIDE).name
BROKEN = (
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    RecursionError,
    zlib.error,
)  # of text that is no JSON

Key = tuple[str, int]  # a point, as mtpsim.runs.point_run names it, and its seed


class BlockStore:
    """Storage of the blocks of points; this one stores nothing."""

    def block_ranges(self, point: str, seed: int) -> list[BlockRange]:
        """The stored blocks of a point, the fewest requests first."""
        return []

    def keep(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Store blocks of a point."""

    def hold(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Store blocks of the unfinished point, replacing those stored before."""


class Tallies(BlockStore):
    """Stored blocks of a run's points.

    Blocks at which the stopping rule was checked are appended to ``tallies.jsonl``. The blocks of
    the unfinished point replace ``under_way.json`` atomically, about once per second. So a crash
    loses a second of work, and a resumed run gives the numbers of an uninterrupted one.

    Args:
        path (Path): The file ``tallies.jsonl``.

    Attributes:
        torn (int): Number of broken records, which are ignored.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._held = path, path.with_name(HELD)
        self._known: dict[Key, dict[tuple[int, int, int], BlockRange]] = {}
        self.torn = 0
        text = _text(path)
        self._whole = not text or text.endswith("\n")
        self._kept = self._read(text)
        self._read(_text(self._held))

    def _read(self, text: str) -> set[tuple[Key, tuple[int, int, int]]]:
        """Read the records of a file; returns the keys of the valid ones."""
        found = set()
        for line in text.splitlines():
            try:
                entry: JsonDict = json.loads(line)
                key = str(entry["point"]), int(entry["seed"])
                blocks = _blocks_of(entry)
            except BROKEN:
                self.torn += 1
                continue
            self._known.setdefault(key, {})[_range(blocks)] = blocks
            found.add((key, _range(blocks)))
        return found

    def names(self) -> list[Key]:
        """Points and seeds that have stored blocks."""
        return list(self._known)

    def requests(self) -> int:
        """Number of requests of all points, of the longest blocks of each."""
        return sum(max(b.tally.count for b in known.values()) for known in self._known.values())

    def block_ranges(self, point: str, seed: int) -> list[BlockRange]:
        """Stored blocks of a point, the fewest requests first."""
        known = self._known.get((point, seed), {})
        return sorted(known.values(), key=lambda blocks: blocks.tally.count)

    def keep(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Append blocks of a point; floats read back to the last bit."""
        key = point, seed
        self._known.setdefault(key, {})[_range(blocks)] = blocks
        if (key, _range(blocks)) in self._kept:
            return
        line = ("" if self._whole else "\n") + _line(key, blocks)
        self._whole = False  # a full disk leaves an incomplete line
        # A full disk is reported at the end, after the result has been printed.
        with suppress(OSError):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
            self._whole = True
            self._kept.add((key, _range(blocks)))

    def hold(self, point: str, seed: int, blocks: BlockRange) -> None:
        """Store blocks of the unfinished point, replacing those stored before."""
        aside = self._held.with_suffix(ASIDE)
        with suppress(OSError):
            aside.write_text(_line((point, seed), blocks), encoding="utf-8")
            os.replace(aside, self._held)

    def close(self) -> None:
        """Remove the stored blocks of an unfinished point, when the run is complete."""
        with suppress(OSError):  # a leftover file is harmless
            self._held.unlink(missing_ok=True)


def _range(blocks: BlockRange) -> tuple[int, int, int]:
    return blocks.first, blocks.end, blocks.tally.count


def _text(path: Path) -> str:
    """Text of a file of records; empty if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        message = f"can't be read: {error.strerror or error}; move it away"
        raise InputError.of(message, file=path) from None


def _blocks_of(entry: JsonDict) -> BlockRange:
    if entry["check"] != _check(entry):
        raise ValueError("the checksum does not match the record")
    packed = PACKED in entry
    comoment = _unpacked(entry["comoment"], float) if packed else np.array(entry["comoment"], float)
    mean = np.array(entry["mean"], float)
    if comoment.shape != (len(mean), len(mean)):
        raise ValueError("the moments are of different sizes")
    histograms = _unpacked(entry[PACKED], np.int64) if packed else None
    tally = Tally(entry["count"], mean, comoment, histograms)
    return BlockRange(entry["first"], entry["end"], tally)


def _packed(values: npt.NDArray[Any]) -> list[Any]:
    """Shape, and the numbers as text: a server has 10 to 100 times as many as single requests."""
    return [list(values.shape), b64encode(zlib.compress(values.tobytes(), 1)).decode()]


def _unpacked(packed: list[Any], kind: type) -> npt.NDArray[Any]:
    shape, text = packed
    return np.frombuffer(zlib.decompress(b64decode(text)), kind).reshape(shape)


def _check(entry: JsonDict) -> int:
    """Checksum of the numbers, since a wrong digit would still be valid JSON."""
    return zlib.crc32(_numbers(entry).encode())


def _numbers(entry: JsonDict) -> str:
    numbers = {name: entry[name] for name in NUMBERS if name != PACKED or PACKED in entry}
    return json.dumps(numbers, allow_nan=False)


def _line(key: Key, blocks: BlockRange) -> str:
    point, seed = key
    entry: JsonDict = {
        **{"seed": seed, "first": blocks.first, "end": blocks.end, "count": blocks.tally.count},
        "mean": blocks.tally.mean.tolist(),
        "comoment": blocks.tally.comoment.tolist() if blocks.tally.histograms is None else None,
    }
    if blocks.tally.histograms is not None:
        entry |= {"comoment": _packed(blocks.tally.comoment)}
        entry[PACKED] = _packed(blocks.tally.histograms)
    numbers = _numbers(entry)
    check = zlib.crc32(numbers.encode())
    return f'{{"point": {json.dumps(point)}, {numbers[1:-1]}, "check": {check}}}\n'


def result_text(result: Result) -> str:
    """The text of ``result.json``: the document, of a long sweep with its points by column."""
    long = len(result.data.points) > INDENTED
    return to_json(by_column(result.data) if long else result.document)


def to_json(document: JsonDict) -> str:
    """The result document as JSON text with a checksum; it has no NaN or infinity.

    That of a long sweep is not indented, which halves its size.
    """
    sealed = document if "check" in document else {**document, "check": seal(document)}
    long = LAYOUT in document or len(document.get("points", [])) > INDENTED
    style: JsonDict = {"separators": (",", ":")} if long else {"indent": 2}
    return json.dumps(sealed, **style, allow_nan=False, ensure_ascii=False) + "\n"


@contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """A directory for a run, locked; removed again if a refused command left nothing in it.

    Raises:
        InputError: It can't be created or written to, or another run is writing to it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        _prepare(folder)
        with _locked(folder):
            yield
    except InputError:
        with suppress(OSError):  # of a folder that is not empty, or was not made
            if made and {path.name for path in folder.iterdir()} <= {LOCK}:
                (folder / LOCK).unlink(missing_ok=True)
                for path in made:
                    path.rmdir()
        raise


def _prepare(folder: Path) -> None:
    """Check that a run can be written, before it is simulated."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for name in (RESULT, TALLIES, HELD, LOCK, EXPERIMENT):
            if (folder / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{name} is a directory")
        for name in (TALLIES, HELD, LOCK, HELD_ASIDE, EXPERIMENT + ASIDE):
            if (folder / name).is_symlink():  # writing would change a file elsewhere
                raise OSError(errno.ELOOP, f"{name} is a symbolic link")
    except OSError as error:
        raise cannot_write(error, folder) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the lock of a killed process ends with it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = "another run is writing there: wait for it, or choose another directory"
        raise InputError.of(message, file=folder, key="--out") from None
    except OSError as error:  # as on a full disk, or a file system without locks
        raise cannot_write(error, folder) from None
    try:
        yield
    finally:
        lock.release()


def forget(folder: Path) -> None:
    """Remove the blocks of an earlier run.

    Raises:
        InputError: They can't be removed.
    """
    try:
        for name in (TALLIES, HELD):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(error, folder) from None


def begin(folder: Path, experiment: Experiment) -> None:
    """Write ``experiment.toml``, so that blocks without a result can be resumed or shown.

    An earlier result is removed: it would be taken for that of the new run if this one is killed.
    So are temporary folders of a killed run: the folder is locked, so no other run uses them.
    """
    for left in folder.glob(f"{ASIDE}-*"):
        shutil.rmtree(left, ignore_errors=True)
    aside = folder / (EXPERIMENT + ASIDE)
    _read_result.cache_clear()  # of a long sweep it takes as much memory as the new one
    with suppress(OSError):
        (folder / RESULT).unlink(missing_ok=True)
        aside.write_text(to_toml(experiment), encoding="utf-8")
        os.replace(aside, folder / EXPERIMENT)


def experiment_of(folder: Path) -> Experiment:
    """Read the experiment of a run directory, finished or not.

    Raises:
        InputError: It is not a run directory.
    """
    if not (folder / EXPERIMENT).is_file():
        message = f"not a run directory: it has no {EXPERIMENT}"
        raise InputError.of(message, file=folder)
    return load(folder / EXPERIMENT)


def finished(folder: Path) -> Result | None:
    """Read the result of a run directory as the run wrote it; None if there is none.

    Raises:
        InputError: ``result.json`` can't be read, or was edited or damaged after the run.
    """
    path = folder / RESULT
    return _read_result(path, _stamp(path)) if path.is_file() else None


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file is replaced or edited."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1)
def _read_result(path: Path, _stamp: tuple[int, ...]) -> Result:
    """A result document; a command that asks twice reads it once."""
    try:
        document: JsonDict = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        if "check" not in document:
            raise ValueError("it has no checksum")
        return Result.of(document)
    except (OSError, *BROKEN) as error:
        message = (
            f"is not a result document as a run wrote it ({str(error)[:80]}): put it back, or "
            "remove it, and `mtpsim run` writes it again from the stored blocks"
        )
        raise InputError.of(message, file=path) from None


def read_run(folder: Path) -> tuple[Experiment, Result | None]:
    """Read a run directory, as every command does: its experiment, and its result if it has one.

    Raises:
        InputError: It is not a run directory; its result was edited or damaged; or its experiment,
            or a file that the experiment reads, is not the one of the result.
    """
    experiment, result = experiment_of(folder), finished(folder)
    if result and result.data.provenance.get("hash") != content_hash(experiment):
        message = (
            f"is not the experiment of {RESULT}: it, or a file it reads, was changed after "
            "the run; put it back, or run it again in another directory"
        )
        raise InputError.of(message, file=folder / EXPERIMENT)
    return experiment, result


def with_round_times(experiment: Experiment, result: Result) -> Result:
    """A result that was read, with the round times that its latency figure shows.

    They are sampled again when they are used; points without requests have none.
    """
    done = [point.set for point in result.data.points]
    points = [point.experiment for point in experiment.points() if point.set in done]
    return result.with_round_times(RoundTimes(points))


def open_result(path: str | Path) -> Result:
    """Read the result of a finished run; also available as ``mtpsim.open``.

    Args:
        path (str | Path): A run directory, or a ``result.json``. The latency figure needs the
            directory.

    Returns:
        Result: The result as the run wrote it.

    Raises:
        InputError: It is neither, the run is not finished, or its files were edited after it.

    Examples:
        >>> import mtpsim
        >>> mtpsim.open("runs/article").depth(2).speedup.mean  # doctest: +SKIP
        1.5406
    """
    path = Path(path)
    if path.is_dir():
        return with_round_times(*read_finished(path))
    if not path.is_file():
        raise InputError.of(f"no such file or directory{nearest_file(path)}", file=path)
    return _read_result(path, _stamp(path))


def read_finished(folder: Path) -> tuple[Experiment, Result]:
    """Read a finished run directory.

    Raises:
        InputError: As of :func:`read_run`, or it has no result yet.
    """
    experiment, result = read_run(folder)
    if result is None:
        message = f"has no finished result; `mtpsim show {folder}` shows its stored blocks"
        raise InputError.of(message, file=folder)
    return experiment, result


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def write_result(folder: Path, experiment: Experiment, result: Result) -> list[Path]:
    """Write ``result.csv``, ``experiment.toml`` and ``result.json``, without the figures.

    Each file is written to a temporary folder and then moved, ``result.json`` last: a reader never
    finds a torn file, nor a result without its other files. Figures of an earlier result are
    removed before, so that every figure in the folder shows the current result.

    Raises:
        InputError: the disk is full, or the folder is not writable any more.
    """
    from mtpsim.report.serialization import write_csv

    with _staged(folder) as aside:
        write_csv(result.data, aside / "result.csv")
        (aside / EXPERIMENT).write_text(to_toml(experiment), encoding="utf-8")
        (aside / RESULT).write_text(result_text(result), encoding="utf-8")
        for name in FIGURES:
            (folder / name).unlink(missing_ok=True)
        return _move(aside, ["result.csv", EXPERIMENT, RESULT], folder)


def write_figures(folder: Path, experiment: Experiment, result: Result) -> list[Path]:
    """Draw every figure and ``report.html``, and move them into the run directory.

    Raises:
        InputError: the disk is full, or the folder is not writable any more.
    """
    with _staged(folder) as aside:
        return _move(aside, [path.name for path in result.save_report(experiment, aside)], folder)


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A temporary folder inside ``folder``, so that files can be moved atomically."""
    aside = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{ASIDE}-", dir=folder))
        yield aside
    except OSError as error:
        raise cannot_write(error, folder) from None
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _move(aside: Path, names: list[str], folder: Path) -> list[Path]:
    for name in names:
        os.replace(aside / name, folder / name)
    return [folder / name for name in names]
