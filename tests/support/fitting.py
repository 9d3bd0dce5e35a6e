"""Known models, logs simulated from them, and the fit of one candidate to such a log."""

import json
from itertools import pairwise

import numpy as np
from scipy.special import expit

from mtpsim.acceptance import MODELS
from mtpsim.fit.candidates import candidates
from mtpsim.fit.likelihood import RoundSequence, position_counts
from mtpsim.fit.mle import fit_mle
from mtpsim.fit.replicas import simulate_replica
from mtpsim.logs import Rounds

REGIME = {"model": "regime", "rates": [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]}
DIFFICULTY = {"model": "difficulty", "rates": [0.8, 0.7, 0.65], "sd": 0.8, "states": 9}
TRUTH = {
    "geometric": {"model": "independent", "rate": 0.7, "depth": 3},
    "decay": {"model": "decay", "first": 0.8, "factor": 0.85, "depth": 3},
    "independent": {"model": "independent", "rates": [0.8, 0.7, 0.75]},
    "beta": {"model": "beta", "mean": 0.7, "concentration": 8.0, "depth": 3},
    "beta-position": {"model": "beta", "mean": [0.8, 0.65, 0.7], "concentration": 10.0},
    "difficulty-round": {**DIFFICULTY, "clock": "round", "length": 10.0},
    "difficulty-token": {**DIFFICULTY, "clock": "token", "length": 20.0},
    "regime2-round": {**REGIME, "clock": "round", "sojourn": [8.0, 5.0]},
    "regime2-token": {**REGIME, "clock": "token", "sojourn": [20.0, 10.0]},
    "tokens2": {  # logits 2.5 and -1, less 0.35 and 0.5 at later drafts
        "model": "regime",
        "clock": "token",
        "rates": expit(np.array([[2.5], [-1.0]]) - [0.0, 0.35, 0.5]).tolist(),
        "step": [[0.9, 0.1], [0.2, 0.8]],
    },
}


def chain_of(section):
    return MODELS[section["model"]].model_validate(section).chain()


def shape(requests, rounds, drafted):
    """Requests of equal numbers of rounds, whose drafts are equal or cycle through a list."""
    count = requests * rounds
    each = np.resize(np.atleast_1d(drafted), count).astype(np.uint8)
    return Rounds(np.zeros(count, np.uint8), each, np.arange(requests + 1) * rounds)


def simulated(section, requests=400, rounds=60, drafted=3, seed=0):
    rng = np.random.default_rng(seed)
    return simulate_replica(chain_of(section), shape(requests, rounds, drafted), rng)


def candidate(name, depth=3):
    return next(c for c in candidates(depth) if c.name == name)


def fit(name, rounds):
    data, counts, model = RoundSequence(rounds, 3), position_counts(rounds, 3), candidate(name)
    rates = counts.hit.sum(0) / counts.reached.sum(0)
    return fit_mle(model, data, model.initial(rates)), data


def json_lines(rounds):
    """A log with the accepted and drafted tokens of each round, a line per request."""
    parts, keys = [slice(*pair) for pair in pairwise(rounds.offsets)], ("accepted", "drafted")
    lines = [{key: getattr(rounds, key)[part].tolist() for key in keys} for part in parts]
    return "".join(json.dumps(line) + "\n" for line in lines)


LENGTHS = [[0.05, 0.05, 0.1, 0.1, 0.7], [0.75, 0.1, 0.05, 0.05, 0.05]]
OFFERED = [[0.9, 0.92, 0.94, 0.95], [0.4, 0.5, 0.6, 0.6]]


def proposing(requests=60, rounds=120, sojourn=(12, 18), seed=0, *, law=None, clip=False):
    """Rounds of a drafter that proposes a random number of drafts by hidden state, one by one.

    Args:
        requests: number of requests.
        rounds: rounds of a request, or most of them.
        sojourn: mean rounds in each of two states.
        seed: seed of the random numbers.
        law: shares of rounds that propose 0 to 4 drafts, by state.
        clip: whether a request has 200 tokens and no draft is proposed beyond them.
    """
    rng, law = np.random.default_rng(seed), LENGTHS if law is None else law
    accepted, drafted, offsets = [], [], [0]
    for _ in range(requests):
        state = int(rng.random() < sojourn[1] / sum(sojourn))
        tokens = 0
        for _ in range(rounds):
            proposed = int(rng.choice(5, p=law[state]))
            proposed = min(proposed, 200 - tokens - 1) if clip else proposed
            hits = 0
            while hits < proposed and rng.random() < OFFERED[state][hits]:
                hits += 1
            accepted.append(hits)
            drafted.append(proposed)
            tokens += hits + 1
            if clip and tokens >= 200:
                break
            state = 1 - state if rng.random() < 1 / sojourn[state] else state
        offsets.append(len(accepted))
    return Rounds(np.array(accepted, np.uint8), np.array(drafted, np.uint8), np.array(offsets))
