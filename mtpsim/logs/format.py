"""Log formats: how to recognize a file by its content, and how to read it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from mtpsim.common.arrays import JsonDict
from mtpsim.logs.entry import Entry, EntryError, IncompleteError, MissingInformationError, malformed
from mtpsim.logs.files import Batch, FileProgress, batches
from mtpsim.logs.json_text import documents_in

RatesAre = Literal["survival", "conditional"]
MAX_OPEN_ANSWERS = 256  # streamed at the same time into one file
CHUNKS = (
    "streamed chunks repeat the counts since the beginning of an answer: the last chunk of each "
    "answer is used"
)


@dataclass(frozen=True)
class Place:
    """File and line of an entry; the line is None where an entry is a whole file."""

    path: Path
    line: int | None


@dataclass(frozen=True)
class Answers:
    """Facts that a log may not state, given by the user.

    Attributes:
        depth (int | None): number of drafts per round; of a log with several depths, the one to
            read. None if not given.
        rates_are (RatesAre | None): definition of bare rates by position, ``"survival"`` or
            ``"conditional"``; None if not given.
        rounds (int | None): number of rounds over which bare rates were measured; None if not
            given.
        model (str | None): name of the model whose counters to read from a Prometheus scrape of
            several, or of the drafter to read from a log of several; None if not given.
    """

    depth: int | None = None
    rates_are: RatesAre | None = None
    rounds: int | None = None
    model: str | None = None


class UnmatchedError(IncompleteError):
    """A document without an entry of the format.

    Attributes:
        document: the document.
    """

    def __init__(self, message: str, document: Any) -> None:
        super().__init__(message)
        self.document = document


Found = TypeVar("Found")
Entries = Iterator[tuple[Place, Entry | EntryError]]
LineEntries = Iterator[tuple[int, Entry | EntryError]]


@dataclass(frozen=True)
class Format:
    """A log format.

    Attributes:
        name: value of ``--format``.
        engine: engine that writes it; logs of different engines are not fitted together.
        read: yields the entries of files of this format, in order.
        matches: whether a JSON object is an entry; None for formats of text.
        marks: words of which each line of an entry has one; empty for formats of JSON.
    """

    name: str
    engine: str
    read: Callable[[Sequence[Path], Answers, FileProgress], Entries]
    matches: Callable[[JsonDict], bool] | None = None
    marks: tuple[str, ...] = ()

    def has_entry(self, document: Any) -> bool:
        """Return whether a JSON document has an entry of this format."""
        return self.matches is not None and any(objects_within(document, self.matches))


def objects_within(document: Any, matches: Callable[[JsonDict], bool]) -> Iterator[JsonDict]:
    """Yield the outermost JSON objects within a document that match, in order, at any depth."""
    left = [document]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if matches(part):
                yield part
                continue
            part = list(part.values())
        if isinstance(part, list):
            left.extend(reversed(part))


def attempt(function: Callable[..., Found], *given: Any) -> Found | EntryError:
    """Return what a function makes of parts of a log, or what is wrong with them.

    Raises:
        MissingInformationError: the user has to state something.
    """
    try:
        return function(*given)
    except MissingInformationError:
        raise
    except ValueError as error:
        return malformed(error)


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

    def entries(document: Any, answers: Answers) -> Iterator[Entry | EntryError]:
        if isinstance(document, EntryError):
            yield document
            return
        found = list(objects_within(document, matches))
        if not found:
            yield UnmatchedError(f"no {content} found, which {name} needs", document)
        for table in found:
            yield attempt(to_entry, table, document, answers)

    def read(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
        for path in paths:
            documents = documents_in(batches(path, on_progress))
            parts = (
                (number, document, part, entry)
                for number, document in documents
                for part, entry in enumerate(entries(document, answers))
            )
            for number, entry in last_chunks(parts):
                yield Place(path, number), entry

    return Format(name, engine, read, matches=matches)


def last_chunks(parts: Iterable[tuple[int, Any, int, Entry | EntryError]]) -> LineEntries:
    """Yield entries, of those that repeat the counts of one answer since its beginning the last.

    Args:
        parts: line, document, number within the document, and entry.
    """
    kept: dict[Any, tuple[int, Entry | EntryError]] = {}
    previous: Any = None
    for number, document, part, entry in parts:
        answer = _answer(document)
        key = None if answer is None or isinstance(entry, UnmatchedError) else (answer, part)
        if key is None:
            yield number, entry
            continue
        before = kept.get(key)
        if before and (key == previous or _is_chunk(document)) and _grows(before[1], entry):
            first, later = before[0], entry
            if isinstance(later, Entry):
                later = replace(later, notes=(*later.notes, CHUNKS))
            kept[key] = first, later
        else:
            if before:
                yield kept.pop(key)
            kept[key] = number, entry
        if len(kept) > MAX_OPEN_ANSWERS:
            yield kept.pop(next(iter(kept)))
        previous = key
    yield from kept.values()


def _answer(document: Any) -> Any:
    """Return what identifies the answer that a document belongs to, or None."""
    if not isinstance(document, dict):
        return None
    meta = document.get("meta_info")
    found = document.get("id", meta.get("id") if isinstance(meta, dict) else None)
    if isinstance(found, str | int):
        return found
    return ("slot", str(document.get("id_slot"))) if "stop" in document else None


def _is_chunk(document: JsonDict) -> bool:
    return "chunk" in str(document.get("object")) or document.get("stop") is False


def _grows(before: Entry | EntryError, after: Entry | EntryError) -> bool:
    if isinstance(before, EntryError) or isinstance(after, EntryError):
        return True
    return (
        after.rounds >= before.rounds
        and after.accepted >= before.accepted
        and (after.drafted or 0) >= (before.drafted or 0)
    )


def line_format(
    name: str,
    engine: str,
    marks: tuple[str, ...],
    entries: Callable[[Iterator[Batch], Answers], LineEntries],
) -> Format:
    """Return a format whose entries are lines among others of a text log.

    Args:
        name: value of ``--format``.
        engine: engine that writes it.
        marks: words of which each line of an entry has one.
        entries: yields numbered entries, given batches of lines and the facts given by the user.
    """

    def read(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
        for path in paths:
            for number, entry in entries(batches(path, on_progress), answers):
                yield Place(path, number), entry

    return Format(name, engine, read, marks=marks)
