"""What is wrong with what a user gave: every problem, each with its place and a sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: path as the user gave it.
        key: dotted path of the key, or the option; may be empty.
        line: in the file, from 1, where known.
        message: what was given, and what is allowed.

    """

    file: str
    key: str
    line: int | None
    message: str

    def __str__(self) -> str:
        """``bad.toml:7: acceptance.rates[1]: 1.2 is given; it must be at most 1``."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class InputError(Exception):
    """The input can't be used; holds every problem that was found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def nearest(given: str, allowed: Iterable[str], alike: float = 0.5) -> str:
    """``; did you mean 'x'?``, or nothing where no allowed name is near."""
    near = difflib.get_close_matches(given, list(allowed), 1, cutoff=alike)
    return f"; did you mean {near[0]!r}?" if near else ""


def nearest_file(path: Path, kind: str = "") -> str:
    """The same for a file that is not there; a folder holds names of all kinds, so nearer ones.

    Args:
        path: as given.
        kind: ending of the names that may be meant. What such names have in common makes none of
            them nearer, so that they are told apart by what stands before it.

    """
    try:
        beside = [] if path.exists() else sorted(path.parent.iterdir())
        known = {file.name.removesuffix(kind): file.name for file in beside if _is_a(file, kind)}
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name.removesuffix(kind), known, 1, cutoff=0.6)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def _is_a(path: Path, kind: str) -> bool:
    return path.name.endswith(kind) and path.is_file()
