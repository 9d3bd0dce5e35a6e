"""Result documents for the tests of the report, made from the closed form and stated widths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

RATES = (0.80, 0.74, 0.67)
VERIFY = (90.0, 104.0, 117.0)
DRAFT = (8.0, 14.0, 22.0)
TARGET = 76.0


def _cell(theory: float | None, exact: float | None, mean: float, half: float) -> dict[str, Any]:
    return {
        "theory": theory,
        "exact": exact,
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
    }


def example_point(
    settings: Mapping[str, Any] | None = None,
    *,
    rates: Sequence[float] = RATES,
    round_time: Sequence[float] | None = None,
    relative_half_width: float = 0.001,
    bias: float = 0.0,
    exact: bool = True,
    seed: int = 1,
) -> dict[str, Any]:
    """One point; simulated numbers lie within their half-width of the closed form + ``bias``."""
    rng = np.random.default_rng(seed)
    survival = np.cumprod(rates)
    length = np.concatenate([[1.0], 1 + np.cumsum(survival)])
    times = np.array(round_time or [TARGET, *np.add(VERIFY, DRAFT)], float)
    speedup = TARGET * length / times
    scale = 1 + bias * np.arange(length.size)
    depths = []
    for k in range(length.size):
        noise = 1 + relative_half_width * rng.uniform(-0.6, 0.6, 3) * (k > 0)
        half = relative_half_width * (k > 0)
        cells = {
            name: _cell(value, value * scale[k] if exact else None, value * scale[k] * n, w)
            for name, value, n, w in (
                ("accept_length", length[k], noise[0], half * length[k]),
                ("speedup", speedup[k], noise[1], half * speedup[k]),
            )
        }
        time = _cell(times[k], times[k], times[k] * noise[2], half * times[k] / 2)
        depths.append({"depth": k, **cells, "round_time": time, **_step(k, speedup, scale, half)})
        depths[-1]["break_even_rate"] = None if k == 0 else _needed(k, length, survival, times)
    count = np.diff(np.concatenate([[0.0], 1 - survival, [1.0]]))
    return {
        "set": dict(settings or {}),
        "requests": 40000,
        "rounds": 8000000,
        "precision_reached": True,
        "interrupted": False,
        "warnings": [],
        "measured": {
            "conditional": list(rates),
            "survival": survival.tolist(),
            "pooled": float(survival.mean()),
        },
        "accepted": {
            "count": list(range(length.size)),
            "theory": count.tolist(),
            "exact": count.tolist() if exact else None,
            "mean": (count * (1 + 0.5 * relative_half_width)).tolist(),
            "low": (count * (1 - 0.5 * relative_half_width)).tolist(),
            "high": (count * (1 + 1.5 * relative_half_width)).tolist(),
        },
        "depths": depths,
        "trial": _trial(depths, np.asarray(rates, float), times),
        "diagnostics": _diagnostics(len(depths) - 1, rates),
        "advice": _advice(depths),
    }


def _step(k: int, speedup: np.ndarray, scale: np.ndarray, half: float) -> dict[str, Any]:
    if k == 0:
        return {"marginal": None, "theory_error": None}
    gain = speedup[k] / speedup[k - 1]
    actual = gain * scale[k] / scale[k - 1]
    low, high = 1 / scale[k] - 1 - half, 1 / scale[k] - 1 + half
    settled = "holds" if max(-low, high) < 0.005 else "undecided"
    verdict = "fails" if high < -0.005 or low > 0.005 else settled
    error = {"mean": (low + high) / 2, "low": low, "high": high, "verdict": verdict}
    error["requests_needed"] = 12000 if verdict == "undecided" else None
    return {"marginal": _cell(gain, actual, actual, half * actual), "theory_error": error}


def _needed(k: int, length: np.ndarray, survival: np.ndarray, times: np.ndarray) -> float:
    reached = 1.0 if k == 1 else survival[k - 2]
    return float(length[k - 1] * (times[k] / times[k - 1] - 1) / reached)


def _trial(depths: list[dict[str, Any]], rates: np.ndarray, times: np.ndarray) -> dict[str, Any]:
    """Every definition plugged into the closed form, over the simulated speedups of ``depths``."""
    reach = np.cumsum(np.log(rates))
    plugged = {
        "stated": rates,
        "conditional": rates,
        "survival": np.exp(reach),
        "pooled": np.full(rates.size, np.exp(reach).mean()),
        "first": np.full(rates.size, rates[0]),
    }
    rows = []
    for weighting, shift in (("round-pooled", 0.0), ("request-mean", 0.01), ("every-position", 0)):
        for name, values in plugged.items():
            if name == "stated" and weighting != "round-pooled":
                continue
            length = 1 + np.cumsum(np.cumprod(values))
            speedups = TARGET * length / times[1:] * (1 + shift)
            rows.append(
                {
                    "definition": name,
                    "weighting": None if name == "stated" else weighting,
                    "chosen": name == "stated",
                    "rates": {field: values.tolist() for field in ("mean", "low", "high")},
                    "depths": [
                        {"depth": d["depth"], "speedup_error": _error(predicted, d["speedup"])}
                        for d, predicted in zip(depths[1:], speedups, strict=True)
                    ],
                }
            )
    return {"measured_at": rates.size, "rows": rows}


def _error(predicted: float, cell: dict[str, Any]) -> dict[str, Any]:
    mean, half = predicted / cell["mean"] - 1, (cell["high"] - cell["low"]) / 2 / cell["mean"]
    verdict = "holds" if abs(mean) + half < 0.005 else "fails"
    return {"mean": mean, "low": mean - half, "high": mean + half, "verdict": verdict}


def _diagnostics(depth: int, rates: Sequence[float]) -> dict[str, Any]:
    lags = [1, 2, 3, 5, 10, 20]
    mean = [0.3 * 0.8**lag + 0.1 for lag in lags]
    by_depth = [[rate - 0.01 * k for rate in rates[:k]] for k in range(1, depth + 1)]
    return {
        "measured_at": depth,
        "design_effect": {"mean": 9.0, "low": 8.4, "high": 9.6},
        "too_narrow": {"mean": 3.0, "low": 2.9, "high": 3.1},
        "autocorrelation": {
            "requests": 2000,
            "lag": lags,
            "mean": mean,
            "low": [m - 0.01 for m in mean],
            "high": [m + 0.01 for m in mean],
        },
        "lasting_share": {"mean": 0.1, "low": 0.09, "high": 0.11},
        "survivorship": {"mean": 0.02, "low": 0.01, "high": 0.03} if depth > 1 else None,
        "rates_by_depth": [
            {"depth": k, "mean": r, "low": [v - 0.001 for v in r], "high": [v + 0.001 for v in r]}
            for k, r in enumerate(by_depth, 1)
        ],
    }


def _advice(depths: list[dict[str, Any]]) -> dict[str, Any]:
    means = [depth["speedup"]["mean"] for depth in depths]
    best = int(np.argmax(means))
    lead = depths[best]["speedup"]
    gains = [depth["marginal"]["mean"] for depth in depths[1:]]
    words = ["essential" if g > 1.2 else "worthwhile" if g > 1 else "harmful" for g in gains]
    return {
        "depth": best,
        "confidence": 0.99,
        "candidates": [d["depth"] for d in depths if d["speedup"]["high"] >= lead["low"]],
        "verdicts": words,
        "sentence": f"Run depth {best}: it is {means[best]:.3f}x as fast as plain decoding.",
        "why": f"Going from depth {best} to {best + 1} loses speed, because a round takes longer "
        "by more than the extra accepted drafts bring.",
    }


def document(points: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A result document around points."""
    return {
        "mtpsim": "0.1.0",
        "experiment": {
            "title": "Production MTP head, depth 1-3",
            "acceptance": {"model": "independent", "rates": list(RATES)},
            "latency": {"target": TARGET, "verify": list(VERIFY), "draft": list(DRAFT)},
            "simulation": {"confidence": 0.95, "epsilon": 0.005, "rounds": 200, "tokens": None},
        },
        "provenance": {},
        "warnings": [],
        "points": points,
        **more,
    }


def example_result(**options: Any) -> dict[str, Any]:
    """The founding case at depths 0 to 3: one point."""
    return document([example_point(**options)])


def example_sweep(values: Sequence[float] = (0.0, 0.1, 0.4)) -> dict[str, Any]:
    """A sweep of the noise; the more noise, the further the formula is off."""
    points = [
        example_point({"latency.noise.cv": cv}, bias=-0.08 * cv, seed=n)
        for n, cv in enumerate(values)
    ]
    points[-1]["warnings"] = ["the round time varies by 40 %: the formula is off by its square"]
    return document(points)


def example_grid() -> dict[str, Any]:
    """A sweep over two keys, 3 x 4 points, in which the best depth moves."""
    points = []
    for target in (0.5, 0.7, 0.9):
        for cost in (2, 8, 20, 40):
            times = [TARGET, *(90 + cost * np.arange(1, 5)).tolist()]
            settings = {"acceptance.rate": target, "latency.draft": cost}
            points.append(example_point(settings, rates=[target] * 4, round_time=times))
    return document(points)


def example_deep(depth: int = 16) -> dict[str, Any]:
    """Many depths, of which the middle is the best."""
    rates = np.linspace(0.93, 0.8, depth).tolist()
    times = [TARGET, *(88 + 9.0 * np.arange(1, depth + 1)).tolist()]
    return document([example_point(rates=rates, round_time=times)])


def example_round_times(result: dict[str, Any], cv: float = 0.1) -> list[list[np.ndarray]]:
    """Sorted samples of the round time at each depth, one entry a point; constant with cv 0."""
    rng = np.random.default_rng(7)
    by_point = []
    for point in result["points"]:
        means = [depth["round_time"]["theory"] for depth in point["depths"]]
        s = np.sqrt(np.log1p(cv**2))
        draws = [np.sort(m * rng.lognormal(-(s**2) / 2, s, 20_000)) for m in means]
        by_point.append(draws if cv else [np.full(2000, m) for m in means])
    return by_point


def without_numbers(result: dict[str, Any]) -> dict[str, Any]:
    """The document of a run that has nothing to say: every estimate is null."""
    bare = json.loads(json.dumps(result))
    for point in bare["points"]:
        point["advice"] = point["accepted"] = None
        for depth in point["depths"]:
            for name in ("accept_length", "round_time", "speedup", "marginal"):
                if depth[name]:
                    depth[name].update(exact=None, mean=None, low=None, high=None)
        nothing = {"mean": None, "low": None, "high": None}
        for row in point["trial"]["rows"]:
            for entry in row["depths"]:
                entry["speedup_error"] = {**nothing, "verdict": None}
        point["diagnostics"].update(autocorrelation=None, lasting_share=None, too_narrow=None)
        for entry in point["diagnostics"]["rates_by_depth"]:
            entry.update({name: [None] * entry["depth"] for name in nothing})
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
