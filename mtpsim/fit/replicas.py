"""Goodness of fit: compare features of a log with those of replicas of it under a fitted chain.

A replica has the requests of the log, each with the same rounds and drafts per round. Where the log
has counts by position only, so has its replica.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import round_distribution
from mtpsim.fit.likelihood import PositionCounts, Sample, position_counts
from mtpsim.kernels.likelihood import play_rounds
from mtpsim.logs import Rounds

REPLICAS = 40
LAGS = 10
CONFIDENCE = 0.99  # probability that all checks of a correct model pass
CheckKind = Literal["length", "spread", "counts", "correlation"]


@dataclass(frozen=True)
class Features:
    """Statistics of a log.

    Attributes:
        histogram (NDArray[float64]): ``[K + 1]`` share of rounds by accepted drafts.
        rates (NDArray[float64]): ``[K]`` conditional rates by position.
        autocorrelation (NDArray[float64]): ``[LAGS]`` correlation of the accepted drafts of rounds
            1, 2, .. apart in a request.
        spread (float): standard deviation over requests of their accept length.
        length (float): accept length, all rounds pooled.
    """

    histogram: Floats
    rates: Floats
    autocorrelation: Floats
    spread: float
    length: float


def features(rounds: Sample, depth: int) -> Features:
    """Return the features of rounds; counts have no autocorrelation.

    Args:
        rounds: rounds in order, or counts.
        depth: largest number of drafts per round K.
    """
    if isinstance(rounds, PositionCounts):
        return _count_features(rounds)
    accepted = rounds.accepted.astype(float)
    counts = position_counts(rounds, depth)
    reached = counts.reached.sum(0)
    lengths = np.diff(rounds.offsets)
    sums = np.concatenate([[0.0], np.cumsum(accepted)])
    mean = np.diff(sums[rounds.offsets]) / np.maximum(lengths, 1)
    return Features(
        np.bincount(rounds.accepted, minlength=depth + 1)[: depth + 1] / accepted.size,
        np.divide(counts.hit.sum(0), reached, out=np.full(depth, np.nan), where=reached > 0),
        _autocorrelation(accepted, rounds),
        float(mean.std()),
        float(1 + accepted.mean()),
    )


def _count_features(counts: PositionCounts) -> Features:
    reached, total = counts.reached.sum(0), counts.rounds.sum()
    each = 1 + counts.hit.sum(1) / np.maximum(counts.rounds, 1)
    return Features(
        counts.histogram.sum(0) / total,
        np.divide(counts.hit.sum(0), reached, out=np.full(reached.size, np.nan), where=reached > 0),
        np.full(LAGS, np.nan),
        float(each.std()),
        float(1 + counts.hit.sum() / total),
    )


def _autocorrelation(accepted: Floats, rounds: Rounds) -> Floats:
    """Return correlations about the mean of all rounds, so that request differences count too."""
    request = np.repeat(np.arange(rounds.requests), np.diff(rounds.offsets))
    centred = accepted - accepted.mean()
    variance = (centred**2).mean()
    found = np.full(LAGS, np.nan)
    for lag in range(1, min(LAGS, accepted.size - 1) + 1):
        same = request[lag:] == request[:-lag]
        if same.any() and variance > 0:
            found[lag - 1] = (centred[lag:] * centred[:-lag])[same].mean() / variance
    return found


def simulate_counts(
    chain: AcceptanceChain, like: PositionCounts, rng: np.random.Generator
) -> PositionCounts:
    """Simulate counts of requests with the rounds of given ones.

    Args:
        chain: acceptance chain.
        like: counts whose rounds are taken over, and the share of rounds that draft the next
            position.
        rng: source of random numbers.
    """
    states = rng.choice(chain.states, like.requests, p=chain.start)
    rates = like.rates_of_rows(chain, states)
    before = np.hstack([like.rounds[:, None], like.hit[:, :-1]])
    drafting = np.divide(like.reached, before, out=np.ones(before.shape), where=before > 0)
    reached, hit = np.zeros_like(like.reached), np.zeros_like(like.hit)
    came = like.rounds
    for j in range(like.hit.shape[1]):
        reached[:, j] = rng.binomial(came, drafting[:, j])
        hit[:, j] = came = rng.binomial(reached[:, j], rates[:, j])
    return PositionCounts(reached, hit, like.rounds, like.depths)


def simulate_sample(chain: AcceptanceChain, like: Sample, rng: np.random.Generator) -> Sample:
    """Simulate a sample of the same form, with the requests and rounds of the given one."""
    if isinstance(like, PositionCounts):
        return simulate_counts(chain, like, rng)
    return simulate_replica(chain, like, rng)


def simulate_replica(chain: AcceptanceChain, like: Rounds, rng: np.random.Generator) -> Rounds:
    """Simulate requests with the rounds and drafts of given ones.

    Args:
        chain: acceptance chain.
        like: rounds whose requests and drafts are taken over.
        rng: source of random numbers.
    """
    deepest = int(like.drafted.max())
    cumulative = np.ones((deepest + 1, chain.states, (deepest + 1) * chain.states))
    for depth in np.unique(like.drafted):
        joint = round_distribution(chain, int(depth)).swapaxes(0, 1).reshape(chain.states, -1)
        cumulative[depth, :, : joint.shape[1]] = np.cumsum(joint, axis=1)
    accepted = np.empty(like.accepted.size, np.uint8)
    chance, first = rng.random(accepted.size), rng.random(like.requests)
    start = np.cumsum(chain.start)
    play_rounds(cumulative, start, like.drafted, like.offsets, chance, first, accepted)
    accepted = np.minimum(accepted, like.drafted)  # a row may sum to less than 1 by rounding
    return Rounds(accepted, like.drafted, like.offsets)


@dataclass(frozen=True)
class Check:
    """A feature of the log compared with the range of the replicas.

    Attributes:
        name (str): name of the feature.
        kind (CheckKind): what the feature is about.
        log (float): value in the log.
        low (float): lower end of the range of replicas, simultaneous over all checks.
        mean (float): mean over replicas.
        high (float): upper end of the range.
        fits (bool): whether the value in the log is within the range.
    """

    name: str
    kind: CheckKind
    log: float
    low: float
    mean: float
    high: float
    fits: bool


@dataclass(frozen=True)
class GoodnessOfFit:
    """Comparison of a log with replicas under a fitted chain.

    Attributes:
        checks (list[Check]): a check per feature.
        mean (Features): features of the replicas, on average.
    """

    checks: list[Check]
    mean: Features

    @property
    def failed(self) -> list[Check]:
        """Checks that the log does not pass."""
        return [check for check in self.checks if not check.fits]


def compare_replicas(chain: AcceptanceChain, like: Sample, depth: int) -> GoodnessOfFit:
    """Compare a log with replicas under a fitted chain.

    Args:
        chain: fitted chain.
        like: rounds of the log; the correlation of counts is not checked.
        depth: largest number of drafts per round K.
    """
    rng = np.random.default_rng(0)
    log = features(like, depth)
    replicas = [features(simulate_sample(chain, like, rng), depth) for _ in range(REPLICAS)]
    both = [log, *replicas]
    rows: list[tuple[str, CheckKind, list[float]]] = [
        ("accept length", "length", [f.length for f in both]),
        ("spread over requests", "spread", [f.spread for f in both]),
    ]
    rows += [
        (f"rounds that accept {a}", "counts", [f.histogram[a] for f in both])
        for a in range(depth + 1)
    ]
    for lag in (1, LAGS):
        values = [f.autocorrelation[lag - 1] for f in both]
        if np.isfinite(values).all():
            rows.append((f"correlation {lag} apart", "correlation", values))
    return GoodnessOfFit(
        [_check(name, kind, values, len(rows)) for name, kind, values in rows], _mean(replicas)
    )


def _mean(replicas: list[Features]) -> Features:
    means = {
        field.name: np.mean([getattr(replica, field.name) for replica in replicas], axis=0)
        for field in fields(Features)
    }
    return Features(**means)


def _check(name: str, kind: CheckKind, values: Sequence[float], checks: int) -> Check:
    """Compare the first value with the others: prediction interval, Bonferroni over ``checks``."""
    from mtpsim.common.special import stdtrit

    log, made = float(values[0]), np.array(values[1:])
    width = float(stdtrit(made.size - 1, 1 - (1 - CONFIDENCE) / (2 * checks)))
    half = width * float(made.std(ddof=1)) * np.sqrt(1 + 1 / made.size)
    mean = float(made.mean())
    low, high = float(mean - half), float(mean + half)
    return Check(name, kind, log, low, mean, high, fits=low <= log <= high)
