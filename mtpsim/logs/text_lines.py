"""Lines of text logs: entries that a terminal wrapped, fields, and who wrote them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from mtpsim.logs.files import Line

MARK = 40  # characters of the longest mark
MAX_WRAPPED = 12  # lines that one line of a log may be wrapped to
_QUOTE = re.compile(r"\s*(?:>\s?)*")
_CONTAINER = re.compile(r"\s*([\w.-]{1,80})\s*\| ")


def squeezed(text: str) -> str:
    """Return a text without white space, in which it does not matter how lines were wrapped."""
    return "".join(text.split())


def whole_lines(
    lines: Iterator[Line], starts: Callable[[str], object], is_whole: Callable[[str], object]
) -> Iterator[tuple[int, str, str]]:
    """Yield the lines that start an entry, each with the lines that continue it.

    Args:
        lines: numbered lines.
        starts: whether an entry starts in a line.
        is_whole: whether a text without white space is a whole entry.

    Yields:
        The number and the text of the first line, and the whole entry without white space.
    """
    waiting: Line | None = None
    before = ""  # end of a line in which nothing starts; a terminal may have cut a mark in two
    while current := waiting or next(lines, None):
        waiting = None
        number, line = current
        if not starts(line):
            end, before = before, line.rstrip("\n")[-MARK:]
            if not end or not starts(end + line[:MARK]):
                continue
            line = end + line
        before = ""
        text, size = squeezed(line), 1
        first = text
        while not is_whole(text) and size < MAX_WRAPPED and (waiting := next(lines, None)):
            if starts(waiting[1]):
                break
            text, size, waiting = text + squeezed(_QUOTE.sub("", waiting[1], 1)), size + 1, None
        yield number, line, text if is_whole(text) else first


def container(line: str) -> str:
    """Return the name of the container before a line of docker compose, or an empty string."""
    found = _CONTAINER.match(line)
    return found[1] if found else ""
