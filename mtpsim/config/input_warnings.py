"""Warnings about the input of an experiment: what limits what its results mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtpsim.formula.closed_form import time_warnings

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment


def input_warnings(experiment: Experiment) -> list[str]:
    """Properties of the input that limit what the results mean, one sentence each."""
    found = experiment.acceptance.warnings() + experiment.latency.warnings()
    found += experiment.time_warnings() + _unread_keys(experiment)
    if experiment.serving is not None:
        from mtpsim.config.serving_limits import limit_warnings

        if getattr(experiment.source, "draws", 1) > 1:
            found.append(
                "a server plays all draws of a replay; its intervals are those of its replications "
                "without the uncertainty of the draws and of the sample of requests"
            )
        return found + limit_warnings(experiment)
    batch = getattr(experiment.latency, "batch", 1)
    if batch > 1 and experiment.draft is not None and experiment.draft.lengths is not None:
        found.append(
            f"latency.batch = {batch:g} with draft.lengths: a step takes as long as if all "
            "requests proposed as many drafts; in a server each proposes its own number, and the "
            "longest sets the drafting time, so that deep drafts gain less: simulate it with "
            "[serving]"
        )
    if experiment.simulation.rounds and experiment.source.requests_differ:
        found.append(
            "requests differ from each other permanently: with `rounds` every request has the "
            "same weight, while a server runs more rounds for hard requests; use `tokens` for "
            "the server's average"
        )
    return found


def _unread_keys(experiment: Experiment) -> list[str]:
    """Sentences on given keys that none of the policies reads."""
    name = "serving" if experiment.serving is not None else "adaptive"
    section = experiment.serving or experiment.adaptive
    if section is None:
        return []
    from mtpsim.policy.fixed import ConstantDepth

    costs = [f"{name}.{key}" for key, value in section.switching().items() if value]
    changes = (not (p.shares_budget or isinstance(p, ConstantDepth)) for p in section.policies)
    found = []
    if costs and not any(changes):
        depth = "depth of the batch" if name == "serving" else "depth"
        found.append(f"no policy changes the {depth}, so nothing reads {', '.join(costs)}")
    if section.states_confidence and not any(p.reads_confidence for p in section.policies):
        key = "auc" if section.auc is not None else "confidence"
        found.append(f"no policy reads the draft's confidence, so nothing reads {name}.{key}")
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
