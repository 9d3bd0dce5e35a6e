"""JSON documents in text of any arrangement.

One per line, one after the other, pretty-printed, in arrays, as server-sent events
(``data: {..}``), behind the prefixes of a log, and mixed with lines that are no JSON.
"""

import json
import re
from ast import literal_eval
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from warnings import catch_warnings, simplefilter

from pydantic_core import from_json

from mtpsim.logs.entry import EntryError, IncompleteError
from mtpsim.logs.files import Batch, numbered

Document = tuple[int, Any]
"""Number of the first line, and a JSON object or an EntryError."""
MAX_CHARACTERS = 1 << 27  # of a document
MAX_PYTHON = 1 << 20  # of a dictionary as Python prints it, whose parser needs much memory

_EVENT = re.compile(r"\s*data:\s*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)', re.DOTALL)  # the last one may be cut off
_BETWEEN = re.compile(r"[\s,\[\]]*")  # elements of a top-level array count as documents
_DECODER = json.JSONDecoder(strict=False)


def documents_in(batches: Iterable[Batch]) -> Iterator[Document]:
    """Yield the JSON objects in lines; malformed and truncated ones as EntryError."""
    first, pending, balance, size = 0, list[str](), 0, 0
    for start, batch in batches:
        if not pending and "{" not in batch:
            continue
        for number, line in numbered([(start, batch)]):
            if pending and not _begins_another(line, pending):
                pending.append(line)
                balance, size = balance + _balance(line), size + len(line)
                if size > MAX_CHARACTERS:
                    message = f"a document has more than {MAX_CHARACTERS:,} characters"
                    yield first, IncompleteError(message)
                    pending = []
                if balance > 0:
                    continue
                text, pending = "".join(pending), []
            elif "{" not in line:
                continue
            else:
                if pending:
                    yield first, IncompleteError("is truncated")
                first, text, pending = number, line, []
            found, rest = _objects(text)
            yield from ((first, value) for value in found)
            if rest:
                first, pending, balance, size = number, [rest], _balance(rest), len(rest)
    if pending:
        yield first, IncompleteError("is truncated")


def _begins_another(line: str, pending: list[str]) -> bool:
    """Whether a line begins another document, so that the one before it is truncated.

    Lines within a pretty-printed document are indented.
    """
    if not line.startswith("{") or (len(pending) > 1 and not pending[1][:1].isspace()):
        return False
    return _balance(line) == 0 or (len(pending) > 1 and line.rstrip() == "{")


def _balance(text: str) -> int:
    """Return how many braces are open at the end of a text."""
    bare = _STRING.sub("", text)
    return bare.count("{") - bare.count("}")


def _objects(text: str) -> tuple[list[Any], str]:
    """Return the objects of a text, malformed ones as EntryError, and an unfinished rest."""
    if text.startswith("{"):
        try:  # the fast reader, for the usual line of one object
            return [from_json(text)], ""
        except ValueError:
            pass
    if text.startswith("{'") and len(text) <= MAX_PYTHON:  # as Python prints a dictionary
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError), catch_warnings():
            simplefilter("ignore")  # of escape sequences
            return [literal_eval(text.rstrip())], ""
    event = _EVENT.match(text)
    at = event.end() if event else 0
    begin = _between(text, at)
    leading = text.startswith("{", begin)
    at = begin if leading else text.find('{"', at)  # behind the prefix of a log
    found: list[Any] = []
    while at >= 0 and text.startswith("{", at):
        try:
            value, at = _DECODER.raw_decode(text, at)
        except RecursionError:
            return [*found, EntryError("is nested too deeply")], ""
        except ValueError as error:
            rest = text[at:]
            if not leading:
                return found, ""
            if _balance(rest) > 0:
                return found, rest
            return [*found, EntryError(f"is not valid JSON: {error}")], ""
        found.append(value)
        at = _between(text, at)
    return found, ""


def _between(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()
