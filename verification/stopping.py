"""Coverage of runs that stop at a precision: does the stopping rule bias the interval?

Each run is played by the engine's own scheduler, to a half-width that takes about 40 units. A unit
of the engine has 8 requests or more, which is the first column. With units of one request the
stopping time is more random: the second column shows the effect. The third, the negative control,
checks after each request from the second on; it must cover less over all rows together. A row is an
alarm if its first column is below nominal by 4 binomial standard errors: false alarm below 1 in
10,000.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import mtpsim
from mtpsim.common.arrays import Floats
from mtpsim.engine.block_sizes import LEAST_UNIT
from mtpsim.engine.executors import Threads
from mtpsim.engine.scheduler import simulate
from mtpsim.engine.simulate import KernelPlan, compile_point, random_key, tally_block
from mtpsim.exact.chain_solver import solve
from mtpsim.stats import estimators
from mtpsim.stats.estimators import Estimates, Tally
from verification.check import Check, Table, coverage_slack
from verification.published_fact import experiment

TYPICAL, MOST, CONFIDENCE = 40, 1000, 0.95  # units
TIMES = {"target": 76, "verify": [90, 104], "draft": [8, 14]}
SHARED = TIMES | {"noise": {"distribution": "lognormal", "cv": 0.1}}  # one factor for all
# Noise of one component does not cancel in a ratio of times.
WILD = TIMES | {"verify": {"mean": [90, 104], "distribution": "lognormal", "cv": 2}}
INDEPENDENT = {"model": "independent", "rates": [0.8, 0.7]}
REGIME = {"model": "regime", "rates": [[0.95, 0.9], [0.4, 0.3]], "sojourn": [50, 50]}
BETA = {"model": "beta", "mean": 0.75, "concentration": 5, "depth": 2}
CASES = {
    "independent": (INDEPENDENT, SHARED),
    "hidden regime, mean stay 50": (REGIME, SHARED),
    "beta frailty by request": (BETA, SHARED),
    "independent, noise of cv 2": (INDEPENDENT, WILD),
}
QUANTITIES: dict[str, Callable[[Floats, KernelPlan], Floats]] = {
    "speedup": lambda means, plan: estimators.speedup(means, plan.layout)[..., 2:],
    "marginal gain": lambda means, plan: estimators.marginal(means, plan.layout)[..., 1:],
}


def truths(given: mtpsim.Experiment) -> dict[str, float]:
    source = given.acceptance.chain()
    times = given.latency.compile(source.depth).round_time
    length = [solve(source, k, rounds=100).accept_length for k in range(3)]
    pace = [a / t for a, t in zip(length, times, strict=True)]
    return {"speedup": pace[2] / pace[0], "marginal gain": pace[2] / pace[1]}


@dataclass
class Watched:
    """A run that records its estimate where it stops."""

    plan: KernelPlan
    function: Callable[[Floats, KernelPlan], Floats]
    target: float
    stopped: Estimates | None = None

    def estimate(self, tally: Tally) -> Estimates:
        return estimators.delta_method(lambda m: self.function(m, self.plan), tally, CONFIDENCE)

    def stop_when(self, tally: Tally) -> bool:
        self.stopped = self.estimate(tally)
        return bool(self.stopped.half_width[0] <= self.target)

    def hasty(self) -> Estimates | None:
        """The estimate of a run that stops at the first request, from the second on."""
        tally = tally_block(self.plan, 0, 1)
        for number in range(1, MOST):
            tally = tally + tally_block(self.plan, number, 1)
            if (found := self.estimate(tally)).half_width[0] <= self.target:
                return found
        return None


def covers(found: Estimates | None, truth: float) -> bool:
    return found is not None and bool(found.low[0] <= truth <= found.high[0])


def row(given: mtpsim.Experiment, quantity: str, runs: int, unit: int) -> tuple[float, float]:
    """Coverage with the engine's stopping rule, and with the hasty one for units of 1 request."""
    work = compile_point(given)
    function, truth = QUANTITIES[quantity], truths(given)[quantity]
    pilot = Watched(work.plan, function, 0).estimate(tally_block(work.plan, 0, 20_000))
    target = float(pilot.half_width[0]) * np.sqrt(20_000 / (TYPICAL * unit))
    pool, hits = Threads(1), np.zeros(2)
    for seed in range(1, runs + 1):
        plan = replace(work.plan, unit=unit, key=random_key(seed))
        watched = Watched(plan, function, target)
        how = {"requests": MOST * unit, "stop_when": watched.stop_when}
        simulate(replace(work, plan=plan), pool, on_progress=lambda _: None, **how)
        hits += covers(watched.stopped, truth), unit == 1 and covers(watched.hasty(), truth)
    pool.close()
    return hits[0] / runs, hits[1] / runs


def checks(smoke: bool) -> Iterator[Check]:
    """Every case, or two of them; the full run writes stopping.md."""
    runs, alarms, lead = (100 if smoke else 2000), [], 0.0
    table = Table(
        "requests", "quantity", "units of 8", "units of 1", "each request from the second on"
    )
    for name, (model, times) in list(CASES.items())[: 2 if smoke else None]:
        given = experiment(model, times, simulation={"rounds": 100})
        for quantity in QUANTITIES:
            covered, _ = row(given, quantity, runs, LEAST_UNIT)
            coarse, hasty = row(given, quantity, runs, 1)
            table.add(name, quantity, *(f"{share:.3f}" for share in (covered, coarse, hasty)))
            lead += coarse - hasty
            if covered < CONFIDENCE - coverage_slack(CONFIDENCE, runs):
                alarms.append(f"{name}, {quantity}: {covered:.3f}")
    if lead <= 0:
        alarms.append("the negative control covers as much")
    result = "; ".join(alarms) or f"{len(table.rows)} rows without an alarm"
    statement = "95% intervals of runs that stop at a precision cover at least that often"
    yield Check("stopping", statement, result, not alarms, 8e-4)
    if not smoke:
        text = f"""# Runs that stop at a precision

Coverage of the interval at the stopping time: {runs:,} runs per row, nominal {CONFIDENCE:.0%},
requests of 100 rounds. A unit of the engine has 8 requests or more: the first column. The others
are harder settings, the last one the negative control. `python verification/run.py stopping` writes
this page.

{table.markdown()}
"""
        Path(__file__).with_name("stopping.md").write_text(text)
