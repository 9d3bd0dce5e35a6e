"""The result document as plain data (``result.json``) and as tidy rows (``result.csv``)."""

import csv
import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mtpsim.common.arrays import JsonDict
from mtpsim.report.document import DepthResult, Interval, PointResult, PolicyResult, ResultDocument
from mtpsim.report.formatting import FIELDS, swept_keys
from mtpsim.report.serving_document import TIMES, ServedPoint

QUANTITIES = (
    *("accept_length", "round_time", "speedup", "marginal"),
    *("theory_error", "accept_length_error"),
)
OPTIONAL = ("warnings", "by_load", "serving", "shapes", "tree", "faster_shape")
OF_REQUESTS = "mean_request_speed", "mean_request_speedup"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
DECISION = ("p_best", "regret", "now")
"""Columns of what only some rows have, behind all others."""
POLICY_QUANTITIES = ("speedup", "gain", "captured", "accept_length", "round_time")


def to_json(document: Any) -> JsonDict:
    """A document, or a section of it, as plain data; keys of ``OPTIONAL`` only where given."""
    found: JsonDict = _plain(document)
    return found


def _plain(value: Any) -> Any:
    """As of ``dataclasses.asdict``, which copies every number and takes ten times as long."""
    kind = type(value)
    if kind in (float, int, str, bool, NoneType):
        return value
    if kind is list:
        return [_plain(one) for one in value]
    if kind is dict:
        return {key: _plain(one) for key, one in value.items()}
    if not is_dataclass(kind):
        return value
    return {
        key: _plain(one)
        for name, key in keys_of(kind)
        if (one := getattr(value, name)) is not None or name not in OPTIONAL
    }


@cache
def keys_of(kind: type[Any]) -> list[tuple[str, str]]:
    """Fields of a section, and their keys in the document."""
    return [(field.name, field.name.rstrip("_")) for field in fields(kind)]


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


def columns(result: ResultDocument) -> list[str]:
    """Names of the columns, in order; the swept keys come after the number of the point."""
    policies = any(point.adaptive or point.serving for point in result.points)
    policy = ["policy"] if policies else []
    return [
        "point",
        *swept_keys(result),
        "depth",
        *policy,
        "quantity",
        *FIELDS,
        "verdict",
        *DECISION,
    ]


def rows(result: ResultDocument) -> list[JsonDict]:
    """Every number of every depth and policy.

    Returns:
        Dicts with the keys of :func:`columns`; None where a number does not exist. ``point``
        counts from 0 in the order of the document. Times are in milliseconds, ``theory_error`` is
        relative (0.01 is 1 %), and ``break_even_rate`` has its value under ``theory``.
    """
    names = columns(result)
    return [{name: row.get(name) for name in names} for row in _rows(result)]


def _rows(result: ResultDocument) -> Iterator[JsonDict]:
    """The rows one by one, with the keys that each has."""
    for number, point in enumerate(result.points):
        found: list[tuple[JsonDict, list[tuple[str, JsonDict]]]]
        found = [
            ({"depth": d.depth}, _cells(d, QUANTITIES) + _decision(point, d)) for d in point.depths
        ]
        found += [
            ({"policy": policy.name}, _cells(policy, POLICY_QUANTITIES))
            for policy in (point.adaptive.policies if point.adaptive else [])
        ]
        if point.serving:
            found += _served(point.serving)
        for owner, cells in found:
            for quantity, cell in cells:
                yield {"point": number, **point.set, **owner, "quantity": quantity, **cell}


def _cells(found: DepthResult | PolicyResult, names: tuple[str, ...]) -> list[tuple[str, JsonDict]]:
    """Quantities of a depth or a policy, with the fields that become columns."""
    policy = isinstance(found, PolicyResult)
    quantities = [(name, getattr(found, name)) for name in names]
    cells = [(name, vars(cell) if cell else {}) for name, cell in quantities if cell or policy]
    for name in ("request_time", "request_speed"):
        quantiles = getattr(found, name) or {}
        cells += [(f"{name}_{share}", vars(cell)) for share, cell in quantiles.items()]
    of_requests = ((name, getattr(found, name)) for name in OF_REQUESTS)
    cells += [(name, vars(cell)) for name, cell in of_requests if cell]
    if isinstance(found, DepthResult) and found.break_even_rate is not None:
        now = found.break_even.rate.now if found.break_even else None
        cells.append(("break_even_rate", {"theory": found.break_even_rate, "now": now}))
    return cells


def _served(point: ServedPoint) -> list[tuple[JsonDict, list[tuple[str, JsonDict]]]]:
    """Every interval of a server's depths and policies, and their capacity."""
    capacity = {one.name: one.rate for one in point.capacity}
    found = []
    for arm in point.arms:
        cells = [
            (name, vars(cell)) for name, cell in vars(arm).items() if isinstance(cell, Interval)
        ]
        for name in TIMES:
            cells += [(f"{name}_{part}", vars(cell)) for part, cell in vars(arm.time(name)).items()]
        if arm.name in capacity:
            cells.append(("capacity", vars(capacity[arm.name])))
        found.append(({"depth": arm.depth, "policy": arm.name if arm.rule else None}, cells))
    return found


def _decision(point: PointResult, depth: DepthResult) -> list[tuple[str, JsonDict]]:
    """What the choice of a depth rests on: gain of its step, loss, and break-even times in ms."""
    cells: list[tuple[str, JsonDict]] = []
    if point.advice and point.advice.steps and depth.depth:
        cells.append(("step_gain", vars(point.advice.steps[depth.depth - 1])))
    if depth.objective:
        cells.append(("objective", vars(depth.objective)))
    if loss := depth.loss:
        cells.append(("loss", {**vars(loss), "p_best": loss.best}))
    if found := depth.break_even:
        for name, time in (("verify", found.verify), ("draft", found.draft)):
            cells.append((f"break_even_{name}", {**vars(time), "mean": time.at}))
    return cells


def write_csv(result: ResultDocument, path: Path | str) -> Path:
    """Write :func:`rows` as CSV with a header; None is an empty cell, a list is JSON.

    Numbers are written so that reading them back gives the same floats.
    """
    path = Path(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names := columns(result))
        for row in _rows(result):
            writer.writerow([_csv_value(row.get(name)) for name in names])
    return path


def _csv_value(value: Any) -> Any:
    if value is None or type(value) is float:
        return value
    if isinstance(value, list | tuple | dict):
        return json.dumps(value)
    # A spreadsheet would compute a text that begins like a formula; an apostrophe marks text.
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
