"""Merge runs: the tallies of stored blocks added, each block of each seed once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtpsim import __version__
from mtpsim.common.errors import InputError
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.hashing import work_hash
from mtpsim.engine.scheduler import BlockRange
from mtpsim.kernels.jit import kernel_hash
from mtpsim.report.progress import ignore_progress
from mtpsim.results.document import Result
from mtpsim.runs.directory import EXPERIMENT, TALLIES, Tallies, experiment_of
from mtpsim.runs.point_run import PointRun, name_of
from mtpsim.runs.run import RunStart, result_of
from mtpsim.stats.estimators import Tally


@dataclass(frozen=True)
class Piece:
    """Stored blocks of a point from one run.

    Attributes:
        run (Path): The run directory.
        seed (int): Seed of the blocks.
        blocks (BlockRange): The blocks; they may overlap those of other pieces of the seed.
    """

    run: Path
    seed: int
    blocks: BlockRange


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes:
        result (Result): The result of all blocks together.
        used (dict[str, list[Piece]]): Pieces that were added, by name of the point.
        overlaps (list[str]): Sentences on blocks that were left out: duplicates and torn records.
    """

    result: Result
    used: dict[str, list[Piece]]
    overlaps: list[str]


def merge(runs: list[Path], command: list[str] | None = None) -> Merged:
    """Add the stored blocks of runs of one experiment.

    The runs may be parts, or have other seeds, precisions or machines.

    Args:
        runs (list[Path]): Run directories; they may be unfinished.
        command (list[str] | None): The command line, for the provenance.

    Raises:
        InputError: A run is of another experiment, version or kernel, or has no blocks.
    """
    experiments = [experiment_of(run) for run in runs]
    first = experiments[0]
    start = RunStart(first, command)
    for run, other in zip(runs[1:], experiments[1:], strict=True):
        if work_hash(other) != work_hash(first):
            _refuse(
                run,
                f"is a run of a different experiment than {runs[0]}: {_difference(first, other)}",
            )
    stored = [Tallies(run / TALLIES) for run in runs]
    overlaps = [
        f"{run}: {t.torn} torn records are left out"
        for run, t in zip(runs, stored, strict=True)
        if t.torn
    ]
    points = [experiment.points() for experiment in experiments]
    done, used = [], {}
    for number, point in enumerate(points[0]):
        pieces = [
            Piece(run, seed, blocks)
            for run, tallies, own in zip(runs, stored, points, strict=True)
            for seed, blocks in _found(run, tallies, own[number])
        ]
        chosen, dropped = disjoint(pieces)
        used[name_of(point)] = chosen
        overlaps += [f"point {number + 1}: {text}" for text in dropped]
        point_run = PointRun(number, len(points[0]), point, ignore_progress)
        empty = Tally.empty(point_run.tally.mean.size)
        point_run.take(sum((piece.blocks.tally for piece in chosen), empty))
        if point_run.tally.count > 1:
            done.append(point_run.data(interrupted=False))
    if not done:
        _refuse(runs[0], _nothing(stored))
    provenance = start.provenance("merge")
    provenance["merged"] = [
        {"run": str(run), "seed": e.simulation.seed}
        for run, e in zip(runs, experiments, strict=True)
    ]
    return Merged(result_of(first, done, provenance, len(points[0]), []), used, overlaps)


def _nothing(stored: list[Tallies]) -> str:
    """Why a merge has nothing to add."""
    if any(tallies.names() for tallies in stored):
        return (
            f"has no blocks of its {EXPERIMENT}: it, or a file it reads, was changed after "
            "the run; put it back"
        )
    torn = sum(tallies.torn for tallies in stored)
    return "has no blocks" + f": its {counted(torn, 'record', 'are')} torn" * bool(torn)


def _found(run: Path, tallies: Tallies, point: Point) -> list[tuple[int, BlockRange]]:
    """Stored blocks of a point, of any seed (the run may be a merge itself)."""
    name, hash_ = name_of(point), work_hash(point.experiment)
    for known, _ in tallies.names():
        if known.startswith(hash_) and known != name:
            theirs = known.removeprefix(hash_ + "-")
            ours = f"{kernel_hash()}-{__version__}"
            _refuse(run, f"was made by other kernels or another version: {theirs}, not {ours}")
    return [
        (seed, blocks)
        for known, seed in tallies.names()
        if known == name
        for blocks in tallies.block_ranges(known, seed)
    ]


def disjoint(pieces: list[Piece]) -> tuple[list[Piece], list[str]]:
    """Choose pieces without overlap that have the most requests.

    Weighted interval scheduling, seed by seed. Several prefixes of one run are normal; the same
    blocks in two runs are reported.

    Returns:
        The chosen pieces, and a sentence on each run whose blocks another run has too.
    """
    chosen: list[Piece] = []
    overlaps: list[str] = []
    for seed in sorted({piece.seed for piece in pieces}):
        own = sorted(
            (p for p in pieces if p.seed == seed),
            key=lambda p: (p.blocks.end, p.blocks.first, p.blocks.tally.count),
        )
        best: list[tuple[int, list[Piece]]] = [(0, [])]
        for number, piece in enumerate(own):
            before = sum(other.blocks.end <= piece.blocks.first for other in own[:number])
            count, taken = best[before]
            count += piece.blocks.tally.count
            best.append(max(best[-1], (count, [*taken, piece]), key=lambda option: option[0]))
        chosen += best[-1][1]
        overlaps += _overlaps(seed, own, best[-1][1])
    return chosen, overlaps


def _overlaps(seed: int, pieces: list[Piece], chosen: list[Piece]) -> list[str]:
    """A sentence on each run without a chosen piece: its longest one."""
    lost: dict[Path, Piece] = {}
    for piece in pieces:
        if not any(piece.run == taken.run for taken in chosen):
            lost[piece.run] = max(
                piece, lost.get(piece.run, piece), key=lambda p: p.blocks.tally.count
            )
    return [
        f"blocks {p.blocks.first} to {p.blocks.end - 1} of seed {seed} in {run} "
        "are in another run too: they count once"
        for run, p in lost.items()
    ]


def _difference(one: Experiment, other: Experiment) -> str:
    """The first key that differs."""
    a, b = one.raw(), other.raw()
    for section in sorted(a.keys() | b.keys()):
        left, right = a.get(section), b.get(section)
        if left == right or section == "title":
            continue
        if not isinstance(left, dict) or not isinstance(right, dict):
            return section
        for key in sorted(left.keys() | right.keys(), key=lambda key: (key != "model", key)):
            if left.get(key) != right.get(key) and (section, key) != ("simulation", "seed"):
                here, there = (part.get(key, "not set") for part in (right, left))
                return f"{section}.{key} is {here!r}, there {there!r}"
    return "the files it reads differ"


def _refuse(run: Path, why: str) -> None:
    raise InputError.of(why, file=run)
