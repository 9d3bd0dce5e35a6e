"""One text, read by a policy: its rule in plain Python, round by round, as no kernel is needed."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from mtpsim.acceptance import AcceptanceChain
from mtpsim.config.adaptive import Adaptive
from mtpsim.engine.policy_player import PolicySet, compile_policies
from mtpsim.latency import Latency
from mtpsim.policy import RoundContext, RoundOutcome

ROUNDS, SHIFT, AUC, BATCH = 120, 40, 0.8, 16.0
EASY, HARD = [0.95, 0.93, 0.9, 0.88, 0.86], [0.45, 0.4, 0.35, 0.3, 0.3]
STEP = [[1 - 1 / SHIFT, 1 / SHIFT], [1 / SHIFT, 1 - 1 / SHIFT]]
TIMES = {
    "target": 20,
    "verify": {"base": 20.5, "per_token": 1.2},
    "draft": {"base": 0.5, "per_token": 1.8},
}
Trace = tuple[np.ndarray, np.ndarray, np.ndarray]


def policy_set(policy: dict[str, object]) -> PolicySet:
    """The policy, compiled for two states that stay for ``SHIFT`` rounds."""
    two = np.array([0.5, 0.5])
    chain = AcceptanceChain(two, np.array([STEP]), np.array([EASY, HARD]), "round", np.ones(2))
    latency = Latency.model_validate(TIMES).compile(len(EASY))
    adaptive = Adaptive.model_validate({"policies": [policy], "auc": AUC})
    return compile_policies(adaptive, chain, latency, rounds=ROUNDS, tokens=0, batch=BATCH)


def play(policy: dict[str, object], seed: int = 7) -> Trace:
    """Depth, accepted drafts and hardness of each round ``[ROUNDS]``; easy, hard, easy."""
    found = policy_set(policy)
    player, environment, rng = found.players[0], found.environment, np.random.default_rng(seed)
    spec, p, m = player.spec, player.p, np.zeros(player.memory)
    rule, deep, previous = spec.functions(), environment.depth, -1
    rule.start(p, m)
    hard = (np.arange(ROUNDS) // SHIFT) % 2
    depths, taken = np.zeros(ROUNDS, int), np.zeros(ROUNDS, int)
    for t in range(ROUNDS):
        passed = rng.random(deep) < (HARD if hard[t] else EASY)
        full = int(np.cumprod(passed).sum())
        scores = rng.standard_normal(deep)
        if spec.reads_confidence:
            scores = _confidence(rng, scores, full, environment.rates)
        depth = int(rule.choose(p, m, RoundContext(int(hard[t]), previous, full), scores))
        accepted = min(depth, full)
        time = float(environment.times[depth])
        rule.learn(p, m, RoundOutcome(depth, accepted, depth, accepted, time))
        depths[t], taken[t], previous = depth, accepted, depth
    return depths, taken, hard


def _confidence(
    rng: np.random.Generator, scores: np.ndarray, full: int, rates: np.ndarray
) -> np.ndarray:
    """The draft's confidence: a score that is higher for drafts that will be accepted, by Bayes."""
    apart = float(np.sqrt(2) * ndtri(AUC))
    good = np.arange(len(rates)) < full
    good[full + 1 :] = rng.random(len(good[full + 1 :])) < rates[full + 1 :]
    x = scores + apart * good
    yes, no = rates * np.exp(-((x - apart) ** 2) / 2), (1 - rates) * np.exp(-(x**2) / 2)
    return np.asarray(yes / (yes + no))
