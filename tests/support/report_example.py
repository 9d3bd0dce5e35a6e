"""Result documents for the tests of the report, made from the closed form and stated widths."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from mtpsim.config.simulation import Decision
from mtpsim.formula import closed_form
from mtpsim.report.document import Interval, PointResult, Quantity, ResultDocument
from mtpsim.report.serialization import from_json
from mtpsim.results.advice import judge

RATES = (0.80, 0.74, 0.67)
VERIFY = (90.0, 104.0, 117.0)
DRAFT = (8.0, 14.0, 22.0)
TARGET = 76.0
EXPERIMENT = {
    "title": "Production MTP head, depth 1-3",
    "acceptance": {"model": "independent", "rates": list(RATES)},
    "latency": {"target": TARGET, "verify": list(VERIFY), "draft": list(DRAFT)},
    "simulation": {"confidence": 0.95, "epsilon": 0.005, "rounds": 200, "tokens": None},
}
DECISION = Decision.model_validate({})
WHY = "All other depths are slower (simultaneous 95 % CI, common random numbers)."


def around(mean: Any, half: Any, **more: Any) -> dict[str, Any]:
    """A number or a series of numbers with its interval."""
    ends = {"mean": mean, "low": np.subtract(mean, half), "high": np.add(mean, half)}
    return {key: np.asarray(value, float).tolist() for key, value in ends.items()} | more


def example_point(
    settings: Mapping[str, Any] | None = None,
    *,
    rates: Sequence[float] = RATES,
    round_time: Sequence[float] | None = None,
    relative_half_width: float = 0.001,
    bias: float = 0.0,
    exact: bool = True,
    seed: int = 1,
) -> PointResult:
    """One point; simulated numbers lie within their half-width of the closed form + ``bias``."""
    survival, depth = np.cumprod(rates), len(rates)
    times = np.array(round_time or [TARGET, *np.add(VERIFY, DRAFT)], float)
    noise = np.random.default_rng(seed).uniform(-0.6, 0.6, (depth + 1, 3)) * relative_half_width
    given = {"half": relative_half_width, "bias": bias, "exact": exact}
    depths = [_depth(k, np.asarray(rates), times, noise[k], **given) for k in range(depth + 1)]
    shares = np.diff([0.0, *(1 - survival), 1.0])
    measured = {
        "conditional": list(rates),
        "survival": survival.tolist(),
        "pooled": survival.mean(),
    }
    point = {
        "set": dict(settings or {}),
        "requests": 40000,
        "rounds": 8000000,
        "precision_reached": True,
        "measured": measured,
        "accepted": {
            "count": list(range(depth + 1)),
            "theory": shares.tolist(),
            "exact": shares.tolist() if exact else None,
            **around(shares * (1 + 0.5 * relative_half_width), shares * relative_half_width),
        },
        "depths": depths,
        "trial": {"measured_at": depth, "rows": list(_definitions(depths, rates, times))},
        "diagnostics": _diagnostics(rates),
        "advice": _advice(depths),
    }
    return from_json({"points": [point]}).points[0]


def _depth(
    k: int, rates: np.ndarray, times: np.ndarray, noise: np.ndarray, **given: Any
) -> dict[str, Any]:
    """One depth; ``given``: relative half-width, bias, and whether there is an exact solution."""
    length = closed_form.accept_length(rates)
    speedup, scale = TARGET * length / times, 1 + given["bias"] * np.arange(length.size)
    half, drawn = (given["half"], 1 + noise) if k else (0.0, np.ones(3))

    def quantity(value: float, factor: float, drawn: float, width: float, exact: bool = True):  # type: ignore[no-untyped-def]
        true = {"theory": value, "exact": value * factor if exact else None}
        return around(value * factor * drawn, half * width, **true)

    entry: dict[str, Any] = {
        "depth": k,
        "accept_length": quantity(length[k], scale[k], drawn[0], length[k], given["exact"]),
        "speedup": quantity(speedup[k], scale[k], drawn[1], speedup[k], given["exact"]),
        "round_time": quantity(times[k], 1.0, drawn[2], times[k] / 2),
    }
    if k == 0:
        return entry
    gain, factor = speedup[k] / speedup[k - 1], scale[k] / scale[k - 1]
    needed = float(closed_form.break_even_rate(rates, times)[k - 1])
    break_even = {"rate": {"at": needed, "now": rates[k - 1]}}
    for part, share in (("verify", 0.9), ("draft", 0.1)):
        at = times[k - 1] * length[k] / length[k - 1] - (1 - share) * times[k]
        ends = {"now": share * times[k], "at": at, "low": at - 0.1, "high": at + 0.1}
        break_even[part] = ends
    return entry | {
        "marginal": quantity(gain, factor, 1.0, gain * factor),
        "theory_error": judged(1 / scale[k] - 1, half),
        "break_even_rate": needed,
        "break_even": break_even,
    }


def judged(mean: float, half: float) -> dict[str, Any]:
    """An error of the closed form with its verdict, at a tolerance of 0.5 %."""
    low, high = mean - half, mean + half
    settled = "holds" if max(-low, high) < 0.005 else "undecided"
    verdict = "fails" if high < -0.005 or low > 0.005 else settled
    needed = 12000 if verdict == "undecided" else None
    return around(mean, half, verdict=verdict, requests_needed=needed)


def _definitions(
    depths: list[dict[str, Any]], rates: Sequence[float], times: np.ndarray
) -> Iterator[dict[str, Any]]:
    """The closed form's errors by every definition, over the simulated speedups of ``depths``."""
    reach, n = np.cumprod(rates), len(rates)
    used = {
        "stated": rates,
        "conditional": rates,
        "survival": reach,
        "pooled": [reach.mean()] * n,
        "first": [rates[0]] * n,
    }
    for weighting, shift in (("round-pooled", 0.0), ("request-mean", 0.01), ("every-position", 0)):
        for name, values in used.items():
            if name == "stated" and weighting != "round-pooled":
                continue
            predicted = TARGET * closed_form.accept_length(np.asarray(values)) / times
            entries = []
            for k in range(1, n + 1):
                cell = depths[k]["speedup"]
                mean = predicted[k] * (1 + shift) / cell["mean"] - 1
                half = (cell["high"] - cell["low"]) / 2 / cell["mean"]
                verdict = "holds" if abs(mean) + half < 0.005 else "fails"
                error = around(mean, half, verdict=verdict)
                entries.append({"depth": k, "speedup_error": error, "accept_length_error": error})
            yield {
                "definition": name,
                "weighting": None if name == "stated" else weighting,
                "chosen": name == "stated",
                "rates": around(values, 0),
                "depths": entries,
            }


def _diagnostics(rates: Sequence[float]) -> dict[str, Any]:
    lags, depths = np.array([1, 2, 3, 5, 10, 20]), range(1, len(rates) + 1)
    correlations = around(0.3 * 0.8**lags + 0.1, 0.01)
    return {
        "measured_at": len(rates),
        "design_effect": around(9.0, 0.6),
        "too_narrow": around(3.0, 0.1),
        "autocorrelation": {"requests": 2000, "lag": lags.tolist(), **correlations},
        "lasting_share": around(0.1, 0.01),
        "survivorship": around(0.02, 0.01) if len(rates) > 1 else None,
        "rates_by_depth": [
            {"depth": k, **around(np.subtract(rates[:k], 0.01 * k), 0.001)} for k in depths
        ],
    }


def _advice(depths: list[dict[str, Any]]) -> dict[str, Any]:
    cells = [depth["speedup"] for depth in depths]
    best = int(np.argmax([cell["mean"] for cell in cells]))
    steps = [judge(Quantity(**depth["marginal"]), DECISION) for depth in depths[1:]]
    candidates = [k for k, cell in enumerate(cells) if cell["high"] >= cells[best]["low"]]
    return {
        "depth": best,
        "confidence": 0.99,
        "candidates": candidates,
        "within": candidates,
        "verdicts": [step.verdict for step in steps],
        "steps": steps,
        "sentence": f"Run depth {best}: {cells[best]['mean']:.3f}x.",
        "why": WHY,
    }


def document(points: list[PointResult], **more: Any) -> ResultDocument:
    """A result document around points."""
    return ResultDocument(
        mtpsim="0.1.0", experiment=copy.deepcopy(EXPERIMENT), points=points, **more
    )


def example_result(**options: Any) -> ResultDocument:
    """The founding case at depths 0 to 3: one point."""
    return document([example_point(**options)])


def example_sweep(values: Sequence[float] = (0.0, 0.1, 0.4)) -> ResultDocument:
    """A sweep of the noise; the more noise, the further the formula is off."""
    points = []
    for n, cv in enumerate(values):
        points.append(example_point({"latency.noise.cv": cv}, bias=-0.08 * cv, seed=n))
    points[-1].warnings = ["the round time varies by 40 %: the formula is off by its square"]
    return document(points)


def example_grid() -> ResultDocument:
    """A sweep over two keys, 3 x 4 points, in which the best depth moves."""
    points = []
    for target in (0.5, 0.7, 0.9):
        for cost in (2, 8, 20, 40):
            times = [TARGET, *(90 + cost * np.arange(1, 5)).tolist()]
            settings = {"acceptance.rate": target, "latency.draft": cost}
            points.append(example_point(settings, rates=[target] * 4, round_time=times))
    return document(points)


def example_deep(depth: int = 16) -> ResultDocument:
    """Many depths, of which the middle is the best."""
    rates = np.linspace(0.93, 0.8, depth).tolist()
    return example_result(rates=rates, round_time=[TARGET, *(88 + 9.0 * np.arange(1, depth + 1))])


def example_round_times(result: ResultDocument, cv: float = 0.1) -> list[list[np.ndarray]]:
    """Sorted samples of the round time at each depth, one entry a point; constant with cv 0."""
    rng, s = np.random.default_rng(7), np.sqrt(np.log1p(cv**2))
    draws = np.sort(rng.lognormal(-(s**2) / 2, s, 20_000)) if cv else np.ones(2000)
    return [[depth.round_time.theory * draws for depth in p.depths] for p in result.points]


def intervals(part: Any) -> Iterator[Interval]:
    """Every interval within a part of a document."""
    if isinstance(part, Interval):
        yield part
    inner = part if isinstance(part, list) else []
    if is_dataclass(part):
        inner = [getattr(part, field.name) for field in fields(part)]
    for one in inner:
        yield from intervals(one)


def without_numbers(result: ResultDocument) -> ResultDocument:
    """A copy in which every estimate is missing."""
    bare = copy.deepcopy(result)
    for point in bare.points:
        point.advice = point.accepted = None
        for depth in point.depths:
            depth.theory_error = None
        for cell in intervals([point.depths, point.trial]):
            cell.mean = cell.low = cell.high = None
            for name, value in (("exact", None), ("verdict", "")):
                if hasattr(cell, name):
                    setattr(cell, name, value)
        found = point.diagnostics
        found.autocorrelation = found.lasting_share = found.too_narrow = None
        for rates in found.rates_by_depth:
            rates.mean = rates.low = rates.high = [None] * rates.depth
    return bare


EXAMPLES = {
    "one": example_result(),
    "shallow": example_result(rates=[0.85], round_time=[76, 82]),
    "deep": example_deep(),
    "sweep": example_sweep(),
    "long sweep": example_sweep([n / 10 for n in range(13)]),
    "wide intervals": example_result(relative_half_width=0.7),
    "no exact solution": example_result(exact=False),
    "grid": example_grid(),
}
