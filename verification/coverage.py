"""Coverage of the intervals of the speedup by number of requests, and of the diagnostics.

Each cell simulates many small runs of m requests through the engine and counts how often an
interval covers the exact value. The negative control treats the rounds of those runs as
independent: it must fail where rounds are correlated.

A cell is an alarm when its coverage differs from nominal by more than 4 binomial standard errors
plus an allowance of 0.01 for small m (0.015 below 20 requests): with 2,000 runs the false alarm
rate is about 1 in 15,000 per cell. The heavy-tailed cell is known to be weak and is not judged.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.simulate import compile_plan, simulate_requests
from mtpsim.exact.chain_solver import count_moments
from mtpsim.stats import estimators
from mtpsim.stats.autocorrelation import dependence
from mtpsim.stats.estimators import Tally
from verification.check import Check, Table, coverage_slack
from verification.grid import CORRELATED, DEPTH, LEVELS, MODELS, QUANTITIES, Cell, latency, measure

ROUNDS, CONFIDENCE = 100, 0.95
LIGHT, HEAVY, LENGTH = "lognormal, cv 0.1", "Pareto 2.2", f"{ROUNDS} rounds"
SETTINGS = [*((name, LIGHT) for name in MODELS if name != "contagion"), ("independent", HEAVY)]
DIAGNOSED = [name for name in MODELS if name != "regime, stay 500"]
# Second moments are skewed: their intervals have larger allowances than a mean's.
DIAGNOSTICS = {"design effect": 0.03, "correlation, lag 1": 0.03, "lasting share": 0.04}


def diagnosed(name: str, requests: int, runs: int, seed: int) -> list[float]:
    """Coverage of the diagnostics of dependence."""
    chain, times = MODELS[name].chain(), latency({"distribution": "lognormal", "cv": 0.1})
    plan = compile_plan(chain, times.compile(DEPTH), seed=seed, rounds=ROUNDS)
    exact = count_moments(chain, DEPTH, ROUNDS)
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
    """Coverage of the speedup by setting and number of requests, and of the control."""
    table = Table("workload", *(f"m = {m}" for m in sizes), "rounds as independent")
    place = list(LEVELS).index(CONFIDENCE), QUANTITIES.index("speedup")
    for number, (name, tail) in enumerate(SETTINGS):
        cells = [Cell(name, tail, LENGTH, m, tail != HEAVY) for m in sizes]
        found = [measure(cell, runs, 1000 * number + cell.requests) for cell in cells]
        shares = [float(one.coverage[place]) for one in found]
        for cell, share in zip(cells, shares, strict=True):
            slack = coverage_slack(CONFIDENCE, runs, 0.015 if cell.requests < 20 else 0.01)
            if cell.judged and abs(share - CONFIDENCE) > slack:
                alarms.append(f"{cell.name}: coverage {share:.3f}")
        control = found[-1].control
        if name in CORRELATED and control > 0.87:
            alarms.append(f"{name}: the negative control covers {control:.3f}")
        label = name if tail == LIGHT else f"{name}, {tail}"
        table.add(label, *(f"{share:.3f}" for share in (*shares, control)))
    return table


def diagnostics_table(runs: int, requests: int, alarms: list[str]) -> Table:
    """Coverage of the diagnostics by model."""
    table = Table(f"workload, m = {requests}", *DIAGNOSTICS)
    for number, name in enumerate(DIAGNOSED):
        shares = diagnosed(name, requests, runs, seed=77_000 + number)
        for (what, allowance), share in zip(DIAGNOSTICS.items(), shares, strict=True):
            if abs(share - CONFIDENCE) > coverage_slack(CONFIDENCE, runs, allowance):
                alarms.append(f"{name}: {what} covers {share:.3f}")
        table.add(name, *(f"{share:.3f}" for share in shares))
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
speedup at depth 3 covers the exact value. Last column: intervals of the accept length with rounds
treated as independent (the negative control). `python verification/run.py coverage` writes this
page.

{first.markdown()}

Share of 2,000 runs whose interval covers the exact value, for the diagnostics of dependence. Their
intervals are based on second moments and cover slightly less often in small runs.

{second.markdown()}
"""
        Path(__file__).with_name("results.md").write_text(text)
