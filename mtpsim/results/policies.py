"""Adaptive policies in the result document: gain of each over the best fixed depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.report.document import (
    Adaptive,
    ExactInterval,
    JudgedInterval,
    PolicyResult,
    Reaction,
    ReactionCurve,
    Timeline,
    TimelinePolicy,
)
from mtpsim.results.point_data import POSITIVE, PointData, interval, number, of_requests
from mtpsim.results.uncertainty import intervals_of, joint_draws
from mtpsim.stats import estimators
from mtpsim.stats.comparisons import against_one, draws_against_one, log_of
from mtpsim.stats.estimators import Estimates

if TYPE_CHECKING:  # what plays policies is imported where there are some
    from mtpsim.engine.policy_player import CompiledPolicy, Log, PolicySet

SHOWN = 150  # rounds of the request that is shown
CANDIDATES = 64  # requests from which the shown one is chosen

Verdict = Literal["faster", "slower", "open"]
ROUNDING = 1e-12  # smaller log ratios are rounding errors
Bools = npt.NDArray[np.bool_]

BEFORE, AFTER = 5, 60  # rounds of a curve around a change
FEWEST = 30  # changes behind each value of a curve
MOVED = 0.2  # least change of the mean depth for which a half-way round is reported


def adaptive(measured: PointData, best: int) -> Adaptive | None:
    """The ``adaptive`` part of a point.

    Args:
        measured: the point.
        best: its fastest fixed depth; over uncertain inputs the one of least expected regret.
    """
    policy_set = measured.plan.policy_set
    if policy_set is None or measured.log is None or measured.policy_tails is None:
        return None
    speedup = measured.sharp(estimators.with_policies)
    depths, confidence = measured.layout.depth + 1, measured.experiment.simulation.confidence
    chosen, oracle = [best, *range(depths, len(speedup.values))], _oracle(policy_set)
    drawn = _drawn(measured)
    if drawn is None:
        compared = speedup.linear_combination(np.eye(len(speedup.values))[chosen])
        gain, half = against_one(log_of(compared), 0, confidence)
        ends = gain, gain - half, gain + half
        captured, over = _captured(speedup, best, depths, oracle), None
    else:
        ends, captured = draws_against_one(drawn[:, chosen], 0, confidence), None
        over = intervals_of(drawn, confidence)
    length, time = (
        measured.estimates(function)
        for function in (estimators.policy_length, estimators.policy_time)
    )
    exact, recorded = _exact_speedups(measured, policy_set), measured.source.hidden_chain is None
    accepted, requests = _accepted_by_state(measured), of_requests(measured.policy_tails)
    policies = [
        PolicyResult(
            name=player.spec.label,
            rule=player.spec.rule_name(),
            knows=player.spec.knows_recorded if recorded else player.spec.knows,
            parameters=player.spec.model_dump(mode="json", exclude={"rule", "name"}),
            speedup=ExactInterval(exact=exact[i], **vars(interval(speedup, depths + i, POSITIVE))),
            gain=_gain(*(end[i + 1] for end in ends), enough=not measured.requests_needed),
            captured=interval(captured, i) if captured else None,
            accept_length=interval(length, i, (1, depths)),
            round_time=interval(time, i, POSITIVE),
            **requests[i],
            depths=_depth_shares(measured.tally.mean[measured.layout.policy(i)]),
            learning=None if accepted is None else reaction(measured.log[i], accepted),
            over_inputs=over[depths + i] if over else None,
        )
        for i, player in enumerate(policy_set.players)
    ]
    return Adaptive(
        best_fixed=best,
        draws=None if measured.outcomes is None or drawn is None else len(measured.outcomes.draws),
        policies=policies,
        timeline=_timeline(measured, policy_set, measured.log, accepted),
    )


def _drawn(measured: PointData) -> Floats | None:
    """``[DRAWS, K + 1 + P]`` log speedups over uncertain inputs; None without them."""
    outcomes = measured.outcomes
    if outcomes is None or not outcomes.policies or measured.requests_needed:
        return None
    return joint_draws(outcomes.policies)


def _gain(log_gain: float, low: float, high: float, *, enough: bool) -> JudgedInterval:
    """Speedup over that of the best fixed depth, from its logarithm."""
    mean, *ends = (float(np.exp(value)) for value in (log_gain, low, high))
    verdict = _verdict(low, high) if enough else "open"
    return JudgedInterval(mean=mean, low=ends[0], high=ends[1], verdict=verdict)


def _depth_shares(totals: Floats) -> list[float]:
    """Share of rounds at depth 0..K; ``totals``: tokens, ms, rounds, rounds by depth."""
    return [float(share) for share in totals[3:] / totals[2]]


def _verdict(low: float, high: float) -> Verdict:
    return "faster" if low > ROUNDING else "slower" if high < -ROUNDING else "open"


def _oracle(policy_set: PolicySet) -> int | None:
    from mtpsim.policy.oracle import Oracle

    places = (i for i, player in enumerate(policy_set.players) if isinstance(player.spec, Oracle))
    return next(places, None)


def _captured(speedup: Estimates, best: int, depths: int, oracle: int | None) -> Estimates | None:
    """Share of the oracle's gain over the best fixed depth that each policy has.

    None where the oracle has no significant gain.
    """
    if oracle is None:
        return None
    values, size = speedup.values, len(speedup.values)
    edge = np.zeros((1, size))
    edge[0, depths + oracle], edge[0, best] = 1, -1
    potential = speedup.linear_combination(edge)
    if potential.low[0] <= 0:
        return None
    rows = np.arange(depths, size)
    share = (values[rows] - values[best]) / potential.values[0]
    # The slope of (a - b) / (o - b) in a, b and o.
    change = np.zeros((len(rows), size))
    change[np.arange(len(rows)), rows] = 1
    change[:, best] -= 1
    change -= share[:, None] * edge
    slope = change / potential.values[0]
    covariance = slope @ speedup.covariance @ slope.T
    return Estimates(share, covariance, speedup.quantile, speedup.freedom)


def _exact_speedups(measured: PointData, policy_set: PolicySet) -> list[float | None]:
    """Exact speedup of each policy: recorded requests played once each, or the chain solved."""
    from mtpsim.exact.oracle_mdp import Optimal
    from mtpsim.policy.off import Off

    optimal, environment = policy_set.optimal, policy_set.environment
    if not isinstance(optimal, Optimal):
        from mtpsim.engine.simulate import play_each_once  # numba: not for `show`

        paces = play_each_once(measured.plan)
        if paces is None:
            return [None] * len(policy_set.players)
        plain_step = environment.times[0] / (1 + environment.overhead_off)
        return [number(pace * plain_step) for pace in paces]

    if measured.plan.lengths is not None:  # the tables are solved for requests of one length
        return [None] * len(policy_set.players)

    def solved(player: CompiledPolicy) -> float | None:
        try:
            pace = player.spec.exact_throughput(environment)
            plain = Off(name=None).exact_throughput(environment)
        except ValueError:  # too large to be solved
            return None
        return None if pace is None or plain is None else pace / plain

    return [solved(player) for player in policy_set.players]


def _accepted_by_state(measured: PointData) -> Floats | None:
    """Expected accepted drafts by state; None where there is one state or a recording."""
    chain = measured.source.hidden_chain
    if chain is None or chain.states < 2:
        return None
    return np.asarray(chain.survival.sum(1))


def _timeline(
    measured: PointData, policy_set: PolicySet, log: Log, accepted: Floats | None
) -> Timeline:
    """Of the first requests the one with the median number of state changes."""
    state = log[0, :CANDIDATES, :SHOWN, 2]
    changes = ((state[:, 1:] != state[:, :-1]) & (state[:, 1:] >= 0)).sum(1)
    request = int(np.argsort(changes, kind="stable")[len(changes) // 2])
    played = [some[some[:, 0] >= 0] for some in log[:, request, :SHOWN]]
    return Timeline(
        request=request,
        clock=measured.plan.clock,
        hardness=_hardness(accepted),
        policies={
            player.spec.label: TimelinePolicy(
                depth=rounds[:, 0].tolist(),
                accepted=rounds[:, 1].tolist(),
                state=rounds[:, 2].tolist(),
            )
            for player, rounds in zip(policy_set.players, played, strict=True)
        },
    )


def _hardness(accepted: Floats | None) -> list[float]:
    """From 0 for the easiest state to 1 for the hardest."""
    if accepted is None or np.ptp(accepted) == 0:
        return [0.0]
    return [float(v) for v in (accepted.max() - accepted) / np.ptp(accepted)]


def reaction(log: Log, accepted: Floats) -> Reaction:
    """Mean depth of a policy around changes of the hidden state.

    Args:
        log: ``[n, R, 3]`` depth, accepted drafts and state by round; -1 after a request's end.
        accepted: ``[S]`` expected accepted drafts by state; states above their mean over the
            rounds count as easy.

    Returns:
        A curve around changes to easy text and one around changes to hard text; None for one
        with fewer than 30 changes.
    """
    depth, state = log[..., 0].astype(float), log[..., 2].astype(int)
    played = state >= 0
    easy = np.where(played, accepted[state] > accepted[state[played]].mean(), False)
    return Reaction(
        easier=_around(depth, played, easy, to=True), harder=_around(depth, played, easy, to=False)
    )


def _around(depth: Floats, played: Bools, easy: Bools, *, to: bool) -> ReactionCurve | None:
    same = (easy == to) & played
    change = same[:, 1:] & ~same[:, :-1] & played[:, :-1]
    request, at = np.nonzero(change)
    at = at + 1
    found: dict[int, float] = {}
    for way in (range(-1, -BEFORE - 1, -1), range(AFTER)):  # in both directions from the change
        inside = np.ones(len(at), bool)
        for lag in way:
            now = np.clip(at + lag, 0, depth.shape[1] - 1)
            there = same if lag >= 0 else ~same  # the old kind of text before, the new one since
            inside = inside & (now == at + lag) & there[request, now] & played[request, now]
            if inside.sum() >= FEWEST:
                found[lag] = float(depth[request[inside], now[inside]].mean())
    rounds, curve = sorted(found), [found[lag] for lag in sorted(found)]
    lags, means = np.array(rounds, np.int64), np.array(curve)
    if not (lags < 0).any() or (lags >= 0).sum() < 3:
        return None
    return ReactionCurve(
        changes=len(at), half=_half(lags, means), rounds=lags.tolist(), depth=means.tolist()
    )


def _half(rounds: npt.NDArray[np.int64], depth: Floats) -> int | None:
    """First round at which the depth is half-way to its value at the end of the curve."""
    since = depth[rounds >= 0]
    before, settled = depth[rounds < 0].mean(), since[-max(len(since) // 4, 1) :].mean()
    if abs(settled - before) < MOVED:
        return None
    done = (since - before) / (settled - before) >= 0.5
    return int(np.argmax(done)) if done.any() else None
