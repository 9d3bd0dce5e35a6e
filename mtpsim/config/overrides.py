"""``--set``: values of the command line that replace those of the file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, Problem
from mtpsim.common.section import Spec
from mtpsim.config.adaptive import Adaptive
from mtpsim.config.serving import Arrivals, Serving
from mtpsim.config.simulation import Simulation
from mtpsim.config.sweep import DOTTED_KEYS, ZIP, parse_value, set_key, swept_values
from mtpsim.config.toml_lines import split_key

NONE = "none"  # the value that removes a key or a section
EXCLUSIVE: dict[tuple[str, ...], type[Spec]] = {  # tables whose keys may exclude each other
    ("adaptive",): Adaptive,
    ("simulation",): Simulation,
    ("serving",): Serving,
    ("serving", "arrivals"): Arrivals,
}
TRACE = "serving", "arrivals", "trace"
OF_TRACE = "prompt", "output", "lengths", "correlation"  # keys of a server that its trace has
FORMER_NAMES = {"trials": "tried", "tried": "trials"}  # a key, under either name, is one key


@dataclass(frozen=True)
class Override:
    """A key and its new value.

    Attributes:
        option (str): As typed, such as ``--set latency.target=80`` or ``--seed 3``.
        path (tuple[str, ...]): Key in the tables of the file.
        value (Any): New value; a bare word is text, as in ``acceptance.model=beta``; ``none``
            removes the key or section.
    """

    option: str
    path: tuple[str, ...]
    value: Any

    @property
    def key(self) -> str:
        """The dotted key, as in problems."""
        return ".".join(self.path)

    @classmethod
    def read(cls, text: str, option: str = "") -> Override:
        """Parse ``section.key=value``; ``option`` is what the user typed, by default ``--set``.

        Raises:
            InputError: It is not an assignment.
        """
        name, equals, value = text.partition("=")
        try:
            path = tuple(map(str, split_key(name)))
        except tomllib.TOMLDecodeError:
            path = ()
        if not equals or not path:
            message = f"{text!r} is given; it must be SECTION.KEY=VALUE, such as latency.target=80"
            raise InputError.of(message, key="--set")
        if path[0] in DOTTED_KEYS and len(path) > 2:
            path = (path[0], ".".join(path[1:]))
        return cls(option or f"--set {text}", path, parse_value(value))


def apply_overrides(raw: JsonDict, overrides: Sequence[Override]) -> None:
    """Set keys in the tables of a file.

    A new value also removes the keys that it excludes (``simulation.requests`` removes a
    precision; so does a sweep over it), and a sweep over its own key or over a key of the section
    that it sets.

    Raises:
        InputError: Two overrides set the same key, or a sweep over a section would undo one.
    """
    known = {one.key for one in overrides if _has_key(raw, one.path)}
    for one in overrides:
        name, removed = one.path[-1], one.value == NONE
        is_section = len(one.path) == 1
        table = set_key(raw, one.path, None if removed and is_section else one.value)
        table.pop(FORMER_NAMES.get(name, ""), None)
        if removed and one.key in known:  # else it stays: a misspelt name is an unknown key
            del table[name]
    given = {one.path for one in overrides}
    for one in overrides:
        for *path, key in _excluded_by(one):
            if (*path, key) not in given and _has_key(raw, (*path, key)):
                del _table_at(raw, path)[key]
    set_sweeps = {path[1] for path in given if path[0] == "sweep" and len(path) > 1}
    for one in overrides:
        _remove_sweep(raw, one, set_sweeps)


def _has_key(raw: JsonDict, path: Sequence[str]) -> bool:
    """Return whether tables have a key."""
    here: Any = raw
    for name in path:
        if not isinstance(here, dict) or name not in here:
            return False
        here = here[name]
    return True


def _excluded_by(one: Override) -> list[tuple[str, ...]]:
    """Paths of the keys that cannot be given together with this one."""
    swept = one.path[0] == "sweep" and len(one.path) > 1
    path = tuple(one.path[1].split(".")) if swept else one.path
    *section, name = path
    spec = EXCLUSIVE.get(tuple(section))
    if spec is None or one.value is False or one.value == NONE or (swept and spec is Arrivals):
        return []
    groups = [group for group in spec.exclusive if name in group]
    found = [(*section, key) for group in groups for key in group if key != name]
    inner = one.value if isinstance(one.value, dict) else {}
    if (*path, *inner)[:3] == TRACE:
        found += [(TRACE[0], key) for key in OF_TRACE]
    return found


def _table_at(raw: JsonDict, path: Sequence[str]) -> JsonDict:
    for name in path:
        raw = raw[name]
    return raw


def _remove_sweep(raw: JsonDict, one: Override, set_sweeps: set[str]) -> None:
    sweep = raw.get("sweep")
    if not isinstance(sweep, dict) or one.path[0] in DOTTED_KEYS:
        return
    keys = {key for key in swept_values(sweep) if _is_part(key, one.key)}
    for key in swept_values(sweep):
        if key in keys & set_sweeps or (key != one.key and _is_part(one.key, key)):
            message = f"the sweep over {key} gives the same key other values; set only one of them"
            raise InputError.of(message, key=one.option)
    if not keys:
        return
    left = {key: values for key, values in swept_values(sweep).items() if key not in keys}
    zipped = sweep.get(ZIP)
    if isinstance(zipped, list) and (rest := [key for key in zipped if key not in keys]):
        left[ZIP] = rest
    if left:
        raw["sweep"] = left
    else:
        del raw["sweep"]


def attribute(
    problems: Sequence[Problem], overrides: Sequence[Override], alone: Sequence[Problem]
) -> list[Problem]:
    """Attribute problems to the options that cause them, instead of to lines of the file.

    ``alone`` are the problems of the file without the overrides.
    """
    before = {(problem.key, problem.text) for problem in alone}
    options = ", ".join(one.option for one in overrides)
    found = []
    for problem in problems:
        new = (problem.key, problem.text) not in before
        if one := _cause(problem, overrides, new):
            key = f"{one.option}: {problem.key}" if problem.key != one.key else one.option
            found.append(replace(problem, file="", key=key, line=None))
        elif new:
            found.append(replace(problem, cause=options))
        else:
            found.append(problem)
    return found


def _cause(problem: Problem, overrides: Sequence[Override], new: bool) -> Override | None:
    """The override that set what a problem is about, or the only one that changed a part of it."""
    around = [one for one in overrides if _is_part(problem.key, one.key)]
    parts = [one for one in overrides if problem.key and _is_part(one.key, problem.key)]
    if around:
        return around[-1]
    return parts[0] if new and len(parts) == 1 else None


def _is_part(key: str, outer: str) -> bool:
    """Whether ``key`` is ``outer`` or a part of it."""
    return (key + ".").startswith((outer + ".", outer + "["))
