"""Published step times: what they say about depths that were not measured."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import optimize

from mtpsim.exact.chain_solver import solve
from mtpsim.latency import Moe
from mtpsim.latency.experts import experts_hit
from verification.published_fact import Fact, experiment, rounded
from verification.published_values import LLAMA_8B, M5_MAX, VLLM_DRAFT, VLLM_VERIFY

Latency = dict[str, Any]


def table(batch: int) -> Latency:
    """vLLM's tables as a user gives them."""
    verify = {"tokens": list(VLLM_VERIFY), "ms": list(VLLM_VERIFY.values()), "limit": 1024}
    draft = {"requests": list(VLLM_DRAFT), "ms": list(VLLM_DRAFT.values())}
    return {"model": "steps", "batch": batch, "verify": verify, "draft": draft}


def of_length(length: float, depth: int) -> Latency:
    """Independent rounds of a constant rate with this accept length."""
    rate = optimize.brentq(lambda p: sum(p**j for j in range(depth + 1)) - length, 1e-6, 1 - 1e-9)
    return {"model": "independent", "rate": float(rate), "depth": depth}


def speed(length: float, depth: int, latency: Latency) -> float:
    """Tokens/s at a depth, by the exact accept length of its chain."""
    found = experiment(of_length(length, depth), latency)
    verify, draft = found.latency.times(depth)
    return 1000 * solve(found.acceptance.chain(), depth).accept_length / (verify + draft)[depth]


def start_up(smoke: bool) -> Iterator[Fact]:
    """A verify by tokens, DeepSeek-V4-Flash on 4 x B300: graphs end at 1,024 tokens."""
    keys = {"model": "independent", "rate": 0.8, "depth": 8}
    found = experiment(keys, table(128))
    verify = found.latency.times(8)[0]
    yield rounded("128 requests, depth 7: ms of a verify", 20.63, verify[7], 0.005)
    yield rounded("128 requests, a verify at depth 8 over depth 7", 5, verify[8] / verify[7], 0.5)
    most = found.latency.verify.most_depth(128)
    yield Fact("128 requests, last depth with graphs", 7, most, 0, "an integer")
    tokens = np.array([count for count in VLLM_VERIFY if count <= 1024], float)
    times = np.array([VLLM_VERIFY[int(count)] for count in tokens])
    # Least squares of the logarithms, as relative errors count.
    line = optimize.least_squares(
        lambda c: np.log((c[0] + c[1] * tokens) / times), [6.0, 0.02], x_scale=[1, 0.01]
    ).x
    off = 100 * ((line[0] + line[1] * tokens) / times - 1)
    why = "another criterion of a straight line's fit: 4 points"
    yield Fact("least error of a straight line, %", -21, off.min(), 4, why)
    yield Fact("greatest error of a straight line, %", 25, off.max(), 4, why)


def mac(smoke: bool) -> Iterator[Fact]:
    """Gemma-4-12B on an M5 Max: tokens/s from emitted tokens and step times."""
    verify = {"tokens": [depth + 1 for depth, *_ in M5_MAX], "ms": [row[2] for row in M5_MAX]}
    found = {}
    for depth, emitted, _, draft, published in M5_MAX:
        found[depth] = speed(emitted, depth, {"model": "steps", "verify": verify, "draft": draft})
        why = "what a round does beside verify and draft: 1 %"
        yield Fact(f"tokens/s, depth {depth}", published, found[depth], 0.01 * published, why)
    yield Fact("best depth", 4, max(found, key=found.__getitem__), 0, "an integer")


def two_depths(smoke: bool) -> Iterator[Fact]:
    """Llama-3.1-8B on an H100: TPOT at depths 3 to 6 from the rounds at depths 2 and 7."""
    for name, (lengths, published) in LLAMA_8B.items():
        first, last = lengths[0] * published[0], lengths[-1] * published[-1]
        slope = (last - first) / 5
        line = {"base": first - 2 * slope, "per_token": slope}
        latency = {"target": 7.07, "verify": line, "draft": 0}
        found = [1000 / speed(length, 2 + i, latency) for i, length in enumerate(lengths)]
        error = float(np.abs(np.array(found) / published - 1).max())
        best, known = 2 + int(np.argmin(found)), 2 + int(np.argmin(published))
        yield Fact(f"{name}: best depth", known, best, 0, "an integer")
        most = {"EAGLE-1": 0.9, "EAGLE-3": 3.8}[name]
        yield rounded(f"{name}: largest error of TPOT, %", most, 100 * error, 0.05)


def experts(smoke: bool) -> Iterator[Fact]:
    """64 experts, 4 per token, 25.7 % of them shared by neighbouring tokens (mlx-lm#1485)."""
    one, two = experts_hit(64, 4, np.array([1.0, 2.0]), 1.0, 0.257)
    yield rounded("experts of two tokens over one", 1.74, two / one, 0.005)
    chance = experts_hit(64, 4, np.array([2.0]))[0] / 4
    yield rounded("experts of two tokens over one, by chance", 1.94, chance, 0.005)
    per_expert = (26.7 - 16.8) / (two - one)
    keys = {"base": 16.8 - per_expert * one, "per_expert": per_expert, "per_token": 0, "draft": 0}
    model = {"model": "moe", **keys, "experts": 64, "active": 4, "expert_overlap": 0.257}
    found = experiment({"model": "independent", "rates": [0.770]}, model)
    assert isinstance(found.latency, Moe)
    plain, verify = found.latency.times(1)[0]
    length = solve(found.acceptance.chain(), 1).accept_length
    yield rounded("speedup of one draft", 1.11, length * plain / verify, 0.005)
    again = found.changed({"latency.expert_overlap": 4 / 64}).latency.times(1)[0][1]
    why = "by chance a verify of the same experts takes longer"
    yield Fact("ms of a verify if tokens chose by chance", 26.7, again, 0.5, why, differs=True)
