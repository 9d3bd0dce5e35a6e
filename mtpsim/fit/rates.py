"""Acceptance rates by position as a log has them, with intervals that know of requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.logs import Log
from mtpsim.stats.estimators import Estimates, delta_method
from mtpsim.stats.moments import Tally


@dataclass(frozen=True)
class Rates:
    """Conditional rates by position.

    Attributes:
        values: ``[K]`` P(draft j accepted | 1..j-1 accepted), rounds pooled; only rounds that
            drafted position j count for it, so that short drafts do not bias it.
        low: ``[K]`` lower ends of intervals, and
        high: ``[K]`` upper ends.
        tried: ``[K]`` rounds that came to the position.
        clustered: whether the intervals are over requests (or windows); else they take rounds for
            independent, and are too narrow where rounds depend.
        length: accept length, and its interval, as ``values``, ``low`` and ``high`` of one entry.

    """

    values: Floats
    low: Floats
    high: Floats
    tried: Floats
    clustered: bool
    length: tuple[float, float, float]


def rates_of(log: Log, confidence: float) -> Rates:
    """Rates by position of a log; where only totals are told, one rate for all positions."""
    told = log.level != "totals"
    reached = log.reached if told else log.rounds[:, None]
    hit = log.hit if told else log.accepted[:, None]
    many = log.count >= 2
    columns = np.concatenate([log.rounds[:, None], log.accepted[:, None], reached, hit], axis=1)
    size = reached.shape[1]

    def by_position(means: Floats) -> Floats:
        if not told:
            one = _geometric(1 + means[..., 1] / means[..., 0], log.drafts)
            return np.repeat(one[..., None], log.depth, axis=-1)
        came, passed = means[..., 2 : 2 + size], means[..., 2 + size :]
        return np.divide(passed, came, out=np.zeros_like(came), where=came > 0)

    def length(means: Floats) -> Floats:
        return np.asarray(1 + means[..., 1:2] / means[..., :1])

    tally = Tally.of(columns.astype(float))
    values, tried = by_position(tally.mean), np.resize(reached.sum(0), log.depth)
    ends, one = _posterior(values, tried, confidence), (log.accept_length,) * 3
    if many:
        found, whole = (delta_method(f, tally, confidence) for f in (by_position, length))
        ends = _within(found, ends)
        one = whole.values[0], whole.low[0], whole.high[0]
    return Rates(
        *(values, *ends, tried),
        *(many, (float(one[0]), float(one[1]), float(one[2]))),
    )


def _within(found: Estimates, single: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Where all drafts were accepted, or none, requests show no spread: as of ``single`` rounds."""
    alike = (found.values <= 0) | (found.values >= 1)
    low, high = (
        np.where(alike, other, np.clip(end, 0, 1))
        for end, other in zip((found.low, found.high), single, strict=True)
    )
    return low, high


def _posterior(values: Floats, tried: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Beta posterior of each rate (Jeffreys prior), rounds taken for independent.

    It goes to the end where all were accepted, or none (Brown, Cai and DasGupta 2001), and both
    ways where none was tried.
    """
    from scipy.special import betaincinv

    hit, tail = values * tried, (1 - confidence) / 2
    low, high = (betaincinv(hit + 0.5, tried - hit + 0.5, u) for u in (tail, 1 - tail))
    return np.where(hit > 0, low, 0.0), np.where(hit < tried, high, 1.0)


def _geometric(length: Floats, drafts: float) -> Floats:
    """The one rate that makes an accept length, by bisection.

    Rounds whose drafts fall short of the depth are taken for a mix of the two nearest lengths.
    """
    whole, rest = int(drafts), drafts - int(drafts)
    weight = np.append(np.ones(whole + 1), rest)
    low, high = np.zeros_like(length), np.ones_like(length)
    for _ in range(60):
        middle = (low + high) / 2
        below = middle[..., None] ** np.arange(whole + 2) @ weight < length
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((low + high) / 2)
