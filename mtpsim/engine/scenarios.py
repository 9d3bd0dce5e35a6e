"""Scenarios of a point: inputs drawn from what is known of them, their ends, declared scenarios.

Each is simulated on its own, with the random numbers of all others, so that they differ through
their inputs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.uncertainty import draw_inputs, interval_ends, scenarios, value_at
from mtpsim.engine.compile import KernelPlan
from mtpsim.engine.executors import WorkerPool
from mtpsim.engine.scheduler import Queue
from mtpsim.engine.tasks import Work
from mtpsim.stats import estimators as estimate
from mtpsim.stats.estimators import Estimates
from mtpsim.stats.moments import Tally


@dataclass(frozen=True)
class Scenarios:
    """What of a point is simulated besides itself.

    Attributes:
        inputs: drawn inputs by key, ``[draws, n]``.
        draws: an experiment for each draw.
        ends: for each key in turn, its lower and its upper end, others as in the file.
        sets: what each scenario sets.
        scenarios: an experiment for each scenario.

    """

    inputs: dict[str, Floats] = field(default_factory=dict)
    draws: list[Experiment] = field(default_factory=list)
    ends: list[Experiment] = field(default_factory=list)
    sets: list[JsonDict] = field(default_factory=list)
    scenarios: list[Experiment] = field(default_factory=list)

    @property
    def experiments(self) -> list[Experiment]:
        """All of them in order: draws, ends, scenarios."""
        return [*self.draws, *self.ends, *self.scenarios]


@dataclass(frozen=True)
class ScenarioResults:
    """Simulated speedups by depth of all variants of a point, each on ``requests`` requests."""

    variants: Scenarios
    requests: int
    draws: list[Estimates]
    ends: list[Estimates]
    scenarios: list[Estimates]


def scenarios_of(experiment: Experiment) -> Scenarios:
    """All variants that the experiment of a point asks for.

    Raises:
        InputError: an input that was drawn is not valid.

    """
    raw, simulation = experiment.raw(), experiment.simulation
    inputs: dict[str, Floats] = {}
    ends: dict[str, Floats] = {}
    if experiment.uncertainty:
        known, confidence = experiment.uncertainty, simulation.confidence
        inputs = draw_inputs(raw, known, seed=simulation.seed, confidence=confidence)
        ends = interval_ends(raw, known, confidence=confidence)
    count = len(next(iter(inputs.values()), []))
    sets = list(scenarios(raw, experiment.robust)) if experiment.robust else []

    def changed(values: dict[str, Floats]) -> Experiment:
        return experiment.changed({key: _like(raw, key, v) for key, v in values.items()})

    try:
        drawn = [changed({key: rows[i] for key, rows in inputs.items()}) for i in range(count)]
        moved = [changed({key: end}) for key, both in ends.items() for end in both]
    except InputError as error:
        first = error.problems[0]
        message = f"an input as uncertain as stated leads to {first.key}: {first.text}"
        raise InputError.of(message, key="uncertainty.inputs") from None
    return Scenarios(
        inputs,
        drawn,
        moved,
        sets,
        [experiment.changed(chosen) for chosen in sets],
    )


def _like(raw: JsonDict, key: str, values: Floats) -> Any:
    """Values in the form that the file has: a number, a list, or a list of lists."""
    left = iter(values.tolist())

    def fill(given: Any) -> Any:
        return [fill(part) for part in given] if isinstance(given, list) else next(left)

    return fill(value_at(raw, key))


def simulate_scenarios(
    variants: Scenarios, pool: WorkerPool, told: Callable[[float], None]
) -> ScenarioResults | None:
    """Simulate a unit of requests of each variant; None where there is no variant.

    Args:
        variants: of a point.
        pool: who simulates.
        told: of the share that is done.

    """
    experiments = variants.experiments
    if not experiments:
        return None
    works: dict[int, Work] = {}

    def block(number: int) -> tuple[Work, int, int]:
        experiment = experiments[number]
        work = works[number] = works.get(number) or Work.of(experiment)
        unit = work.plan.unit
        return work, 0, min(unit, experiment.simulation.requests or unit)

    found: list[Estimates] = []
    requests, queue = 0, Queue(pool, block, 0, len(experiments))
    try:
        for number, experiment in enumerate(experiments):
            tally = queue.take(number)
            requests = tally.count
            found.append(_speedup(works.pop(number).plan, tally, experiment))
            told(len(found) / len(experiments))
    finally:
        queue.cancel()
    one, two = len(variants.draws), len(variants.draws) + len(variants.ends)
    return ScenarioResults(variants, requests, found[:one], found[one:two], found[two:])


def _speedup(plan: KernelPlan, tally: Tally, experiment: Experiment) -> Estimates:
    return estimate.delta_method(
        lambda means: estimate.speedup(means, plan.layout),
        tally,
        experiment.simulation.confidence,
    )
