"""Random chains, latencies for them, and z-scores of simulated means."""

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.latency import Latency


def random_chain(rng, clock, states=None, depth=None, outcomes=None):
    """Of up to 5 states and drafts, unless given; some have slowdowns."""
    states, depth = states or rng.integers(1, 6), depth or rng.integers(1, 6)
    return AcceptanceChain(
        rng.dirichlet(np.ones(states)),
        rng.dirichlet(np.full(states, 0.5), (outcomes or rng.integers(1, 3), states)),
        rng.random((states, depth)),
        clock,
        rng.uniform(0.5, 2, states) if rng.random() < 0.4 else np.ones(states),
    )


def latency_by_depth(depth):
    verify = [20.0 + 3 * k for k in range(1, depth + 1)]
    draft = [2.0 * k for k in range(1, depth + 1)]
    return Latency(target=17, verify=verify, draft=draft).compile(depth)


def z_scores(rows, truth):
    """Deviations of the mean in standard errors; constant columns must be exact."""
    error = rows.std(0, ddof=1) / np.sqrt(len(rows))
    apart = rows.mean(0) - truth
    return np.where(error > 1e-12, apart / np.maximum(error, 1e-12), apart / 1e-6)


LIMIT = 5.0  # about 1,900 comparisons of |z|: a false alarm in fewer than one run in 900
