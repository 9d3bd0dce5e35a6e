"""Time of one look-up of a step's cost inside a kernel, over the loop around it."""

import time

import numpy as np
from pydantic import TypeAdapter
from tables import Table, best

from mtpsim.kernels.jit import bare, helper
from mtpsim.kernels.step_costs import draft_ms, verify_ms
from mtpsim.latency import AnyLatency

DEPTH, TOKENS, REQUESTS = 7, 8192, 256
DRAFT = {"base": 1.0, "per_token": 0.5}
VERIFY = {"tokens": [1, 64, 1024, 1537, 4097], "limit": 1024, "per_cached": 4e-5}
TIMES = [5.1, 7.9, 20.6, 104.5, 133.5]
LAWS = {
    "linear": {"model": "linear", "base": 6, "per_token": 0.02, "per_cached": 4e-5},
    "moe, overlap": {
        **{"model": "moe", "base": 4, "per_expert": 0.1, "per_token": 0.02},
        **{"experts": 64, "active": 4, "expert_overlap": 0.257},
    },
    "steps": {"model": "steps", "verify": {**VERIFY, "ms": TIMES}},
    "steps, rows by requests": {
        "model": "steps",
        "verify": {**VERIFY, "requests": [1, 16, 256], "ms": [TIMES] * 3},
    },
}


@bare
def _costs(costs, depths, tokens, requests, cached):
    total = 0.0
    for i in range(tokens.size):
        total += draft_ms(costs, depths[i], requests[i])
        total += verify_ms(costs, tokens[i], requests[i], cached[i])
    return total


@bare
def _nothing(costs, depths, tokens, requests, cached):
    total = 0.0
    for i in range(tokens.size):
        total += depths[i] + tokens[i] + requests[i] + cached[i]
    return total


@helper
def look_up(costs, depths, tokens, requests, cached):
    """Sum of the times of all steps; a kernel that counts no references, as the server's."""
    return _costs(costs, depths, tokens, requests, cached)


@helper
def walk(costs, depths, tokens, requests, cached):
    """The same loop without a cost."""
    return _nothing(costs, depths, tokens, requests, cached)


def table(steps: int, turns: int) -> Table:
    """Nanoseconds per step, drafting and verify together, at random batches."""
    rng = np.random.default_rng(1)
    requests = rng.integers(1, REQUESTS + 1, steps)
    depths = rng.integers(0, DEPTH + 1, steps)
    given = depths, requests * (depths + 1), requests, 1000.0 * requests
    rows = []
    for name, law in LAWS.items():
        model = TypeAdapter(AnyLatency).validate_python({"draft": DRAFT, **law})
        costs = model.step_costs(DEPTH, TOKENS, REQUESTS)

        def taken(run, costs=costs):
            run(costs, *given)
            start = time.process_time()
            run(costs, *given)
            return time.process_time() - start

        found = best({"cost": lambda: taken(look_up), "loop": lambda: taken(walk)}, turns)
        each = 1e9 * (found["cost"] - found["loop"]) / steps
        rows.append((name, f"{each:.1f}", "at most 20"))
    return Table("Cost of a step, in a kernel", ("law", "ns per step", "goal"), rows)
