"""Round times of a log: noise distributions fitted to them, and the section ``[latency]``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.logs import Log

MIN_SAMPLES = 30  # to fit a distribution
OUTLYING = 3.0  # factor from the median time of a round at which a window was idle
MAX_DISTANCE = 0.04  # Kolmogorov-Smirnov distance of a distribution that describes the samples


@dataclass(frozen=True, kw_only=True)
class NoiseFit:
    """A noise distribution fitted to round times over their mean.

    Attributes:
        name (str): name of the distribution.
        section (JsonDict): the section ``noise``; the mean is 1.
        log_likelihood (float): log-likelihood of the samples; all distributions have two
            parameters.
        distance (float): Kolmogorov-Smirnov distance from the samples.
        cdf (Callable[[Floats], Floats]): cumulative distribution function of times over their mean.
    """

    name: str
    section: JsonDict
    log_likelihood: float
    distance: float
    cdf: Callable[[Floats], Floats]


def fit_noise(times: Floats) -> list[NoiseFit]:
    """Fit noise distributions to round times, the most likely first.

    Args:
        times: ``[n]`` ms, above 0; nothing is fitted to fewer than 30 or to equal ones.
    """
    from scipy import stats

    if times.size < MIN_SAMPLES or np.ptp(times) < 1e-9 * times.max():
        return []
    ratio = times / times.mean()
    sigma = float(np.log(ratio).std())
    shape = float(stats.gamma.fit(ratio, floc=0)[0])
    alpha = float(stats.pareto.fit(ratio, floc=0, fscale=ratio.min())[0])
    offset = float(ratio.min())
    distributions: dict[str, tuple[JsonDict, Any]] = {
        "lognormal": (
            {"cv": float(np.sqrt(np.expm1(sigma**2)))},
            stats.lognorm(sigma, scale=np.exp(-(sigma**2) / 2)),
        ),
        "gamma": ({"cv": shape**-0.5}, stats.gamma(shape, scale=1 / shape)),
        "exponential": ({"offset": offset}, stats.expon(offset, max(1 - offset, 1e-9))),
    }
    if alpha > 1.05:
        pareto = stats.pareto(alpha, scale=(alpha - 1) / alpha)
        distributions["pareto"] = {"alpha": alpha}, pareto
    found = [
        NoiseFit(
            name=name,
            section={"distribution": name, **keys},
            log_likelihood=float(np.maximum(distribution.logpdf(ratio), -1e3).sum()),
            distance=float(stats.ks_1samp(ratio, distribution.cdf, method="asymp").statistic),
            cdf=distribution.cdf,
        )
        for name, (keys, distribution) in distributions.items()
    ]
    return sorted(found, key=lambda fit: -fit.log_likelihood)


@dataclass(frozen=True)
class RoundTimes:
    """Round times of a log.

    Attributes:
        by_depth (dict[int, float]): mean ms of a round, by number of drafts.
        draft (float | None): mean ms of drafting per round; None where not logged.
        samples (NDArray[float64]): ``[n]`` ms of single rounds, at the depth with the most samples.
        noise (list[NoiseFit]): noise distributions fitted to ``samples``, the most likely first.
    """

    by_depth: dict[int, float]
    draft: float | None
    samples: Floats
    noise: list[NoiseFit]

    @property
    def is_described(self) -> bool:
        """Whether the most likely noise distribution describes the samples."""
        return bool(self.noise) and self.noise[0].distance <= MAX_DISTANCE


def round_times_of(log: Log, *, by_length: bool = False) -> RoundTimes:
    """Return the round times of a log: of single rounds if logged, else means of its rows.

    Args:
        log: log with times, or without any.
        by_length: whether to return the times of rounds by the drafts that they have, where some
            have none; else those of rounds of a drafter that may propose so many.
    """
    times = log.times
    samples = dict(times.by_depth)
    if not samples and times.by_batch and log.depth:
        samples = {log.depth: max(times.by_batch.values(), key=len)}
    by_depth = {depth: float(found.mean()) for depth, found in samples.items()}
    if log.undrafted and len(by_depth) > 1 and not by_length:
        by_depth = _at_settings(samples, by_depth)
    if not by_depth and by_length:
        by_depth = _by_length(log)
    if not by_depth:
        used = usable_rows(log)
        for depth in np.unique(log.depths[used]):
            rows = used & (log.depths == depth)
            by_depth[int(depth)] = float(times.by_row[rows].sum() / log.rounds[rows].sum())
    most = max(samples.values(), key=len, default=np.zeros(0))
    return RoundTimes(by_depth, times.draft, most, fit_noise(most))


def _by_length(log: Log) -> dict[int, float]:
    """Return round times on a line by drafts, fitted to the total times of requests."""
    from scipy.optimize import nnls

    rows = usable_rows(log) & np.isfinite(log.drafted)
    columns = np.stack([log.rounds, log.drafted], axis=1)[rows]
    if not rows.any():
        return {}
    (base, each), _ = nnls(columns, log.times.by_row[rows])
    total = log.times.by_row[rows].sum() / (columns @ [base, each]).sum()
    return {drafts: float(total * (base + each * drafts)) for drafts in range(log.depth + 1)}


def _at_settings(samples: dict[int, Floats], means: dict[int, float]) -> dict[int, float]:
    """Return the mean round time if at most 0 to K tokens are drafted, and the drafter may stop.

    Args:
        samples: ms of single rounds, by the number of drafts that they have.
        means: their means.
    """
    drafts = sorted(samples)
    weights = [samples[n].size for n in drafts]
    each = [means[n] for n in drafts]
    return {
        most: float(np.average(np.interp(np.minimum(drafts, most), drafts, each), weights=weights))
        for most in range(drafts[0], drafts[-1] + 1)
    }


def usable_rows(log: Log) -> npt.NDArray[np.bool_]:
    """Return which rows of a log, ``[R]``, have a time that is one of rounds alone.

    The time of a window also counts time without requests: a first window is left out, and windows
    whose rounds took more than three times as long as, or less than a third of, the median. The
    median is weighted by rounds; of two windows it is the faster one.
    """
    known = np.isfinite(log.times.by_row)
    if log.unit != "window" or not known.any():
        return known
    if (known & ~log.times.rough).any():
        known &= ~log.times.rough
    used = known.copy()
    for depth in np.unique(log.depths[known]):
        rows = np.flatnonzero(known & (log.depths == depth))
        each = log.times.by_row[rows] / log.rounds[rows]
        order = np.argsort(each, kind="stable")
        share = np.cumsum(log.rounds[rows][order]) / log.rounds[rows].sum()
        median = each[order][np.searchsorted(share, 0.5)]
        used[rows] = (each <= OUTLYING * median) & (each * OUTLYING >= median)
    return used


def latency_section(
    times: RoundTimes, depth: int, target: float | None
) -> tuple[JsonDict, list[str]]:
    """Return the section ``[latency]``, and notes on what was assumed.

    Args:
        times: round times of the log.
        depth: largest number of drafts per round K.
        target: ms of a step without drafts, if given by the user.
    """
    known = dict(times.by_depth)
    if target is not None:
        known[0] = target
    notes = []
    deepest = max(known, default=0)
    if 0 < deepest < depth:
        known[depth] = known[deepest]
        notes.append(
            f"round times beyond depth {deepest} are not measured: {known[deepest]:.4g} ms is used "
            "for them, so each speedup there is an upper bound. Pass --like FILE or a step-time CSV"
        )
    if target is None and len(known) > 1 and 0 not in known:
        least = min(known)
        compare = "; depths compare as measured" if deepest >= depth else ""
        known[0] = known[least]
        notes.append(
            f"No times of plain steps given: {known[0]:.4g} ms, that of rounds at depth {least}, "
            f"is used, so each speedup is an upper bound{compare}. Pass --target MS"
        )
    if 0 not in known or max(known) < depth:
        step = 1.0 if target is None else target
        note = _missing_times(known, depth, step)
        return {"target": step, "verify": step, "draft": 0.0}, [note]
    between = [k for k in range(1, deepest) if k not in known]
    if between:
        listed = ", ".join(map(str, between))
        notes.append(f"round times at depth {listed} are interpolated linearly: not measured")
    depths = sorted(known)
    each = np.arange(1, depth + 1)
    rounds = np.interp(each, depths, [known[k] for k in depths])
    if times.draft is None or times.draft >= rounds[-1]:
        notes.append("drafting time is not logged separately: it is included in `verify`")
        return {"target": known[0], "verify": rounds.tolist(), "draft": 0.0}, notes
    drafting = times.draft / depth * each
    verify = np.maximum(rounds - drafting, 1e-6)
    return {"target": known[0], "verify": verify.tolist(), "draft": drafting.tolist()}, notes


def _missing_times(known: dict[int, float], depth: int, step: float) -> str:
    """Return a note on which times are missing, what is assumed, and how to give them."""
    has_deep = max(known, default=0) >= depth
    missing = "times of plain steps" if has_deep else "step times"
    if 0 in known:
        missing = f"round times at depth {depth}"
    way = "--target MS" if has_deep else "--like FILE or a step-time CSV"
    return (
        f'No {missing} given: {step:g} ms is used for every round, so "speedup" equals accept '
        f"length (upper bound). Pass {way}"
    )
