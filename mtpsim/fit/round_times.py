"""How long rounds take: the law of their noise, and times by depth as far as a log tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.logs import Log

FEW = 30  # samples below which no law is told from another
FAR = 0.04  # distance of two distribution functions beyond which a law is no good description


@dataclass(frozen=True)
class Law:
    """A law of the noise on trial.

    Attributes:
        name: of the distribution.
        keys: the section ``noise``, of mean 1.
        log_likelihood: of the samples; all laws have a mean and a shape.
        distance: greatest distance of its distribution function from that of the samples.
        cumulated: its distribution function, of times over their mean.

    """

    name: str
    keys: JsonDict
    log_likelihood: float
    distance: float
    cumulated: Callable[[Floats], Floats]


def fit_laws(times: Floats) -> list[Law]:
    """Laws of times around their mean, by likelihood, the best first.

    Args:
        times: ``[n]`` above 0; at least ``FEW`` that are not all alike, or there is none.

    """
    from scipy import stats

    if times.size < FEW or np.ptp(times) < 1e-9 * times.max():
        return []
    ratio = times / times.mean()
    sigma = float(np.log(ratio).std())
    shape = float(stats.gamma.fit(ratio, floc=0)[0])
    alpha = float(stats.pareto.fit(ratio, floc=0, fscale=ratio.min())[0])
    offset = float(ratio.min())
    laws: dict[str, tuple[JsonDict, Any]] = {
        "lognormal": (
            {"cv": float(np.sqrt(np.expm1(sigma**2)))},
            stats.lognorm(sigma, scale=np.exp(-(sigma**2) / 2)),
        ),
        "gamma": ({"cv": shape**-0.5}, stats.gamma(shape, scale=1 / shape)),
        "exponential": ({"offset": offset}, stats.expon(offset, max(1 - offset, 1e-9))),
    }
    if alpha > 1.05:
        laws["pareto"] = {"alpha": alpha}, stats.pareto(alpha, scale=(alpha - 1) / alpha)
    found = [
        Law(name, {"distribution": name, **keys}, *_held(law, ratio), law.cdf)
        for name, (keys, law) in laws.items()
    ]
    return sorted(found, key=lambda law: -law.log_likelihood)


def _held(law: Any, ratio: Floats) -> tuple[float, float]:
    ordered = np.sort(ratio)
    steps = np.arange(ordered.size + 1) / ordered.size
    below = law.cdf(ordered)
    density = np.maximum(law.logpdf(ratio), -1e3)
    return float(density.sum()), float(max((below - steps[:-1]).max(), (steps[1:] - below).max()))


@dataclass(frozen=True)
class Times:
    """What a log says of time.

    Attributes:
        by_depth: mean ms of a round by its drafts.
        draft: mean ms of drafting a round, or None.
        samples: ms of rounds of one depth, the depth with the most of them.
        laws: of their noise, the best first; none where there are too few samples.

    """

    by_depth: dict[int, float]
    draft: float | None
    samples: Floats
    laws: list[Law]

    @property
    def described(self) -> bool:
        """Whether the best law describes the samples."""
        return bool(self.laws) and self.laws[0].distance <= FAR


def times_of(log: Log) -> Times:
    """Times of a log's rounds, one by one if it has them, else their mean."""
    samples = dict(log.round_times)
    if not samples and log.step_times and log.depth:
        samples = {log.depth: max(log.step_times.values(), key=len)}
    by_depth = {depth: float(times.mean()) for depth, times in samples.items()}
    known = np.isfinite(log.time)
    if not by_depth and known.any():
        by_depth[log.depth] = float(log.time[known].sum() / log.rounds[known].sum())
    most = max(samples.values(), key=len, default=np.zeros(0))
    return Times(by_depth, log.draft_time, most, fit_laws(most))


def latency_keys(times: Times, depth: int, target: float | None) -> tuple[JsonDict, list[str]]:
    """The section ``[latency]`` as far as a log and a stated plain step tell, and what was assumed.

    Args:
        times: of the log.
        depth: K.
        target: ms of a step without drafts, if stated.

    """
    known = dict(times.by_depth)
    if target is not None:
        known[0] = target
    if 0 not in known or max(known) < depth:
        same = 1.0 if target is None else target
        keys = {"target": same, "verify": same, "draft": 0.0}
        return keys, [_not_measured(known, depth, same)]
    between = [k for k in range(1, depth + 1) if k not in known]
    said = []
    if between:
        listed = ", ".join(map(str, between))
        said = [f"times at depth {listed} were not measured: they lie on the line between others"]
    depths = sorted(known)
    each = np.arange(1, depth + 1)
    rounds = np.interp(each, depths, [known[k] for k in depths])
    if times.draft is None or times.draft >= rounds[-1]:
        said.append("drafting is not told from verifying: its time is within `verify`")
        return {"target": known[0], "verify": rounds.tolist(), "draft": 0.0}, said
    drafting = times.draft / depth * each
    verify = np.maximum(rounds - drafting, 1e-6)
    return {"target": known[0], "verify": verify.tolist(), "draft": drafting.tolist()}, said


def _not_measured(known: dict[int, float], depth: int, same: float) -> str:
    """What is missing, what is written instead, and how to state it."""
    plain, deep = 0 in known, max(known, default=0) >= depth
    of = f" of rounds at depth {depth}" if plain else " of plain steps" if deep else ""
    state = "--target MS" if deep else "--like FILE or a CSV file of step times"
    return (
        f"NO TIMES were measured{of}: {same:g} ms is written for every round, so that the speedup "
        "is the accept length, the limit of a draft that costs nothing; state times with " + state
    )
