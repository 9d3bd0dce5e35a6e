"""Adaptive verification of GLM-5.2 (vllm#52992): the adaptive row of survival from the fixed one.

A model of its own, without the engine, which has to agree with it: 64 requests draft 16 tokens
each; the confidence of a draft is its probability of acceptance, logistic in an intercept of the
position plus a normal difficulty. A step verifies the drafts with the greatest products of
confidences, as many as maximise expected tokens per step time, a straight line of the tokens; that
number comes from the step before.

The published rows count all rounds: 1 plus their sum is the accept length, whether or not a
position was verified. Intercepts solve the fixed row. Two numbers are fitted to the adaptive row:
the spread of the difficulty, which sets the AUC of the confidence, and, by the accept length, the
slope of the step time. With one difficulty per request each position is within 0.016; with one
per draft, which says nothing about the next draft, positions 2 to 4 are 0.04 to 0.05 too high.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import expit, ndtri

import mtpsim
from verification.published_fact import HALF_WIDTHS, Fact, experiment, near, rounded
from verification.published_values import GLM_ADAPTIVE, GLM_FIXED, GLM_SPEEDUP

REQUESTS, DEPTH = 64, len(GLM_FIXED)
LEVELS, WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
SPREAD = 2.0  # of the difficulty in logits: an AUC of 0.85 at the first position
SLOPES = (5e-4, 1e-2)  # of the time of a step per draft, in steps without drafts
STEPS = 400
CLASSES, OUTPUT = 64, 800  # of the engine: classes of requests, and tokens of each


class Adaptive(NamedTuple):
    """Steps of adaptive verification: survival ``[K]`` over all rounds, drafts per request."""

    survival: np.ndarray
    drafts: float


def intercepts(fixed: np.ndarray, spread: float, *, per_request: bool) -> np.ndarray:
    """``[K]`` logits at difficulty 0 that reproduce a row of survival at a fixed depth.

    Requests have equally many tokens, so that the rounds of a fast one are fewer.
    """
    rates = fixed / np.append(1, fixed[:-1])
    weights, found = WEIGHTS, np.zeros(DEPTH)
    for _ in range(30 if per_request else 1):
        reached = weights
        for j, rate in enumerate(rates):
            found[j] = optimize.brentq(_excess, -30, 30, (rate, reached, spread))
            if per_request:
                reached = reached * expit(found[j] + spread * LEVELS)
        weights = WEIGHTS / _lengths(found, spread, LEVELS)
        weights = weights / weights.sum()
    return found


def _excess(logit: float, rate: float, weights: np.ndarray, spread: float) -> float:
    return float(weights @ expit(logit + spread * LEVELS) / weights.sum() - rate)


def _lengths(logits: np.ndarray, spread: float, difficulty: np.ndarray) -> np.ndarray:
    """Accept length of requests that verify all drafts."""
    rates = expit(logits + spread * difficulty[:, None])
    return np.asarray(1 + np.cumprod(rates, 1).sum(1))


def admitted(survival: np.ndarray, slope: float) -> np.ndarray:
    """Verified drafts ``[T, R]`` of steps by the survival of their drafts ``[T, R, K]``."""
    flat = survival.reshape(len(survival), -1)
    tokens = REQUESTS + np.cumsum(-np.sort(-flat, 1), 1)
    budget = (tokens / (1 + slope * np.arange(1, flat.shape[1] + 1))).argmax(1) + 1
    ranks = (-flat).argsort(1, kind="stable").argsort(1)
    chosen = ranks < np.roll(budget, 1)[:, None]  # the budget is that of the step before
    return np.asarray(chosen.reshape(survival.shape).sum(2))


def adaptive(
    logits: np.ndarray, spread: float, slope: float, *, per_request: bool, steps: int = STEPS
) -> Adaptive:
    """Steps in the steady state, at the same random numbers for every slope."""
    rng = np.random.default_rng(1)
    if not per_request:
        rates = expit(logits + spread * rng.standard_normal((steps, REQUESTS, DEPTH)))
        return _counted(rates, slope)[0]
    shares = (rng.permutation(steps * REQUESTS) + 0.5) / (steps * REQUESTS)
    grid = np.linspace(-4, 4, 401)
    speed = _lengths(logits, spread, grid)
    for _ in range(4):  # rounds of a request are as many as its accept length is short
        density = np.exp(-grid * grid / 2) / speed
        share = np.cumsum(density) / density.sum()
        difficulty = np.interp(shares, share, grid).reshape(steps, REQUESTS)
        rates = expit(logits + spread * difficulty[..., None])
        found, lengths = _counted(rates, slope)
        order = difficulty.ravel().argsort()
        bins = [part.mean() for part in np.array_split(difficulty.ravel()[order], 25)]
        means = [part.mean() for part in np.array_split(lengths.ravel()[order], 25)]
        speed = np.interp(grid, bins, means)
    return found


def _counted(rates: np.ndarray, slope: float) -> tuple[Adaptive, np.ndarray]:
    """Expected survival over all rounds, and accept length by round ``[T, R]``."""
    survival = np.cumprod(rates, 2)
    verified = admitted(survival, slope)
    kept = survival * (np.arange(DEPTH) < verified[..., None])
    return Adaptive(kept.mean((0, 1)), float(verified.mean())), 1 + kept.sum(2)


def fitted(spread: float, *, per_request: bool, steps: int) -> tuple[float, Adaptive]:
    """The slope that gives the published accept length, and its steps."""
    logits = intercepts(np.array(GLM_FIXED), spread, per_request=per_request)

    def run(slope: float) -> Adaptive:
        return adaptive(logits, spread, slope, per_request=per_request, steps=steps)

    def excess(log_slope: float) -> float:
        return float(run(np.exp(log_slope)).survival.sum() - sum(GLM_ADAPTIVE))

    slope = float(np.exp(optimize.brentq(excess, *np.log(SLOPES), xtol=0.01)))
    return slope, run(slope)


def auc(logits: np.ndarray, spread: float) -> float:
    """Probability that the first draft has the greater confidence if accepted than if rejected."""
    rate = expit(logits[0] + spread * LEVELS)
    weights = WEIGHTS / _lengths(logits, spread, LEVELS)
    yes, no = weights * rate / (weights @ rate), weights * (1 - rate) / (weights @ (1 - rate))
    return float(yes @ (np.cumsum(no) - no / 2))


def served(slope: float, smoke: bool) -> dict[str, dict[str, Any]]:
    """The arms of the engine's server with the same requests, confidences and step times."""
    logits = intercepts(np.array(GLM_FIXED), SPREAD, per_request=True)
    difficulty = ndtri((np.arange(CLASSES) + 0.5) / CLASSES)
    rates = expit(logits + SPREAD * difficulty[:, None])
    parts = [{"weight": 1, "of": {"model": "independent", "rates": p.tolist()}} for p in rates]
    tokens = np.array([1, REQUESTS * (DEPTH + 1)])
    times = 20 * (1 + slope * (tokens - REQUESTS))
    found = experiment(
        {"model": "mixture", "parts": parts},
        {
            "model": "steps",
            "cached": 0,
            "verify": {"tokens": tokens.tolist(), "ms": times.tolist()},
            "draft": 0,
        },
        serving={
            "arrivals": {"closed": REQUESTS},
            "prompt": 1,
            "output": OUTPUT,
            "max_requests": REQUESTS,
            "max_tokens": 2 * int(tokens[1]),
            "requests": 400 if smoke else 1200,
            "replications": 30,
            "depths": [DEPTH],
            "confidence": {"own_rate": True},
            "policies": [{"rule": "budget"}],
        },
    )
    (point,) = mtpsim.run(found).document["points"]
    arms = {arm["name"]: arm for arm in point["serving"]["arms"]}
    ((gain, *_),) = [one["gains"] for one in point["serving"]["budgets"]]
    return arms | {"gain": gain}


def agree(name: str, ours: float, engine: dict[str, Any], slack: float) -> Fact:
    """Compare a number of this model with the engine's."""
    half = (engine["high"] - engine["low"]) / 2 * HALF_WIDTHS
    why = f"{slack:g}, and 5 standard errors {half:.2g}; the published column is this model's"
    return Fact(name, ours, engine["mean"], slack + half, why, simulated=True)


def glm(smoke: bool) -> Iterator[Fact]:
    """GLM-5.2, adaptive verification of 16 drafts: survival by position from the fixed row."""
    steps = 100 if smoke else STEPS
    for name, row, length, share in (
        ("fixed", GLM_FIXED, 4.35, 0.2092),
        ("adaptive", GLM_ADAPTIVE, 3.76, 0.1724),
    ):
        yield rounded(f"accept length of all rounds, {name}", length, 1 + sum(row), 0.005)
        yield rounded(f"accepted of 16 per round, {name}", share, sum(row) / DEPTH, 5.1e-5)
    logits = intercepts(np.array(GLM_FIXED), SPREAD, per_request=True)
    yield Fact("AUC at position 1 (DSpark's own: 0.818)", 0.818, auc(logits, SPREAD), 0.05, "0.05")
    slope, found = fitted(SPREAD, per_request=True, steps=steps)
    why = f"0.02; fitted: AUC, and slope {slope:.2g} of the step time by the accept length"
    for j, (published, ours) in enumerate(zip(GLM_ADAPTIVE, found.survival, strict=True), 1):
        yield Fact(f"survival at position {j}, adaptive", published, float(ours), 0.02, why)
    engine = served(slope, smoke)
    for name, row, arm in (("fixed", GLM_FIXED, "depth 16"), ("adaptive", GLM_ADAPTIVE, "budget")):
        length = 1 + sum(row)
        yield near(f"engine, accept length, {name}", length, engine[arm]["accept_length"], 0.03)
    yield agree(
        "engine, verified drafts per round", found.drafts, engine["budget"]["verified"], 0.03
    )
    _, lone = fitted(SPREAD, per_request=False, steps=steps)
    why = "the confidence of a draft would say nothing about the next one"
    ours = float(lone.survival[2])
    yield Fact("position 3, a difficulty per draft", GLM_ADAPTIVE[2], ours, 0.02, why, True)
    times = 1 + slope * REQUESTS * np.array([DEPTH, found.drafts])
    gain = float(times[0] / times[1] * (1 + sum(GLM_ADAPTIVE)) / (1 + sum(GLM_FIXED)))
    why = "16 drafts of 64 requests are 1,088 tokens: more than CUDA graphs hold, not on the line"
    yield agree("engine, gain in tokens/s", gain - 1, engine["gain"], 0.02)
    yield Fact("tokens/s, adaptive over fixed", GLM_SPEEDUP, gain, 0.1 * GLM_SPEEDUP, why, True)
