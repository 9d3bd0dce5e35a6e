"""Kept blocks of several runs, added: each block of each seed once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtpsim import __version__
from mtpsim.common.errors import InputError
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.hashing import work_hash
from mtpsim.engine.blocks import BlockRange
from mtpsim.kernels.jit import kernel_hash
from mtpsim.report.progress import Silent
from mtpsim.results.document import Result
from mtpsim.runs.directory import EXPERIMENT, TALLIES, Tallies, experiment_of
from mtpsim.runs.point_run import PointJob, name_of
from mtpsim.runs.run import Started, result_of
from mtpsim.stats.moments import Tally


@dataclass(frozen=True)
class Piece:
    """Blocks of a point from a run: with a seed's other pieces they may overlap."""

    run: Path
    seed: int
    stretch: BlockRange


@dataclass(frozen=True)
class Merged:
    """What a merge found.

    Attributes:
        result: of all blocks together.
        used: for each point's name, the pieces that were added.
        overlaps: sentences on blocks that several runs have, and on broken ones: what is left out.

    """

    result: Result
    used: dict[str, list[Piece]]
    overlaps: list[str]


def merge(runs: list[Path], command: list[str] | None = None) -> Merged:
    """Add what runs of one experiment have kept: other machines, parts, precisions or seeds.

    Args:
        runs: run directories; they may be unfinished.
        command: kept in the provenance.

    Raises:
        InputError: a run is of another experiment, version or kernel, or has kept nothing.

    """
    experiments = [experiment_of(run) for run in runs]
    first = experiments[0]
    started = Started(first, command)
    for run, other in zip(runs[1:], experiments[1:], strict=True):
        if work_hash(other) != work_hash(first):
            _refuse(run, f"is of another experiment than {runs[0]}: {_difference(first, other)}")
    kept = [Tallies(run / TALLIES) for run in runs]
    told = [
        f"{run}: {t.torn} torn records are left out"
        for run, t in zip(runs, kept, strict=True)
        if t.torn
    ]
    points = [experiment.points() for experiment in experiments]
    measured, used, overlaps = [], {}, told
    for number, point in enumerate(points[0]):
        pieces = [
            Piece(run, seed, stretch)
            for run, tallies, own in zip(runs, kept, points, strict=True)
            for seed, stretch in _found(run, tallies, own[number])
        ]
        chosen, dropped = disjoint(pieces)
        used[name_of(point)] = chosen
        overlaps += [f"point {number + 1}: {text}" for text in dropped]
        job = PointJob(number, len(points[0]), point, Silent())
        job.take(sum((piece.stretch.tally for piece in chosen), Tally.empty(job.tally.mean.size)))
        if job.tally.count > 1:
            measured.append(job.measured(interrupted=False))
    if not measured:
        _refuse(runs[0], _nothing(kept))
    provenance = started.provenance("merge")
    provenance["merged"] = [
        {"run": str(run), "seed": e.simulation.seed}
        for run, e in zip(runs, experiments, strict=True)
    ]
    result = result_of(first, measured, provenance, len(points[0]), [])
    return Merged(result, used, overlaps)


def _nothing(kept: list[Tallies]) -> str:
    """Why a merge has nothing to add."""
    if any(tallies.names() for tallies in kept):
        return (
            f"has kept no blocks of its {EXPERIMENT}: it, or a file it reads, was changed after "
            "the run; put it back"
        )
    torn = sum(tallies.torn for tallies in kept)
    return "has kept no blocks" + f": its {counted(torn, 'record', 'are')} torn" * bool(torn)


def _found(run: Path, tallies: Tallies, point: Point) -> list[tuple[int, BlockRange]]:
    """What a run has kept of a point, of any seed (it may be merged itself)."""
    name, hash_ = name_of(point), work_hash(point.experiment)
    for known, _ in tallies.names():
        if known.startswith(hash_) and known != name:
            theirs = known.removeprefix(hash_ + "-")
            ours = f"{kernel_hash()}-{__version__}"
            _refuse(run, f"was made by other kernels or another version: {theirs}, not {ours}")
    return [
        (seed, stretch)
        for known, seed in tallies.names()
        if known == name
        for stretch in tallies.block_ranges(known, seed)
    ]


def disjoint(pieces: list[Piece]) -> tuple[list[Piece], list[str]]:
    """Pieces of which none overlaps another, with the most requests; and what overlapped.

    The best choice of ranges is found by the classic recursion over their ends (weighted interval
    scheduling), seed by seed. Prefixes of one run, each longer than the one before, are nothing to
    tell of; the same blocks from two runs are.
    """
    chosen: list[Piece] = []
    told: list[str] = []
    for seed in sorted({piece.seed for piece in pieces}):
        own = sorted(
            (p for p in pieces if p.seed == seed),
            key=lambda p: (p.stretch.end, p.stretch.first, p.stretch.tally.count),
        )
        best: list[tuple[int, list[Piece]]] = [(0, [])]
        for number, piece in enumerate(own):
            before = sum(other.stretch.end <= piece.stretch.first for other in own[:number])
            count, taken = best[before]
            count += piece.stretch.tally.count
            best.append(max(best[-1], (count, [*taken, piece]), key=lambda option: option[0]))
        chosen += best[-1][1]
        told += _overlaps(seed, own, best[-1][1])
    return chosen, told


def _overlaps(seed: int, pieces: list[Piece], chosen: list[Piece]) -> list[str]:
    """The runs whose blocks another run has too: the longest of each."""
    lost: dict[Path, Piece] = {}
    for piece in pieces:
        if not any(piece.run == taken.run for taken in chosen):
            lost[piece.run] = max(
                piece, lost.get(piece.run, piece), key=lambda p: p.stretch.tally.count
            )
    return [
        f"blocks {p.stretch.first} to {p.stretch.end - 1} of seed {seed} in {run} "
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
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key) and (section, key) != ("simulation", "seed"):
                return f"{section}.{key} is {right.get(key)!r}, not {left.get(key)!r}"
    return "the files it reads differ"


def _refuse(run: Path, why: str) -> None:
    raise InputError.of(why, file=run)
