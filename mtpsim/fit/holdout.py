"""What fitted chains say of accept lengths: at every depth, and in requests they did not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.likelihood import counts_of
from mtpsim.fit.replicas import replica
from mtpsim.formula.closed_form import accept_length
from mtpsim.formula.rate_definitions import DEFINITIONS, plug_in
from mtpsim.logs import Rounds
from mtpsim.stats.estimators import delta_method
from mtpsim.stats.moments import Tally

REPLICAS = 40


def accept_lengths(chain: AcceptanceChain, tokens: int) -> Floats:
    """``[K]`` accept lengths of requests of ``tokens`` tokens, run at depths 1 to K."""
    return np.array(
        [solve(chain, k, tokens=tokens).accept_length for k in range(1, chain.depth + 1)]
    )


@dataclass(frozen=True)
class Forecast:
    """Accept length of the first k drafts of held-out rounds, and what was foretold.

    Attributes:
        depth: k.
        seen: in the held-out requests; with
        low: the lower end of its interval, clustered by request, and
        high: the upper one.
        model: what the chosen model foretold from the other requests.
        closed: what the closed form says, by the definition that its rates follow.

    """

    depth: int
    seen: float
    low: float
    high: float
    model: float
    closed: dict[str, float]


def forecasts(
    chain: AcceptanceChain, train: Rounds, test: Rounds, depth: int, confidence: float
) -> list[Forecast]:
    """Hold a model that was fitted to ``train`` against ``test``, at every depth up to K.

    Depths below the recorded one are those rounds with their drafts cut short; rounds that drafted
    less than a depth say nothing of it.
    """
    rng = np.random.default_rng(1)
    made = [replica(chain, test, rng) for _ in range(REPLICAS)]
    counts = counts_of(train, depth)
    reached, hit = counts.reached.sum(0), counts.hit.sum(0)
    conditional = np.divide(hit, reached, out=np.zeros(depth), where=reached > 0)
    survival = np.cumprod(conditional)
    found = []
    for k in range(1, depth + 1):
        deep = test.drafted >= k
        if not deep.any():
            continue
        seen = _length(test, k, confidence)
        predicted = float(np.mean([1 + np.minimum(r.accepted[deep], k).mean() for r in made]))
        closed: dict[str, float] = {
            name: float(accept_length(plug_in(name, survival, conditional, k))[k])
            for name in DEFINITIONS
        }
        found.append(Forecast(k, *seen, predicted, closed))
    return found


def _length(rounds: Rounds, depth: int, confidence: float) -> tuple[float, float, float]:
    """Accept length of the first drafts of rounds that have so many, and its interval."""
    deep = rounds.drafted >= depth
    cut = np.where(deep, np.minimum(rounds.accepted, depth), 0)
    columns = [np.concatenate([[0], np.cumsum(part)])[rounds.begins] for part in (deep, cut)]
    rows = np.stack([np.diff(column) for column in columns], axis=1)
    found = delta_method(
        lambda m: 1 + m[..., 1:2] / m[..., :1], Tally.of(rows.astype(float)), confidence
    )
    return float(found.values[0]), float(found.low[0]), float(found.high[0])
