"""How the report reads the result document: columns of numbers, names of points, digits.

The document is plain JSON data, so a missing number is None; here it becomes NaN in arrays and
``-`` in text. docs/result.md explains every key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.report.document import Interval, PointResult, ResultDocument

FIELDS = ("theory", "exact", "mean", "low", "high")
MISSING = "-"
KINDS = ("rule", "model", "distribution")
"""Keys that say what a table is: their values speak for themselves."""
MOST_DECIMALS = 6
ROUNDING = 1e-7  # of a number: half-widths of less are none
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def known(value: Any) -> bool:
    """Whether the value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def numbers(values: Iterable[Any] | None) -> Floats:
    """Numbers as an array; None becomes NaN, and no list an empty array."""
    return np.array([v if known(v) else np.nan for v in values or ()], float)


def column(point: PointResult, quantity: str, field: str = "mean") -> Floats:
    """One field of a quantity at every depth of a point, ``[K + 1]``; NaN where it is missing."""
    cells = (depth.get(quantity) or {} for depth in point["depths"])
    return numbers([cell.get(field) for cell in cells])


def greatest_depth(point: PointResult) -> int:
    """K, the deepest depth of a point."""
    return int(point["depths"][-1]["depth"])


def best_depth(point: PointResult) -> int | None:
    """The advised depth; without advice the one of greatest speedup, None where none is known."""
    advice = point.get("advice") or {}
    if advice.get("depth") is not None:
        return int(advice["depth"])
    speedups = column(point, "speedup")
    return None if np.isnan(speedups).all() else int(np.nanargmax(speedups))


def _of_simulation(
    result: ResultDocument, point: PointResult | None, key: str, default: float
) -> float:
    """A number of ``[simulation]`` at a point; ``default`` where the document doesn't say.

    A sweep may set it, alone or with its section; without ``point`` it is that of the experiment.
    """
    experiment: JsonDict = result.get("experiment", {})
    simulation = experiment.get("simulation", {})
    swept: JsonDict = (point.get("set") if point else {}) or {}
    section = swept.get("simulation")
    own = section.get(key) if isinstance(section, dict) else None
    return float(swept.get(f"simulation.{key}") or own or simulation.get(key) or default)


def confidence(result: ResultDocument, point: PointResult | None = None) -> float:
    """The level of the intervals of a point, or of the experiment; 0.95 where it isn't said."""
    return _of_simulation(result, point, "confidence", 0.95)


def epsilon(result: ResultDocument, point: PointResult | None = None) -> float:
    """The error within which the theory holds at a point, or by the experiment."""
    return _of_simulation(result, point, "epsilon", 0.005)


def level(result: ResultDocument, points: Iterable[PointResult] | None = None) -> str:
    """The level of the intervals of points, of all by default: ``95 %``, ``90 % to 95 %``."""
    shown = result["points"] if points is None else points
    return _percents([confidence(result, point) for point in shown] or [confidence(result)])


def tolerance(result: ResultDocument) -> str:
    """The errors within which the theory holds at the points: ``0.5 %``, ``0.1 % to 2 %``."""
    found = [epsilon(result, point) for point in result["points"]] or [epsilon(result)]
    return _percents(found)


def _percents(shares: Iterable[float]) -> str:
    """The least and the greatest of shares, as percentages."""
    found = sorted(shares)
    return " to ".join(f"{100 * end:g} %" for end in dict.fromkeys([found[0], found[-1]]))


def title(result: ResultDocument) -> str:
    """The experiment's own title, or the empty string."""
    return str(result.get("experiment", {}).get("title") or "")


def swept_keys(result: ResultDocument) -> list[str]:
    """Keys that any point sets, in order of first appearance."""
    return list(dict.fromkeys(key for point in result["points"] for key in point.get("set") or {}))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Keys without their section (``noise.cv``), where they stay different from each other."""
    short = {key: key.partition(".")[2] or key for key in keys}
    return short if len(set(short.values())) == len(keys) else {key: key for key in keys}


def value_text(value: Any) -> str:
    """A swept value as text; numbers as short as they can be, long lists cut.

    A table is its rule or model, and what it sets: ``bandit width=0.1``.
    """
    if isinstance(value, Mapping):
        return " ".join(
            text if key in KINDS else f"{key}={text}"
            for key, text in ((key, value_text(inner)) for key, inner in value.items())
        )
    if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
        return MISSING if value is None else str(value)
    if isinstance(value, int | float):
        return f"{value:.6g}" if known(value) else MISSING
    text = "[" + ", ".join(value_text(entry) for entry in value) + "]"
    return text if len(text) <= 24 else text[:22] + "…]"


def point_label(result: ResultDocument, point: PointResult) -> str:
    """What tells this point from the others: ``noise.cv = 0.1, rate = 0.7``; else empty."""
    names = short_names(swept_keys(result))
    values = point.get("set") or {}
    return ", ".join(f"{names[key]} = {value_text(value)}" for key, value in values.items())


def decimals_for(half_width: float) -> int:
    """Decimals that show one significant digit of a half-width: 0.0015 gives 3."""
    if not math.isfinite(half_width) or half_width <= 0:
        return 4
    return min(max(-math.floor(math.log10(half_width)), 0), MOST_DECIMALS)


def shared_decimals(cells: Iterable[Any | None]) -> int:
    """Decimals for a column of intervals: those of the narrowest one that has a width.

    Intervals of no width say nothing about digits; where all are so, up to 4 decimals are kept,
    fewer where the numbers need no more.
    """
    given = [c for c in cells if c and known(c.get("low")) and known(c.get("high"))]
    real = [(c["high"] - c["low"]) / 2 for c in given if _has_width(c)]
    if real:
        return decimals_for(min(real))
    return needed_decimals([c["high"] for c in given], 4)


def needed_decimals(values: Iterable[float], most: int) -> int:
    """Fewest decimals, up to ``most``, that show every value as ``most`` decimals would."""
    rounded = [round(value, most) for value in values if known(value)]
    return next((d for d in range(most) if all(round(v, d) == v for v in rounded)), most)


def fixed(value: Any, decimals: int) -> str:
    """A number with that many decimals and no negative zero; ``-`` where there is none."""
    return f"{value:z,.{decimals}f}" if known(value) else MISSING


def bracketed(cell: Any | None, decimals: int) -> str:
    """``1.541 [1.539, 1.542]``; the number alone where the interval has no width at all."""
    if not cell or not known(cell.get("mean")):
        return MISSING
    mean = fixed(cell["mean"], decimals)
    if not _has_width(cell):
        return mean
    return f"{mean} [{fixed(cell['low'], decimals)}, {fixed(cell['high'], decimals)}]"


def plus_minus(cell: Any | None, decimals: int) -> str:
    """``1.541 ±0.002``: half the interval's width, which is symmetric up to rounding."""
    if not cell or not known(cell.get("mean")):
        return MISSING
    mean = fixed(cell["mean"], decimals)
    if not _has_width(cell):
        return mean
    return f"{mean} ±{fixed((cell['high'] - cell['low']) / 2, decimals)}"


def _has_width(cell: Interval) -> bool:
    """Whether there is an interval, and more of it than slopes by differences leave of none."""
    low, high = cell.get("low"), cell.get("high")
    if low is None or high is None or not (known(low) and known(high)):
        return False
    return bool((high - low) / 2 > ROUNDING * max(abs(low), abs(high)))


def legible(text: str) -> str:
    """The text without characters that neither HTML nor XML can hold; each becomes a sign."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
