"""How fast a policy reacts to a change of the hidden state: its depth by rounds since then."""

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.engine.policy_player import Log
from mtpsim.report.document import Reaction, ReactionCurve

Bools = npt.NDArray[np.bool_]

BEFORE, AFTER = 5, 60  # rounds of a curve around a change
FEWEST = 30  # changes behind each value of a curve
MOVED = 0.2  # least change of the mean depth for which a half-way round is reported


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
