"""Known models, logs that they made, and one candidate's fit to such a log."""

import numpy as np

from mtpsim.acceptance import MODELS, AcceptanceChain
from mtpsim.fit.candidates import candidates
from mtpsim.fit.likelihood import Sequence, counts_of
from mtpsim.fit.mle import maximise
from mtpsim.fit.replicas import replica
from mtpsim.logs import Rounds

TRUTH = {
    "geometric": {"model": "independent", "rate": 0.7, "depth": 3},
    "decay": {"model": "decay", "first": 0.8, "factor": 0.85, "depth": 3},
    "independent": {"model": "independent", "rates": [0.8, 0.7, 0.75]},
    "beta": {"model": "beta", "mean": 0.7, "concentration": 8.0, "depth": 3},
    "beta-position": {"model": "beta", "mean": [0.8, 0.65, 0.7], "concentration": 10.0},
    "difficulty-round": {
        **{"model": "difficulty", "clock": "round", "rates": [0.8, 0.7, 0.65]},
        **{"sd": 0.8, "length": 10.0, "states": 9},
    },
    "difficulty-token": {
        **{"model": "difficulty", "clock": "token", "rates": [0.8, 0.7, 0.65]},
        **{"sd": 0.8, "length": 20.0, "states": 9},
    },
    "regime2-round": {
        **{"model": "regime", "clock": "round", "rates": [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]},
        "sojourn": [8.0, 5.0],
    },
    "regime2-token": {
        **{"model": "regime", "clock": "token", "rates": [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]},
        "sojourn": [20.0, 10.0],
    },
}


def chain_of(keys):
    return MODELS[keys["model"]].model_validate(keys).chain()


def random_chain(rng, states, depth, clock, outcomes=1):
    return AcceptanceChain(
        rng.dirichlet(np.ones(states)),
        rng.dirichlet(np.ones(states), (outcomes, states)),
        rng.uniform(0.2, 0.95, (states, depth)),
        clock,
        np.ones(states),
    )


def shape(requests, rounds, drafted):
    """Requests of so many rounds, all with the same drafts or with drafts in turn."""
    count = requests * rounds
    each = np.resize(np.atleast_1d(drafted), count).astype(np.uint8)
    return Rounds(np.zeros(count, np.uint8), each, np.arange(requests + 1) * rounds)


def made(keys, requests=400, rounds=60, drafted=3, seed=0):
    return replica(chain_of(keys), shape(requests, rounds, drafted), np.random.default_rng(seed))


def candidate(name, depth=3):
    return next(c for c in candidates(depth) if c.name == name)


def fit(name, rounds):
    evidence = Sequence(rounds, 3)
    counts = counts_of(rounds, 3)
    some = candidate(name)
    return maximise(
        some, evidence, some.starts(counts.hit.sum(0) / counts.reached.sum(0))
    ), evidence
