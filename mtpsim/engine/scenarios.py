"""Scenarios of a point: draws of uncertain inputs, ends of their intervals, declared scenarios.

All are simulated on common random numbers, so that they differ through their inputs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.uncertainty import draw_inputs, interval_ends, scenarios, value_at
from mtpsim.engine.executors import WorkerPool
from mtpsim.engine.scheduler import BlockQueue
from mtpsim.engine.simulate import CompiledPoint, KernelPlan, compile_point
from mtpsim.kernels.arrays import RowLayout
from mtpsim.stats import estimators
from mtpsim.stats.estimators import Estimates, Tally


@dataclass(frozen=True)
class Scenarios:
    """Variants of a point that are simulated besides the point itself.

    Attributes:
        inputs (dict[str, Floats]): Drawn values of each uncertain input, ``[draws, n]``, by key.
        draws (list[Experiment]): One experiment per draw of all uncertain inputs.
        ends (list[Experiment]): Two experiments per uncertain input: at the lower and at the upper
            end of its interval, other inputs as in the file.
        sets (list[JsonDict]): Keys and values that each declared scenario sets.
        scenarios (list[Experiment]): One experiment per declared scenario.
    """

    inputs: dict[str, Floats] = field(default_factory=dict)
    draws: list[Experiment] = field(default_factory=list)
    ends: list[Experiment] = field(default_factory=list)
    sets: list[JsonDict] = field(default_factory=list)
    scenarios: list[Experiment] = field(default_factory=list)

    @property
    def experiments(self) -> list[Experiment]:
        """All variants in the order draws, ends, scenarios."""
        return [*self.draws, *self.ends, *self.scenarios]

    def simulate(
        self, pool: WorkerPool, on_progress: Callable[[float], None]
    ) -> ScenarioResults | None:
        """Simulate a chunk of requests of each variant.

        Args:
            pool (WorkerPool): The workers.
            on_progress (Callable): Called with the share that is done, 0 to 1.

        Returns:
            None if there is no variant.
        """
        experiments = self.experiments
        if not experiments:
            return None
        compiled: dict[int, CompiledPoint] = {}

        def block(number: int) -> tuple[CompiledPoint, int, int]:
            experiment = experiments[number]
            point = compiled[number] = compiled.get(number) or compile_point(experiment)
            chunk = point.plan.chunk
            return point, 0, min(chunk, experiment.simulation.requests or chunk)

        found: list[Estimates] = []
        policies: list[Estimates] = []
        requests, queue = 0, BlockQueue(pool, block, 0, len(experiments))
        try:
            for number, experiment in enumerate(experiments):
                tally = queue.take(number)
                requests = tally.count
                plan = compiled.pop(number).plan
                found.append(_estimates(estimators.speedup, plan, tally, experiment))
                if plan.policy_set is not None:
                    policies.append(_estimates(estimators.with_policies, plan, tally, experiment))
                on_progress(len(found) / len(experiments))
        finally:
            queue.cancel()
        one, two = len(self.draws), len(self.draws) + len(self.ends)
        return ScenarioResults(self, requests, found[:one], found[one:two], found[two:], policies)


@dataclass(frozen=True)
class ScenarioResults:
    """Simulated speedups by depth of all variants of a point.

    Attributes:
        variants (Scenarios): The variants.
        requests (int): Number of requests per variant.
        draws (list[Estimates]): Speedup by depth of each draw.
        ends (list[Estimates]): Speedup by depth at each end of each input.
        scenarios (list[Estimates]): Speedup by depth of each declared scenario.
        policies (list[Estimates]): Speedup by depth and policy of each draw; may be empty.
    """

    variants: Scenarios
    requests: int
    draws: list[Estimates]
    ends: list[Estimates]
    scenarios: list[Estimates]
    policies: list[Estimates]


def scenarios_of(experiment: Experiment) -> Scenarios:
    """All variants of the experiment of a point.

    Raises:
        InputError: A drawn input is not valid.
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

    def changed(values: dict[str, Floats], *, policies: bool = False) -> Experiment:
        changes = {key: _like(raw, key, v) for key, v in values.items()}
        return experiment.changed(changes, policies=policies)

    try:
        drawn = [
            changed({key: rows[i] for key, rows in inputs.items()}, policies=True)
            for i in range(count)
        ]
        moved = [changed({key: end}) for key, both in ends.items() for end in both]
    except InputError as error:
        first = error.problems[0]
        message = f"a draw of the uncertain inputs is invalid: {first.key}: {first.text}"
        raise InputError.of(message, key="uncertainty.inputs") from None
    return Scenarios(
        inputs,
        drawn,
        moved,
        sets,
        [experiment.changed(chosen) for chosen in sets],
    )


def _like(raw: JsonDict, key: str, values: Floats) -> Any:
    """Arrange values as the file does: a number, a list, or a list of lists."""
    left = iter(values.tolist())

    def fill(given: Any) -> Any:
        return [fill(part) for part in given] if isinstance(given, list) else next(left)

    return fill(value_at(raw, key))


def _estimates(
    function: Callable[[Floats, RowLayout], Floats],
    plan: KernelPlan,
    tally: Tally,
    experiment: Experiment,
) -> Estimates:
    return estimators.delta_method(
        lambda means: function(means, plan.layout), tally, experiment.simulation.confidence
    )
