"""One request, one log window or one run total, whichever engine wrote it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from operator import gt
from typing import Any, Literal

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted

Unit = Literal["request", "window", "total"]
Counts = list[int]
FieldNames = Mapping[str, tuple[str, ...]]

UNKNOWN_LENGTH = 0  # draft length under which rounds are counted whose own length is not logged
MAX_COUNT = 2**53  # of rounds, drafts or tokens
MIN_TIME_MS, MAX_TIME_MS = 1e-6, 1e12  # a nanosecond, thirty years
MANY = 16  # items of a list of rounds rather than of a histogram
PRINTED_DIGITS = 0.006  # rates and lengths are printed with at least two digits


class EntryError(ValueError):
    """A malformed or inconsistent entry; the message names the numbers that disagree."""


class IncompleteError(EntryError):
    """An entry with nothing to count: cut off, idle, or of another kind. It is set aside."""


class MissingInformationError(ValueError):
    """The log lacks information.

    Attributes:
        option: command-line option that supplies it.
    """

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(slots=True)  # frozen, it would take six times as long to make
class Entry:
    """Counts and times of one request, window or total.

    Attributes:
        unit: what was counted: a request, a window between two log lines, or a whole run.
        rounds: number of verifications N.
        accepted: number of accepted drafts A, without bonus tokens.
        drafted: number of proposed drafts D; None where not logged.
        depth: largest number of drafts per round; None where not logged.
        states_depth: whether ``depth`` is logged as such: not given, and not of the counts.
        tokens: number of generated tokens; None where not logged.
        histogram: rounds by accepted drafts 0, 1, .., by draft length; under the length
            ``UNKNOWN_LENGTH`` where only the sum over draft lengths is logged.
        survived: number of rounds that accepted at least 1, 2, .. drafts.
        per_round: accepted and proposed drafts of each round; the second list may be empty.
        confidences: the draft's confidence in each proposed draft, by round; may be empty.
        round_times: ms of each round.
        time: ms of all rounds together.
        rough_time: whether ``time`` may count time without requests, as that of a first window.
        batch: number of requests that ran together; None where not logged.
        draft_time: ms of all drafting together.
        step_times: ms of single steps by batch size.
        printed: mean accept length as the engine prints it.
        notes: remarks on the source for the reader of a report.
    """

    unit: Unit
    rounds: int
    accepted: int
    drafted: int | None = None
    depth: int | None = None
    states_depth: bool = False
    tokens: int | None = None
    histogram: dict[int, Counts] = field(default_factory=dict)
    survived: Counts = field(default_factory=list)
    per_round: tuple[Counts, Counts] | None = None
    confidences: list[list[float]] = field(default_factory=list)
    round_times: list[float] = field(default_factory=list)
    time: float | None = None
    rough_time: bool = False
    batch: float | None = None
    draft_time: float | None = None
    step_times: dict[int, list[float]] = field(default_factory=dict)
    printed: float | None = None
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Check the identities that the numbers of every entry satisfy.

        Raises:
            EntryError: one of them fails.
        """
        known = self.rounds, self.accepted, self.drafted or 0, self.tokens or 0
        if min(known) < 0 or max(known) >= MAX_COUNT:
            for name, value in zip(("rounds", "accepted", "drafted", "tokens"), known, strict=True):
                check_count(name, value)
        if self.drafted is not None and self.accepted > self.drafted:
            raise EntryError(
                f"{counted(self.accepted, 'draft', 'are')} accepted of {self.drafted} drafted"
            )
        if not self.rounds and self.accepted:
            raise EntryError(f"{counted(self.accepted, 'draft', 'are')} accepted in 0 rounds")
        totals = [time for time in (self.time, self.draft_time) if time]
        for times in (totals, self.round_times, *self.step_times.values()):
            if times:
                _check_times(times)
        if self.histogram:
            self._check_histogram()
        if self.per_round is not None:
            self._check_rounds(*self.per_round)
        if self.survived:
            self._check_survived()
        if self.printed is None or not self.rounds:
            return
        length = 1 + self.accepted / self.rounds
        if abs(self.printed - length) > PRINTED_DIGITS:
            raise EntryError(
                f"the mean accept length is stated as {self.printed:g}, but 1 + {self.accepted} / "
                f"{self.rounds} is {length:.4g}"
            )

    def _check_histogram(self) -> None:
        counts = [n for row in self.histogram.values() for n in row]
        if min(counts, default=0) < 0:
            raise EntryError(f"the histogram has the negative count {min(counts)}")
        _check_equal("sum(histogram)", sum(counts), "rounds", self.rounds)
        weighted = sum(j * n for row in self.histogram.values() for j, n in enumerate(row))
        _check_equal("sum(j x histogram[j])", weighted, "accepted drafts", self.accepted)
        for length, row in self.histogram.items():
            most = length or self.depth
            if most is not None and any(row[most + 1 :]):
                j = next(j for j, n in enumerate(row) if n and j > most)
                drafts = counted(most, "draft")
                raise EntryError(f"the histogram has rounds that accept {j} of {drafts}")
        if self.drafted is not None and UNKNOWN_LENGTH not in self.histogram:
            drafted = sum(length * sum(row) for length, row in self.histogram.items())
            _check_equal("drafts by draft length", drafted, "drafted", self.drafted)

    def _check_rounds(self, accepted: Counts, drafted: Counts) -> None:
        _check_equal("number of listed rounds", len(accepted), "rounds", self.rounds)
        _check_equal("accepted drafts of listed rounds", sum(accepted), "accepted", self.accepted)
        if drafted:
            _check_equal("rounds with listed drafts", len(drafted), "rounds", self.rounds)
        most = self.depth if self.depth is not None else max(accepted, default=0)
        limits = drafted or [most] * len(accepted)
        if min(accepted, default=0) < 0 or any(map(gt, accepted, limits)):
            rounds = enumerate(zip(accepted, limits, strict=True), 1)
            number, (a, limit) = next((n, r) for n, r in rounds if not 0 <= r[0] <= r[1])
            raise EntryError(f"round {number} accepts {a} of {counted(limit, 'draft')}")
        if drafted and self.drafted is not None:
            _check_equal("drafts of listed rounds", sum(drafted), "drafted", self.drafted)
        if self.confidences:
            self._check_confidences(limits)

    def _check_confidences(self, drafted: Counts) -> None:
        rows = self.confidences
        _check_equal("rounds with confidences", len(rows), "rounds", self.rounds)
        for number, (row, drafts) in enumerate(zip(rows, drafted, strict=True), 1):
            if len(row) != drafts:
                known = counted(len(row), "confidence")
                raise EntryError(f"round {number} has {known} for {counted(drafts, 'draft')}")
            if not all(type(one) in (int, float) and 0 <= one <= 1 for one in row):
                wrong = next(x for x in row if type(x) not in (int, float) or not 0 <= x <= 1)
                raise EntryError(
                    f"round {number} has the confidence {wrong!r}; it must be from 0 to 1"
                )

    def _check_survived(self) -> None:
        total = sum(self.survived)
        _check_equal("accepted drafts summed over positions", total, "accepted", self.accepted)
        if min(self.survived) < 0:
            raise EntryError("a position has a negative number of accepted drafts")
        for j, (before, here) in enumerate(pairwise([self.rounds, *self.survived]), 1):
            if here > before:
                raise EntryError(
                    f"position {j} accepts {counted(here, 'draft')}, but only "
                    f"{counted(before, 'round')} can reach it"
                )


def _check_times(times: list[float]) -> None:
    """Check that times in ms are plausible; 0 stands for one that was not measured."""
    for time in (min(filter(None, times), default=1.0), max(times)):
        if time and not MIN_TIME_MS <= abs(time) <= MAX_TIME_MS:
            raise EntryError(f"a time of {time:g} ms is implausible")


def _check_equal(name: str, value: int, other: str, stated: int) -> None:
    if value != stated:
        raise EntryError(f"{name} is {value}, but {other} is {stated}")


def check_count(name: str, value: int) -> None:
    """Check that a count is plausible.

    Raises:
        EntryError: it is negative, or ``MAX_COUNT`` or more.
    """
    if value < 0:
        raise EntryError(f"{name} is {value}; a count can't be negative")
    if value >= MAX_COUNT:
        raise EntryError(f"{name} is an implausible count of {math.log10(value):.0f} digits")


def whole_depth(drafted: int | None, rounds: int | None) -> int | None:
    """Return the drafts per round; None where that is no whole number, as it varies by round."""
    return drafted // rounds if drafted and rounds and drafted % rounds == 0 else None


def malformed(error: ValueError) -> EntryError:
    """Return an error of parsing numbers as the error of an entry."""
    return error if isinstance(error, EntryError) else EntryError(f"malformed number: {error}")


def required_count(values: JsonDict, *names: str) -> int:
    """Return the count under the first of ``names`` that has one.

    Raises:
        EntryError: no name has one, or it is not a whole number.
    """
    found = optional_count(values, *names)
    if found is None:
        raise EntryError(f"{names[0]!r} is missing")
    return found


def optional_count(values: JsonDict, *names: str) -> int | None:
    """Return what :func:`required_count` does, but None where all names are missing or null."""
    for name in names:
        if (value := values.get(name)) is not None:
            if type(value) is float and value.is_integer():
                value = int(value)
            if type(value) is not int:
                raise EntryError(f"{name!r} is {value!r}; it must be a whole number")
            if not 0 <= value < MAX_COUNT:
                check_count(repr(name), value)
            return value
    return None


def optional_number(values: JsonDict, *names: str) -> float | None:
    """Return the finite number under the first of ``names`` that has one, or None."""
    for name in names:
        if (value := values.get(name)) is not None:
            if type(value) not in (int, float) or not abs(value) < float("inf"):
                raise EntryError(f"{name!r} is {value!r}; it must be a number")
            return float(value)
    return None


def counts(values: JsonDict, *names: str) -> Counts:
    """Return the list of counts under the first of ``names`` that has one, or an empty list.

    A JSON object from number to count, a sparse histogram, is expanded to a list.
    """
    for name in names:
        if (found := values.get(name)) is None:
            continue
        if isinstance(found, dict):
            found = _expanded(name, found)
        if not isinstance(found, list):
            raise EntryError(f"{name!r} is {found!r}; it must be a list of whole numbers")
        if found and set(map(type, found)) != {int}:
            wrong = next(value for value in found if type(value) is not int)
            raise EntryError(f"{name!r} has {wrong!r}; counts must be whole numbers")
        if len(found) > MANY and _are_bytes(found):
            return found
        if found and not -MAX_COUNT < min(found) <= max(found) < MAX_COUNT:
            raise EntryError(f"{name!r} has an implausible count: {max(found)}")
        return found
    return []


def _are_bytes(found: list[Any]) -> bool:
    """Return whether all items are whole numbers from 0 to 255, in little time."""
    try:
        return len(bytes(found)) == len(found)
    except (TypeError, ValueError):
        return False


def _expanded(name: str, sparse: JsonDict) -> Counts:
    for key in sparse:
        if not _is_small(key):
            raise EntryError(f"{name!r} has the key {key!r}; keys must be 0, 1, 2, ...")
    by_number = {int(key): value for key, value in sparse.items()}
    return [by_number.get(j, 0) for j in range(max(by_number, default=-1) + 1)]


def _is_small(key: str) -> bool:
    """Whether a key is a number of drafts; Python refuses to convert very long numbers."""
    return key.isdecimal() and len(key) <= 4 and int(key) <= 1024


def request_entry(
    values: JsonDict, names: FieldNames, *, unit: Unit = "request", **more: Any
) -> Entry:
    """Return the entry of a request, given an engine's field names.

    Args:
        values: fields that the engine wrote.
        names: the engine's names, by generation, of ``rounds``, ``accepted``, ``drafted``,
            ``depth``, ``histogram``, ``by_length``, ``steps_accepted``, ``steps_drafted`` and
            ``length``; a quantity that the engine does not write is left out.
        unit: what was counted.
        more: further attributes of the entry.

    Raises:
        EntryError: rounds or accepted drafts are missing, or a field is malformed.
    """

    def found(name: str) -> int | None:
        return optional_count(values, *names.get(name, ()))

    histogram = _histogram(values, names)
    rows = histogram.values()
    rounds, accepted, drafted, depth = map(found, ("rounds", "accepted", "drafted", "depth"))
    if rounds is None and rows:
        rounds = sum(map(sum, rows))
    if accepted is None and rows:
        accepted = sum(j * n for row in rows for j, n in enumerate(row))
    if rounds is None or accepted is None:
        raise EntryError(f"{names['rounds' if rounds is None else 'accepted'][0]!r} is missing")
    steps = [counts(values, *names.get(f"steps_{name}", ())) for name in ("accepted", "drafted")]
    return Entry(
        unit=unit,
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=whole_depth(drafted, rounds) if depth is None else depth,
        states_depth=depth is not None,
        histogram=histogram,
        per_round=(steps[0], steps[1]) if steps[0] else None,
        printed=optional_number(values, *names.get("length", ())),
        **more,
    )


def _histogram(values: JsonDict, names: FieldNames) -> dict[int, Counts]:
    by_length: Any = next((values[n] for n in names.get("by_length", ()) if values.get(n)), None)
    summed = counts(values, *names.get("histogram", ()))
    if by_length is None:
        return {UNKNOWN_LENGTH: summed} if summed else {}
    if not isinstance(by_length, dict) or not all(map(_is_small, by_length)):
        raise EntryError("the histogram by draft length must be an object with lengths as keys")
    rows = {int(length): counts(by_length, length) for length in by_length}
    if summed:
        total = [sum(r[j] for r in rows.values() if j < len(r)) for j in range(len(summed))]
        if total != summed:
            raise EntryError(
                f"histograms by draft length sum to {total}, but the histogram is {summed}"
            )
    return rows


def trimmed_row(row: Counts) -> Counts:
    """Return the row without trailing zeros."""
    last = max((j for j, n in enumerate(row) if n), default=0)
    return row[: last + 1]


def counts_by_position(table: dict[int, Counts]) -> tuple[Counts, Counts]:
    """Return the rounds that accepted draft j, and those that reached it."""
    longest = max((max(length, len(row) - 1) for length, row in table.items()), default=0)
    hit, reached = [0] * longest, [0] * longest
    for length, row in table.items():
        left = sum(row)
        for j in range(length or len(row) - 1):
            reached[j] += left
            left -= row[j] if j < len(row) else 0
            hit[j] += left
    return hit, reached
