"""What a server can't do whatever happens: a load beyond its throughput, goals below its times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mtpsim.acceptance.draft_lengths import ProposingChain
from mtpsim.config.length_tables import cut_means
from mtpsim.exact.chain_solver import solve
from mtpsim.latency import CostModel

if TYPE_CHECKING:
    from mtpsim.config.experiment import Experiment
    from mtpsim.config.serving import Serving

ROUNDS = 200  # of a request, for its accept length
MOST_STATES = 200  # of a chain that is solved for this


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
