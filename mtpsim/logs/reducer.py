"""Reduce the entries of a log to arrays, in memory that hardly grows with the size of the log."""

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    UNKNOWN_LENGTH,
    Counts,
    Entry,
    EntryError,
    MissingInformationError,
    Unit,
    counts_by_position,
    trimmed_row,
)
from mtpsim.logs.reservoir import Reservoir
from mtpsim.logs.rounds import Confidences, Rounds, padded

Ints = npt.NDArray[np.int64]
Level = Literal["rounds", "histogram by draft length", "histogram", "positions", "totals"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""Granularities of counts, the finest first."""
MAX_KEPT_REQUESTS = 5_000  # whose rounds are kept; a random sample where there are more
MAX_KEPT_TIMES = 200_000  # round times kept by depth, likewise
MAX_DEPTH = 64
MOSTLY = 0.9  # share of a row's rounds with the same number of drafts: the row has that depth
MIN_ROUNDS = 10  # of a row that states a depth below the given one by its drafts
UNKNOWN_DEPTH = -1  # key of round times until the depth of the log is known


@dataclass(frozen=True)
class LogFile:
    """A file that was read.

    Attributes:
        file (str): path of the file.
        format (str): name of its format, as ``--format`` takes it.
        entries (int): number of entries read.
        skipped (int): number of entries set aside: incomplete ones, and malformed ones if they are
            to be skipped.
    """

    file: str
    format: str
    entries: int
    skipped: int


@dataclass(frozen=True, kw_only=True)
class LogTimes:
    """Times in a log.

    Attributes:
        by_row (NDArray[float64]): ``[R]`` ms of all rounds of a request, window or total; NaN where
            not logged.
        batch (NDArray[float64]): ``[R]`` number of requests that ran together; NaN where not
            logged.
        rough (NDArray[bool]): ``[R]`` whether ``by_row`` may count time without requests.
        by_depth (dict[int, Floats]): ``[n]`` ms of single rounds, by number of drafts of the round.
        by_batch (dict[int, Floats]): ``[n]`` ms of single steps, by batch size.
        draft (float | None): mean ms of drafting per round; None where not logged.
    """

    by_row: Floats
    batch: Floats
    rough: npt.NDArray[np.bool_]
    by_depth: dict[int, Floats]
    by_batch: dict[int, Floats]
    draft: float | None


@dataclass(frozen=True, kw_only=True)
class Log:
    """Counts and times of engine logs, a row per request, log window or run total.

    Attributes:
        engine (str): engine that wrote the logs.
        files (list[LogFile]): files that were read, in order.
        unit (Unit): what a row is: ``"request"``, ``"window"`` or ``"total"``.
        level (Level): granularity of the counts, the coarsest among the rows: ``"rounds"``,
            ``"histogram by draft length"``, ``"histogram"``, ``"positions"`` or ``"totals"``.
        depth (int): largest number of drafts per round K.
        depths (NDArray[int64]): ``[R]`` number of drafts per round; K where a row does not state
            it, or its rounds differ.
        has_short_drafts (bool): whether some rounds draft fewer tokens than their row's depth.
        undrafted (int): number of rounds that are known to draft nothing.
        mean_drafts (float): mean number of drafts per round; K where not logged.
        rounds (NDArray[int64]): ``[R]`` number of rounds.
        accepted (NDArray[int64]): ``[R]`` number of accepted drafts, without bonus tokens.
        drafted (NDArray[float64]): ``[R]`` number of proposed drafts, NaN where not logged.
        tokens (NDArray[float64]): ``[R]`` number of generated tokens, NaN where not logged.
        reached (NDArray[int64]): ``[R, K]`` number of rounds that drafted position j and accepted
            all positions before it; 0 where only totals are logged. If some rounds draft nothing,
            the drafter sets the length, and a position that it leaves out counts as not accepted.
        hit (NDArray[int64]): ``[R, K]`` number of rounds that accepted position j.
        sequence (Rounds | None): rounds in order, of at most ``keep`` requests drawn at random;
            None where rounds are not logged one by one.
        sequence_rows (NDArray[int64]): ``[sequence.requests]`` row of each request of ``sequence``.
        times (LogTimes): measured times.
        notes (list[str]): what the log lacks, and what was assumed, a sentence each.

    Examples:
        >>> import mtpsim
        >>> log = mtpsim.read_logs("experiments/logs/samples/trtllm-requests.jsonl")
        >>> log.unit, log.level, log.rounds.shape, log.hit.shape
        ('request', 'histogram', (6,), (6, 4))
    """

    engine: str
    files: list[LogFile]
    unit: Unit
    level: Level
    depth: int
    depths: Ints
    has_short_drafts: bool
    undrafted: int
    mean_drafts: float
    rounds: Ints
    accepted: Ints
    drafted: Floats
    tokens: Floats
    reached: Ints
    hit: Ints
    sequence: Rounds | None
    sequence_rows: Ints
    times: LogTimes
    notes: list[str]

    @property
    def count(self) -> int:
        """Number of rows R."""
        return self.rounds.size

    @property
    def accept_length(self) -> float:
        """Mean tokens per round, all rows pooled: 1 + A / N."""
        return float(1 + self.accepted.sum() / max(self.rounds.sum(), 1))


class Reducer:
    """Collects entries one by one.

    Attributes:
        notes: notes on what was read, each once, in order.
    """

    def __init__(self, depth: int | None = None, keep: int = MAX_KEPT_REQUESTS) -> None:
        """Start with no entry.

        Args:
            depth: number of drafts per round given by the user; None if not given.
            keep: most requests whose rounds are kept.
        """
        self.notes: dict[str, None] = {}
        self._given_depth, self._depths = depth, set[int]()
        self._units, self._levels = set[Unit](), Counter[Level]()
        self._rounds, self._accepted, self._tokens = array("q"), array("q"), array("q")
        self._rough_times, self._batches = array("b"), array("d")
        self._row_times, self._row_depths, self._drafted = array("d"), array("q"), array("q")
        self._left_out = Counter[int]()  # rows of other depths than the given one
        # Counts by position of all rows, one after the other; row r begins at _offsets[r].
        self._hit, self._reached, self._offsets = array("q"), array("q"), array("q", [0])
        self._reached_follows = array("b")  # whether reached follows from the other counts
        self._drafts = self._rounds_with_drafts = self._without_rounds = self._undrafted = 0
        self._keep, self._kept_requests = keep, Reservoir(keep)
        self._kept: dict[int, tuple[int, bytes, bytes, Confidences]] = {}
        self._draft_time, self._draft_rounds = 0.0, 0
        self._round_times: dict[int, array[float]] = defaultdict(lambda: array("d"))
        self._kept_times: dict[int, Reservoir] = defaultdict(lambda: Reservoir(MAX_KEPT_TIMES))
        self._step_times: dict[int, list[float]] = defaultdict(list)

    def add(self, entry: Entry) -> None:
        """Add an entry.

        Raises:
            EntryError: it is inconsistent.
        """
        entry.check()
        for batch, times in entry.step_times.items():
            self._step_times[batch].extend(times)
        if not entry.rounds:
            self._without_rounds += not entry.step_times and not entry.notes
            self.notes.update(dict.fromkeys(entry.notes))
            return
        table, level = _table(entry)
        stated = _stated_depth(entry, table, level, self._given_depth or 0)
        if stated and stated != (self._given_depth or stated):
            self._left_out[stated] += 1
            return
        depth = self._depth_of(entry, table, level)
        self._row_depths.append(depth)
        self._add_row(entry, table, level)
        self._add_times(entry)
        self.notes.update(dict.fromkeys(entry.notes))
        self._units.add(entry.unit)
        self._levels[level] += 1
        if level == "rounds" and entry.per_round:
            at = self._kept_requests.place()
            if at is not None:
                accepted, drafted = (bytes(part) for part in entry.per_round)
                self._kept[at] = len(self._rounds) - 1, accepted, drafted, entry.confidences

    def _depth_of(self, entry: Entry, table: dict[int, Counts], level: Level) -> int:
        """Return the drafts per round of a row; 0 if unknown, or if its rounds differ."""
        if (entry.drafted or 0) > MAX_DEPTH * entry.rounds:
            drafts, rounds = counted(entry.drafted or 0, "draft"), counted(entry.rounds, "round")
            raise EntryError(f"{drafts} in {rounds}: at most {MAX_DEPTH} per round are possible")
        by_length = level in LEVELS[:2] and UNKNOWN_LENGTH not in table
        accepted = max([len(row) - 1 for row in table.values()] + [len(entry.survived)])
        deepest = max(table, default=0) if by_length else entry.depth or 0
        depth = self._given_depth or deepest
        most = max(accepted, deepest * by_length)
        if depth > MAX_DEPTH or (depth and most > depth):
            raise _impossible(depth, most)
        if depth:
            self._depths.add(depth)
        if by_length and sum(table.get(deepest, [])) < MOSTLY * entry.rounds:
            return 0
        return depth

    def _add_row(self, entry: Entry, table: dict[int, Counts], level: Level) -> None:
        self._rounds.append(entry.rounds)
        self._accepted.append(entry.accepted)
        self._tokens.append(-1 if entry.tokens is None else entry.tokens)
        self._row_times.append(float("nan") if entry.time is None else entry.time)
        self._rough_times.append(entry.rough_time)
        self._batches.append(float("nan") if entry.batch is None else entry.batch)
        self._drafted.append(-1 if entry.drafted is None else entry.drafted)
        if entry.per_round:
            self._undrafted += entry.per_round[1].count(0)
        if entry.drafted is not None:
            self._drafts += entry.drafted
            self._rounds_with_drafts += entry.rounds
        self._reached_follows.append(UNKNOWN_LENGTH in table or level in ("positions", "totals"))
        if level == "positions":
            hit, reached = entry.survived, [entry.rounds, *entry.survived[:-1]]
        else:
            hit, reached = counts_by_position(table)
        self._hit.extend(hit)
        self._reached.extend(reached)
        self._offsets.append(len(self._hit))

    def _add_times(self, entry: Entry) -> None:
        if entry.draft_time is not None:
            self._draft_time += entry.draft_time
            self._draft_rounds += entry.rounds
        if not entry.round_times:
            return
        drafted = entry.per_round[1] if entry.per_round else []
        aligned = len(drafted) == len(entry.round_times)
        times = np.array(entry.round_times, float)
        depths = np.array(drafted) if aligned else entry.depth or UNKNOWN_DEPTH
        for depth in np.unique(depths).astype(int).tolist():
            of_depth = times[np.broadcast_to(depths == depth, times.shape)]
            self._kept_times[depth].keep(self._round_times[depth], of_depth)

    def finish(self, engine: str, files: list[LogFile]) -> Log:
        """Return the log of all entries.

        Args:
            engine: engine that wrote the logs.
            files: files that were read.

        Raises:
            MissingInformationError: the depth is not logged.
            EntryError: no entry has a round or a step time.
        """
        if self._left_out and not self._rounds:
            raise EntryError(f"no entry has depth {self._given_depth}; {self._others()}")
        if not self._rounds and not self._step_times:
            raise EntryError("no entry has a round")
        depth = self._find_depth() if self._rounds else self._given_depth or 0
        depths = self._find_depths(depth)
        sequence, rows = self._sequence(depths)
        hit, reached = self._counts(depths)
        tokens, drafted = np.array(self._tokens, float), np.array(self._drafted, float)
        level: Level = max(self._levels, key=LEVELS.index, default="totals")
        self._add_notes()
        one_unit: Unit = "total" if not self._rounds else "window"
        mean_drafts = float(depth) if self._rounds else 0.0
        if self._rounds_with_drafts:
            mean_drafts = self._drafts / self._rounds_with_drafts
        return Log(
            engine=engine,
            files=files,
            unit=self._units.pop() if len(self._units) == 1 else one_unit,
            level=level,
            depth=depth,
            depths=depths,
            has_short_drafts=self._has_short_drafts(depths, hit, reached),
            undrafted=self._undrafted,
            mean_drafts=mean_drafts,
            rounds=np.array(self._rounds, np.int64),
            accepted=np.array(self._accepted, np.int64),
            drafted=np.where(drafted < 0, np.nan, drafted),
            tokens=np.where(tokens < 0, np.nan, tokens),
            reached=reached,
            hit=hit,
            sequence=sequence,
            sequence_rows=rows,
            times=LogTimes(
                by_row=np.array(self._row_times, float),
                batch=np.array(self._batches, float),
                rough=np.array(self._rough_times, bool),
                by_depth=self._times_by_depth(depth),
                by_batch={b: np.array(times) for b, times in sorted(self._step_times.items())},
                draft=self._draft_time / self._draft_rounds if self._draft_rounds else None,
            ),
            notes=list(self.notes),
        )

    def _times_by_depth(self, depth: int) -> dict[int, Floats]:
        """Times of rounds; those of an unknown number of drafts count as of the log's depth."""
        found: dict[int, list[float]] = defaultdict(list)
        for drafts, times in sorted(self._round_times.items()):
            found[depth if drafts == UNKNOWN_DEPTH else drafts].extend(times)
        return {drafts: np.array(times) for drafts, times in sorted(found.items())}

    def _find_depth(self) -> int:
        if self._given_depth or self._depths:
            return self._given_depth or max(self._depths)
        longest = int(np.diff(np.array(self._offsets)).max())
        bounded = longest and not self._levels.keys() <= {"totals", "rounds"}
        if not bounded and not self._rounds_with_drafts:
            raise MissingInformationError(
                "the log does not state the number of drafts per round", option="--depth"
            )
        if not self._rounds_with_drafts:
            drafts = counted(longest, "draft")
            self.notes[f"depth assumed: {drafts} per round, the most that were accepted"] = None
            return longest
        found = max(longest, -(-self._drafts // self._rounds_with_drafts))
        if self._drafts != found * self._rounds_with_drafts:
            self.notes[
                f"depth assumed: {counted(found, 'draft')} per round, the mean "
                f"{self._drafts / self._rounds_with_drafts:.2f} rounded up; --depth K states it"
            ] = None
        return found

    def _find_depths(self, depth: int) -> Ints:
        """Depth of each row; that of the log where a row does not state it."""
        depths = np.array(self._row_depths, np.int64)
        depths[depths == 0] = depth
        if self._undrafted:  # the longest draft of a row may be short of what is allowed
            depths[~np.array(self._reached_follows, bool)] = depth
        return depths

    def _has_short_drafts(self, depths: Ints, hit: Ints, reached: Ints) -> bool:
        drafted, rounds = np.array(self._drafted), np.array(self._rounds)
        fewer = bool(((drafted >= 0) & (drafted != depths * rounds)).any())
        known = self._levels.keys() != {"totals"}
        return fewer or (known and bool((reached < self._all_reached(depths, hit)).any()))

    def _all_reached(self, depths: Ints, hit: Ints) -> Ints:
        """Rounds that reach each position if every round drafts all of its row's depth."""
        rounds = np.array(self._rounds, np.int64)[:, None]
        came = np.concatenate([rounds, hit], axis=1)[:, : hit.shape[1]]
        return came * (np.arange(hit.shape[1]) < depths[:, None])

    def _counts(self, depths: Ints) -> tuple[Ints, Ints]:
        lengths, depth = np.diff(np.array(self._offsets)), int(depths.max(initial=0))
        inside = np.arange(depth) < lengths[:, None]
        hit, reached = (np.zeros((lengths.size, depth), np.int64) for _ in range(2))
        hit[inside], reached[inside] = np.array(self._hit), np.array(self._reached)
        follows = (np.array(self._reached_follows, bool) | (self._undrafted > 0)) & (lengths > 0)
        reached[follows] = self._all_reached(depths, hit)[follows]
        return hit, reached

    def _sequence(self, depths: Ints) -> tuple[Rounds | None, Ints]:
        if not self._kept:
            return None, np.zeros(0, np.int64)
        kept = sorted(self._kept.values())
        lengths = [len(accepted) for _, accepted, *_ in kept]
        drafted = b"".join(d or bytes([depths[row]]) * len(a) for row, a, d, _ in kept)
        return Rounds(
            np.frombuffer(b"".join(a for _, a, *_ in kept), np.uint8),
            np.frombuffer(drafted, np.uint8),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            padded([one[-1] for one in kept], lengths),
        ), np.array([row for row, *_ in kept], np.int64)

    def _others(self) -> str:
        rows = (f"{counted(n, 'entry', 'have')} depth {k}" for k, n in self._left_out.items())
        return ", ".join(rows)

    def _add_notes(self) -> None:
        if self._left_out:
            self.notes[f"left out, as depth {self._given_depth} is asked for: {self._others()}"] = (
                None
            )
        if self._without_rounds and self._rounds:
            skipped = counted(self._without_rounds, "entry", "were")
            self.notes[f"{skipped} skipped: no rounds"] = None
        if len(self._levels) > 1:
            levels = ", ".join(f"{n:,} {level}" for level, n in self._levels.items())
            self.notes[f"entries differ in granularity ({levels}); the coarsest is used"] = None
        if self._kept_requests.seen > self._keep:
            self.notes[
                f"rounds are kept for a random sample of {self._keep:,} of "
                f"{self._kept_requests.seen:,} requests, counts by position for all"
            ] = None


def _stated_depth(entry: Entry, table: dict[int, Counts], level: Level, given: int) -> int:
    """Return the depth that an entry states, 0 if none; that of totals may follow from the drafts.

    Rounds that mostly draft the same number state it, unless they are so few, and draft so little,
    that a drafter that stops early may have made them.

    Args:
        entry: an entry with rounds.
        table: its rounds by draft length and accepted drafts.
        level: granularity of its counts.
        given: number of drafts per round given by the user; 0 if not given.
    """
    if level in LEVELS[:2] and UNKNOWN_LENGTH not in table:
        deepest = max(table, default=0)
        mostly = sum(table.get(deepest, [])) >= MOSTLY * entry.rounds
        few = entry.rounds < MIN_ROUNDS and deepest < given
        stops = few or bool(entry.per_round and 0 in entry.per_round[1])
        return deepest if mostly and not stops else 0
    by_source = level == "positions" or (level == "totals" and entry.drafted is None)
    return (entry.depth or 0) if by_source or entry.states_depth else 0


def _impossible(depth: int, most: int) -> EntryError:
    return EntryError(
        f"a depth of {depth} is impossible: this entry has {counted(most, 'draft')} per round, "
        f"and 1 to {MAX_DEPTH} are possible"
    )


def _by_length(accepted: Counts, drafted: Counts) -> dict[int, Counts]:
    """Return the rounds of each draft length by accepted drafts; one length if none is logged."""
    most = max(drafted or accepted, default=0)
    if most > MAX_DEPTH:
        raise _impossible(most, most)
    found = np.frombuffer(bytes(accepted), np.uint8).astype(np.intp)
    if drafted:
        found += (most + 1) * np.frombuffer(bytes(drafted), np.uint8).astype(np.intp)
    rows = np.bincount(found, minlength=(most + 1) ** 2).reshape(most + 1, most + 1).tolist()
    return {length: trimmed_row(row) for length, row in enumerate(rows) if any(row)}


def _table(entry: Entry) -> tuple[dict[int, Counts], Level]:
    """Return rounds by draft length and accepted drafts, and the granularity of the entry."""
    if entry.per_round:
        accepted, drafted = entry.per_round
        table = _by_length(accepted, drafted)
        if drafted and (none := table.pop(0, None)):  # they reach position 1; 0 is no length
            row = table.setdefault(1, [0])
            row[0] += sum(none)
        return table, "rounds"
    if entry.histogram:
        by_length = UNKNOWN_LENGTH not in entry.histogram
        trimmed = {length: trimmed_row(row) for length, row in entry.histogram.items()}
        return trimmed, "histogram by draft length" if by_length else "histogram"
    return {}, "positions" if entry.survived else "totals"
