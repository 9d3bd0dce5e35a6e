"""The result document as plain data, as in ``result.json``, and back."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mtpsim.common.arrays import JsonDict
from mtpsim.report.document import ResultDocument


def to_json(document: Any) -> JsonDict:
    """A document, or a section of it, as plain data; ``warnings`` of a run only where given."""
    plain = asdict(document, dict_factory=_plain)
    if plain.get("warnings", ()) is None:
        del plain["warnings"]
    return plain


def _plain(entries: list[tuple[str, Any]]) -> JsonDict:
    return {key.rstrip("_"): value for key, value in entries}


@cache
def _reader() -> TypeAdapter[ResultDocument]:
    """What reads documents; it takes 60 ms to build."""
    return TypeAdapter(ResultDocument)


def from_json(data: JsonDict) -> ResultDocument:
    """The typed document of plain data; unknown keys are ignored.

    Raises:
        ValueError: a key is missing, or a value has the wrong type; names the first one.
    """
    try:
        return _reader().validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        raise ValueError(f"{key.lstrip('.')}: {first['msg']}") from None
