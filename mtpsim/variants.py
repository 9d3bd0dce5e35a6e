"""Variants of a point: inputs drawn from what is known of them, their ends, declared scenarios.

Each is simulated on its own, with the random numbers of all others, so that they differ through
their inputs alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mtpsim import estimate
from mtpsim.compile import Plan
from mtpsim.estimate import Estimates
from mtpsim.experiment import Experiment, Raw
from mtpsim.problems import InputError, Problem
from mtpsim.simulate import IN_FLIGHT, Submit, plan_experiment
from mtpsim.spread import draws_of, ends_of, scenarios, value_at
from mtpsim.tally import Floats, Tally


@dataclass(frozen=True)
class Variants:
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
    sets: list[Raw] = field(default_factory=list)
    scenarios: list[Experiment] = field(default_factory=list)

    @property
    def experiments(self) -> list[Experiment]:
        """All of them in order: draws, ends, scenarios."""
        return [*self.draws, *self.ends, *self.scenarios]


@dataclass(frozen=True)
class Outcomes:
    """Simulated speedups by depth of all variants of a point, each on ``requests`` requests."""

    variants: Variants
    requests: int
    draws: list[Estimates]
    ends: list[Estimates]
    scenarios: list[Estimates]


def variants_of(experiment: Experiment) -> Variants:
    """All variants that the experiment of a point asks for.

    Raises:
        InputError: an input that was drawn is not valid.

    """
    raw, simulation = experiment.raw(), experiment.simulation
    inputs: dict[str, Floats] = {}
    ends: dict[str, Floats] = {}
    if experiment.uncertainty:
        known, confidence = experiment.uncertainty, simulation.confidence
        inputs = draws_of(raw, known, simulation.seed, confidence)
        ends = ends_of(raw, known, confidence)
    count = len(next(iter(inputs.values()), []))
    sets = list(scenarios(raw, experiment.robust)) if experiment.robust else []

    def changed(values: dict[str, Floats]) -> Experiment:
        return experiment.changed({key: _like(raw, key, v) for key, v in values.items()})

    try:
        drawn = [changed({key: rows[i] for key, rows in inputs.items()}) for i in range(count)]
        moved = [changed({key: end}) for key, both in ends.items() for end in both]
    except InputError as error:
        first = error.problems[0]
        message = f"an input as uncertain as stated leads to {first.key}: {first.message}"
        raise InputError([Problem("", "uncertainty.inputs", None, message)]) from None
    return Variants(
        inputs,
        drawn,
        moved,
        sets,
        [experiment.changed(chosen) for chosen in sets],
    )


def _like(raw: Raw, key: str, values: Floats) -> Any:
    """Values in the form that the file has: a number, a list, or a list of lists."""
    left = iter(values.tolist())

    def fill(given: Any) -> Any:
        return [fill(part) for part in given] if isinstance(given, list) else next(left)

    return fill(value_at(raw, key))


def simulate_variants(
    variants: Variants,
    first: int,
    submit: Submit,
    worker_count: int,
    told: Callable[[float], None],
) -> Outcomes | None:
    """Simulate a block of requests of each variant; None where there is no variant.

    Args:
        variants: of a point.
        first: number of the first one, for worker processes.
        submit: from :func:`mtpsim.simulate.workers`.
        worker_count: from :func:`mtpsim.simulate.workers`.
        told: of the share that is done.

    """
    experiments = variants.experiments
    if not experiments:
        return None
    found: list[Estimates] = []
    under_way: deque[tuple[Plan, Future[Tally]]] = deque()
    requests, todo = 0, iter(enumerate(experiments))
    try:
        while len(found) < len(experiments):
            while len(under_way) < IN_FLIGHT * worker_count and (job := next(todo, None)):
                number, experiment = job
                plan = plan_experiment(experiment)
                block = min(plan.block, experiment.simulation.requests or plan.block)
                under_way.append((plan, submit(first + number, plan, 0, block)))
            plan, future = under_way.popleft()
            tally = future.result()
            requests = tally.count
            found.append(_speedup(plan, tally, experiments[len(found)]))
            told(len(found) / len(experiments))
    finally:
        for _, future in under_way:
            future.cancel()
    one, two = len(variants.draws), len(variants.draws) + len(variants.ends)
    return Outcomes(variants, requests, found[:one], found[one:two], found[two:])


def _speedup(plan: Plan, tally: Tally, experiment: Experiment) -> Estimates:
    return estimate.delta(
        lambda means: estimate.speedup(means, plan.layout),
        tally,
        experiment.simulation.confidence,
    )
