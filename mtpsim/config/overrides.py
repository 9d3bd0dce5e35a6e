"""``--set``: what a command line puts in the place of what a file gives, and is to answer for."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, Problem
from mtpsim.config.simulation import ONE_OF
from mtpsim.config.sweep import ZIP, axes, parse_value, put
from mtpsim.config.toml_lines import split_key

DOTTED = ("sweep", "robust")  # sections whose keys are dotted keys of others


@dataclass(frozen=True)
class Override:
    """A key and its new value.

    Attributes:
        text: as it was typed.
        path: of the key in the tables of the file.
        value: a bare word is text, as in ``acceptance.model=beta``.

    """

    text: str
    path: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        """The dotted key, as problems name it."""
        return ".".join(self.path)

    @classmethod
    def read(cls, text: str) -> Override:
        """Understand ``section.key=value``.

        Raises:
            InputError: it is none.

        """
        name, equals, value = text.partition("=")
        try:
            path = tuple(map(str, split_key(name)))
        except tomllib.TOMLDecodeError:
            path = ()
        if not equals or not path:
            message = f"{text!r} is given; it must be SECTION.KEY=VALUE, as latency.noise.cv=0.2"
            raise InputError.of(message, key="--set")
        if path[0] in DOTTED and len(path) > 2:
            path = (path[0], ".".join(path[1:]))
        return cls(text, path, parse_value(value))


def apply(raw: JsonDict, overrides: Sequence[Override]) -> None:
    """Set keys in the tables of a file: a new value is the last word on what it is about.

    So it takes the place of a key that excludes it (``simulation.requests`` of a precision), and
    of the sweep over its own key, or over a key of the section that it sets.

    Raises:
        InputError: two of them speak of the same key, or a sweep over a section would undo one.

    """
    for one in overrides:
        put(raw, one.path, one.value)
    given = {one.path for one in overrides}
    for one in overrides:
        for rival in _rivals(one):
            if ("simulation", rival) not in given:
                raw["simulation"].pop(rival, None)
    swept = {one.path[1] for one in overrides if one.path[0] == "sweep" and len(one.path) > 1}
    for one in overrides:
        _leave_sweep(raw, one, swept)


def _rivals(one: Override) -> list[str]:
    """Keys of ``[simulation]`` that the file may give, but not along with this one."""
    section, *rest = one.path
    if section != "simulation" or len(rest) != 1 or one.value is False:
        return []
    return [rival for group in ONE_OF if rest[0] in group for rival in group if rival != rest[0]]


def _leave_sweep(raw: JsonDict, one: Override, swept: set[str]) -> None:
    sweep = raw.get("sweep")
    if not isinstance(sweep, dict) or one.path[0] in DOTTED:
        return
    keys = {key for key in axes(sweep) if _inside(key, one.key)}
    _undone(one, [key for key in axes(sweep) if key in keys & swept or _within(one.key, key)])
    if not keys:
        return
    together = sweep.get(ZIP)
    left = {key: values for key, values in axes(sweep).items() if key not in keys}
    if isinstance(together, list):
        left |= {ZIP: rest} if (rest := [key for key in together if key not in keys]) else {}
    raw["sweep"] = left
    if not left:
        del raw["sweep"]


def _undone(one: Override, axes: list[str]) -> None:
    """Refuse what a sweep would take the place of, whatever it says."""
    if axes:
        message = f"the sweep over {axes[0]} gives the same key other values; set either"
        raise InputError.of(message, key=f"--set {one.text}")


def blamed(
    problems: Sequence[Problem], overrides: Sequence[Override], alone: Sequence[Problem]
) -> list[Problem]:
    """The problems with their causes: no line of the file is named for what it does not say.

    Args:
        problems: of the file with the overrides.
        overrides: of the command line.
        alone: problems of the file without them.

    """
    before = {(problem.key, problem.message) for problem in alone}
    options = ", ".join(f"--set {one.text}" for one in overrides)
    found = []
    for problem in problems:
        new = (problem.key, problem.message) not in before
        if one := _cause(problem, overrides, new):
            key = f": {problem.key}" if problem.key != one.key else ""
            found.append(Problem(problem.message, key=f"--set {one.text}{key}"))
        else:
            message = f"{problem.message} (with {options})" if new else problem.message
            found.append(replace(problem, message=message))
    return found


def _cause(problem: Problem, overrides: Sequence[Override], new: bool) -> Override | None:
    """The override that put there what a problem is about; or the one that changed a part of it."""
    around = [one for one in overrides if _inside(problem.key, one.key)]
    parts = [one for one in overrides if problem.key and _inside(one.key, problem.key)]
    if around:
        return around[-1]
    return parts[0] if new and len(parts) == 1 else None


def _inside(key: str, outer: str) -> bool:
    return (key + ".").startswith((outer + ".", outer + "["))


def _within(key: str, outer: str) -> bool:
    return key != outer and _inside(key, outer)
