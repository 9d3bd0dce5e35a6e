"""Published measurements of a server under load, which single requests do not explain."""

from collections.abc import Iterator
from typing import Any

import mtpsim
from verification.published_fact import Fact, near

# Gemma-4-31B with its MTP assistant on one H100: 11 requests of 256 output tokens (three seeds). By
# depth: output tokens/s, mean TPOT and mean ITL in ms, accept length, survival rates.
GEMMA: dict[int, tuple[list[float], float, float, float, list[float]]] = {
    0: ([544.9, 549.4, 548.6], 19.70, 19.61, 1.0, []),
    1: ([776.2, 776.6, 805.1], 13.12, 23.87, 1.823, [0.8035]),
    2: ([995.9, 959.5, 934.8], 10.57, 25.2, 2.393, [0.7693, 0.5974]),
    3: ([1093.4, 1050.1, 1042.2], 9.31, 25.8, 2.784, [0.7823, 0.5109, 0.4751]),
    5: ([1032.6, 1002.7, 992.8], 9.96, 30.9, 3.130, [0.7572, 0.4282, 0.3603, 0.2882, 0.2623]),
}
REQUESTS, OUTPUT, PREFILL = 11, 256, 119.0  # ms to the first tokens, from the run at depth 0
SEEDS = 0.02  # relative standard error of a mean of three seeds


def gemma(smoke: bool) -> Iterator[Fact]:
    """Gemma-4, 11 requests at once: throughput gains less than the time per token."""
    # Step times are the published times between bursts, rates the published ones by depth, and the
    # prefill is set by depth 0. The throughput is predicted: it contains the prefill, and the
    # slowest of the requests ends it.
    base = GEMMA[0]
    for depth, (seeds, tpot, _, length, _) in GEMMA.items():
        if not depth:
            continue
        arms = _served(depth, 30 if smoke else 400)
        served = arms[f"depth {depth}"]
        why = "three seeds, 2 %, and rates and step time as published"
        ratio = (sum(seeds) / 3) / (sum(base[0]) / 3)
        ours = served["throughput_ratio"]["mean"]
        slack = 3 * SEEDS * ratio
        yield Fact(
            f"throughput over depth 0, depth {depth}", ratio, ours, slack, why, simulated=True
        )
        speedup = base[1] / tpot
        ours = served["speedup"]["mean"]
        slack = 3 * SEEDS * speedup
        yield Fact(f"TPOT of depth 0 over depth {depth}", speedup, ours, slack, why, simulated=True)
        yield near(f"accept length, depth {depth}", length, served["accept_length"], 0.05)
        if depth == 3:
            lost = speedup / ratio - 1
            both = served["speedup"]["mean"] / served["throughput_ratio"]["mean"] - 1
            why = "prefill, and the last requests that run alone"
            yield Fact(
                "TPOT gains more than throughput, depth 3", lost, both, 0.03, why, simulated=True
            )


def _served(depth: int, replications: int) -> dict[str, dict[str, Any]]:
    """The server at depth 0 and one other: a burst, and a table with the published step times."""
    plain, (_, _, burst, _, survival) = GEMMA[0][2], GEMMA[depth]
    tokens = REQUESTS * (depth + 1)
    text = f"""
[acceptance]
model = "independent"
rates = {survival}
rates_are = "survival"
[latency]
model = "steps"
cached = 0
verify = {{ tokens = [1, {REQUESTS}, {tokens}, 4096], ms = [{plain}, {plain}, {burst}, {PREFILL}] }}
draft = 0
[serving]
arrivals = {{ burst = {REQUESTS} }}
prompt = 372
output = {OUTPUT}
max_requests = {REQUESTS}
max_tokens = 4096
replications = {replications}
depths = [0, {depth}]
"""
    (point,) = mtpsim.run(mtpsim.parse(text)).document["points"]
    return {arm["name"]: arm for arm in point["serving"]["arms"]}
