"""Published accept lengths by shape of the drafts."""

from collections.abc import Iterator

import numpy as np
from scipy import optimize

from mtpsim.exact.chain_solver import solve
from verification.published_fact import Fact, experiment
from verification.published_values import TREES

TIMES = {"model": "linear", "per_token": 1.0, "draft": 0.0}


def accept_length(first: float, power: float, steps: int, topk: int, tokens: int) -> float:
    """Exact tokens per round of a tree of SGLang."""
    keys = {"model": "ranks", "first": first, "power": power, "depth": 8, "width": 8}
    draft = {"tree": "topk", "steps": steps, "topk": topk, "nodes": tokens - 1}
    source = experiment(keys, TIMES, draft=draft).source
    return solve(source, source.depth).accept_length


def trees(smoke: bool) -> Iterator[Fact]:
    """Accept lengths of six trees from one law of ranks."""

    def errors(law: np.ndarray) -> list[float]:
        return [accept_length(*law, *shape) / found - 1 for shape, found in TREES.items()]

    law = optimize.least_squares(
        errors, [0.55, 0.4], bounds=([0.1, 0.05], [0.9, 0.6]), diff_step=1e-3
    ).x
    for (steps, topk, tokens), published in TREES.items():
        name = f"steps {steps}, topk {topk}, tokens {tokens}"
        why = f"5 %; first = {law[0]:.3f} and power = {law[1]:.3f} fitted to six numbers"
        yield Fact(name, published, accept_length(*law, steps, topk, tokens), 0.05 * published, why)
    first = accept_length(*law, 8, 1, 9)
    why = "5 %; only the first candidate of each position is drafted, so it must differ"
    yield Fact("steps 8, tokens 60, first candidates only", 3.2, first, 0.16, why, differs=True)
