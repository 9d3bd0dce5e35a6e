"""Warnings about the input of an experiment: what limits what its results mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtpsim.config.serving_limits import limit_warnings
from mtpsim.formula.closed_form import time_warnings

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment


def input_warnings(experiment: Experiment) -> list[str]:
    """Properties of the input that limit what the results mean, one sentence each."""
    found = experiment.acceptance.warnings() + experiment.latency.warnings()
    found += experiment.time_warnings()
    if experiment.serving is not None:
        if getattr(experiment.source, "draws", 1) > 1:
            found.append(
                "a server plays all draws of a replay; its intervals are those of its replications "
                "without the uncertainty of the draws and of the sample of requests"
            )
        costs = [key for key, value in experiment.serving.switching().items() if value]
        if costs and not experiment.serving.policies:
            names = ", ".join(f"serving.{key}" for key in costs)
            found.append(f"no policy changes the depth, so nothing reads {names}")
        return found + limit_warnings(experiment)
    if experiment.simulation.rounds and experiment.source.requests_differ:
        found.append(
            "requests differ from each other permanently: with `rounds` every request has the "
            "same weight, while a server runs more rounds for hard requests; use `tokens` for "
            "the server's average"
        )
    return found


def step_warnings(experiment: Experiment) -> list[str]:
    """Warnings on mean times that are not plausible, one sentence each."""
    latency, drafted = experiment.latency, experiment.drafted
    depth = experiment.source.depth if drafted is None else int(drafted[-1])
    most = latency.usual_depth(depth) if drafted is None else depth
    times = (time[: most + 1] for time in experiment.step_times())
    if experiment.serving is not None:
        found = latency.load_warnings(experiment.serving.max_tokens)
    else:
        found = latency.depth_warnings(depth)
    return found + time_warnings(*times)
