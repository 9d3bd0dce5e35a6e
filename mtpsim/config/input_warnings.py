"""Warnings about the input of an experiment: what limits what its results mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mtpsim.acceptance.draft_lengths import ProposingChain
from mtpsim.config.length_tables import cut_means
from mtpsim.exact.chain_solver import solve
from mtpsim.formula.closed_form import time_warnings
from mtpsim.latency import CostModel
from mtpsim.policy.fixed import ConstantDepth

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment
    from mtpsim.config.serving import Serving

ROUNDS = 200  # of a request, for its accept length
MOST_STATES = 200  # of a chain that is solved for this


def input_warnings(experiment: Experiment) -> list[str]:
    """Properties of the input that limit what the results mean, one sentence each."""
    found = experiment.acceptance.warnings() + experiment.latency.warnings()
    found += experiment.time_warnings() + _unread_keys(experiment)
    if experiment.serving is not None:
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


def limit_warnings(experiment: Experiment) -> list[str]:
    """Sentences on a load that no depth can serve and on goals that no depth can meet."""
    serving, latency, source = experiment.serving, experiment.latency, experiment.source
    if serving is None or not isinstance(latency, CostModel) or source.states > MOST_STATES:
        return []
    depths = range(source.depth + 1) if serving.depths == "each" else serving.depths
    lengths = np.array([solve(source, k, rounds=ROUNDS).accept_length for k in depths])
    prompt, output = cut_means(serving)
    if serving.output == "recorded":
        output = source.mean_length
    most_running = _most_running(serving, prompt + output / 2)
    batches = np.array([*(2.0 ** np.arange(int(np.log2(most_running)) + 1)), most_running])
    block = experiment.draft.block if experiment.draft else None
    size = source.depth, experiment.drafted, block
    times = np.array([sum(latency.at_batch(float(b), *size)) for b in batches])
    if isinstance(source, ProposingChain):
        times = times @ source.verified.T
    paces = batches[:, None] * lengths / times[:, list(depths)]  # tokens per ms
    found, names = [], [f"depth {k}" if k else "off" for k in depths]
    row, best = np.unravel_index(paces.argmax(), paces.shape)
    most = 1000 * paces[row, best] / output
    if serving.arrivals.rate is not None and serving.arrivals.rate > most and not serving.policies:
        found.append(
            f"a rate of {serving.arrivals.rate:g} per second is more than any depth serves: at "
            f"most {most:.3g} per second ({names[best]}, {batches[row]:.3g} running requests), "
            "even without prefill; the queue grows as long as the run lasts"
        )
    alone = 1 / paces[0]
    goal = serving.goals.tpot if serving.goals else None
    if goal is not None and goal < alone.min():
        found.append(
            f"no depth meets the goal of {goal:g} ms per token (serving.goals.tpot): a request "
            f"that runs alone takes {alone.min():.3g} ms ({names[int(alone.argmin())]})"
        )
    return found


def _most_running(serving: Serving, held: float) -> float:
    """Most requests that run at once on average, each of which holds so many tokens."""
    most = np.inf if serving.kv_tokens is None else serving.kv_tokens / held
    return max(1.0, min(float(serving.max_requests), most))
