"""Plans with policies, and what a policy needs of the engine, for tests."""

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.config.adaptive import Adaptive
from mtpsim.engine.policy_player import compile_policies
from mtpsim.engine.simulate import compile_plan
from mtpsim.latency import Latency
from tests.support import naive_policies

LOGNORMAL = {"distribution": "lognormal", "cv": 0.5}
SHARED = {"target": 9.0, "noise": LOGNORMAL}
NOISE = {
    "none": {"target": 9.0},
    "shared": SHARED,
    "shared, lasting": {**SHARED, "persistence": 0.7},
    "own, lasting, correlated": {
        "target": {"mean": 9.0, "distribution": "gamma", "cv": 0.3},
        "verify": {**LOGNORMAL, "mean": 10.0},
        "draft": {"mean": 2.0, "distribution": "exponential"},
        **{"persistence": 0.7, "correlation": 0.6},
    },
}


def latency(depth, noise="none"):
    times = {"verify": {"base": 9.5, "per_token": 0.4}, "draft": {"base": 0.5, "per_token": 0.9}}
    return Latency.model_validate({**times, **NOISE[noise]}).compile(depth)


def plan(source, policies, noise="none", seed=1, options=None, **horizon):
    times = latency(source.depth, noise)
    adaptive = Adaptive.model_validate({"policies": policies, **(options or {})})
    length = {"rounds": 0, "tokens": 0, **horizon}
    policy_set = compile_policies(adaptive, source, times, batch=None, **length)
    return compile_plan(source, times, seed=seed, policy_set=policy_set, **length)


def two_states(clock, stay=8, slowdown=1.0):
    step = np.array([[[1 - 1 / stay, 1 / stay], [1 / stay, 1 - 1 / stay]]])
    accept = np.array([[0.95, 0.9, 0.85], [0.25, 0.2, 0.2]])
    return AcceptanceChain(np.ones(2) / 2, step, accept, clock, np.array([1.0, slowdown]))


def by_outcome(clock):
    step = np.array([[[0.3, 0.7], [0.2, 0.8]], [[0.95, 0.05], [0.5, 0.5]]])
    accept = np.array([[0.9, 0.85, 0.8], [0.4, 0.3, 0.3]])
    return AcceptanceChain(np.ones(2) / 2, step, accept, clock, np.array([1.0, 1.3]))


def engine_of(simulated, options):
    arrays = simulated.policy_set.engine
    return naive_policies.Engine(
        arrays.verify,
        arrays.draft,
        arrays.rates,
        *(options.get(key, 0.0) for key in ("switch_cost", "catch_up", "stale", "resumed")),
        full_feedback=options.get("feedback") == "full",
        confidence=Adaptive.model_validate({"policies": ["off"], **options}).confidence,
    )
