"""Does a fitted chain make logs like the one it was fitted to? Replicas tell.

A replica has the requests of the log, each with its rounds and its drafts a round, and plays the
fitted chain in them. What a log shows is then held against the range of the replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import round_law
from mtpsim.fit.likelihood import counts_of
from mtpsim.kernels.likelihood import play_rounds
from mtpsim.logs import Rounds

REPLICAS = 40
LAGS = 10
SURE = 0.99  # all checks of a model that is right hold together with this probability


@dataclass(frozen=True)
class Features:
    """What one looks at in a log.

    Attributes:
        histogram: ``[K + 1]`` share of rounds by accepted drafts.
        rates: ``[K]`` conditional rates by position.
        autocorrelation: ``[LAGS]`` of accepted drafts, of rounds 1, 2, .. apart in a request.
        spread: standard deviation over requests of their accept length.
        length: accept length, all rounds pooled.

    """

    histogram: Floats
    rates: Floats
    autocorrelation: Floats
    spread: float
    length: float


def features(rounds: Rounds, depth: int) -> Features:
    """Look at rounds of up to ``depth`` drafts."""
    accepted = rounds.accepted.astype(float)
    counts = counts_of(rounds, depth)
    reached = counts.reached.sum(0)
    lengths = np.diff(rounds.begins)
    whole = np.concatenate([[0.0], np.cumsum(accepted)])
    mean = np.diff(whole[rounds.begins]) / np.maximum(lengths, 1)
    return Features(
        np.bincount(rounds.accepted, minlength=depth + 1)[: depth + 1] / accepted.size,
        np.divide(counts.hit.sum(0), reached, out=np.full(depth, np.nan), where=reached > 0),
        _autocorrelation(accepted, rounds),
        float(mean.std()),
        float(1 + accepted.mean()),
    )


def _autocorrelation(accepted: Floats, rounds: Rounds) -> Floats:
    """About the mean of all rounds: what differs by request counts as correlation."""
    request = np.repeat(np.arange(rounds.requests), np.diff(rounds.begins))
    centred = accepted - accepted.mean()
    variance = (centred**2).mean()
    found = np.full(LAGS, np.nan)
    for lag in range(1, min(LAGS, accepted.size - 1) + 1):
        same = request[lag:] == request[:-lag]
        if same.any() and variance > 0:
            found[lag - 1] = (centred[lag:] * centred[:-lag])[same].mean() / variance
    return found


def replica(chain: AcceptanceChain, like: Rounds, rng: np.random.Generator) -> Rounds:
    """Requests of the same rounds and drafts, played anew."""
    deepest = int(like.drafted.max())
    upto = np.ones((deepest + 1, chain.states, (deepest + 1) * chain.states))
    for depth in np.unique(like.drafted):
        law = round_law(chain, int(depth)).swapaxes(0, 1).reshape(chain.states, -1)
        upto[depth, :, : law.shape[1]] = np.cumsum(law, axis=1)
    accepted = np.empty(like.accepted.size, np.uint8)
    chance, first = rng.random(accepted.size), rng.random(like.requests)
    start = np.cumsum(chain.start)
    play_rounds(upto, start, like.drafted, like.begins, chance, first, accepted)
    accepted = np.minimum(accepted, like.drafted)  # the last cell of a row may miss 1 by rounding
    return Rounds(accepted, like.drafted, like.begins)


@dataclass(frozen=True)
class Check:
    """A feature of the log against the range of the replicas.

    Attributes:
        name: of the feature.
        log: its value in the log.
        low: lower end of the range that replicas have, wide enough for all checks together.
        mean: of the replicas.
        high: upper end of the range.

    """

    name: str
    log: float
    low: float
    mean: float
    high: float

    @property
    def fits(self) -> bool:
        """Whether the log lies within the range."""
        return self.low <= self.log <= self.high


@dataclass(frozen=True)
class Goodness:
    """How a fitted chain's replicas compare with the log.

    Attributes:
        checks: features that matter.
        mean: features of the replicas, on average.

    """

    checks: list[Check]
    mean: Features


def goodness(chain: AcceptanceChain, like: Rounds, depth: int, ordered: bool) -> Goodness:
    """Hold a log against replicas of a chain.

    Args:
        chain: fitted.
        like: the log.
        depth: K.
        ordered: whether the order of the rounds was recorded; else nothing is said of it.

    """
    rng = np.random.default_rng(0)
    log = features(like, depth)
    made = [features(replica(chain, like, rng), depth) for _ in range(REPLICAS)]

    looked = {
        "accept length": [f.length for f in (log, *made)],
        "spread over requests": [f.spread for f in (log, *made)],
        **{
            f"rounds that accept {a}": [f.histogram[a] for f in (log, *made)]
            for a in range(depth + 1)
        },
    }
    for lag in (1, LAGS) if ordered else ():
        rows = [f.autocorrelation[lag - 1] for f in (log, *made)]
        if np.isfinite(rows).all():
            looked[f"correlation {lag} apart"] = rows
    checks = [_check(name, values, len(looked)) for name, values in looked.items()]
    return Goodness(checks, _mean(made))


def _mean(made: list[Features]) -> Features:
    return Features(
        np.mean([f.histogram for f in made], axis=0),
        np.mean([f.rates for f in made], axis=0),
        np.mean([f.autocorrelation for f in made], axis=0),
        float(np.mean([f.spread for f in made])),
        float(np.mean([f.length for f in made])),
    )


def _check(name: str, values: Sequence[float], together: int) -> Check:
    """The first value against the others; normal, Bonferroni over the checks."""
    from scipy.special import stdtrit

    log, made = float(values[0]), np.array(values[1:])
    width = float(stdtrit(made.size - 1, 1 - (1 - SURE) / (2 * together)))
    half = width * float(made.std(ddof=1)) * np.sqrt(1 + 1 / made.size)
    return Check(
        name, log, float(made.mean() - half), float(made.mean()), float(made.mean() + half)
    )
