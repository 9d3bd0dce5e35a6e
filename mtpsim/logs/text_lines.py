"""Lines of text logs: those with a mark, entries that a terminal wrapped, and who wrote them."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise

from mtpsim.logs.files import Batch, Line

MARK = 40  # characters of the longest mark
MAX_WRAPPED = 12  # lines that one line of a log may be wrapped to
_QUOTE = re.compile(r"\s*(?:>\s?)*")
_CONTAINER = re.compile(r"\s*([\w.-]{1,80})\s*\| ")


def squeezed(text: str) -> str:
    """Return a text without white space, in which it does not matter how lines were wrapped."""
    return "".join(text.split())


def line_starts(text: str, marks: tuple[str, ...]) -> list[int]:
    """Return where the lines begin that have one of some marks, in order."""
    found = set()
    for mark in marks:
        at = text.find(mark)
        while at >= 0:
            found.add(text.rfind("\n", 0, at) + 1)
            end = text.find("\n", at)
            at = text.find(mark, end) if end >= 0 else -1
    return sorted(found)


def marked_lines(batches: Iterable[Batch], marks: tuple[str, ...]) -> Iterator[Line]:
    """Yield the lines that have one of some marks, with their numbers."""
    for number, text in batches:
        at = 0
        for start in line_starts(text, marks):
            number, at = number + text.count("\n", at, start), start
            yield number, _line(text, start)


def _line(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start:] if end < 0 else text[start:end]


def whole_lines(
    batches: Iterable[Batch], marks: tuple[str, ...], is_whole: Callable[[str], object]
) -> Iterator[tuple[int, str, str]]:
    """Yield the lines that have one of some marks, each with the lines that continue it.

    Args:
        batches: numbered lines.
        marks: words with which an entry starts.
        is_whole: whether a text without white space is a whole entry.

    Yields:
        The number and the text of the first line, and the whole entry without white space.
    """
    number, rest, is_last = 1, "", False
    for batch in chain(batches, [None]):
        is_last = batch is None
        text = _with_whole_marks(rest + (batch[1] if batch else ""), marks)
        starts, at = line_starts(text, marks), 0
        rest = text[text.rfind("\n", 0, -1) + 1 :]  # a mark may begin in it
        for start, end in pairwise([*starts, len(text)]):
            number, at = number + text.count("\n", at, start), start
            line = _line(text, start)
            found = _unwrapped(line, text[start:end], is_whole)
            if end == len(text):
                if found is None and not is_last and text.count("\n", start) < MAX_WRAPPED:
                    rest = text[start:]
                    break
                rest = "" if text.find("\n", start) in (-1, end - 1) else rest
            yield number, line, found or squeezed(line)
        number += text.count("\n", at) - rest.count("\n")


def _unwrapped(line: str, text: str, is_whole: Callable[[str], object]) -> str | None:
    """Return an entry without white space; None if no lines of a text complete it.

    Args:
        line: the first line.
        text: this line and those that follow it.
        is_whole: whether a text without white space is a whole entry.
    """
    found = squeezed(line)
    if is_whole(found):
        return found
    for more in text.split("\n", MAX_WRAPPED)[1:MAX_WRAPPED]:
        found += squeezed(_QUOTE.sub("", more, 1))
        if is_whole(found):
            return found
    return None


def _with_whole_marks(text: str, marks: tuple[str, ...]) -> str:
    """Return a text in which no mark is cut in two by the end of a line.

    The end of the line before is moved to the line that the mark ends in.
    """
    joined = text.replace("\n", "")
    if all(joined.count(mark) == text.count(mark) for mark in marks):
        return text
    lines = text.split("\n")
    for at, (before, line) in enumerate(pairwise(lines), 1):
        both = before[-MARK:] + line[:MARK]
        if any(m in both and m not in line for m in marks) and not any(m in before for m in marks):
            lines[at - 1 : at + 1] = before[:-MARK], before[-MARK:] + line
    return "\n".join(lines)


def container(line: str) -> str:
    """Return the name of the container before a line of docker compose, or an empty string."""
    found = _CONTAINER.match(line)
    return found[1] if found else ""
