"""Scenarios of a point: draws of uncertain inputs, ends of their intervals, declared scenarios.

All are simulated on common random numbers, so that they differ through their inputs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mtpsim.acceptance import Recording
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.scenarios import scenarios, value_at
from mtpsim.config.uncertainty import draw_inputs, interval_ends
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
        replayed (int): Number of draws of a replay among ``draws``; 0 without a replay.
        sets (list[JsonDict]): Keys and values that each declared scenario sets.
        scenarios (list[Experiment]): One experiment per declared scenario.
    """

    inputs: dict[str, Floats] = field(default_factory=dict)
    draws: list[Experiment] = field(default_factory=list)
    ends: list[Experiment] = field(default_factory=list)
    replayed: int = 0
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
            chunk, requests = point.plan.chunk, experiment.simulation.requests
            if isinstance(point.source, Recording) and point.source.in_order and requests:
                return point, 0, requests  # each recorded request once
            return point, 0, min(chunk, requests or chunk)

        found: list[Estimates] = []
        policies: list[Estimates] = []
        lengths: list[Estimates] = []
        requests, queue = 0, BlockQueue(pool, block, 0, len(experiments))
        try:
            for number, experiment in enumerate(experiments):
                tally, point = queue.take(number), compiled.pop(number)
                requests, plan = tally.count, point.plan
                if isinstance(point.source, Recording):
                    tally = replace(tally, comoment=tally.comoment * point.source.widening**2)
                found.append(_estimates(estimators.speedup, plan, tally, experiment))
                if self.replayed and number < len(self.draws):
                    lengths.append(_estimates(estimators.accept_length, plan, tally, experiment))
                if plan.policy_set is not None:
                    policies.append(_estimates(estimators.with_policies, plan, tally, experiment))
                on_progress(len(found) / len(experiments))
        finally:
            queue.cancel()
        one, two = len(self.draws), len(self.draws) + len(self.ends)
        return ScenarioResults(
            self, requests, found[:one], found[one:two], found[two:], policies, lengths
        )


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
        lengths (list[Estimates]): Accept length by depth of each draw of a replay.
    """

    variants: Scenarios
    requests: int
    draws: list[Estimates]
    ends: list[Estimates]
    scenarios: list[Estimates]
    policies: list[Estimates]
    lengths: list[Estimates] = field(default_factory=list)


def has_scenarios(experiment: Experiment) -> bool:
    """Return whether variants of a point are simulated besides the point itself."""
    return bool(experiment.uncertainty or experiment.robust or replay_draws(experiment) > 1)


def replay_draws(experiment: Experiment) -> int:
    """Return how many draws of a replay the intervals include; 0 without a replay."""
    source = experiment.source
    if not isinstance(source, Recording) or source.draws == 1 or experiment.serving is not None:
        return 0
    return source.draws if experiment.decision.quantile is None else 0


def _one_draw(experiment: Experiment, number: int) -> JsonDict:
    """Return the changes that play each request of a draw of a replay once, in order."""
    source, replayed = experiment.source, replay_draws(experiment)
    if not isinstance(source, Recording) or not replayed:
        return {}
    simulation = experiment.simulation.model_dump(exclude_none=True, exclude={"precision"})
    simulation["requests"] = source.requests // replayed
    draw = number % replayed + 1
    order = {"acceptance.draw": draw, "acceptance.order": "recorded"}
    return {**order, "simulation": simulation}


def scenarios_of(experiment: Experiment) -> Scenarios:
    """All variants of the experiment of a point.

    Each draw of a replay plays all of its requests once: over the draws, the speedups vary by what
    the log does not show, and the error of each is that of the sample of requests.

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
    replayed = replay_draws(experiment)
    count = len(next(iter(inputs.values()), [])) or replayed
    sets = list(scenarios(raw, experiment.robust)) if experiment.robust else []

    def changes(values: dict[str, Floats]) -> JsonDict:
        return {key: _like(raw, key, v) for key, v in values.items()}

    try:
        drawn = [
            experiment.changed(
                changes({key: rows[i] for key, rows in inputs.items()}) | _one_draw(experiment, i),
                policies=True,
            )
            for i in range(count)
        ]
        moved = [
            experiment.changed(changes({key: end})) for key, both in ends.items() for end in both
        ]
    except InputError as error:
        first = error.problems[0]
        message = f"a draw of the uncertain inputs is invalid: {first.key}: {first.text}"
        raise InputError.of(message, key="uncertainty.inputs") from None
    return Scenarios(
        inputs,
        drawn,
        moved,
        replayed,
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
