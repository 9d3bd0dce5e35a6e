"""Accept length and round time at each depth of a log, measured and predicted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.rates import Interval, accept_length_interval
from mtpsim.fit.round_times import usable_rows
from mtpsim.formula.accept_lengths import rates_through
from mtpsim.formula.closed_form import accept_length, survival
from mtpsim.logs import Log

MAX_DRAWS = 100  # chains solved for an interval
MIN_TIMES = 3  # rows with times, for an interval of their mean
Lengths = Callable[[Floats | None], Floats]
"""Returns the accept lengths ``[K]`` of parameters, and of the fit itself for None."""


@dataclass(frozen=True)
class AtDepth:
    """Accept length and round time at one depth.

    Attributes:
        depth (int): number of drafts per round.
        rounds (int): number of rounds measured; 0 where none were.
        measured (Interval | None): accept length of these rounds.
        predicted (Interval): accept length of the fitted chain.
        round_ms (Interval | None): ms per round; its ends are equal where fewer than three rows
            have times.
    """

    depth: int
    rounds: int
    measured: Interval | None
    predicted: Interval
    round_ms: Interval | None

    @property
    def agrees(self) -> bool:
        """Whether the two intervals of the accept length overlap."""
        one, two = self.measured, self.predicted
        return one is None or (one.low <= two.high and two.low <= one.high)


def has_several_depths(log: Log) -> bool:
    """Return whether rows of a log have different depths."""
    return np.unique(log.depths).size > 1


def by_depth(log: Log, lengths: Lengths, draws: Floats, confidence: float) -> list[AtDepth]:
    """Return what is known at each depth from 1 to K.

    Args:
        log: rows of several depths.
        lengths: accept lengths of parameters.
        draws: ``[n, P]`` draws of the parameters.
        confidence: level of the intervals, as 0.95.
    """
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    mean = lengths(None)
    drawn = np.array([lengths(parameters) for parameters in draws[:MAX_DRAWS]])
    low, high = np.quantile(drawn, tails, axis=0)
    low, high = np.minimum(low, mean), np.maximum(high, mean)
    return [
        AtDepth(
            depth=k,
            rounds=int(log.rounds[log.depths == k].sum()),
            measured=measured_at(log, k, confidence),
            predicted=Interval(float(mean[k - 1]), float(low[k - 1]), float(high[k - 1])),
            round_ms=_time_at(log, k, confidence),
        )
        for k in range(1, log.depth + 1)
    ]


def measured_at(log: Log, depth: int, confidence: float) -> Interval | None:
    """Return the accept length of the rows of a depth; None if there are none."""
    rows = log.depths == depth
    if not log.rounds[rows].sum():
        return None
    survived = survived_at(log, depth)
    return accept_length_interval(log.rounds[rows], log.accepted[rows], survived, confidence)


def no_surer(predicted: Interval, measured: Interval) -> Interval:
    """Return the predicted mean with an interval that contains the measured one of its rounds."""
    low, high = min(predicted.low, measured.low), max(predicted.high, measured.high)
    return Interval(predicted.mean, low, high)


def survived_at(log: Log, depth: int) -> Floats:
    """Return the survival rates ``[depth]`` of the rounds at a depth; of totals at one rate."""
    rows = log.depths == depth
    rounds, accepted = float(log.rounds[rows].sum()), float(log.accepted[rows].sum())
    if log.level == "totals":
        return survival(rates_through({depth: 1 + accepted / rounds}))
    return np.asarray(log.hit[rows].sum(0)[:depth] / rounds, float)


def _time_at(log: Log, depth: int, confidence: float) -> Interval | None:
    """Return the mean round time of the rows of a depth; None where it is not logged."""
    from mtpsim.common.special import stdtrit

    rows = (log.depths == depth) & usable_rows(log)
    if depth in log.times.by_depth:
        times = log.times.by_depth[depth]
        weights = np.ones(times.size)
    else:
        times, weights = log.times.by_row[rows] / log.rounds[rows], log.rounds[rows]
    if not times.size:
        return None
    mean = float(weights @ times / weights.sum())
    half = 0.0
    if times.size >= MIN_TIMES:
        off = weights * (times - mean) / weights.mean()
        error = float(np.sqrt((off**2).sum() / (times.size - 1) / times.size))
        half = error * float(stdtrit(times.size - 1, (1 + confidence) / 2))
    return Interval(mean, max(mean - half, 0.0), mean + half)


def chain_lengths(chain: AcceptanceChain, tokens: int) -> Floats:
    """Return the accept lengths ``[K]`` of a chain by depth; the last round counts in full."""
    found = [solve(chain, k, tokens=tokens).accepted for k in range(1, chain.depth + 1)]
    return np.array([1 + accepted @ np.arange(accepted.size) for accepted in found])


def lengths_of_totals(log: Log, confidence: float) -> tuple[Lengths, Floats]:
    """Return the accept lengths through those measured at each depth, and draws of the latter.

    Args:
        log: totals at several depths.
        confidence: level of the intervals that the draws follow.
    """
    from mtpsim.common.special import ndtri

    measured = {int(k): measured_at(log, int(k), confidence) for k in np.unique(log.depths)}
    known = {depth: found for depth, found in measured.items() if found}
    rng = np.random.default_rng(0)
    mean = np.array([found.mean for found in known.values()])
    half = np.array([found.high - found.low for found in known.values()]) / 2
    scale = half / float(ndtri((1 + confidence) / 2))

    def lengths(values: Floats | None) -> Floats:
        through = dict(zip(known, (mean if values is None else values).tolist(), strict=True))
        return accept_length(rates_through(through))[1:]

    return lengths, mean + scale * rng.standard_normal((MAX_DRAWS, mean.size))
