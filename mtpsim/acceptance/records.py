"""Recorded requests from a file: JSON lines, one request each, or a CSV file, one entry a row."""

import csv
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtpsim.problems import nearest

Request = tuple[list[int], list[int] | None]  # accepted and drafted, by entry


def read_requests(path: Path) -> tuple[Request, ...]:
    """Read recorded requests.

    A line of JSON is ``{"accepted": [3, 0, 1], "drafted": [3, 3, 3]}``, and may have more keys; a
    CSV file has columns ``request``, ``accepted`` and ``drafted``, which may be left out.

    Args:
        path: text in UTF-8; the first character tells JSON from CSV.

    Returns:
        The requests in the order of the file.

    Raises:
        ValueError: what is wrong with the file, with its path and line.

    """
    try:
        stamp = path.stat()
        return _read(path, stamp.st_mtime_ns, stamp.st_size)
    except OSError as error:
        known = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = "" if path.exists() else nearest(path.name, known)
        raise ValueError(f"can't read {path}: {error.strerror}{hint}") from None


@lru_cache(maxsize=8)
def _read(path: Path, modified: int, size: int) -> tuple[Request, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from None
    requests = _from_json(path, text) if text.lstrip()[:1] == "{" else _from_csv(path, text)
    if not requests:
        raise ValueError(f"{path} holds no requests")
    return tuple(requests)


def _from_json(path: Path, text: str) -> list[Request]:
    requests = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"{place}: not valid JSON") from None
        if not isinstance(entry, dict) or "accepted" not in entry:
            known = list(entry) if isinstance(entry, dict) else []
            raise ValueError(f'{place}: "accepted" is missing{nearest("accepted", known)}')
        drafted = entry.get("drafted")
        accepted = _counts(place, "accepted", entry["accepted"])
        requests.append((accepted, drafted and _counts(place, "drafted", drafted)))
        _check_pair(place, *requests[-1])
    return requests


def _counts(place: str, name: str, given: Any) -> list[int]:
    if not isinstance(given, list) or not given:
        raise ValueError(f"{place}: {name!r} must be a list of whole numbers, at least one")
    for entry in given:
        if type(entry) is not int or not 0 <= entry < 2**31:
            raise ValueError(f"{place}: {entry!r} is given in {name!r}; counts must be whole, 0 up")
    return given


def _check_pair(place: str, accepted: list[int], drafted: list[int] | None) -> None:
    if drafted is None:
        return
    if len(drafted) != len(accepted):
        raise ValueError(f"{place}: {len(accepted)} entries accepted but {len(drafted)} drafted")
    for number, (a, d) in enumerate(zip(accepted, drafted, strict=True), 1):
        if a > d:
            raise ValueError(f"{place}: entry {number} accepted {a} of {d} drafts")


def _from_csv(path: Path, text: str) -> list[Request]:
    rows = csv.DictReader(text.splitlines())
    names = [name.strip() for name in rows.fieldnames or []]
    rows.fieldnames = names
    for needed in ("request", "accepted"):
        if needed not in names:
            columns = ", ".join(names) or "none"
            hint = nearest(needed, names)
            raise ValueError(f"{path}:1: no column {needed!r} (columns: {columns}){hint}")
    found: dict[str, Request] = {}
    for row in rows:
        place = f"{path}:{rows.line_num}"
        accepted, drafted = found.setdefault(
            row["request"], ([], [] if "drafted" in names else None)
        )
        accepted.append(_whole(place, "accepted", row["accepted"]))
        if drafted is not None:
            drafted.append(_whole(place, "drafted", row["drafted"]))
            _check_pair(place, accepted[-1:], drafted[-1:])
    return list(found.values())


def _whole(place: str, name: str, text: str | None) -> int:
    if text is None or not text.strip().isdecimal() or len(text) > 9:
        raise ValueError(f"{place}: {text!r} is given for {name!r}; a count must be whole, 0 up")
    return int(text)
