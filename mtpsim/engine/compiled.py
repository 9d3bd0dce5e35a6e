"""A point of either kind, compiled: single requests, or a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtpsim.config.experiment import Experiment
from mtpsim.engine.simulate import CompiledPoint, KernelPlan, compile_point, tally_block
from mtpsim.stats.estimators import Tally

if TYPE_CHECKING:
    from mtpsim.engine.server import CompiledServer, ServerPlan

    Compiled = CompiledPoint | CompiledServer
    Plan = KernelPlan | ServerPlan


def compiled(experiment: Experiment) -> Compiled:
    """Compile an experiment without a sweep.

    Raises:
        InputError: A distribution can't be tabulated, or a policy can't be solved.
    """
    if experiment.serving is None:
        return compile_point(experiment)
    from mtpsim.engine.server import compile_server

    return compile_server(experiment)


def tally_of(plan: Plan, first: int, count: int) -> Tally:
    """Tally of requests, or of replications of a server, from ``first`` on."""
    if isinstance(plan, KernelPlan):
        return tally_block(plan, first, count)
    from mtpsim.engine.server import tally_server

    return tally_server(plan, first, count)
