"""Convert pydantic's errors to problems: key, line, given value and allowed values."""

import copy
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import FieldError, Problem, ProblemKind, suggest
from mtpsim.common.section import Spec, classes_of
from mtpsim.config.hints import decimal_comma_hint, number_hint
from mtpsim.config.sweep import DOTTED_KEYS
from mtpsim.config.toml_lines import KeyPath, line_of

TYPES = {
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
BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
TAGS = ("model", "rule", "distribution")
"""Keys whose value selects the class of a table."""
OTHER_BRANCH: dict[str, Any] = {"list_type": (int, float), "float_type": list}
"""Type errors that say nothing of a number-or-list union, by what was given."""
KINDS: dict[str, ProblemKind] = {"missing": "missing", "extra_forbidden": "unknown_key"}


def problems_of(
    error: ValidationError, raw: Any, *, file: str, text: str, spec: type[Spec]
) -> list[Problem]:
    """Every error of the validation of ``raw`` as a ``spec``, without duplicates.

    Pydantic checks a section as a whole only if each of its keys is valid. Keys that exclude each
    other are reported with the other errors of their section. Lines are those of ``text``, the
    TOML text of ``file``.
    """
    found = [(details, _path_in(raw, details)) for details in error.errors(include_url=False)]
    paths = [path for _, path in found]
    problems: dict[tuple[str, str], Problem] = {}
    for details, path in found:
        alone = sum(other[: len(path)] == path for other in paths) == 1
        branch = OTHER_BRANCH.get(details["type"])
        if not alone and branch is not None and isinstance(details["input"], branch):
            continue
        problem = _problem(details, path, file=file, text=text, spec=spec)
        problems[problem.key, problem.text] = problem
        section, table = _section_of(raw, path)
        for error_of_keys in _class_at(details["loc"], spec).conflicts(table):
            place = (*section, error_of_keys.key)
            conflict = Problem(
                error_of_keys.message, file=file, key=dotted(place), line=line_of(text, place)
            )
            problems[conflict.key, conflict.text] = conflict
    return list(problems.values())


def with_meant_names(error: ValidationError, raw: JsonDict) -> JsonDict | None:
    """The tables with misspelt models, rules and distributions replaced by the nearest names.

    The keys of a table can be checked only under a known name. None if no name was misspelt.
    """
    meant = None
    for details in error.errors(include_url=False):
        cause = details.get("ctx", {}).get("error")
        if not isinstance(cause, FieldError) or not cause.suggestion or cause.key not in TAGS:
            continue
        meant = copy.deepcopy(raw) if meant is None else meant
        path = _path_in(raw, details)
        table: Any = meant
        for part in path[:-1]:
            table = table[part]
        if isinstance(table[path[-1]], str):  # a name alone stands for its table
            table[path[-1]] = cause.suggestion
        else:
            table[path[-1]][cause.key] = cause.suggestion
    return meant


def mismatch_problems(
    found: Iterable[tuple[tuple[str, str], str]], *, file: str, text: str
) -> Iterator[Problem]:
    """Problems of disagreements between sections: section and key, and a message."""
    for path, message in found:
        line = line_of(text, path) if text else None
        hint = decimal_comma_hint(source_line(text, line)) if path[0] == "latency" else ""
        yield Problem(message + hint, file=file, key=".".join(filter(None, path)), line=line)


def dotted(path: KeyPath) -> str:
    """``acceptance.rates[1]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _section_of(raw: Any, path: KeyPath) -> tuple[KeyPath, JsonDict]:
    """The innermost table on the way to a key, and its path."""
    found: tuple[KeyPath, JsonDict] = ((), raw if isinstance(raw, dict) else {})
    for number, part in enumerate(path, 1):
        inside = part in raw if isinstance(raw, dict) else _is_index(part, raw)
        if not inside:
            break
        raw = raw[part]
        if isinstance(raw, dict):
            found = path[:number], raw
    return found


def _path_in(raw: Any, details: ErrorDetails) -> KeyPath:
    """The path of an error in the file: without the union tags that pydantic adds."""
    path: list[str | int] = []
    last = len(details["loc"]) - 1
    for number, part in enumerate(details["loc"]):
        inside = part in raw if isinstance(raw, dict) else _is_index(part, raw)
        if inside:
            raw = raw[part]
        if inside or (number == last and details["type"] in KINDS):
            path.append(part)
    return tuple(path)


def _is_index(part: str | int, raw: Any) -> bool:
    return isinstance(raw, list) and isinstance(part, int) and part < len(raw)


def _problem(
    details: ErrorDetails, path: KeyPath, *, file: str, text: str, spec: type[Spec]
) -> Problem:
    kind, given = details["type"], details["input"]
    context = details.get("ctx", {})
    cause = context.get("error")
    allowed: tuple[str, ...] = ()
    if isinstance(cause, FieldError):
        path = (*path, cause.key) if cause.key else path
        given, allowed = cause.given, cause.allowed
    elif kind == "extra_forbidden":
        given, allowed = str(path[-1]), tuple(_class_at(details["loc"], spec).model_fields)
    elif kind == "literal_error":
        allowed = tuple(re.findall(r"'([^']*)'", str(context["expected"])))
    line = line_of(text, path)
    close = suggest(given, allowed) if isinstance(given, str) else None
    return Problem(
        _message(details, spec, source_line(text, line)),
        file=file,
        key=dotted(path),
        line=line,
        kind=cause.kind if isinstance(cause, FieldError) else KINDS.get(kind, "value"),
        given=given,
        allowed=allowed,
        suggestion=close or _other_form(details, path, spec),
    )


def _other_form(details: ErrorDetails, path: KeyPath, spec: type[Spec]) -> str | None:
    """The key of the other form: ``rates`` for a list as `rate`, `rate` for a number as `rates`."""
    branch, name = OTHER_BRANCH.get(details["type"]), str(path[-1]) if path else ""
    if branch is None or not isinstance(details["input"], branch):
        return None
    other = f"{name}s" if branch is list else name.removesuffix("s")
    known = _class_at(details["loc"], spec).model_fields
    return other if other != name and other in known else None


def section_key(name: str, spec: type[Spec]) -> str | None:
    """The dotted key of a bare one: ``latency.batch`` for ``batch``; None if no section has it."""
    for section, field in spec.model_fields.items():
        if any(name in kind.model_fields for kind in classes_of(field)):
            return f"{section}.{name}"
    return None


def unknown_swept(key: str, spec: type[Spec], *, file: str, text: str) -> Problem:
    """The problem of a swept key that starts with no section, such as ``batch``."""
    sections = [name for name in spec.model_fields if name not in ("title", "sweep")]
    return Problem(
        "unknown key; it must start with a section",
        file=file,
        key=f"sweep.{key}",
        line=line_of(text, ("sweep", key)),
        kind="unknown_key",
        given=key,
        allowed=tuple(sections),
        suggestion=section_key(key, spec) or suggest(key, sections),
    )


def _models_with(location: KeyPath, spec: type[Spec]) -> list[str]:
    """The models of a section that have a key, which the one that is given lacks."""
    field = spec.model_fields.get(str(location[0]))
    kinds = classes_of(field) if field else []
    if _class_at(location, spec) not in kinds:
        return []  # of a table within the section
    fields = [kind.model_fields for kind in kinds if location[-1] in kind.model_fields]
    return [name for own in fields if "model" in own for name in _names_of(own["model"].annotation)]


def _names_of(annotation: Any) -> tuple[str, ...]:
    """The values of a literal."""
    return getattr(annotation, "__args__", ())


def source_line(text: str, line: int | None) -> str:
    """A line of a text, counted from 1; empty if it is unknown."""
    return text.splitlines()[line - 1] if line else ""


def _message(details: ErrorDetails, spec: type[Spec], source: str) -> str:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "value_error":
        cause = context["error"]
        return cause.message if isinstance(cause, FieldError) else str(cause)
    if kind == "missing":
        field = _class_at(details["loc"], spec).model_fields.get(str(details["loc"][-1]))
        return f"is missing: {field.description}" if field and field.description else "is missing"
    if kind == "extra_forbidden":
        models = _models_with(details["loc"], spec)
        have = f"; only with model {' or '.join(map(repr, models))}" if models else ""
        return f"unknown key{have}"
    shown = shorten(given)
    if kind == "list_type" and isinstance(given, dict) and details["loc"][0] in DOTTED_KEYS:
        key = str(details["loc"][-1])
        while isinstance(given, dict) and given:
            name, given = next(iter(given.items()))
            key += f".{name}"
        return f'the quotes of a dotted key are missing; write "{key}" = {shorten(given)}'
    if kind in TYPES:
        number = isinstance(given, str) and kind in ("float_type", "int_type")
        hint = number_hint(given) if number else ""
        if kind == "list_type" and isinstance(given, str) and given.startswith("["):
            hint = "; text in a list needs quotes of its own"
        return f"{shown} is given; it must be {TYPES[kind]}{hint}"
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        percent = bound in ("le", "lt") and context[bound] == 1 and 2 <= given <= 100
        hint = decimal_comma_hint(source) if details["loc"][-1] else ""
        hint = hint or (f"; {given:g} % is {given / 100:g}" if percent else "")
        return f"{shown} is given; it must be {words} {context[bound]:g}{hint}"
    if kind == "literal_error":
        return f"unknown value {shown}"
    if kind == "too_short":
        return f"{context['actual_length']} given; at least {context['min_length']} required"
    return f"{shown} is given: {details['msg'][0].lower()}{details['msg'][1:]}"


def shorten(given: Any) -> str:
    """A value as in TOML, cut to 60 characters."""
    text = str(given).lower() if isinstance(given, bool) else repr(given)
    return text if len(text) <= 60 else text[:57] + "..."


def _class_at(location: KeyPath, spec: type[Spec]) -> type[Spec]:
    """The class of the innermost section in the location of an error."""
    found, candidates = spec, [spec]
    for part in (part for part in location[:-1] if isinstance(part, str)):
        if named := [kind for kind in candidates if part in _tags(kind)]:
            found, candidates = named[0], named[:1]
        elif part in found.model_fields and len(candidates) == 1:
            candidates = classes_of(found.model_fields[part])
            found = candidates[0] if len(candidates) == 1 else found
    if len(candidates) == 1:
        return found
    known = _classes_by_name(spec)
    names = (part for part in reversed(location[:-1]) if isinstance(part, str))
    return next((known[name] for name in names if name in known), spec)


@lru_cache
def _classes_by_name(spec: type[Spec]) -> dict[str, type[Spec]]:
    """Classes by the names that stand for them in the location of an error: tags and keys."""
    found: dict[str, type[Spec]] = {}
    for name, kind in _sections(spec):
        found.setdefault(name, kind)
    return found


def _sections(spec: type[Spec]) -> Iterator[tuple[str, type[Spec]]]:
    for name, field in spec.model_fields.items():
        for kind in classes_of(field):
            yield name, kind
            yield from ((tag, kind) for tag in _tags(kind))
            if kind is not spec:
                yield from _sections(kind)


def _tags(kind: type[Spec]) -> tuple[str, ...]:
    """Names that stand for a class among others in the location of an error."""
    own = [kind.model_fields[tag] for tag in TAGS if tag in kind.model_fields]
    return (*(name for field in own for name in _names_of(field.annotation)), kind.__name__.lower())
