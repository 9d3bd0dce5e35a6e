"""Merge runs: the tallies of stored blocks added, each block of each seed once."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mtpsim.common.errors import InputError
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.hashing import point_hash, work_hash
from mtpsim.engine.block_sizes import last_block, part_edges
from mtpsim.engine.scheduler import BlockRange
from mtpsim.report.progress import ignore_progress
from mtpsim.results.document import Result
from mtpsim.runs.block_run import code_hash, name_of
from mtpsim.runs.directory import EXPERIMENT, TALLIES, Tallies, read_run
from mtpsim.runs.run import RunStart, block_run, estimated, result_of
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
        result (Result): The result of all blocks together; it is complete if no block is missing.
        used (dict[str, list[Piece]]): What was added, by name of the point.
        overlaps (list[str]): Sentences on blocks that were left out: duplicates and torn records.
        missing (list[str]): Sentences on blocks that a finished run would have and no run has.
    """

    result: Result
    used: dict[str, list[Piece]]
    overlaps: list[str]
    missing: list[str]


class MergedRun:
    """A run that is merged.

    Args:
        folder (Path): The run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.tallies = folder, Tallies(folder / TALLIES)
        self.experiment, result = read_run(folder)
        self.points = self.experiment.points()
        self.part: str | None = result.data.provenance.get("part") if result else None
        self.whole = result is not None and result.data.complete and self.part is None
        self._stated = result.data.points if result else []

    def stated(self, point: int) -> int:
        """Number of requests of a point in the result of the run; 0 if it has none."""
        swept = self.points[point].set
        found = next((stated for stated in self._stated if stated.set == swept), None)
        if found is None:
            return 0
        return found.serving.replications if found.serving else found.requests

    def requests(self, point: int) -> int:
        """Number of requests at which the run, or all its parts together, ends."""
        return self.points[point].experiment.most


def merge(folders: list[Path], command: list[str] | None = None) -> Merged:
    """Add the stored blocks of runs of one experiment.

    The runs may be parts, or have other seeds, precisions or machines.

    Args:
        folders (list[Path]): Run directories; they may be unfinished.
        command (list[str] | None): The command line, for the provenance.

    Raises:
        InputError: A run is of another experiment, version or kernel, has no blocks, or was edited.
    """
    runs = [MergedRun(folder) for folder in folders]
    first = runs[0].experiment
    start = RunStart(first, command)
    for run in runs[1:]:
        if work_hash(run.experiment) != work_hash(first):
            different = f"is a run of a different experiment than {folders[0]}: "
            _refuse(run.folder, different + _difference(first, run.experiment))
    overlaps = [
        f"{run.folder}: {run.tallies.torn} torn records are left out"
        for run in runs
        if run.tallies.torn
    ]
    done, used = [], {}
    missing: dict[str, list[int]] = {}
    for number, point in enumerate(runs[0].points):
        pieces = [
            Piece(run.folder, seed, blocks)
            for run in runs
            for seed, blocks in _found(run.folder, run.tallies, run.points[number])
        ]
        chosen, dropped = disjoint(pieces)
        used[name_of(point)] = _joined(chosen)
        overlaps += [f"point {number + 1}: {text}" for text in dropped]
        point_run = block_run(number, runs[0].points, ignore_progress)
        empty = Tally.empty(point_run.tally.mean.size)
        point_run.take(sum((piece.blocks.tally for piece in chosen), empty))
        lacks = [] if point_run.reached else _missing(runs, number, chosen, point_run.unit)
        for text in lacks:
            missing.setdefault(text, []).append(number + 1)
        if point_run.tally.count > 1:
            done.append(estimated(point_run.data(interrupted=bool(lacks))))
    if not done:
        _refuse(folders[0], _nothing([run.tallies for run in runs]))
    provenance = start.provenance("merge")
    provenance["merged"] = [
        {"run": str(run.folder), "seed": run.experiment.simulation.seed} for run in runs
    ]
    lost = [_at(text, at, len(runs[0].points)) for text, at in missing.items()]
    if lost:
        provenance["missing"] = lost
    return Merged(result_of(first, done, provenance, len(runs[0].points), []), used, overlaps, lost)


def _missing(
    runs: list[MergedRun], point: int, chosen: list[Piece], unit: int | Fraction
) -> list[str]:
    """Sentences on the blocks of a point that no run has, and that a finished run would have."""
    found = []
    wanted: dict[int, list[MergedRun]] = {}
    for run in runs:
        seed = run.points[point].experiment.simulation.seed
        if not run.whole:
            wanted.setdefault(seed, []).append(run)
            continue
        seeds = {known for name, known in run.tallies.names() if name == name_of(run.points[point])}
        have = sum(p.blocks.tally.count for p in chosen if p.seed in (seeds or {seed}))
        if have < (stated := run.stated(point)):  # records are torn or lost
            found.append(f"missing: {stated - have:,} of {stated:,} requests of {run.folder}")
    for seed, own in wanted.items():
        requests = max(run.requests(point) for run in own)
        pieces = [piece.blocks for piece in chosen if piece.seed == seed]
        lacking = requests - sum(blocks.tally.count for blocks in pieces)
        if lacking <= 0:
            continue
        what = f"{lacking:,} of {requests:,} requests"
        if own[0].points[point].experiment.planned is None:
            what = "requests, to reach the precision,"
        totals = {int(run.part.partition("/")[2]) for run in own if run.part}
        if len(totals) == 1:  # else the parts do not say which ones there are
            what = _parts(_gaps(pieces, end := last_block(requests, unit)), end, *totals) or what
        found.append(f"missing: {what} of seed {seed}")
    return found


def _parts(gaps: list[tuple[int, int]], blocks: int, total: int) -> str:
    """Names of the parts, of ``total`` parts of ``blocks`` blocks, in which blocks are missing."""
    edges = part_edges(blocks, total)
    parts = [
        f"{i + 1}/{total}"
        for i in range(total)
        if any(begin < edges[i + 1] and end > edges[i] for begin, end in gaps)
    ]
    return f"part{'s' * (len(parts) > 1)} {', '.join(parts)}" if parts else ""


def _gaps(blocks: list[BlockRange], end: int) -> list[tuple[int, int]]:
    """Ranges of the blocks 0 .. end - 1 that are in none of ``blocks``."""
    gaps, at = [], 0
    for piece in sorted(blocks, key=lambda blocks: blocks.first):
        if piece.first > at:
            gaps.append((at, piece.first))
        at = max(at, piece.end)
    return [*gaps, (at, end)] if at < end else gaps


def _at(text: str, points: list[int], of: int) -> str:
    """A sentence with the points that it concerns, of ``of`` points."""
    numbers = f"point{'s' * (len(points) > 1)} {', '.join(map(str, points))}"
    return text if of == 1 else f"{text} at {'all points' if len(points) == of else numbers}"


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
    name, hash_, work = name_of(point), point_hash(point), work_hash(point.experiment)
    stored = [known for known, _ in tallies.names()]
    for known in stored:
        if known.startswith(hash_) and known != name:
            theirs = known.removeprefix(hash_ + "-")
            _refuse(
                run, f"was made by other kernels or another version: {theirs}, not {code_hash()}"
            )
        if known.startswith(work) and hash_ != work and name not in stored:
            swept = ", ".join(point.set)
            _refuse(
                run,
                f"has records of an earlier version, which do not say to which point of the sweep "
                f"over {swept} they belong: run it again with --fresh",
            )
    return [
        (seed, blocks)
        for known, seed in tallies.names()
        if known == name
        for blocks in tallies.block_ranges(known, seed)
    ]


def disjoint(pieces: list[Piece]) -> tuple[list[Piece], list[str]]:
    """Choose pieces without overlap that have the most requests, and of these the shortest.

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
            longer = count, [*taken, piece]
            best.append(max(best[-1], longer, key=lambda option: (option[0], len(option[1]))))
        chosen += best[-1][1]
        overlaps += _overlaps(seed, own, best[-1][1])
    return chosen, overlaps


def _joined(pieces: list[Piece]) -> list[Piece]:
    """The pieces, those that continue a seed from its first block added to one."""
    found: list[Piece] = []
    for piece in pieces:
        last, blocks = found[-1] if found else piece, piece.blocks
        follows = last.seed == piece.seed and last.blocks.end == blocks.first
        if found and follows and last.blocks.first == 0:
            tally = last.blocks.tally + blocks.tally
            found[-1] = Piece(piece.run, piece.seed, BlockRange(0, blocks.end, tally))
        else:
            found.append(piece)
    return found


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
