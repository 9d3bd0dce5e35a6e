"""Accept lengths that fitted chains predict: at every depth, and for held-out requests."""

from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.likelihood import PositionCounts, Sample, position_counts, truncated
from mtpsim.fit.rates import Interval
from mtpsim.fit.replicas import REPLICAS, simulate_sample
from mtpsim.formula.closed_form import DEFINITIONS, accept_length, plug_in
from mtpsim.stats.estimators import Tally, delta_method


def accept_lengths(chain: AcceptanceChain, tokens: int) -> Floats:
    """Return the accept lengths ``[K]`` at depths 1 to K of requests of ``tokens`` tokens."""
    return np.array(
        [solve(chain, k, tokens=tokens).accept_length for k in range(1, chain.depth + 1)]
    )


@dataclass(frozen=True)
class Prediction:
    """Accept length over the first k drafts of held-out rounds, observed and predicted.

    Attributes:
        depth (int): number of drafts k.
        observed (Interval): accept length of the held-out requests, with its interval clustered by
            request.
        model (float): accept length predicted by the selected model, fitted to the other requests.
        error (float): standard error of ``model - observed.mean`` if the model is right: that of
            the held-out and of the fitted requests, and of the replicas that predict.
        closed_form (dict[str, float]): accept length by the closed form, by definition of its
            acceptance rate.
    """

    depth: int
    observed: Interval
    model: float
    error: float
    closed_form: dict[str, float]


def predict_held_out(
    chain: AcceptanceChain, *, train: Sample, test: Sample, depth: int, confidence: float
) -> list[Prediction]:
    """Predict held-out accept lengths at every depth up to K.

    At depths below the recorded one, recorded rounds are truncated. Rounds with fewer drafts than
    a depth are left out at it.

    Args:
        chain: model fitted to ``train``.
        train: rounds whose rates the closed form uses.
        test: rounds of the held-out requests.
        depth: largest number of drafts per round K.
        confidence: level of the intervals, as 0.95.
    """
    rng = np.random.default_rng(1)
    replicas = [simulate_sample(chain, test, rng) for _ in range(REPLICAS)]
    counts = train if isinstance(train, PositionCounts) else position_counts(train, depth)
    reached, hit = counts.reached.sum(0), counts.hit.sum(0)
    conditional = np.divide(hit, reached, out=np.zeros(depth), where=reached > 0)
    survival = np.cumprod(conditional)
    found = []
    for k in range(1, depth + 1):
        totals = truncated(test, k)
        if not totals[:, 0].any():
            continue
        played = [truncated(replica, k).sum(0) for replica in replicas]
        lengths = [1 + accepted / rounds for rounds, accepted in played]
        closed_form: dict[str, float] = {
            name: float(accept_length(plug_in(name, survival, conditional, k))[k])
            for name in DEFINITIONS
        }
        observed = delta_method(
            lambda m: 1 + m[..., 1:2] / m[..., :1], Tally.of(totals.astype(float)), confidence
        )
        variance = float(observed.covariance[0, 0]) * (1 + test.requests / train.requests)
        error = np.sqrt(variance + np.var(lengths) / REPLICAS)
        model = float(np.mean(lengths))
        found.append(Prediction(k, Interval.of(observed), model, float(error), closed_form))
    return found
