"""What a log format is: how to know it by its content, and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtpsim.common.arrays import JsonDict
from mtpsim.logs.entry import Entry, EntryError
from mtpsim.logs.files import Start, Told, documents, lines

RatesAre = Literal["survival", "conditional"]


@dataclass(frozen=True)
class Place:
    """Where an entry stands."""

    path: Path
    line: int | None


@dataclass(frozen=True)
class Answers:
    """What the user said that a log leaves open; None where nothing was said.

    Attributes:
        depth: drafts a round.
        rates_are: definition of rates by position.
        rounds: on how many rounds bare rates were measured.
        model: which model's counters, where a scrape has several.

    """

    depth: int | None = None
    rates_are: RatesAre | None = None
    rounds: int | None = None
    model: str | None = None


Found = Iterator[tuple[Place, Entry | EntryError]]


@dataclass(frozen=True)
class Format:
    """A kind of log.

    Attributes:
        name: as ``--format`` takes it.
        engine: who writes it; logs of different engines are not fitted together.
        claims: whether a file that begins so is of this format.
        read: all files of the format, entry by entry.

    """

    name: str
    engine: str
    claims: Callable[[Start], bool]
    read: Callable[[Sequence[Path], Answers, Told], Found]


def inside(document: Any, test: Callable[[JsonDict], bool]) -> Iterator[JsonDict]:
    """Tables within a document that pass a test, outermost first; none within another."""
    if isinstance(document, dict):
        if test(document):
            yield document
            return
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from inside(part, test)


def json_format(
    name: str,
    engine: str,
    holds: str,
    test: Callable[[JsonDict], bool],
    entry: Callable[[JsonDict, JsonDict, Answers], Entry],
) -> Format:
    """A format whose entries are JSON tables, alone in their document or deep within it.

    Args:
        name: see :class:`Format`, as
        engine: is.
        holds: what an entry is, for the messages.
        test: whether a table is an entry.
        entry: from that table, its document and what the user said.

    """

    def claims(start: Start) -> bool:
        return any(inside(start.document, test))

    def read(paths: Sequence[Path], answers: Answers, told: Told) -> Found:
        for path in paths:
            for line, document in documents(path, told):
                place = Place(path, line)
                if isinstance(document, EntryError):
                    yield place, document
                    continue
                tables = list(inside(document, test))
                if not tables:
                    yield place, EntryError(f"holds no {holds} as {name} has them")
                for table in tables:
                    try:
                        yield place, entry(table, document, answers)
                    except EntryError as broken:
                        yield place, broken

    return Format(name, engine, claims, read)


def line_format(
    name: str,
    engine: str,
    mark: Callable[[str], object],
    entries: Callable[
        [Iterator[tuple[int, str]], Answers], Iterator[tuple[int, Entry | EntryError]]
    ],
) -> Format:
    """A format whose entries are lines of a log among others.

    Args:
        name: see :class:`Format`, as
        engine: is.
        mark: finds something in a line that is an entry.
        entries: from numbered lines that have the mark.

    """

    def claims(start: Start) -> bool:
        return any(mark(line) for line in start.text.splitlines())

    def read(paths: Sequence[Path], answers: Answers, told: Told) -> Found:
        for path in paths:
            marked = ((n, line) for n, line in lines(path, told) if mark(line))
            for number, entry in entries(marked, answers):
                yield Place(path, number), entry

    return Format(name, engine, claims, read)
