"""What tables, figures and the page share: columns of numbers, names of points, digits.

A number that does not exist is None in the document, NaN in arrays and ``-`` in text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.text import counted, three_digits
from mtpsim.formula.closed_form import INDIFFERENCE

if TYPE_CHECKING:  # `check` has no document
    from mtpsim.report.document import Interval, PointResult, Quantity, ResultDocument, Uncertainty

Quantities = Literal[
    "accept_length",
    "round_time",
    "speedup",
    "marginal",
    "theory_error",
    "accept_length_error",
    "objective",
]
"""Names of the fields of :class:`~.document.DepthResult` that are intervals."""
FIELDS = ("theory", "exact", "mean", "low", "high")
MISSING = "-"
KINDS = ("rule", "model", "distribution")
"""Keys whose value names a table well enough to be shown alone."""
MOST_DECIMALS = 6
ROUNDING = 1e-7  # relative half-width below which an interval is rounding error
UNITS = {
    **dict.fromkeys(("latency.target", "latency.verify", "latency.draft"), "ms"),
    **dict.fromkeys(("latency.base", "latency.overhead", "latency.draft.base"), "ms"),
    **dict.fromkeys(("latency.per_token", "latency.draft.per_token"), "ms per token"),
    "latency.batch": "requests",
    "latency.cached": "tokens per request",
    "simulation.rounds": "per request",
    "simulation.tokens": "per request",
}
"""Units of keys that are swept as numbers."""
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"  # not in HTML or XML
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # change the direction of the text after them
)
LOAD_UNITS = {
    "rate": ("request/s", "requests/s"),
    "closed": ("client", "clients"),
    "burst": ("request", "requests"),
}


def known(value: object) -> TypeGuard[float]:
    """Whether the value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def numbers(values: Iterable[float | None] | None) -> Floats:
    """Numbers as an array; None becomes NaN, and no list an empty array."""
    return np.array([v if known(v) else np.nan for v in values or ()], float)


def cells_of(point: PointResult, quantity: Quantities) -> list[Interval | None]:
    """A quantity at every depth of a point, ``[K + 1]``.

    Speedups and gains are means and intervals over uncertain inputs, where there are any; the
    intervals of accept lengths include what a replay does not know.
    """
    cells = [getattr(depth, quantity) for depth in point.depths]
    if point.uncertainty and quantity == "accept_length":
        ends = [depth.accept_length for depth in point.uncertainty.depths]
        pairs = zip(cells, ends, strict=True)
        return [replace(cell, **vars(end)) if cell and end else cell for cell, end in pairs]
    if not point.uncertainty or quantity not in ("speedup", "marginal"):
        return cells
    wider = [d.speedup if quantity == "speedup" else d.gain for d in point.uncertainty.depths]
    return [
        replace(cell, mean=wide.mean, low=wide.low, high=wide.high) if cell and wide else cell
        for cell, wide in zip(cells, wider, strict=True)
    ]


def column(point: PointResult, quantity: Quantities, field: str = "mean") -> Floats:
    """One field of :func:`cells_of`, ``[K + 1]``; NaN where it is missing."""
    return numbers([getattr(cell, field, None) for cell in cells_of(point, quantity)])


def by_quantile(point: PointResult) -> bool:
    """Whether depths are compared at a quantile of the request time, not by their mean speeds."""
    return point.advice is not None and point.advice.objective != "mean"


def as_compared(result: ResultDocument) -> ResultDocument:
    """The result with speedups and gains as its depths are compared.

    Where that is at a quantile of the request time, they have no closed form and no exact answer.
    """
    if not any(map(by_quantile, result.points)):
        return result
    return replace(result, points=[_at_quantile(point) for point in result.points])


def _at_quantile(point: PointResult) -> PointResult:
    if not by_quantile(point) or not point.advice:
        return point
    ratios = [step and step.map(lambda gain: gain + 1) for step in (None, *point.advice.steps)]
    depths = [
        replace(depth, speedup=_bare(depth.objective) or depth.speedup, marginal=_bare(ratio))
        for depth, ratio in zip(point.depths, ratios, strict=True)
    ]
    return replace(point, depths=depths)


def _bare(cell: Interval | None) -> Quantity | None:
    from mtpsim.report.document import Quantity

    if cell is None:
        return None
    return Quantity(**vars(cell.map(float)), theory=None, exact=None)


def compared_at(result: ResultDocument) -> str:
    """`` at the p99 of request times``, or as many as there are; empty for mean speeds."""
    names = {point.advice.objective for point in result.points if point.advice} - {"mean"}
    return f" at the {' or '.join(sorted(names))} of request times" if names else ""


def greatest_depth(point: PointResult) -> int:
    """K, the deepest depth of a point."""
    return point.depths[-1].depth


def times_known(point: PointResult) -> bool:
    """Whether the time of a round was measured: else no depth is better than another."""
    return not point.advice or point.advice.times_known


def uncertain_choice(point: PointResult) -> Uncertainty | None:
    """What uncertain inputs mean for the choice of depth; None where times are not known.

    A replay has intervals of its accept lengths there too, but no choice.
    """
    return point.uncertainty if times_known(point) else None


def speed_text(value: float | None) -> str:
    """Tokens per second in three digits, or whole; ``-`` where it is not known."""
    return three_digits(value) if known(value) else MISSING


def preset_note(result: ResultDocument) -> str:
    """That step times are published figures; empty where they are stated or fitted."""
    from mtpsim.report.document import PRESET_TIMES

    latency = result.experiment.get("latency", {})
    return PRESET_TIMES if latency.get("model") == "preset" else ""


def best_depth(point: PointResult) -> int | None:
    """Depth of greatest estimated speedup; None where none is known."""
    if point.advice:
        return point.advice.depth
    speedups = column(point, "speedup")
    return None if np.isnan(speedups).all() else int(np.nanargmax(speedups))


def advised_depth(point: PointResult) -> int | None:
    """The best depth; None where the run recommends none, for want of times or of requests."""
    return point.advice.recommended if point.advice else best_depth(point)


def _setting(result: ResultDocument, point: PointResult | None, name: str, default: float) -> float:
    """A number of the experiment at a point; ``default`` where the document doesn't say.

    A sweep may set it, alone or with its section; without ``point`` it is that of the experiment.
    """
    swept, (section, _, key) = point.set if point else {}, name.partition(".")
    sections = swept.get(section), result.experiment.get(section)
    found = [swept.get(name), *(s.get(key) for s in sections if isinstance(s, dict))]
    return float(next((value for value in found if value is not None), default))


def confidence(result: ResultDocument, point: PointResult | None = None) -> float:
    """Confidence level of the intervals of a point, or of the experiment; 0.95 by default."""
    return _setting(result, point, "simulation.confidence", 0.95)


def epsilon(result: ResultDocument, point: PointResult | None = None) -> float:
    """Tolerance of the verdict on the closed form at a point, or of the experiment."""
    return _setting(result, point, "simulation.epsilon", 0.005)


def indifference(result: ResultDocument, point: PointResult | None = None) -> float:
    """Relative gain that does not matter, at a point or of the experiment; 0.01 by default."""
    return _setting(result, point, "decision.indifference", INDIFFERENCE)


def level(result: ResultDocument, points: Iterable[PointResult] | None = None) -> str:
    """Confidence level of points, of all by default: ``95 %``, ``90 % to 95 %``."""
    shown = result.points if points is None else points
    return _percents([confidence(result, point) for point in shown] or [confidence(result)])


def tolerance(result: ResultDocument) -> str:
    """Tolerance of the verdicts on the closed form: ``0.5 %``, ``0.1 % to 2 %``."""
    return _percents([epsilon(result, point) for point in result.points] or [epsilon(result)])


def _percents(shares: Iterable[float]) -> str:
    """The least and the greatest of shares, as percentages."""
    found = sorted(shares)
    return " to ".join(f"{100 * end:g} %" for end in dict.fromkeys([found[0], found[-1]]))


def title(result: ResultDocument) -> str:
    """The experiment's own title, or the empty string."""
    return str(result.experiment.get("title") or "")


def swept_keys(result: ResultDocument) -> list[str]:
    """Keys that any point sets, in order of first appearance."""
    return list(result.swept_keys)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Keys without their section (``noise.cv``), as long as that leaves them distinct."""
    short = {key: key.partition(".")[2] or key for key in keys}
    return short if len(set(short.values())) == len(keys) else {key: key for key in keys}


def axis_names(keys: Sequence[str]) -> list[str]:
    """Short names of swept keys with their units, for axes: ``target (ms)``."""
    names = short_names(keys)
    units = {key: f" ({UNITS[key]})" for key in keys if key in UNITS}
    return [names[key] + units.get(key, "") for key in keys]


def value_text(value: Any) -> str:
    """A swept value as text; numbers in 6 digits, long lists cut.

    A table is shown as its rule or model and its settings: ``bandit width=0.1``; a shape of drafts
    as ``topk-3 tree (3 steps, 7 nodes)``.
    """
    if isinstance(value, Mapping) and "tree" in value:
        return _shape_text(value)
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


def _shape_text(draft: Mapping[str, Any]) -> str:
    """``chain``, or a tree of drafts with its size."""
    name, size = value_text(draft["tree"]), []
    if name != "chain":
        name += f"-{draft['topk']} tree" if "topk" in draft else " tree"
    for key, value in draft.items():
        if key in ("steps", "nodes"):
            size.append(counted(value, key.removesuffix("s")))
        elif key not in ("tree", "topk"):
            size.append(f"{key} {value_text(value)}")
    return f"{name} ({', '.join(size)})" if size else name


def distinct_values(values: Sequence[Any]) -> list[Any]:
    """Distinct values of a swept key: numbers ascending, others as they first appear."""
    distinct = list({value_text(value): value for value in values}.values())
    numeric = all(known(value) and not isinstance(value, bool) for value in distinct)
    return sorted(distinct) if numeric else distinct


def point_label(result: ResultDocument, point: PointResult) -> str:
    """The swept values of a point: ``noise.cv = 0.1, rate = 0.7``; empty without a sweep."""
    return ", ".join(point_parts(result, point))


def point_parts(result: ResultDocument, point: PointResult) -> list[str]:
    """The swept values of a point, each with its name: ``noise.cv = 0.1``."""
    return set_parts(point.set, short_names(swept_keys(result)))


def set_label(values: JsonDict, names: Mapping[str, str] | None = None) -> str:
    """Swept values as text: ``noise.cv = 0.1, rate = 0.7``.

    Args:
        values (JsonDict): Swept keys and their values at a point.
        names (Mapping[str, str] | None): Name that is shown for each key; None: the key.
    """
    return ", ".join(set_parts(values, names or {}))


def set_parts(values: JsonDict, names: Mapping[str, str]) -> list[str]:
    """Each swept value with its name, as :func:`set_label` lists them."""
    return [f"{names.get(key, key)} = {value_text(value)}" for key, value in values.items()]


def decimals_for(half_width: float) -> int:
    """Decimals that show one significant digit of a half-width: 0.0015 gives 3."""
    if not math.isfinite(half_width) or half_width <= 0:
        return 4
    return min(max(-math.floor(math.log10(half_width)), 0), MOST_DECIMALS)


def shared_decimals(cells: Iterable[Interval | None]) -> int:
    """Decimals for a column of intervals: those of the narrowest one that has a width.

    Where no interval has a width, up to 4 decimals are kept, fewer where the numbers need no more.
    """
    given = [cell for cell in cells if cell]
    halves = [half for cell in given if (half := half_width(cell)) > 0]
    if halves:
        return decimals_for(min(halves))
    return needed_decimals([c.high for c in given if known(c.low) and known(c.high)], 4)


def needed_decimals(values: Iterable[float], most: int) -> int:
    """Fewest decimals, up to ``most``, that show every value as ``most`` decimals would."""
    rounded = [round(value, most) for value in values if known(value)]
    return next((d for d in range(most) if all(round(v, d) == v for v in rounded)), most)


def fixed(value: float | None, decimals: int) -> str:
    """A number with that many decimals and no negative zero; ``-`` where there is none."""
    return f"{value:z,.{decimals}f}" if known(value) else MISSING


def bracketed(cell: Interval | None, decimals: int) -> str:
    """``1.541 [1.539, 1.542]``, ``1.541 [1.539, -]`` without an upper end.

    The number alone where the interval has no width, or no end.
    """
    mean = fixed(cell.mean if cell else None, decimals)
    if not cell or mean == MISSING or half_width(cell) == 0:
        return mean
    low, high = fixed(cell.low, decimals), fixed(cell.high, decimals)
    return mean if low == high else f"{mean} [{low}, {high}]"


def plus_minus(cell: Interval | None, decimals: int) -> str:
    """``1.541 ±0.002``: half the interval's width; an interval of a quantile is not symmetric.

    The number alone where half the width rounds to 0; both ends where one of them is missing.
    """
    mean = fixed(cell.mean if cell else None, decimals)
    if cell and known(cell.low) != known(cell.high):
        return bracketed(cell, decimals)
    half = round(half_width(cell), decimals) if cell else 0
    return f"{mean} ±{fixed(half, decimals)}" if mean != MISSING and half > 0 else mean


def half_width(cell: Interval) -> float:
    """Half the width of an interval; 0 for rounding errors alone, NaN where an end is missing."""
    if not known(cell.low) or not known(cell.high):
        return math.nan
    half = (cell.high - cell.low) / 2
    return half if half > ROUNDING * max(abs(cell.low), abs(cell.high)) else 0.0


def in_percent(cell: Interval | None, zero: float = 0.0) -> Interval | None:
    """An interval as percent of its distance from ``zero``; None where there is none."""
    return cell and cell.map(lambda end: 100 * (end - zero))


def legible(text: str) -> str:
    """The text with U+FFFD for what HTML and XML can't hold, and for direction marks."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def in_units(load: float, arrivals: str) -> str:
    """A load of a kind of arrivals with its unit, in the singular or plural."""
    number = f"{load:,.0f}" if load >= 1000 else f"{load:.4g}"
    one, many = LOAD_UNITS.get(arrivals, ("", ""))
    return f"{number} {one if number == '1' else many}".strip()
