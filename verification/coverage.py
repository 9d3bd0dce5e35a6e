"""Coverage of the intervals of the speedup and of the diagnostics, over thousands of runs.

Each cell simulates many small runs of m requests through the engine and counts how often the
interval of the speedup at the greatest depth covers the exact value. The negative control treats
the rounds of those runs as independent: it must fail where rounds are correlated.

A cell is an alarm when its coverage differs from nominal by more than 4 binomial standard errors
plus an allowance of 0.01 for small m (0.015 below 20 requests): with 2,000 runs the false alarm
rate is about 1 in 15,000 per cell. The heavy-tailed cell is known to be weak and is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtpsim.acceptance import AcceptanceModel, Beta, Contagion, Independent, Regime
from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.simulate import compile_plan, simulate_requests
from mtpsim.exact.chain_solver import count_moments, speedups
from mtpsim.latency import Latency
from mtpsim.stats import estimators
from mtpsim.stats.autocorrelation import dependence
from mtpsim.stats.estimators import Tally
from verification.check import Check, Table, coverage_slack

ROUNDS, CONFIDENCE = 100, 0.95
RATES = [[0.95, 0.9, 0.85], [0.4, 0.3, 0.2]]


def regime(stay: float, clock: str = "round") -> Regime:
    return Regime(model="regime", clock=clock, rates=RATES, sojourn=[stay, stay])


@dataclass(frozen=True)
class Case:
    """A workload; ``correlated``: its rounds are, so that the control must fail."""

    name: str
    model: AcceptanceModel
    noise: dict[str, Any]
    correlated: bool = True
    judged: bool = True


LIGHT = {"distribution": "lognormal", "cv": 0.1}
SAME = Independent(model="independent", rates=[0.8, 0.7, 0.6])
INDEPENDENT = Case("independent", SAME, LIGHT, correlated=False)
REGIMES = [Case(f"regime, stay {stay}", regime(stay), LIGHT) for stay in (5, 50, 500)]
BY_TOKEN = Case("regime, token clock, stay 50", regime(50, "token"), LIGHT)
BETA = Beta(model="beta", mean=0.75, concentration=5, depth=3)
BY_REQUEST = Case("beta by request (3.75, 1.25)", BETA, LIGHT)
SHAKEN = Contagion(model="contagion", rates=[0.9, 0.85, 0.8], drop=0.4, duration=4)
PARETO = {"distribution": "pareto", "alpha": 2.2}
HEAVY = Case("independent, Pareto 2.2", SAME, PARETO, correlated=False, judged=False)
CASES = [INDEPENDENT, *REGIMES, BY_TOKEN, BY_REQUEST, HEAVY]
DIAGNOSED = [INDEPENDENT, *REGIMES[:2], BY_TOKEN, Case("contagion", SHAKEN, LIGHT), BY_REQUEST]
# Second moments are skewed: their intervals have larger allowances than a mean's.
DIAGNOSTICS = {"design effect": 0.03, "correlation, lag 1": 0.03, "lasting share": 0.04}


def latency(noise: dict[str, Any]) -> Latency:
    """Verify and draft with separate noise, so that times do not cancel in the speedup."""
    return Latency.model_validate(
        {
            "target": 76,
            "verify": {**noise, "mean": [90, 104, 117]},
            "draft": {**noise, "mean": [8, 14, 22]},
        }
    )


def hits(case: Case, requests: int, runs: int, seed: int) -> tuple[float, float]:
    """Coverage of the interval, and of one that treats rounds as independent."""
    chain = case.model.chain()
    compiled = latency(case.noise).compile(chain.depth)
    plan = compile_plan(chain, compiled, seed=seed, rounds=ROUNDS)
    truth = speedups(chain, compiled.round_time, rounds=ROUNDS)[-1]
    covered = control = 0
    for run in range(runs):
        rows = simulate_requests(plan, run * requests, requests)
        tally = Tally.of(rows)
        found = estimators.delta_method(
            lambda m: estimators.speedup(m, plan.layout), tally, CONFIDENCE
        )
        covered += bool(found.low[-1] <= truth <= found.high[-1])
        half = independent_half_width(tally, plan.layout, compiled.round_time[-1], case, requests)
        control += bool(abs(found.values[-1] - truth) <= half * found.values[-1])
    return covered / runs, control / runs


def independent_half_width(tally, layout, time, case, requests):  # type: ignore[no-untyped-def]
    """Relative half-width from the variance of single rounds, as if they were independent."""
    share = estimators.exactly_accepted(tally.mean, layout)
    length = np.arange(1, layout.depth + 2)
    mean = share @ length
    variance = (share @ length**2 - mean**2) / mean**2
    cv = case.noise.get("cv", 0.0)
    variance += cv**2 * (117**2 + 22**2) / time**2
    return 1.96 * np.sqrt(variance / (requests * ROUNDS))


def diagnosed(case: Case, requests: int, runs: int, seed: int) -> list[float]:
    """Coverage of the diagnostics of dependence."""
    chain = case.model.chain()
    plan = compile_plan(chain, latency(case.noise).compile(3), seed=seed, rounds=ROUNDS)
    exact = count_moments(chain, 3, ROUNDS)
    truth = [exact.design_effect, exact.autocorrelation(1), exact.lasting_share]
    counts, hits = record_requests(plan, runs * requests, ROUNDS), np.zeros(3)
    for at in range(0, runs * requests, requests):
        tally = Tally.of(simulate_requests(plan, at, requests))
        found = dependence(counts[at : at + requests], CONFIDENCE)
        assert found is not None
        effect = estimators.delta_method(
            lambda m: estimators.design_effect(m, plan.layout), tally, CONFIDENCE
        )
        estimates = [effect, found.autocorrelation, found.lasting_share]
        hits += [e.low[0] <= t <= e.high[0] for e, t in zip(estimates, truth, strict=True)]
    return (hits / runs).tolist()


def speedups_table(runs: int, sizes: tuple[int, ...], alarms: list[str]) -> Table:
    """Coverage of the speedup by case and number of requests, and of the control."""
    table = Table("workload", *(f"m = {m}" for m in sizes), "rounds as independent")
    for number, case in enumerate(CASES):
        cells = [hits(case, m, runs, seed=1000 * number + m) for m in sizes]
        for m, (covered, _) in zip(sizes, cells, strict=True):
            slack = coverage_slack(CONFIDENCE, runs, 0.015 if m < 20 else 0.01)
            if case.judged and abs(covered - CONFIDENCE) > slack:
                alarms.append(f"{case.name}, m = {m}: coverage {covered:.3f}")
        control = cells[-1][1]
        if case.correlated and control > 0.87:
            alarms.append(f"{case.name}: the negative control covers {control:.3f}")
        shown = f"{control:.3f}" if "cv" in case.noise else "-"
        table.add(case.name, *(f"{covered:.3f}" for covered, _ in cells), shown)
    return table


def diagnostics_table(runs: int, requests: int, alarms: list[str]) -> Table:
    """Coverage of the diagnostics by case."""
    table = Table(f"workload, m = {requests}", *DIAGNOSTICS)
    for number, case in enumerate(DIAGNOSED):
        shares = diagnosed(case, requests, runs, seed=77_000 + number)
        for (name, allowance), share in zip(DIAGNOSTICS.items(), shares, strict=True):
            if abs(share - CONFIDENCE) > coverage_slack(CONFIDENCE, runs, allowance):
                alarms.append(f"{case.name}: {name} covers {share:.3f}")
        table.add(case.name, *(f"{share:.3f}" for share in shares))
    return table


def checks(smoke: bool) -> Iterator[Check]:
    """Both tables; the full run writes results.md."""
    runs, sizes = (400, (30,)) if smoke else (4000, (10, 30, 100))
    alarms: list[str] = []
    first = speedups_table(runs, sizes, alarms)
    second = diagnostics_table(200 if smoke else 2000, 100, alarms)
    rows = len(first.rows) + len(second.rows)
    result = "; ".join(alarms) or f"{rows} rows without an alarm"
    statement = "95% intervals of the speedup and the diagnostics have nominal coverage"
    yield Check("coverage", statement, result, not alarms, 3e-3)
    if not smoke:
        text = f"""# Coverage of the intervals

Share of {runs:,} runs of m requests ({ROUNDS} rounds each) whose {CONFIDENCE:.0%} interval of the
speedup at depth 3 covers the exact value. Last column: the same data with rounds treated as
independent (the negative control). `python verification/run.py coverage` writes this page.

{first.markdown()}

Share of 2,000 runs whose interval covers the exact value, for the diagnostics of dependence. Their
intervals are based on second moments and cover slightly less often in small runs.

{second.markdown()}
"""
        Path(__file__).with_name("results.md").write_text(text)
