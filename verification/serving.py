"""Published measurements of inference engines: accept lengths, step times, tokens/s."""

from collections.abc import Iterator

import numpy as np
from scipy import optimize

from mtpsim.exact.chain_solver import solve
from verification.published_fact import NOISE, Fact, experiment, near, rounded, shipped, simulated
from verification.published_values import CURVES, THROUGHPUT, VLLM_8


def deepseek(smoke: bool) -> Iterator[Fact]:
    """DeepSeek-V3, depth 1: acceptance of 85-90 %, 1.8 times the tokens/s."""
    for rate, cost in ((0.85, 1.03), (0.90, 1.06)):
        keys = {"model": "independent", "rates": [rate]}
        times = {"target": 100, "verify": 100 * cost - 2, "draft": 2, "noise": NOISE}
        found = simulated(keys, times, 1_000 if smoke else 10_000)["depths"][1]["speedup"]
        yield near(f"acceptance {rate}, a round of {cost} steps", 1.8, found, 0.05)


def vllm(smoke: bool) -> Iterator[Fact]:
    """vLLM, one model and dataset at depths 1 and 8: survival rates, lengths, ms per token."""
    requests = 2_000 if smoke else 20_000
    published = ([0.8359], 1.84, 37.18, 68.4), (VLLM_8, 4.40, 27.48, 120.9)
    for survival, length, token, ms in published:
        depth = len(survival)
        keys = {"model": "independent", "rates": survival, "rates_are": "survival"}
        draft = {"base": 0, "per_token": 5}
        times = {"target": 58, "verify": ms - 5 * depth, "draft": draft, "noise": NOISE}
        found = simulated(keys, times, requests)["depths"][depth]
        yield near(f"accept length, depth {depth}", length, found["accept_length"], 0.005)
        ours = found["round_time"]["mean"] / found["accept_length"]["mean"]
        half = 0.005 + ours * (0.05 / ms + 0.005 / length)
        why = f"rounding of ms per round and of the accept length, {half:.2g} ms"
        yield Fact(f"ms per token, depth {depth}", token, ours, half, why, simulated=True)
    points = {p["set"]["acceptance.clock"]: p for p in shipped("regimes", requests // 2)}
    fitted = "two states fitted to 9 numbers: 0.01 for a rate, 0.05 for a length"
    for depth, length, slack in ((1, 1.84, 0.01), (8, 4.40, 0.05)):
        ours = points["token"]["depths"][depth]["accept_length"]["exact"]
        yield Fact(f"accept length, depth {depth}, by two states", length, ours, slack, fitted)
    for clock, point in points.items():
        p1 = [rates["mean"][0] for rates in point["diagnostics"]["rates_by_depth"]]
        why = fitted if clock == "token" else "with a state that changes per round, p1 is constant"
        name = f"fall of p1 from depth 1 to 8, {clock} clock"
        yield Fact(name, 0.079, p1[0] - p1[-1], 0.01, why, clock == "round", True)


def decaying(first: float, factor: float) -> np.ndarray:
    """Exact accept lengths at depths 1 to 8 for a rate that decays with the position."""
    keys = {"model": "decay", "first": first, "factor": factor, "depth": 8}
    chain = experiment(keys, {"target": 1, "verify": 1, "draft": 0}).acceptance.chain()
    return np.array([solve(chain, k).accept_length for k in range(1, 9)])


def curves(smoke: bool) -> Iterator[Fact]:
    """Accept length by depth for three models."""
    for name, lengths in CURVES.items():
        published = np.array(lengths)
        fit = optimize.minimize(
            lambda p, y=published: float(np.abs(decaying(*np.clip(p, 0.01, 1)) - y).max()),
            [lengths[0] - 1, 0.9],
            method="Nelder-Mead",
            options={"maxfev": 60 if smoke else 200},
        )
        slack = 0.03 if "DeepSeek" in name else 0.05
        first, factor = fit.x
        why = f"first rate {first:.3f}, decay {factor:.3f}: maximum of 8 deviations"
        yield Fact(f"{name}: curve fitted with two parameters", 0.0, float(fit.fun), slack, why)
        p1 = lengths[0] - 1
        keys = {"model": "independent", "rate": p1, "depth": 5}
        chain = experiment(keys, {"target": 1, "verify": 1, "draft": 0}).acceptance.chain()
        carried = solve(chain, 5).accept_length
        if "DeepSeek" in name:
            yield rounded(f"{name}: p1 used at all positions to depth 5", 3.60, carried, 0.005)
        off = "rates decay: p1 at all positions overestimates"
        yield Fact(f"{name}: length at depth 5", lengths[4], carried, 0.02, off, differs=True)
    steep = np.array(CURVES["DeepSeek-V4-Pro MTP"][:4])
    reach = np.diff(np.concatenate([[1.0], steep]))
    conditional = reach / np.concatenate([[1.0], reach[:-1]])
    keys = {"model": "independent", "rates": conditional.tolist()}
    point = simulated(keys, {"target": 1, "verify": 1, "draft": 0}, 2_000)
    why, measured = "rounding 0.005, 5 standard errors 0.015", point["measured"]["conditional"]
    for position, rate in enumerate((0.79, 0.61, 0.46, 0.23)):
        name = f"V4-Pro: measured p{position + 1}"
        yield Fact(name, rate, measured[position], 0.02, why, simulated=True)


def throughput(smoke: bool) -> Iterator[Fact]:
    """GLM-4.7-FP8: tokens/s by depth and batch; round times were derived from them."""
    points = shipped("throughput", 1_000 if smoke else 10_000)
    for column, point in enumerate(points):
        batch = point["set"]["latency.batch"]
        for depth, values in THROUGHPUT.items():
            found = point["depths"][depth]
            ours = 1000 * batch * found["accept_length"]["mean"] / found["round_time"]["mean"]
            slack = 0.5 + ours * 0.005
            why = "rounding 0.5; 0.5 % for rounded times and lengths, and simulation"
            name = f"tokens/s, batch {batch}, depth {depth}"
            yield Fact(name, values[column], ours, slack, why, simulated=True)
        best = 1 + int(np.argmax([values[column] for values in THROUGHPUT.values()]))
        ours = point["advice"]["depth"]
        yield Fact(f"best depth, batch {batch}", best, ours, 0, "an integer", simulated=True)
