"""The document of a simulated server: estimates of every arm, the best of them, and warnings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.engine.server_data import ServerData, Timeline, quantity
from mtpsim.kernels.server_layout import METRICS, SHARES, Column, Metric
from mtpsim.report.document import Interval, JudgedInterval, PointResult
from mtpsim.report.serving_document import (
    QUANTILES,
    LoadGroup,
    ServedArm,
    ServedCapacity,
    ServedDepths,
    ServedPoint,
    ServedTime,
    ServedTimeline,
)
from mtpsim.results.adaptive_verification import budget_comparisons, budget_sentence
from mtpsim.results.point_data import POSITIVE, SHARE, interval, number
from mtpsim.results.serving_advice import Band, by_load, point_sentence
from mtpsim.results.serving_warnings import no_upper_end, warnings_by_arm
from mtpsim.results.shapes import draft_tree
from mtpsim.stats.comparisons import Choice, choose, log_of
from mtpsim.stats.estimators import Estimates, delta_method
from mtpsim.stats.pooled_quantiles import PooledQuantiles, pooled_quantiles, ratios_to
from mtpsim.stats.root_search import Root

DEFAULT_SHARE = 0.99  # of requests that must meet the goals, where none is stated


SHOWN = ("throughput", "itl_token", "drafts", "step_time", "running", "waiting", "preemptions")
"""Quantities that every arm has, without those that have another name or form."""
NAMES = {"tpot": "TPOT"}
SCALES = {"throughput": 1000.0, "goodput": 1000.0, "preemptions": 1000.0}  # per s, per 1,000


def estimates_of(data: ServerData, name: str, *, inverse: bool = False) -> Estimates:
    """Estimates ``[A]`` of a quantity of every arm, or of one over it.

    Args:
        data (ServerData): The point.
        name (str): One of :data:`~mtpsim.engine.server_data.RATIOS`.
        inverse (bool): Whether to estimate one over it.
    """

    def value(means: Floats) -> Floats:
        found = SCALES.get(name, 1.0) * quantity(means, data.layout, name)
        return np.asarray(1 / found if inverse else found)

    return delta_method(value, data.tally, _confidence(data))


def served_result(data: ServerData) -> PointResult:
    """The document of a point of a server.

    Args:
        data (ServerData): Two replications or more.
    """
    serving = data.experiment.model_dump(mode="json")["serving"]
    requests = float(data.tally.mean[data.layout.of("requests")][0] * data.tally.count)
    return PointResult(
        set=data.point.set,
        requests=round(requests),
        rounds=round(float(data.tally.mean[data.layout.of("rounds")].sum() * data.tally.count)),
        precision_reached=data.precision_reached,
        interrupted=data.interrupted,
        warnings=_warnings(data),
        serving=_served_point(data, serving, round(requests)),
        tree=draft_tree(data.experiment),
    )


def _served_point(data: ServerData, serving: dict[str, Any], requests: int) -> ServedPoint:
    arrivals, load = load_of(serving)
    goals = {name: ms for name, ms in (serving.get("goals") or {}).items() if ms is not None}
    share = (serving.get("capacity") or {}).get("share", DEFAULT_SHARE)
    arms = _arms(data, bool(goals), serving.get("kv_tokens"))
    real = [n for n, arm in enumerate(data.arms) if not arm.bound]
    objective, eligible, within = _objective(arms, real, arrivals, share if goals else None)
    choice = _choose(data, objective, eligible)
    for place, number_ in enumerate(eligible):
        arms[number_].loss = _loss(choice, place, data)
    point = ServedPoint(
        arrivals=arrivals,
        load=load,
        replications=data.tally.count,
        requests=requests,
        goals=goals,
        share=share,
        objective=objective,
        best=arms[eligible[choice.best]].name,
        candidates=[arms[eligible[place]].name for place in choice.candidates],
        within_goals=within,
        sentence="",
        arms=arms,
        capacity=[_capacity(a.name, r) for a, r in zip(data.arms, data.capacity, strict=False)],
        timeline=[_timeline(a.name, t) for a, t in zip(data.arms, data.timelines, strict=False)],
    )
    point.sentence = point_sentence(point)
    if any(arm.shares_budget for arm in data.arms):
        _compare_budgets(point, data)
    return point


def _compare_budgets(point: ServedPoint, data: ServerData) -> None:
    """Add what rules that share a budget of drafts gain over the other arms."""
    by = "throughput" if point.arrivals in ("closed", "burst") else "tpot"
    stable = [n for n, arm in enumerate(point.arms) if not arm.unstable]
    indifference = data.experiment.decision.indifference
    speed = log_of(speed_of(data, by))
    point.budgets = budget_comparisons(speed, data.arms, stable, (_confidence(data), indifference))
    point.budget_sentence = budget_sentence([point], indifference) if point.budgets else ""


def served_by_load(done: Sequence[ServerData], points: Sequence[PointResult]) -> list[LoadGroup]:
    """Where the best arm changes along the load; leads of an arm over another are paired."""
    data_of = {id(point.serving): data for point, data in zip(points, done, strict=True)}

    def lead(point: ServedPoint, before: str, after: str) -> Band:
        data, names = data_of[id(point)], [arm.name for arm in point.arms]
        weights = np.zeros((1, len(names)))
        weights[0, names.index(before)], weights[0, names.index(after)] = 1, -1
        objective = "tpot" if point.objective == "goodput" else point.objective
        found = log_of(speed_of(data, objective)).linear_combination(weights)
        return float(found.values[0]), float(found.low[0]), float(found.high[0])

    groups = by_load(points, lead)
    if any(point.serving and point.serving.budgets for point in points):
        _budgets_by_load(groups, points, done[0].experiment.decision.indifference)
    return groups


def _budgets_by_load(
    groups: Sequence[LoadGroup], points: Sequence[PointResult], indifference: float
) -> None:
    """Add to each group at which loads a rule that shares a budget of drafts pays."""
    for group in groups:
        own = [p.serving for p in points if p.serving and group.set.items() <= p.set.items()]
        own.sort(key=lambda point: point.load or 0.0)
        group.budget_sentence = budget_sentence(own, indifference)


def load_of(serving: dict[str, Any]) -> tuple[str, float | None]:
    """Kind of the arrivals, and their number: requests per second, clients, or of the burst."""
    arrivals = serving["arrivals"]
    kind = next((name for name, value in arrivals.items() if value is not None), "rate")
    value = arrivals.get(kind)
    return kind, float(value) if isinstance(value, int | float) else None


def _confidence(data: ServerData) -> float:
    return data.experiment.simulation.confidence


def _arms(data: ServerData, with_goals: bool, kv_tokens: float | None) -> list[ServedArm]:
    """The estimates of every arm."""
    found = {name: estimates_of(data, name) for name in SHOWN}
    accepted = estimates_of(data, "accepted")
    drafts = _drafts(data) if any(arm.shares_budget for arm in data.arms) else {}
    times = {metric: _times(data, metric) for metric in METRICS}
    kv = None
    if kv_tokens:
        kv = estimates_of(data, "kv").linear_combination(np.eye(len(data.arms)) / kv_tokens)
    off = next((n for n, arm in enumerate(data.arms) if arm.depth == 0), None)
    ratio = speedup = good = goodput = None
    if off is not None:
        ratio = ratios_to(found["throughput"], off)
        speedup = ratios_to(estimates_of(data, "tpot", inverse=True), off)
    if with_goals:
        good, goodput = estimates_of(data, "good"), estimates_of(data, "goodput")
    warned = warnings_by_arm(data)
    queues = [data.tally.mean[data.layout.of(end)] for end in ("first_waiting", "last_waiting")]
    for name in ("ttft", "tpot"):
        for texts, time in zip(warned, times[name], strict=True):
            texts += no_upper_end(name.upper(), time.p99)
    shared: list[dict[str, Any]] = [
        {name: interval(estimates, n, POSITIVE) for name, estimates in found.items()}
        | {metric: times[metric][n] for metric in METRICS}
        | {
            name: interval(estimates, n, POSITIVE)
            for name, estimates in drafts.items()
            if name != "missed" or data.arms[n].shares_budget
        }
        for n in range(len(data.arms))
    ]
    return [
        ServedArm(
            name=arm.name,
            depth=arm.depth,
            rule=arm.policy,
            throughput_ratio=_optional(ratio, n),
            speedup=_optional(speedup, n),
            good=_optional(good, n, SHARE),
            goodput=_optional(goodput, n),
            accept_length=interval(accepted, n, POSITIVE).map(lambda drafts: drafts + 1),
            bound=arm.bound,
            drafted=arm.drafted,
            kv_use=_optional(kv, n, SHARE),
            queue=[float(ends[n]) for ends in queues],
            depths=_depths_used(data, n),
            warnings=warned[n],
            **shared[n],
        )
        for n, arm in enumerate(data.arms)
    ]


DRAFTS: dict[str, dict[Column, float]] = {  # sums of totals, per decoding request and step
    "verified": {"drafted": 1, "unverified": -1},
    "unverified": {"unverified": 1},
    "rejected": {"rejected": 1},
    "missed": {"missed": 1},
}


def _drafts(data: ServerData) -> dict[str, Estimates]:
    """What became of the drafts, per decoding request and step, each ``[A]``."""
    layout = data.layout

    def found(totals: dict[Column, float]) -> Estimates:
        def value(means: Floats) -> Floats:
            total = sum(sign * means[..., layout.of(name)] for name, sign in totals.items())
            return np.asarray(total / means[..., layout.of("request_steps")])

        return delta_method(value, data.tally, _confidence(data))

    return {name: found(totals) for name, totals in DRAFTS.items()}


def _depths_used(data: ServerData, arm: int) -> list[ServedDepths]:
    """Mean depth by number of decoding requests, of a policy in the first replication."""
    used = data.timelines[arm].used if arm < len(data.timelines) else None
    if used is None or data.arms[arm].depth is not None:
        return []
    steps = used.sum(1) // np.maximum(np.arange(len(used)), 1)
    means = used @ np.arange(used.shape[1]) / np.maximum(used.sum(1), 1)
    return [
        ServedDepths(running=n, depth=float(means[n]), share=float(steps[n] / steps.sum()))
        for n in np.flatnonzero(steps).tolist()
    ]


def _optional(
    estimates: Estimates | None, index: int, within: tuple[float, float] = POSITIVE
) -> Interval | None:
    return None if estimates is None else interval(estimates, index, within)


def quantiles_of(data: ServerData, metric: Metric) -> PooledQuantiles:
    """Pooled p50, p95 and p99 of a time, ``[A, SHARES]``, with their intervals."""
    columns = [data.layout.quantile(metric, share) for share in SHARES]
    tally, count = data.tally, data.tally.count
    variances = np.diag(tally.comoment) / (count * max(count - 1, 1))
    own = tally.mean, np.sqrt(np.maximum(variances, 0))
    means, errors = (np.stack([part[column] for column in columns], -1) for part in own)
    return pooled_quantiles(
        data.cluster_counts[:, :, METRICS.index(metric)],
        data.edges,
        SHARES,
        (means, errors),
        count,
        _confidence(data),
    )


def _times(data: ServerData, metric: Metric) -> list[ServedTime]:
    """Mean and pooled quantiles of a time, by arm."""
    means, found = estimates_of(data, metric), quantiles_of(data, metric)
    return [
        ServedTime(
            mean=interval(means, arm, POSITIVE),
            **{
                name: Interval(mean=number(value), low=number(low), high=number(high))
                for name, value, low, high in zip(
                    QUANTILES, found.values[arm], found.low[arm], found.high[arm], strict=True
                )
            },
        )
        for arm in range(len(data.arms))
    ]


def _objective(
    arms: list[ServedArm], real: list[int], arrivals: str, share: float | None
) -> tuple[str, list[int], bool | None]:
    """What arms are compared by, the numbers of those compared, and whether they meet the goals.

    Only ``real`` arms are compared, not upper bounds. Arms that meet the goals are compared by
    TPOT, or by throughput where the load is not given by arrivals; where no arm meets them, all by
    goodput. Arms that are overloaded count only where all of them are: then by throughput.
    """
    served = [n for n in real if not arms[n].unstable]
    every = served or real
    objective = "tpot" if served and arrivals not in ("closed", "burst") else "throughput"
    if share is None:
        return objective, every, None
    shares = [arm.good.mean or 0.0 if arm.good else 0.0 for arm in arms]
    if meet := [n for n in every if shares[n] >= share]:
        return objective, meet if served else every, True
    some = [n for n in every if shares[n] > 0]
    if some and served:
        return "goodput", some, False
    return objective, every, False


def speed_of(data: ServerData, objective: str) -> Estimates:
    """What is compared by an objective, ``[A]``: more is better."""
    return estimates_of(data, objective, inverse=objective == "tpot")


def _choose(data: ServerData, objective: str, eligible: list[int]) -> Choice:
    weights = np.eye(len(data.arms))[eligible]
    values = speed_of(data, objective).linear_combination(weights)
    found = np.concatenate([values.values, np.diag(values.covariance)])
    if not (np.isfinite(found).all() and (values.values > 0).all()):
        raise InputError.of(
            f"no {NAMES.get(objective, objective)} can be computed: all measured requests end at "
            "once, or have a single token; measure more or longer requests",
            key="serving.requests",
        )
    return choose(log_of(values), _confidence(data), data.experiment.decision.indifference)


def _loss(choice: Choice, place: int, data: ServerData) -> JudgedInterval:
    mean, low, high = (
        number(-np.expm1(-logs[place])) for logs in (choice.loss, choice.low, choice.high)
    )
    verdict = choice.verdict(place, data.experiment.decision.indifference)
    return JudgedInterval(mean=mean, low=low, high=high, verdict=verdict)


def _capacity(name: str, root: Root) -> ServedCapacity:
    limit = "at no rate" if root.load == 0 else "" if np.isfinite(root.load) else "at every rate"
    mean, low, high = (None if limit else number(v) for v in (root.load, root.low, root.high))
    return ServedCapacity(name=name, rate=Interval(mean=mean, low=low, high=high), limit=limit)


def _timeline(name: str, line: Timeline) -> ServedTimeline:
    time, running, waiting, kv, depth = (
        np.round(values, 3).tolist()
        for values in (line.time_ms, line.running, line.waiting, line.kv, line.depth)
    )
    return ServedTimeline(
        name=name, time=time, running=running, waiting=waiting, kv=kv, depth=depth
    )


def _warnings(data: ServerData) -> list[str]:
    found = list(data.experiment.warnings())
    if data.failure:
        found.append(f"incomplete: {data.failure}")
    return found
