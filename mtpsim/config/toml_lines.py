"""Find the line of a key in a TOML text (``tomllib`` does not report lines)."""

import re
import tomllib
from functools import lru_cache
from typing import Any

KeyPath = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_HEADER = re.compile(rf"\s*\[\[?\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\]?\s*(?:#.*)?$")


def split_key(dotted: str) -> KeyPath:
    """The parts of a dotted key, with quotes removed.

    Raises:
        tomllib.TOMLDecodeError: Not a TOML key.
    """
    parts: list[str | int] = []
    table: Any = tomllib.loads(f"{dotted} = 0")
    while isinstance(table, dict):
        name, table = next(iter(table.items()))
        parts.append(name)
    return tuple(parts)


def line_of(text: str, path: KeyPath) -> int | None:
    """Line of a key of a valid TOML text, counted from 1, or of the closest key around it."""
    lines = _key_lines(text)
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


@lru_cache(maxsize=4)
def _key_lines(text: str) -> dict[KeyPath, int]:
    """First line of each key and table header."""
    lines: dict[KeyPath, int] = {}
    section: KeyPath = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = split_key(header[1])
            lines.setdefault(section, number)
        elif key := _KEY.match(line):
            lines.setdefault(section + split_key(key[1]), number)
    return lines
