"""Dependence between the rounds of a request: correlation by lag, and its lasting share.

Totals of a request do not show it, so a sample of requests is traced round by round.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.stats.estimators import Estimates, Tally, delta_method

LAGS = (1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 56, 80)
MOST_ENTRIES = 400_000  # traced rounds per point
MOST_ROUNDS = 2_000  # per request

Counts = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Dependence:
    """Correlations of accepted drafts between rounds of a request.

    Attributes:
        requests (int): Number of traced requests.
        lags (list[int]): ``[L]`` distances in rounds.
        autocorrelation (Estimates): ``[L]`` correlation by lag, pooled over requests, so that
            differences between requests count.
        lasting_share (Estimates): ``[1]`` covariance of the means of the first and last third of a
            request, over the variance of a round: the share of between-request differences.
    """

    requests: int
    lags: list[int]
    autocorrelation: Estimates
    lasting_share: Estimates


def sample_size(requests: int, rounds: int) -> tuple[int, int]:
    """Number of requests to trace, and greatest number of rounds of each.

    Args:
        requests (int): Requests of the point.
        rounds (int): Rounds per request.

    Returns:
        tuple[int, int]: Requests and rounds.
    """
    rounds = min(rounds, MOST_ROUNDS)
    return min(requests, max(64, MOST_ENTRIES // rounds)), rounds


def dependence(counts: Counts, confidence: float) -> Dependence | None:
    """Estimate the dependence between traced rounds.

    Args:
        counts (Counts): ``[n, rounds]`` accepted drafts; -1 after the last round of a request.
        confidence (float): Confidence of the intervals, clustered by request.

    Returns:
        Dependence | None: None if requests have fewer than two rounds or counts do not vary.
    """
    live = np.ascontiguousarray(counts.T) >= 0
    rounds = live.sum(0)
    typical = int(np.median(rounds))
    lags = [lag for lag in LAGS if lag <= typical // 2] or ([1] if typical > 1 else [])
    inside = counts[counts >= 0]
    if not lags or len(counts) < 2 or (inside == inside[0]).all():
        return None
    # Sums of whole numbers: exact in any order, and in half the time in single precision.
    exact = int(inside.max()) ** 2 * len(live) < 2**24
    value: Floats = np.where(live, counts.T, 0).astype("float32" if exact else "float64")
    columns = [_moments(value, rounds), *_pairs(value, rounds, lags), _thirds(value, rounds)]
    tally = Tally.of(np.concatenate(columns, axis=1))
    return Dependence(
        len(counts),
        lags,
        delta_method(lambda means: _correlations(means, len(lags)), tally, confidence),
        delta_method(_lasting_share, tally, confidence),
    )


def _moments(value: Floats, rounds: Counts) -> Floats:
    """Rounds, accepted drafts and their squares by request, ``[n, 3]``; value ``[rounds, n]``."""
    return np.stack([rounds, value.sum(0), (value * value).sum(0)], axis=1)


def _pairs(value: Floats, rounds: Counts, lags: list[int]) -> list[Floats]:
    """Pairs of rounds by lag: their number, sums of both and of products, ``[n, 4]`` each.

    A request's rounds have no gaps, so the sums are differences of its running total.
    """
    place = np.arange(len(rounds))
    running = np.concatenate([np.zeros_like(value[:1]), value.cumsum(0)])
    found = []
    for lag in lags:
        number = np.maximum(rounds - lag, 0)
        late = running[-1] - running[np.minimum(lag, rounds), place]
        product = (value[:-lag] * value[lag:]).sum(0)
        found.append(np.stack([number, running[number, place], late, product], axis=1))
    return found


def _thirds(value: Floats, rounds: Counts) -> Floats:
    """Mean counts in the first and last third of a request, and their product, ``[n, 4]``.

    The first column is the length of the third. It weights the others: longer requests have more
    rounds, as in the variance of a round.
    """
    third = np.maximum(rounds // 3, 1)
    place = np.arange(len(value))[:, None]
    x, y = (
        np.where(part, value, 0).sum(0, dtype=float) / third
        for part in (place < third, (place >= rounds - third) & (place < rounds))
    )
    return np.stack([third, third * x, third * y, third * x * y], axis=1)


def _variance(means: Floats) -> Floats:
    rounds, total, squares = np.moveaxis(means[..., :3], -1, 0)
    return np.asarray(squares / rounds - (total / rounds) ** 2)


def _correlations(means: Floats, lags: int) -> Floats:
    pairs = means[..., 3 : 3 + 4 * lags].reshape(*means.shape[:-1], lags, 4)
    number, x, y, product = np.moveaxis(pairs, -1, 0)
    covariance = product / number - (x / number) * (y / number)
    return np.asarray(covariance / _variance(means)[..., None])


def _lasting_share(means: Floats) -> Floats:
    weight, x, y, product = np.moveaxis(means[..., -4:], -1, 0)
    covariance = product / weight - (x / weight) * (y / weight)
    return np.asarray(covariance / _variance(means))[..., None]
