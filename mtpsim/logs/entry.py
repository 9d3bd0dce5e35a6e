"""What one request, one window of a log or one total says, whichever engine wrote it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from operator import gt
from typing import Any, Literal

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted

Unit = Literal["request", "window", "total"]
Counts = list[int]

UNTOLD = 0  # draft length under which rounds stand whose own length was not recorded
MOST = 2**53  # rounds, drafts or tokens: no log counts so far
LONGEST = 1e12  # ms, thirty years
DIGITS = 0.006  # rates are printed with two digits and more


class EntryError(ValueError):
    """An entry that contradicts itself or can't be read; the message says how."""


class QuestionError(ValueError):
    """What the log leaves open, with the option that answers it."""


@dataclass(frozen=True)
class Entry:
    """What was counted.

    Attributes:
        unit: a request, a window between two lines of a log, or the total of a run.
        rounds: N, verifications.
        accepted: A, accepted drafts, bonus tokens not among them.
        drafted: D, proposed drafts, where told.
        depth: most drafts of a round, where told.
        tokens: generated, where told.
        histogram: rounds by accepted drafts 0, 1, .., by draft length; under the length ``UNTOLD``
            where only their total is known.
        survived: rounds whose first 1, 2, .. drafts were all accepted.
        per_round: accepted and drafted of each round; drafted may be empty.
        round_times: ms of each round.
        time: ms of all rounds together.
        draft_time: ms of all drafting together.
        step_times: ms of single steps by the batch that decoded together.
        printed: mean accept length as the engine states it.
        notes: what a reader should know of the source.

    """

    unit: Unit
    rounds: int
    accepted: int
    drafted: int | None = None
    depth: int | None = None
    tokens: int | None = None
    histogram: dict[int, Counts] = field(default_factory=dict)
    survived: Counts = field(default_factory=list)
    per_round: tuple[Counts, Counts] | None = None
    round_times: list[float] = field(default_factory=list)
    time: float | None = None
    draft_time: float | None = None
    step_times: dict[int, list[float]] = field(default_factory=dict)
    printed: float | None = None
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        """Hold the entry to the identities that all of its numbers must satisfy.

        Raises:
            EntryError: one of them fails.

        """
        for name in ("rounds", "accepted", "drafted", "tokens"):
            if (value := getattr(self, name)) is not None:
                check_count(name, value)
        if self.drafted is not None and self.accepted > self.drafted:
            raise EntryError(
                f"{counted(self.accepted, 'draft', 'are')} accepted of {self.drafted} drafted"
            )
        if not self.rounds and self.accepted:
            raise EntryError(f"{counted(self.accepted, 'draft', 'are')} accepted in no round")
        self._check_times()
        self._check_histogram()
        self._check_rounds()
        self._check_survived()
        length = 1 + self.accepted / self.rounds if self.rounds else 1.0
        if self.printed is not None and self.rounds and abs(self.printed - length) > DIGITS:
            raise EntryError(
                f"the mean accept length is stated as {self.printed:g}, but 1 + {self.accepted} / "
                f"{self.rounds} is {length:.4g}"
            )

    def _check_times(self) -> None:
        told = [t for t in (self.time, self.draft_time) if t is not None]
        steps = [t for times in self.step_times.values() for t in times]
        longest = max([*self.round_times, *steps, *told], default=0.0)
        if not longest <= LONGEST:
            raise EntryError(f"a time of {longest:g} ms is beyond any log")

    def _check_histogram(self) -> None:
        if not self.histogram:
            return
        counts = [n for row in self.histogram.values() for n in row]
        if min(counts, default=0) < 0:
            raise EntryError(f"the histogram has the count {min(counts)}; none can be negative")
        _agree("sum(histogram)", sum(counts), "rounds", self.rounds)
        weighted = sum(j * n for row in self.histogram.values() for j, n in enumerate(row))
        _agree("sum(j x histogram[j])", weighted, "accepted drafts", self.accepted)
        for length, row in self.histogram.items():
            most = length or self.depth
            beyond = [j for j, n in enumerate(row) if n and most is not None and j > most]
            if beyond:
                raise EntryError(
                    f"the histogram has rounds that accept {beyond[0]} of "
                    f"{counted(most or 0, 'draft')}"
                )
        if self.drafted is not None and UNTOLD not in self.histogram:
            drafted = sum(length * sum(row) for length, row in self.histogram.items())
            _agree("drafts by draft length", drafted, "drafted", self.drafted)

    def _check_rounds(self) -> None:
        if self.per_round is None:
            return
        accepted, drafted = self.per_round
        _agree("rounds listed one by one", len(accepted), "rounds", self.rounds)
        _agree("their accepted drafts", sum(accepted), "accepted drafts", self.accepted)
        if drafted:
            _agree("rounds with their drafts listed", len(drafted), "rounds", self.rounds)
        most = self.depth if self.depth is not None else max(accepted, default=0)
        limits = drafted or [most] * len(accepted)
        if min(accepted, default=0) < 0 or any(map(gt, accepted, limits)):
            rounds = enumerate(zip(accepted, limits, strict=True), 1)
            number, (a, limit) = next((n, r) for n, r in rounds if not 0 <= r[0] <= r[1])
            raise EntryError(f"round {number} accepts {a} of {counted(limit, 'draft')}")
        if drafted and self.drafted is not None:
            _agree("their drafts", sum(drafted), "drafted", self.drafted)

    def _check_survived(self) -> None:
        if not self.survived:
            return
        _agree("accepted drafts summed over positions", sum(self.survived), "all", self.accepted)
        if min(self.survived) < 0:
            raise EntryError("a position accepts a negative number of drafts")
        falls = [self.rounds, *self.survived]
        for j, (before, here) in enumerate(pairwise(falls), 1):
            if here > before:
                raise EntryError(
                    f"position {j} accepts {counted(here, 'draft')}, but only "
                    f"{counted(before, 'round')} can reach it"
                )


def _agree(one: str, value: int, other: str, stated: int) -> None:
    if value != stated:
        raise EntryError(f"{one} is {value}, but {other} is {stated}")


def check_count(name: str, value: int) -> None:
    """Refuse what counts nothing.

    Raises:
        EntryError: it is negative, or more than any log has.

    """
    if value < 0:
        raise EntryError(f"{name} is {value}; a count can't be negative")
    if value >= MOST:
        raise EntryError(f"{name} is a count beyond any log, of {math.log10(value):.0f} digits")


def read_error(error: ValueError) -> EntryError:
    """What went wrong with numbers of an entry, in words."""
    return error if isinstance(error, EntryError) else EntryError(f"has a broken number: {error}")


def whole(values: JsonDict, *names: str) -> int:
    """The count under the first of ``names`` that is there.

    Raises:
        EntryError: none is, or it is no whole number.

    """
    found = maybe_whole(values, *names)
    if found is None:
        raise EntryError(f"{names[0]!r} is missing")
    return found


def maybe_whole(values: JsonDict, *names: str) -> int | None:
    """As :func:`whole`, but None where no name is there or the value is null."""
    for name in names:
        if (value := values.get(name)) is not None:
            if type(value) is float and value.is_integer():
                value = int(value)
            if type(value) is not int:
                raise EntryError(f"{name!r} is {value!r}; it must be a whole number")
            check_count(repr(name), value)
            return value
    return None


def maybe_number(values: JsonDict, *names: str) -> float | None:
    """A finite number under the first of ``names`` that is there, or None."""
    for name in names:
        if (value := values.get(name)) is not None:
            if type(value) not in (int, float) or not abs(value) < float("inf"):
                raise EntryError(f"{name!r} is {value!r}; it must be a number")
            return float(value)
    return None


def counts(values: JsonDict, *names: str) -> Counts:
    """A list of counts under the first of ``names`` that is there, or an empty one.

    A table from number to count, as JSON writes a sparse histogram, is filled up.
    """
    for name in names:
        if (found := values.get(name)) is None:
            continue
        if isinstance(found, dict):
            found = _filled(name, found)
        if not isinstance(found, list):
            raise EntryError(f"{name!r} is {found!r}; it must be a list of whole numbers")
        if not set(map(type, found)) <= {int}:
            wrong = next(value for value in found if type(value) is not int)
            raise EntryError(f"{name!r} has {wrong!r}; counts must be whole numbers")
        if found and not -MOST < min(found) <= max(found) < MOST:
            raise EntryError(f"{name!r} has counts beyond any log: {max(found)}")
        return found
    return []


def _filled(name: str, sparse: JsonDict) -> Counts:
    for key in sparse:
        if not _small(key):
            raise EntryError(f"{name!r} has the entry {key!r}; entries are 0, 1, 2, ...")
    by_number = {int(key): value for key, value in sparse.items()}
    return [by_number.get(j, 0) for j in range(max(by_number, default=-1) + 1)]


def _small(key: str) -> bool:
    """Whether a key is a number of drafts; Python refuses to read the longest of numbers."""
    return key.isdecimal() and len(key) <= 4 and int(key) <= 1024


def of_request(values: JsonDict, names: Callable[[str], Iterable[str]], **more: Any) -> Entry:
    """An entry from what engines say of a request, by each engine's names of the same things.

    Args:
        values: what the engine wrote.
        names: the engine's names of ``rounds``, ``accepted``, ``drafted``, ``depth``,
            ``histogram``, ``by_length``, ``steps_accepted``, ``steps_drafted``, ``length``.
        more: further attributes of the entry.

    """
    drafted, depth = (maybe_whole(values, *names(what)) for what in ("drafted", "depth"))
    steps, proposed = (counts(values, *names(f"steps_{w}")) for w in ("accepted", "drafted"))
    histogram = _histogram(values, names)
    rows = histogram.values()
    rounds = maybe_whole(values, *names("rounds"))
    accepted = maybe_whole(values, *names("accepted"))
    if rounds is None and rows:
        rounds = sum(map(sum, rows))
    if accepted is None and rows:
        accepted = sum(j * n for row in rows for j, n in enumerate(row))
    if rounds is None or accepted is None:
        raise EntryError(
            f"{next(iter(names('rounds' if rounds is None else 'accepted')))!r} is missing"
        )
    return Entry(
        **{"unit": "request", "rounds": rounds, "accepted": accepted, "drafted": drafted, **more},
        depth=depth if depth is not None else _told_depth(drafted, rounds),
        histogram=histogram,
        per_round=(steps, proposed) if steps else None,
        printed=maybe_number(values, *names("length")),
    )


def _told_depth(drafted: int | None, rounds: int) -> int | None:
    """Drafts a round where they come out whole; who drafts by confidence shows other numbers."""
    return drafted // rounds if drafted and rounds and drafted % rounds == 0 else None


def _histogram(values: JsonDict, names: Callable[[str], Iterable[str]]) -> dict[int, Counts]:
    by_length: Any = next((values[n] for n in names("by_length") if values.get(n)), None)
    plain = counts(values, *names("histogram"))
    if by_length is None:
        return {UNTOLD: plain} if plain else {}
    if not isinstance(by_length, dict) or not all(map(_small, by_length)):
        raise EntryError("the histogram by draft length must be a table of lengths")
    rows = {int(length): counts(by_length, length) for length in by_length}
    if plain:
        summed = [sum(r[j] for r in rows.values() if j < len(r)) for j in range(len(plain))]
        if summed != plain:
            raise EntryError(f"histograms by draft length add up to {summed}, the whole is {plain}")
    return rows
