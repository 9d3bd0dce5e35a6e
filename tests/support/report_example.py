"""Result documents for the tests of the report, made from the closed form and stated widths."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mtpsim.config.simulation import Decision
from mtpsim.report.document import (
    AcceptedDrafts,
    Advice,
    Autocorrelation,
    BreakEven,
    BreakEvenRate,
    BreakEvenTime,
    DefinitionDepth,
    DefinitionRow,
    Definitions,
    DepthResult,
    Diagnostics,
    ExactInterval,
    Interval,
    JudgedInterval,
    MeasuredRates,
    PointResult,
    Quantity,
    RatesAtDepth,
    ResultDocument,
    Series,
    TheoryError,
)
from mtpsim.results.advice import judge

RATES = (0.80, 0.74, 0.67)
VERIFY = (90.0, 104.0, 117.0)
DRAFT = (8.0, 14.0, 22.0)
TARGET = 76.0
DECISION = Decision.model_validate({})


def _interval(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _quantity(
    theory: float, *, factor: float = 1.0, noise: float = 1.0, half: float, exact: bool = True
) -> Quantity:
    true = theory * factor
    return Quantity(theory=theory, exact=true if exact else None, **_interval(true * noise, half))


def _accepted(survival: Any, half: float, *, exact: bool) -> AcceptedDrafts:
    shares = np.diff(np.concatenate([[0.0], 1 - survival, [1.0]]))
    return AcceptedDrafts(
        count=list(range(shares.size)),
        theory=shares.tolist(),
        exact=shares.tolist() if exact else None,
        mean=(shares * (1 + 0.5 * half)).tolist(),
        low=(shares * (1 - 0.5 * half)).tolist(),
        high=(shares * (1 + 1.5 * half)).tolist(),
    )


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
        more = {"factor": scale[k], "exact": exact}
        depth = DepthResult(
            depth=k,
            accept_length=_quantity(length[k], noise=noise[0], half=half * length[k], **more),
            speedup=_quantity(speedup[k], noise=noise[1], half=half * speedup[k], **more),
            round_time=_quantity(times[k], noise=noise[2], half=half * times[k] / 2),
        )
        if k:
            gain, factor = speedup[k] / speedup[k - 1], scale[k] / scale[k - 1]
            depth.marginal = _quantity(gain, factor=factor, half=half * gain * factor)
            depth.theory_error = _theory_error(1 / scale[k] - 1, half)
            depth.break_even_rate = _needed(k, length, survival, times)
            allowed = times[k - 1] * length[k] / length[k - 1]
            depth.break_even = BreakEven(
                rate=BreakEvenRate(at=depth.break_even_rate, now=rates[k - 1]),
                verify=_allowed(allowed - 0.1 * times[k], now=0.9 * times[k]),
                draft=_allowed(allowed - 0.9 * times[k], now=0.1 * times[k]),
            )
        depths.append(depth)
    return PointResult(
        set=dict(settings or {}),
        requests=40000,
        rounds=8000000,
        precision_reached=True,
        measured=MeasuredRates(
            conditional=list(rates), survival=survival.tolist(), pooled=float(survival.mean())
        ),
        accepted=_accepted(survival, relative_half_width, exact=exact),
        depths=depths,
        trial=_definitions(depths, np.asarray(rates, float), times),
        diagnostics=_diagnostics(rates),
        advice=_advice(depths),
    )


def _theory_error(mean: float, half: float) -> TheoryError:
    low, high = mean - half, mean + half
    settled = "holds" if max(-low, high) < 0.005 else "undecided"
    verdict = "fails" if high < -0.005 or low > 0.005 else settled
    needed = 12000 if verdict == "undecided" else None
    return TheoryError(verdict=verdict, requests_needed=needed, **_interval(mean, half))


def _needed(k: int, length: np.ndarray, survival: np.ndarray, times: np.ndarray) -> float:
    reached = 1.0 if k == 1 else survival[k - 2]
    return float(length[k - 1] * (times[k] / times[k - 1] - 1) / reached)


def _allowed(at: float, now: float) -> BreakEvenTime:
    return BreakEvenTime(at=at, now=now, low=at - 0.1, high=at + 0.1)


def _definitions(depths: list[DepthResult], rates: np.ndarray, times: np.ndarray) -> Definitions:
    """The closed form's errors by every definition, over the simulated speedups of ``depths``."""
    reach = np.cumsum(np.log(rates))
    used = {
        "stated": rates,
        "conditional": rates,
        "survival": np.exp(reach),
        "pooled": np.full(rates.size, np.exp(reach).mean()),
        "first": np.full(rates.size, rates[0]),
    }
    rows = []
    for weighting, shift in (("round-pooled", 0.0), ("request-mean", 0.01), ("every-position", 0)):
        for name, values in used.items():
            if name == "stated" and weighting != "round-pooled":
                continue
            length = 1 + np.cumsum(np.cumprod(values))
            speedups = TARGET * length / times[1:] * (1 + shift)
            errors = [_error(s, d.speedup) for d, s in zip(depths[1:], speedups, strict=True)]
            rows.append(
                DefinitionRow(
                    definition=name,
                    weighting=None if name == "stated" else weighting,
                    chosen=name == "stated",
                    rates=Series(mean=values.tolist(), low=values.tolist(), high=values.tolist()),
                    depths=[
                        DefinitionDepth(depth=k, speedup_error=error, accept_length_error=error)
                        for k, error in enumerate(errors, 1)
                    ],
                )
            )
    return Definitions(measured_at=rates.size, rows=rows)


def _error(predicted: float, cell: Quantity) -> JudgedInterval:
    mean, half = predicted / cell.mean - 1, (cell.high - cell.low) / 2 / cell.mean
    verdict = "holds" if abs(mean) + half < 0.005 else "fails"
    return JudgedInterval(verdict=verdict, **_interval(mean, half))


def _diagnostics(rates: Sequence[float]) -> Diagnostics:
    lags = [1, 2, 3, 5, 10, 20]
    mean = [0.3 * 0.8**lag + 0.1 for lag in lags]
    depths = range(1, len(rates) + 1)
    by_depth = {k: [rate - 0.01 * k for rate in rates[:k]] for k in depths}
    return Diagnostics(
        measured_at=len(rates),
        design_effect=ExactInterval(**_interval(9.0, 0.6)),
        too_narrow=Interval(**_interval(3.0, 0.1)),
        autocorrelation=Autocorrelation(
            requests=2000,
            lag=lags,
            mean=mean,
            low=[m - 0.01 for m in mean],
            high=[m + 0.01 for m in mean],
        ),
        lasting_share=ExactInterval(**_interval(0.1, 0.01)),
        survivorship=Interval(**_interval(0.02, 0.01)) if len(rates) > 1 else None,
        rates_by_depth=[
            RatesAtDepth(depth=k, mean=r, low=[v - 0.001 for v in r], high=[v + 0.001 for v in r])
            for k, r in by_depth.items()
        ],
    )


def _advice(depths: list[DepthResult]) -> Advice:
    means = [depth.speedup.mean for depth in depths]
    best = int(np.argmax(means))
    lead = depths[best].speedup
    steps = [judge(depth.marginal, DECISION) for depth in depths[1:]]
    candidates = [d.depth for d in depths if d.speedup.high >= lead.low]
    return Advice(
        depth=best,
        confidence=0.99,
        candidates=candidates,
        within=candidates,
        verdicts=[step.verdict for step in steps],
        steps=steps,
        sentence=f"Run depth {best}: {means[best]:.3f}x.",
        why="All other depths are slower (simultaneous 95 % CI, common random numbers).",
    )


def document(points: list[PointResult], **more: Any) -> ResultDocument:
    """A result document around points."""
    return ResultDocument(
        mtpsim="0.1.0",
        experiment={
            "title": "Production MTP head, depth 1-3",
            "acceptance": {"model": "independent", "rates": list(RATES)},
            "latency": {"target": TARGET, "verify": list(VERIFY), "draft": list(DRAFT)},
            "simulation": {"confidence": 0.95, "epsilon": 0.005, "rounds": 200, "tokens": None},
        },
        points=points,
        **more,
    )


def example_result(**options: Any) -> ResultDocument:
    """The founding case at depths 0 to 3: one point."""
    return document([example_point(**options)])


def example_sweep(values: Sequence[float] = (0.0, 0.1, 0.4)) -> ResultDocument:
    """A sweep of the noise; the more noise, the further the formula is off."""
    points = [
        example_point({"latency.noise.cv": cv}, bias=-0.08 * cv, seed=n)
        for n, cv in enumerate(values)
    ]
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
    times = [TARGET, *(88 + 9.0 * np.arange(1, depth + 1)).tolist()]
    return document([example_point(rates=rates, round_time=times)])


def example_round_times(result: ResultDocument, cv: float = 0.1) -> list[list[np.ndarray]]:
    """Sorted samples of the round time at each depth, one entry a point; constant with cv 0."""
    rng = np.random.default_rng(7)
    by_point = []
    for point in result.points:
        means = [depth.round_time.theory for depth in point.depths]
        s = np.sqrt(np.log1p(cv**2))
        draws = [np.sort(m * rng.lognormal(-(s**2) / 2, s, 20_000)) for m in means]
        by_point.append(draws if cv else [np.full(2000, m) for m in means])
    return by_point


def without_numbers(result: ResultDocument) -> ResultDocument:
    """A copy in which every estimate is missing."""
    bare = copy.deepcopy(result)
    for point in bare.points:
        point.advice = point.accepted = None
        for depth in point.depths:
            _clear(depth.accept_length, depth.round_time, depth.speedup, depth.marginal)
        for row in point.trial.rows:
            _clear(*(entry.speedup_error for entry in row.depths))
        found = point.diagnostics
        found.autocorrelation = found.lasting_share = found.too_narrow = None
        for rates in found.rates_by_depth:
            rates.mean = rates.low = rates.high = [None] * rates.depth
    return bare


def _clear(*cells: Interval | None) -> None:
    for cell in filter(None, cells):
        cell.mean = cell.low = cell.high = None
        if isinstance(cell, Quantity):
            cell.exact = None
        if isinstance(cell, JudgedInterval):
            cell.verdict = ""


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
