"""Pydantic's errors in plain sentences: where, what was given, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mtpsim.common.errors import Problem, nearest
from mtpsim.common.section import Spec
from mtpsim.config.toml_lines import Path, line_of

_KINDS = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text in quotes",
    "list_type": "a list in brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
    "multiple_of": "a whole number",
}
_OTHER_FORMS: dict[str, Any] = {"list_type": (int, float), "float_type": list}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}


def _sections(spec: type[Spec]) -> Iterator[tuple[str, type[Spec]]]:
    """Every name under which a class may stand in an error's path: tags of unions, and keys."""
    for name, field in spec.model_fields.items():
        for kind in _classes(field.annotation):
            yield name, kind
            for tag in ("model", "distribution"):
                if tag in kind.model_fields:
                    for value in getattr(kind.model_fields[tag].annotation, "__args__", ()):
                        yield value, kind
            if kind is not spec:
                yield kind.__name__.lower(), kind
                yield from _sections(kind)


def _classes(annotation: Any) -> Iterator[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _classes(part)


def _is_index(part: str | int, raw: Any) -> bool:
    return isinstance(raw, list) and isinstance(part, int) and part < len(raw)


def _path_in(raw: Any, location: tuple[str | int, ...], keep_last: bool) -> tuple[Path, Any]:
    """Drop what pydantic adds to a path (tags of unions) by following it through the file."""
    path: list[str | int] = []
    last = len(location) - 1
    for n, part in enumerate(location):
        inside = part in raw if isinstance(raw, dict) else _is_index(part, raw)
        if inside:
            raw = raw[part]
        if inside or (n == last and keep_last):
            path.append(part)
    return tuple(path), raw


def dotted(path: Path) -> str:
    """``acceptance.rates[1]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _placed(error: ValidationError, raw: Any) -> list[tuple[ErrorDetails, Path, Any]]:
    """Every error with its path in the file, and what stands there.

    Where a number or a list may stand, pydantic complains of both: that a number is no list, and a
    list no number, says nothing beside what is wrong with it in its own form.
    """
    found = []
    for details in error.errors(include_url=False):
        keep_last = details["type"] in ("missing", "extra_forbidden")
        found.append((details, *_path_in(raw, details["loc"], keep_last)))
    paths = [path for _, path, _ in found]

    def tells(details: ErrorDetails, path: Path) -> bool:
        form = _OTHER_FORMS.get(details["type"])
        alone = sum(other[: len(path)] == path for other in paths) == 1
        return alone or form is None or not isinstance(details["input"], form)

    return [entry for entry in found if tells(*entry[:2])]


def problems_of(
    error: ValidationError, raw: Any, file: str, lines: dict[Path, int], spec: type[Spec]
) -> list[Problem]:
    """Every error of a validation, each once, in the order of the file."""
    found: dict[tuple[Path, str], Problem] = {}
    for details, path, inner in _placed(error, raw):
        message = _sentence(details, spec)
        named = re.match(r"`(\w+)`", message)
        if (
            details["type"] == "value_error"
            and named
            and isinstance(inner, dict)
            and named[1] in inner
        ):
            path = (*path, named[1])
            message = message.removeprefix(f"`{named[1]}`: ")
        found[path, message] = Problem(
            message, file=file, key=dotted(path), line=line_of(lines, path)
        )
    return sorted(found.values(), key=lambda p: (p.line is None, p.line or 0))


def _sentence(details: ErrorDetails, spec: type[Spec]) -> str:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "is missing" + _meaning(details["loc"], spec)
    if kind == "extra_forbidden":
        allowed = _allowed(details["loc"], spec)
        name = str(details["loc"][-1])
        return f"is no key here; allowed are {', '.join(allowed)}{nearest(name, allowed)}"
    if kind in _KINDS:
        return f"{_shown(given)} is given; it must be {_KINDS[kind]}"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        percent = kind == "less_than_equal" and context[bound] == 1 and 2 <= given <= 100
        hint = f"; {given:g} % is {given / 100:g}" if percent else ""
        return f"{_shown(given)} is given; it must be {words} {context[bound]:g}{hint}"
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", str(context["expected"]))
        hint = nearest(given, options) if isinstance(given, str) else ""
        return f"{_shown(given)} is given; it must be one of {', '.join(options)}{hint}"
    if kind == "too_short":
        least = context["min_length"]
        verb = "is" if least == 1 else "are"
        return f"{context['actual_length']} given; at least {least} {verb} needed"
    return f"{_shown(given)} is given: {details['msg'][0].lower()}{details['msg'][1:]}"


def _shown(given: Any) -> str:
    text = str(given).lower() if isinstance(given, bool) else repr(given)
    return text if len(text) <= 60 else text[:57] + "..."


def _class_at(location: tuple[str | int, ...], spec: type[Spec]) -> type[Spec]:
    known: dict[str, type[Spec]] = {}
    for name, kind in _sections(spec):
        known.setdefault(name, kind)
    for part in reversed(location[:-1]):
        if isinstance(part, str) and part in known:
            return known[part]
    return spec


def _allowed(location: tuple[str | int, ...], spec: type[Spec]) -> list[str]:
    return list(_class_at(location, spec).model_fields)


def _meaning(location: tuple[str | int, ...], spec: type[Spec]) -> str:
    field = _class_at(location, spec).model_fields.get(str(location[-1]))
    return f": {field.description}" if field and field.description else ""
