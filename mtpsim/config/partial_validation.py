"""What of a file can be checked although other parts of it are wrong, without a guess at those."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import Problem

STAND_INS: JsonDict = {
    "acceptance": {"model": "independent", "rate": 0.5, "depth": 1},
    "latency": {"target": 1.0, "verify": 1.0, "draft": 0.0},
}
"""For required sections that are wrong: no problem that looks at one is told."""
LOOKS_AT = {
    "latency": {"acceptance", "latency"},
    "theory": {"acceptance", "theory"},
    "simulation": {"acceptance", "simulation"},
    "adaptive": {"acceptance", "latency", "adaptive"},
}
"""Sections that a disagreement is between, by the one that is blamed for it."""
OF_ALL = ("uncertainty", "robust")  # they may speak of any section


@dataclass(frozen=True)
class Faults:
    """Where the problems of a file are.

    Attributes:
        keys: wrong keys by section, and those that a misspelt one may have meant.

    """

    keys: dict[str, set[str]]

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> Faults:
        """The sections and keys that problems are about."""
        keys: dict[str, set[str]] = {}
        for problem in problems:
            section, *inner = re.split(r"[.\[]", problem.key)
            meant = re.findall(r"did you mean '(\w+)'", problem.message)
            keys.setdefault(section, set()).update(inner[:1], meant)
        return cls(keys)

    def without_keys(self, raw: JsonDict) -> JsonDict:
        """The file without the wrong keys of its sections."""
        return {section: self._left(section, inner) for section, inner in raw.items()}

    def _left(self, section: str, inner: Any) -> Any:
        wrong = self.keys.get(section)
        if not wrong or not isinstance(inner, dict):
            return inner
        return {key: value for key, value in inner.items() if key not in wrong}

    def follow(self, problem: Problem) -> bool:
        """Whether a problem of the file without these keys may be there for their lack alone."""
        section, *inner = re.split(r"[.\[]", problem.key)
        named = {*inner[:1], *re.findall(r"\w+", problem.message)}
        return bool(named & self.keys.get(section, set()))

    def without_sections(self, raw: JsonDict) -> JsonDict:
        """The file without the sections that are wrong, and those that may speak of them."""
        left = {key: part for key, part in raw.items() if key not in {*self.keys, *OF_ALL}}
        return {**STAND_INS, **left}

    def blur(self, section: str) -> bool:
        """Whether what is said between this section and others may be for their lack alone."""
        return bool(LOOKS_AT[section] & self.keys.keys()) if self.keys else False

    def blur_sweep(self, sweep: Iterable[str]) -> bool:
        """The same for what a sweep over these keys says."""
        if not self.keys:
            return False
        swept = {key.partition(".")[0] for key in sweep}
        return bool(swept & {*self.keys, *OF_ALL} or STAND_INS.keys() & self.keys.keys())
