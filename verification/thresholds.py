"""Published accept and verified lengths by the threshold of the draft's confidence.

The confidence's logit is normal and differs from the acceptance rate's by a constant; a share of
the rounds is certain, with confidence 1. Four numbers per data set: fitted at thresholds 0.6 and
0.9, but for MT-Bench, where two thresholds do not identify them, at all ten.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from scipy import optimize
from scipy.special import expit, logit, ndtr, ndtri

from mtpsim.policy.confidence import ConfidenceLaw
from verification.published_fact import Fact, simulated
from verification.published_values import DSPARK_THRESHOLDS

BLOCK, CERTAIN = 7, 0.99  # drafts; acceptance rate of a round that the draft is certain of
THETAS = np.arange(10) / 10
NODES = (np.arange(400) + 0.5) / 400
FITTED = {"GSM8K": (6, 9), "HumanEval": (6, 9), "MT-Bench": tuple(range(10))}
START = [2.0, 1.2, -0.3, -1.5]  # mean, sd and shift of the logit, logit of the certain rounds
TIMES = {"target": 20, "verify": 21, "draft": 1}


def lengths(law: Sequence[float]) -> np.ndarray:
    """Exact accept and verified length at each threshold, ``[2, 10]``."""
    mean, sd, shift, certain = law
    above = ndtr((mean - logit(THETAS)) / sd)
    logits = mean - sd * ndtri(above[:, None] * NODES)  # of confidences above each threshold
    kept = above, above * expit(logits + shift).mean(1)
    verified, accepted = (sum(rate**j for j in range(1, BLOCK + 1)) for rate in kept)
    share = expit(certain)
    sure = sum(CERTAIN**j for j in range(1, BLOCK + 1))
    return 1 + (1 - share) * np.array([accepted, verified]) + share * np.array([[sure], [BLOCK]])


def errors(law: Sequence[float], published: np.ndarray, at: Sequence[int]) -> np.ndarray:
    """Relative errors at some thresholds; a weak pull to START where two don't decide."""
    found = (lengths(law) / published - 1)[:, list(at)].ravel()
    return np.append(found, 0.001 * (np.array(law) - START))


def thresholds(smoke: bool) -> Iterator[Fact]:
    """DSpark: accept and verified length by threshold, from one law of the confidence."""
    for name, rows in DSPARK_THRESHOLDS.items():
        published = np.array(rows)
        function = partial(errors, published=published, at=FITTED[name])
        mean, sd, shift, certain = optimize.least_squares(function, START).x
        keys = {"mean": float(mean), "sd": float(sd), "shift": float(shift)}
        rate, share = ConfidenceLaw.model_validate(keys).acceptance_rate(), float(expit(certain))
        acceptance = {
            "model": "regime",
            "rates": [[rate] * BLOCK, [CERTAIN] * BLOCK],
            "step": [[1 - share, share]] * 2,
        }
        rules = [
            {"rule": "threshold", "name": f"{theta:g}", "theta": float(theta), "drop": True}
            for theta in THETAS
        ]
        laws = {"states": [keys, {"at_one": [1.0, 1.0]}]}
        found = simulated(
            acceptance,
            TIMES,
            500 if smoke else 2_000,
            adaptive={"policies": rules, "confidence": laws},
        )["adaptive"]["policies"]
        fitted = "all thresholds" if len(FITTED[name]) > 2 else "thresholds 0.6 and 0.9"
        for number, theta in enumerate(THETAS):
            (policy,) = (row for row in found if row["name"] == f"{theta:g}")
            depth = sum(k * rounds for k, rounds in enumerate(policy["depths"]))
            pairs = ("accept", policy["accept_length"]["mean"]), ("verified", depth + 1)
            for (what, ours), truth in zip(pairs, published[:, number], strict=True):
                why = f"3 %; law fitted at {fitted}"
                yield Fact(f"{name}, {what} length at {theta:g}", truth, ours, 0.03 * truth, why)
