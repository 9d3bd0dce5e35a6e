"""On which line a key of a TOML file stands (tomllib does not tell)."""

from __future__ import annotations

import re
import tomllib
from typing import Any

Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_HEADER = re.compile(rf"\s*\[\[?\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\]?\s*(?:#.*)?$")


def split_key(dotted: str) -> Path:
    """The parts of a dotted key; tomllib itself reads the quotes, and refuses what is no key."""
    parts: list[str | int] = []
    table: Any = tomllib.loads(f"{dotted} = 0")
    while isinstance(table, dict):
        name, table = next(iter(table.items()))
        parts.append(name)
    return tuple(parts)


def key_lines(text: str) -> dict[Path, int]:
    """First line, from 1, of each key and table header of a valid TOML text."""
    lines: dict[Path, int] = {}
    section: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = split_key(header[1])
            lines.setdefault(section, number)
        elif key := _KEY.match(line):
            lines.setdefault(section + split_key(key[1]), number)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Line of a key, or of the nearest key around it."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None
