"""How rounds depend on each other and how rates move, as tables."""

from __future__ import annotations

from typing import Any

from mtpsim.report.document import Interval
from mtpsim.report.formatting import (
    bracketed,
    plus_minus,
    shared_decimals,
)
from mtpsim.report.tables.table_model import Column, Row, Sheet

QUANTITIES = {
    "design_effect": "variance of the accept length over that of independent rounds",
    "too_narrow": "times too narrow, intervals that take rounds as independent",
    "lasting_share": "share of the variance that lasts through a request",
    "survivorship": "rise of conditional rates from the first position to the last",
}
NEIGHBOURS = "correlation of accepted drafts of neighbouring rounds"


def dependence_sheet(found: Any) -> Sheet:
    """A row a measure of dependence, with its interval; empty where nothing varies."""
    cells = [(name, found.get(key)) for key, name in QUANTITIES.items()]
    lags = found.get("autocorrelation")
    if lags:
        cells.append((NEIGHBOURS, Interval(mean=lags.mean[0], low=lags.low[0], high=lags.high[0])))
    rows = [Row([name, bracketed(cell, shared_decimals([cell]))]) for name, cell in cells if cell]
    return Sheet([Column("measure", left=True, folds=True), Column("estimate")], rows)


def rates_sheet(found: Any) -> Sheet:
    """A row a depth: the conditional rates that are measured there, by position."""
    by_depth = found["rates_by_depth"]
    last = by_depth[-1]["depth"]
    cells = [
        [Interval(mean=m, low=a, high=b) for m, a, b in zip(e.mean, e.low, e.high, strict=True)]
        for e in by_depth
    ]
    decimals = min(shared_decimals([cell for row in cells for cell in row]), 4)
    rows = []
    for entry, row in zip(by_depth, cells, strict=True):
        texts = [plus_minus(cell, decimals) for cell in row]
        rows.append(Row([str(entry["depth"]), *texts, *[""] * (last - len(texts))]))
    return Sheet([Column("depth"), *(Column(f"p{j}") for j in range(1, last + 1))], rows)
