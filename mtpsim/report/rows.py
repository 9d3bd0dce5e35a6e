"""The result as tidy rows: one a point, depth and quantity; for spreadsheets and data frames."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.report.document import ResultDocument
from mtpsim.report.formatting import FIELDS, swept_keys

QUANTITIES = (
    *("accept_length", "round_time", "speedup", "marginal"),
    *("theory_error", "accept_length_error"),
)
TAILS = ("request_time", "request_speed")
POLICY_QUANTITIES = ("speedup", "gain", "captured", "accept_length", "round_time")
SINGLE = "break_even_rate"


def columns(result: ResultDocument) -> list[str]:
    """Names of the columns, in order; the swept keys come after the number of the point."""
    policy = ["policy"] if any(point.get("adaptive") for point in result["points"]) else []
    return ["point", *swept_keys(result), "depth", *policy, "quantity", *FIELDS, "verdict"]


def rows(result: ResultDocument) -> list[JsonDict]:
    """Every number of every depth.

    Returns:
        Dicts with the keys of :func:`columns`; None where a number does not exist. ``point``
        counts from 0 in the order of the document. Times are in milliseconds, ``theory_error`` is
        relative (0.01 is 1 %), and ``break_even_rate`` has its value under ``theory``.

    """
    names = columns(result)
    tidy: list[JsonDict] = []
    for number, point in enumerate(result["points"]):
        place = {"point": number, **(point.get("set") or {})}
        for depth in point["depths"]:
            for quantity, cell in _cells(depth):
                row = {**place, "depth": depth["depth"], "quantity": quantity, **cell}
                tidy.append({name: row.get(name) for name in names})
        for policy in (point.get("adaptive") or {}).get("policies", []):
            for quantity in POLICY_QUANTITIES:
                row = {**place, "policy": policy["name"], "quantity": quantity}
                row.update(policy[quantity] or {})
                tidy.append({name: row.get(name) for name in names})
            for quantity, cell in _of_requests(policy):
                row = {**place, "policy": policy["name"], "quantity": quantity, **cell}
                tidy.append({name: row.get(name) for name in names})
    return tidy


def _cells(depth: JsonDict) -> list[tuple[str, JsonDict]]:
    """Quantities that this depth has, with the fields that become columns."""
    kept = (*FIELDS, "verdict")
    cells = [
        (quantity, {field: depth[quantity].get(field) for field in kept})
        for quantity in QUANTITIES
        if depth.get(quantity)
    ]
    cells += _of_requests(depth)
    if depth.get(SINGLE) is not None:
        cells.append((SINGLE, {"theory": depth[SINGLE]}))
    return cells


def _of_requests(found: JsonDict) -> list[tuple[str, JsonDict]]:
    """Quantiles of single requests of a depth or a policy, under names of their own."""
    return [
        (f"{name}_{share}", dict(cell))
        for name in TAILS
        for share, cell in (found.get(name) or {}).items()
    ]


def write_csv(result: ResultDocument, path: Path | str) -> Path:
    """Write :func:`rows` as CSV with a header; None is an empty cell, a list is JSON.

    Numbers are written so that reading them back gives the same floats.
    """
    path = Path(path)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns(result), lineterminator="\n")
        writer.writeheader()
        for row in rows(result):
            writer.writerow({name: _csv_value(value) for name, value in row.items()})
    return path


def _csv_value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value
