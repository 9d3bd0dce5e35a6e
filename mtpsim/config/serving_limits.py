"""What a server can't do: a load beyond its throughput, goals below its times.

Imported for servers only, with the solver of their chains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mtpsim.acceptance.draft_lengths import ProposingChain
from mtpsim.common.arrays import Floats
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
    depths = list(range(source.depth + 1) if serving.depths == "each" else serving.depths)
    names = [f"depth {k}" if k else "off" for k in depths]
    paces = _Paces(experiment, latency, depths)
    found, rate = [], serving.arrivals.rate
    if rate is not None and not serving.policies:
        most, best, running = paces.most_served(serving, *serving.mean_lengths)
        if rate > most:  # of requests that the KV cache cuts, more are served
            most, best, running = paces.most_served(serving, *cut_means(serving))
        if rate > most:
            found.append(
                f"a rate of {rate:g} per second is more than any depth serves: at most {most:.3g} "
                f"per second ({names[best]}, {running:.3g} running requests), even without "
                "prefill; the queue grows as long as the run lasts"
            )
    alone = 1 / paces.at(np.ones(1))[0]
    goal = serving.goals.tpot if serving.goals else None
    if goal is not None and goal < alone.min():
        found.append(
            f"no depth meets the goal of {goal:g} ms per token (serving.goals.tpot): a request "
            f"that runs alone takes {alone.min():.3g} ms ({names[int(alone.argmin())]})"
        )
    return found


class _Paces:
    """Tokens per ms of a batch at some depths, prefill aside."""

    def __init__(self, experiment: Experiment, latency: CostModel, depths: list[int]) -> None:
        self._source, self._latency, self._depths = experiment.source, latency, depths
        block = experiment.draft.block if experiment.draft else None
        self._size = self._source.depth, experiment.drafted, block
        solved = [solve(self._source, depth, rounds=ROUNDS) for depth in depths]
        self._lengths = np.array([one.accept_length for one in solved])

    def at(self, batches: Floats) -> Floats:
        """At numbers of running requests ``[n]``; by depth, ``[n, D]``."""
        times = np.array([sum(self._latency.at_batch(float(b), *self._size)) for b in batches])
        if isinstance(self._source, ProposingChain):
            times = times @ self._source.verified.T
        return np.asarray(batches[:, None] * self._lengths / times[:, self._depths])

    def most_served(
        self, serving: Serving, prompt: float, output: float
    ) -> tuple[float, int, float]:
        """Most requests per second of so many tokens; which depth it is, and how many run."""
        if serving.output == "recorded":
            output = self._source.mean_length
        most = _most_running(serving, prompt + output / 2)
        batches = np.array([*(2.0 ** np.arange(int(np.log2(most)) + 1)), most])
        paces = self.at(batches)
        row, best = np.unravel_index(paces.argmax(), paces.shape)
        return 1000 * paces[row, best] / output, int(best), batches[row]


def _most_running(serving: Serving, held: float) -> float:
    """Most requests that run at once on average, each of which holds so many tokens."""
    most = np.inf if serving.kv_tokens is None else serving.kv_tokens / held
    return max(1.0, min(float(serving.max_requests), most))
