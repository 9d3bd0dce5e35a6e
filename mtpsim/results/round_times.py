"""Samples of single round times for the plots, drawn when first used.

They follow the distribution of a single round in a run. The kernels are not used, so that a
finished run is shown without a wait for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import overload

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Experiment
from mtpsim.exact.chain_solver import solve
from mtpsim.latency import CompiledLatency

SAMPLE = 20_000


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
    """A sample of single rounds' times in ms at each depth, ``K + 1`` arrays.

    The slowdown of the states is included.
    """
    source = experiment.acceptance.chain()
    latency = experiment.latency.compile(source.depth)
    seed, depths = experiment.simulation.seed, range(source.depth + 1)
    times = [_single_rounds(latency, depth, seed) for depth in depths]
    if (source.slowdown == 1).all():
        return times
    for depth in depths:
        starts = solve(source, depth, **experiment.simulation.horizon).starts
        rng = np.random.default_rng((seed, depth))
        times[depth] = times[depth] * rng.choice(source.slowdown, SAMPLE, p=starts)
    return times


def _single_rounds(latency: CompiledLatency, depth: int, seed: int) -> Floats:
    """``[SAMPLE]`` independent times of a round in ms, without slowdown."""
    from scipy.special import ndtr

    scores = np.random.default_rng(seed).standard_normal((2, SAMPLE))
    rest = np.sqrt(1 - latency.correlation**2)
    scores[1] = latency.correlation * scores[0] + rest * scores[1]
    u = ndtr(scores)
    if depth == 0:
        return latency.target * latency.target_noise.quantile(u[0])
    check = latency.verify_noise.quantile(u[0])
    propose = check if latency.shared else latency.draft_noise.quantile(u[1])
    return np.asarray(latency.verify[depth] * check + latency.draft[depth] * propose)
