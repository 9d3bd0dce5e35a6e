"""Log formats: how to recognize a file by its content, and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtpsim.common.arrays import JsonDict
from mtpsim.logs.entry import Entry, EntryError
from mtpsim.logs.files import FileProgress, Line, Start, documents, lines

RatesAre = Literal["survival", "conditional"]


@dataclass(frozen=True)
class Place:
    """File and line of an entry; the line is None where an entry is a whole file."""

    path: Path
    line: int | None


@dataclass(frozen=True)
class Answers:
    """Facts that a log may not state, given by the user.

    Attributes:
        depth (int | None): number of drafts per round; None if not given.
        rates_are (RatesAre | None): definition of bare rates by position, ``"survival"`` or
            ``"conditional"``; None if not given.
        rounds (int | None): number of rounds over which bare rates were measured; None if not
            given.
        model (str | None): name of the model whose counters to read from a Prometheus scrape of
            several; None if not given.
    """

    depth: int | None = None
    rates_are: RatesAre | None = None
    rounds: int | None = None
    model: str | None = None


Entries = Iterator[tuple[Place, Entry | EntryError]]
LineEntries = Iterator[tuple[int, Entry | EntryError]]


@dataclass(frozen=True)
class Format:
    """A log format.

    Attributes:
        name: value of ``--format``.
        engine: engine that writes it; logs of different engines are not fitted together.
        claims: whether a file with this beginning is of this format.
        read: yields the entries of files of this format, in order.
    """

    name: str
    engine: str
    claims: Callable[[Start], bool]
    read: Callable[[Sequence[Path], Answers, FileProgress], Entries]


def objects_within(document: Any, matches: Callable[[JsonDict], bool]) -> Iterator[JsonDict]:
    """Yield the outermost JSON objects within a document that match."""
    if isinstance(document, dict):
        if matches(document):
            yield document
            return
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from objects_within(part, matches)


def json_format(
    name: str,
    engine: str,
    content: str,
    matches: Callable[[JsonDict], bool],
    to_entry: Callable[[JsonDict, JsonDict, Answers], Entry],
) -> Format:
    """Return a format whose entries are JSON objects, at any depth of their document.

    Args:
        name: value of ``--format``.
        engine: engine that writes it.
        content: description of an entry, for error messages.
        matches: whether an object is an entry.
        to_entry: makes an entry of the object, its document and the facts given by the user.
    """

    def claims(start: Start) -> bool:
        return any(objects_within(start.document, matches))

    def read(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
        for path in paths:
            for line, document in documents(path, on_progress):
                place = Place(path, line)
                if isinstance(document, EntryError):
                    yield place, document
                    continue
                found = list(objects_within(document, matches))
                if not found:
                    yield place, EntryError(f"no {content} found, which {name} needs")
                for table in found:
                    try:
                        yield place, to_entry(table, document, answers)
                    except EntryError as error:
                        yield place, error

    return Format(name, engine, claims, read)


def line_format(
    name: str,
    engine: str,
    matches: Callable[[str], object],
    entries: Callable[[Iterator[Line], Answers], LineEntries],
) -> Format:
    """Return a format whose entries are lines among others of a text log.

    Args:
        name: value of ``--format``.
        engine: engine that writes it.
        matches: whether a line belongs to an entry.
        entries: yields numbered entries, given the numbered lines that match and the facts given
            by the user.
    """

    def claims(start: Start) -> bool:
        return any(matches(line) for line in start.text.splitlines())

    def read(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
        for path in paths:
            matching = ((n, line) for n, line in lines(path, on_progress) if matches(line))
            for number, entry in entries(matching, answers):
                yield Place(path, number), entry

    return Format(name, engine, claims, read)
