"""Samples of single round times for the plots, simulated when first used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import overload

from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Experiment
from mtpsim.engine.compile import compile_plan
from mtpsim.engine.round_traces import sample_rounds
from mtpsim.engine.simulate import compiled_latency


class RoundTimes(Sequence[list[Floats]]):
    """For each point its :func:`drawn_times`; a long sweep shows few of its points.

    Args:
        points: experiments without a sweep.

    """

    def __init__(self, points: Sequence[Experiment]) -> None:
        self._points = points
        self._drawn = cache(lambda number: drawn_times(points[number]))

    def __len__(self) -> int:
        return len(self._points)

    @overload
    def __getitem__(self, number: int) -> list[Floats]: ...

    @overload
    def __getitem__(self, number: slice) -> RoundTimes: ...

    def __getitem__(self, number: int | slice) -> list[Floats] | RoundTimes:
        if isinstance(number, slice):
            return RoundTimes(self._points[number])
        return self._drawn(range(len(self))[number])


def drawn_times(experiment: Experiment) -> list[Floats]:
    """Times in ms of single rounds at each depth, ``K + 1`` arrays: rounds of the run itself."""
    source = experiment.acceptance.chain()
    latency = compiled_latency(experiment, source.depth)
    seed, horizon = experiment.simulation.seed, experiment.simulation.horizon
    plan = compile_plan(
        source, latency, seed=seed, rounds=horizon["rounds"], tokens=horizon["tokens"]
    )
    return [sample_rounds(source, plan, depth)[1] for depth in range(source.depth + 1)]
