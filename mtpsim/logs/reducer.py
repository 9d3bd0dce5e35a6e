"""What logs say together: entries reduced to arrays, in memory that hardly grows with the log."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.logs.entry import UNTOLD, Counts, Entry, EntryError, QuestionError, Unit

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Level = Literal["rounds", "histogram by draft length", "histogram", "positions", "totals"]
LEVELS: tuple[Level, ...] = (
    "rounds",
    "histogram by draft length",
    "histogram",
    "positions",
    "totals",
)
KEPT = 5_000  # requests kept round by round, drawn at random where there are more
TIMES = 200_000  # times kept, the same way
DEEPEST = 64
NOT_TOLD = -1  # under which times of rounds stand until the depth of the log is known


@dataclass(frozen=True)
class Source:
    """A file that was read: how many entries it gave, and how many were skipped as broken."""

    path: Path
    format: str
    entries: int
    skipped: int


@dataclass(frozen=True)
class Rounds:
    """Rounds of requests one after the other.

    Attributes:
        accepted: ``[N]`` accepted drafts.
        drafted: ``[N]`` proposed drafts.
        begins: ``[R + 1]`` where each request begins; the last entry is N.

    """

    accepted: Bytes
    drafted: Bytes
    begins: Ints

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return self.begins.size - 1

    def some(self, which: Ints) -> Rounds:
        """The requests of these numbers."""
        pieces = [slice(self.begins[r], self.begins[r + 1]) for r in which]
        lengths = [piece.stop - piece.start for piece in pieces]
        empty = np.zeros(0, np.uint8)
        return Rounds(
            np.concatenate([empty, *(self.accepted[p] for p in pieces)]),
            np.concatenate([empty, *(self.drafted[p] for p in pieces)]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        )


@dataclass(frozen=True)
class Log:
    """All that was read, a row for each request, window or total.

    Attributes:
        engine: whose logs they are.
        sources: the files.
        unit: what a row is.
        level: the poorest form of counts among the rows.
        depth: K, most drafts of a round.
        short: whether some rounds draft fewer than K.
        drafts: mean drafts of a round; K where that is not told.
        rounds: ``[R]``.
        accepted: ``[R]`` drafts.
        tokens: ``[R]``, NaN where not told.
        time: ``[R]`` ms, NaN where not told.
        reached: ``[R, K]`` rounds that drafted position j and accepted all before it; zeros where
            only totals are known.
        hit: ``[R, K]`` those of them that accepted it too.
        sequence: rounds one by one, of at most ``KEPT`` requests; None where they are not told.
        rows_of_sequence: which rows these requests are.
        round_times: ms of single rounds, by drafts of the round.
        step_times: ms of single steps by batch.
        draft_time: mean ms of drafting a round, or None.
        notes: what is missing or was taken for granted.

    """

    engine: str
    sources: list[Source]
    unit: Unit
    level: Level
    depth: int
    short: bool
    drafts: float
    rounds: Ints
    accepted: Ints
    tokens: Floats
    time: Floats
    reached: Ints
    hit: Ints
    sequence: Rounds | None
    rows_of_sequence: Ints
    round_times: dict[int, Floats]
    step_times: dict[int, Floats]
    draft_time: float | None
    notes: list[str]

    @property
    def count(self) -> int:
        """Number of rows R."""
        return self.rounds.size

    @property
    def accept_length(self) -> float:
        """Tokens a round, all rows pooled: 1 + A / N."""
        return float(1 + self.accepted.sum() / max(self.rounds.sum(), 1))


class Reservoir:
    """A uniform sample of a stream of unknown length (Vitter's algorithm R)."""

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, 0
        self._random = np.random.default_rng(0)

    def place(self) -> int | None:
        """Where the next item of the stream goes; None: nowhere."""
        self.seen += 1
        if self.seen <= self.size:
            return self.seen - 1
        at = int(self._random.integers(self.seen))
        return at if at < self.size else None


@dataclass
class Reducer:
    """Takes entries one by one."""

    depth: int | None = None
    keep: int = KEPT
    rows: dict[str, array[int]] = field(
        default_factory=lambda: {n: array("q") for n in ("rounds", "accepted", "tokens", "untold")}
    )
    levels: Counter[Level] = field(default_factory=Counter)
    units: set[Unit] = field(default_factory=set)
    depths: set[int] = field(default_factory=set)
    notes: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._hit, self._reached, self._edge = array("q"), array("q"), array("q", [0])
        self._time = array("d")
        self._drafted, self._told, self._without = 0, 0, 0
        self._kept: dict[int, tuple[int, bytes, bytes]] = {}
        self._requests, self._draft_times = Reservoir(self.keep), [0.0, 0.0]
        self._round_times: dict[int, list[float]] = {}
        self._time_places: dict[int, Reservoir] = {}
        self._step_times: dict[int, list[float]] = {}

    def add(self, entry: Entry) -> None:
        """Take an entry.

        Raises:
            EntryError: it contradicts itself, or its depth those before it.

        """
        entry.check()
        for batch, times in entry.step_times.items():
            self._step_times.setdefault(batch, []).extend(times)
        if not entry.rounds:
            self._without += not entry.step_times
            return
        table, level = _table(entry)
        self._check_depth(entry, table, level)
        self._add_row(entry, table, level)
        self._add_times(entry)
        self.notes.update(dict.fromkeys(entry.notes))
        self.units.add(entry.unit)
        self.levels[level] += 1
        if level == "rounds" and entry.per_round:
            self._keep(entry.per_round)

    def _check_depth(self, entry: Entry, table: dict[int, Counts], level: Level) -> None:
        if (entry.drafted or 0) > DEEPEST * entry.rounds:
            told = f"{counted(entry.drafted or 0, 'draft')} in {counted(entry.rounds, 'round')}"
            raise EntryError(f"{told}: over {DEEPEST} a round, more than any engine drafts")
        by_length = level in LEVELS[:2] and UNTOLD not in table
        accepted = max([len(row) - 1 for row in table.values()] + [len(entry.survived)])
        deepest = max(table, default=0) if by_length else entry.depth or 0
        depth = self.depth or deepest
        if depth and not 1 <= max(accepted, deepest * by_length) <= depth <= DEEPEST:
            most = max(accepted, deepest * by_length)
            if most or depth > DEEPEST:
                raise EntryError(
                    f"{counted(depth, 'draft')} a round can't be: here are {most}; 1 to {DEEPEST} "
                    "are possible"
                )
        if depth and not by_length and self.depths and depth not in self.depths:
            raise EntryError(
                f"drafts {depth} a round, but entries before it {min(self.depths)}: rates of two "
                "depths can't be mixed; fit each by itself"
            )
        if depth:
            self.depths.add(depth)

    def _add_row(self, entry: Entry, table: dict[int, Counts], level: Level) -> None:
        rows = self.rows
        rows["rounds"].append(entry.rounds)
        rows["accepted"].append(entry.accepted)
        rows["tokens"].append(-1 if entry.tokens is None else entry.tokens)
        self._time.append(float("nan") if entry.time is None else entry.time)
        if entry.drafted is not None:
            self._drafted += entry.drafted
            self._told += entry.rounds
        rows["untold"].append(int(UNTOLD in table or level in ("positions", "totals")))
        if level == "positions":
            hit, reached = entry.survived, [entry.rounds, *entry.survived[:-1]]
        else:
            hit, reached = _by_position(table)
        self._hit.extend(hit)
        self._reached.extend(reached)
        self._edge.append(len(self._hit))

    def _add_times(self, entry: Entry) -> None:
        drafted = entry.per_round[1] if entry.per_round else []
        aligned = len(drafted) == len(entry.round_times)
        for number, time in enumerate(entry.round_times):
            depth = drafted[number] if aligned else entry.depth or NOT_TOLD
            at = self._time_places.setdefault(depth, Reservoir(TIMES)).place()
            times = self._round_times.setdefault(depth, [])
            if at is not None:
                times[at : at + 1] = [time]
        if entry.draft_time is not None:
            self._draft_times[0] += entry.draft_time
            self._draft_times[1] += entry.rounds

    def _keep(self, per_round: tuple[Counts, Counts]) -> None:
        at = self._requests.place()
        if at is not None:
            accepted, drafted = (bytes(part) for part in per_round)
            self._kept[at] = len(self.rows["rounds"]) - 1, accepted, drafted

    def finish(self, engine: str, sources: list[Source]) -> Log:
        """All together.

        Raises:
            QuestionError: the depth is not told.
            EntryError: there was nothing.

        """
        if not self.rows["rounds"]:
            if not self._step_times:
                raise EntryError("no entry has a round in it")
            return self._times_alone(engine, sources)
        depth = self._find_depth()
        level = max(self.levels, key=LEVELS.index)
        sequence, rows = self._sequence(depth)
        hit, reached = self._counts(depth)
        tokens = np.array(self.rows["tokens"], float)
        self._say(level)
        unit: Unit = self.units.pop() if len(self.units) == 1 else "window"
        return Log(
            *(engine, sources, unit, level, depth),
            self._is_short(depth, reached, hit),
            self._drafted / self._told if self._told else float(depth),
            np.array(self.rows["rounds"], np.int64),
            np.array(self.rows["accepted"], np.int64),
            np.where(tokens < 0, np.nan, tokens),
            np.array(self._time, float),
            *(reached, hit, sequence, rows),
            self._times_by_depth(depth),
            self._steps(),
            self._draft_times[0] / self._draft_times[1] if self._draft_times[1] else None,
            list(self.notes),
        )

    def _times_alone(self, engine: str, sources: list[Source]) -> Log:
        none, nothing = np.zeros(0, np.int64), np.zeros(0)
        return Log(
            *(engine, sources, "total", "totals", self.depth or 0, False, 0.0),
            *(none, none, nothing, nothing, none.reshape(0, 0), none.reshape(0, 0)),
            *(None, none, {}, self._steps(), None, []),
        )

    def _times_by_depth(self, depth: int) -> dict[int, Floats]:
        """Times of rounds; those whose drafts were not told are of the depth of the log."""
        found: dict[int, list[float]] = {}
        for drafts, times in sorted(self._round_times.items()):
            found.setdefault(depth if drafts == NOT_TOLD else drafts, []).extend(times)
        return {drafts: np.array(times) for drafts, times in sorted(found.items())}

    def _steps(self) -> dict[int, Floats]:
        return {batch: np.array(times) for batch, times in sorted(self._step_times.items())}

    def _find_depth(self) -> int:
        if self.depth or self.depths:
            return self.depth or max(self.depths)
        longest = int(np.diff(np.array(self._edge)).max())
        bare = self.levels.keys() <= {"totals", "rounds"} and not self._told
        if bare or not longest:
            raise QuestionError("does not tell how many drafts a round proposes: say --depth K")
        if not self._told:
            told = f"taken for {counted(longest, 'draft')} a round, the most that were accepted"
            self.notes[told] = None
            return longest
        return max(longest, -(-self._drafted // self._told))

    def _is_short(self, depth: int, reached: Ints, hit: Ints) -> bool:
        first = np.concatenate([np.array(self.rows["rounds"])[:, None], hit[:, :-1]], axis=1)
        fewer = self._drafted != depth * self._told
        return fewer or (self.levels.keys() != {"totals"} and bool((reached < first).any()))

    def _counts(self, depth: int) -> tuple[Ints, Ints]:
        edge, untold = np.array(self._edge), np.array(self.rows["untold"], bool)
        lengths = np.diff(edge)
        inside = np.arange(depth) < lengths[:, None]
        hit, reached = (np.zeros((len(lengths), depth), np.int64) for _ in range(2))
        hit[inside], reached[inside] = np.array(self._hit), np.array(self._reached)
        shifted = np.concatenate([np.array(self.rows["rounds"])[:, None], hit[:, :-1]], axis=1)
        known = untold & (lengths > 0)
        reached[known] = shifted[known]
        return hit, reached

    def _sequence(self, depth: int) -> tuple[Rounds | None, Ints]:
        if not self._kept:
            return None, np.zeros(0, np.int64)
        kept = sorted(self._kept.values())
        lengths = [len(accepted) for _, accepted, _ in kept]
        drafted = b"".join(d or bytes([depth]) * len(a) for _, a, d in kept)
        return Rounds(
            np.frombuffer(b"".join(a for _, a, _ in kept), np.uint8),
            np.frombuffer(drafted, np.uint8),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        ), np.array([row for row, _, _ in kept], np.int64)

    def _say(self, level: Level) -> None:
        if self._without:
            self.notes[f"{counted(self._without, 'entry')} without a round: left aside"] = None
        if len(self.levels) > 1:
            told = ", ".join(f"{n:,} {level}" for level, n in self.levels.items())
            self.notes[f"entries differ in detail ({told}); the poorest counts"] = None
        if self._requests.seen > self.keep:
            self.notes[
                f"{self.keep:,} of {self._requests.seen:,} requests, drawn at random, are kept "
                "round by round; of all others their counts by position"
            ] = None


def _table(entry: Entry) -> tuple[dict[int, Counts], Level]:
    """Rounds by draft length and accepted drafts, and in what form they were told."""
    if entry.per_round:
        accepted, drafted = entry.per_round
        lengths = drafted or [UNTOLD] * len(accepted)
        table: dict[int, Counts] = {}
        for (length, a), n in Counter(zip(lengths, accepted, strict=True)).items():
            row = table.setdefault(length if drafted else UNTOLD, [])
            row.extend([0] * (a + 1 - len(row)))
            row[a] += n
        if drafted:  # a round without drafts says nothing of them, and has no length of its own
            table.pop(0, None)
        return table, "rounds"
    if entry.histogram:
        told = UNTOLD not in entry.histogram
        trimmed = {length: _trimmed(row) for length, row in entry.histogram.items()}
        return trimmed, "histogram by draft length" if told else "histogram"
    return {}, "positions" if entry.survived else "totals"


def _trimmed(row: Counts) -> Counts:
    """Without the zeros at its end."""
    last = max((j for j, n in enumerate(row) if n), default=0)
    return row[: last + 1]


def _by_position(table: dict[int, Counts]) -> tuple[Counts, Counts]:
    """Rounds that accepted the first j drafts, and those that came to draft j."""
    longest = max((max(length, len(row) - 1) for length, row in table.items()), default=0)
    hit, reached = [0] * longest, [0] * longest
    for length, row in table.items():
        left = sum(row)
        for j in range(length or len(row) - 1):
            reached[j] += left
            left -= row[j] if j < len(row) else 0
            hit[j] += left
    return hit, reached
