"""How fast a policy notices that the text has changed: its depth by rounds since the change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.engine.policy_player import Log

BEFORE, AFTER = 5, 60  # rounds of a curve around a change
FEWEST = 30  # changes that a point of the curve rests on
MOVED = 0.2  # drafts that the depth has to move by, to have moved at all


@dataclass(frozen=True)
class Learning:
    """Mean depth around a change of the text.

    Attributes:
        changes: how many were seen.
        rounds: ``[n]`` rounds since the change; below 0 before it.
        depth: ``[n]`` mean depth, over the requests that are still in the new stretch.
        half: rounds until half of the way is done; None where the depth doesn't move.

    """

    changes: int
    rounds: npt.NDArray[np.int64]
    depth: Floats
    half: int | None


def learning(log: Log, ease: Floats) -> tuple[Learning | None, Learning | None]:
    """Learn from the log of a policy.

    Args:
        log: ``[n, R, 3]`` depth, accepted drafts and state by round; -1 after the last.
        ease: ``[S]`` how easy a state is; those above the mean of the rounds are easy.

    Returns:
        After a change to easy text, and to hard text; None where too few were seen.

    """
    depth, state = log[..., 0].astype(float), log[..., 2].astype(int)
    played = state >= 0
    easy = np.where(played, ease[state] > ease[state[played]].mean(), False)
    return _around(depth, played, easy, True), _around(depth, played, easy, False)


def _around(
    depth: Floats, played: npt.NDArray[np.bool_], easy: npt.NDArray[np.bool_], to: bool
) -> Learning | None:
    same = (easy == to) & played
    change = same[:, 1:] & ~same[:, :-1] & played[:, :-1]
    request, at = np.nonzero(change)
    at = at + 1
    found: dict[int, float] = {}
    for way in (range(-1, -BEFORE - 1, -1), range(AFTER)):  # away from the change, both ways
        inside = np.ones(len(at), bool)
        for lag in way:
            now = np.clip(at + lag, 0, depth.shape[1] - 1)
            there = same if lag >= 0 else ~same  # the old stretch before, the new one since
            inside = inside & (now == at + lag) & there[request, now] & played[request, now]
            if inside.sum() >= FEWEST:
                found[lag] = float(depth[request[inside], now[inside]].mean())
    rounds, curve = sorted(found), [found[lag] for lag in sorted(found)]
    lags, means = np.array(rounds, np.int64), np.array(curve)
    if not (lags < 0).any() or (lags >= 0).sum() < 3:
        return None
    return Learning(len(at), lags, means, _half(lags, means))


def _half(rounds: npt.NDArray[np.int64], depth: Floats) -> int | None:
    """First round that is half-way from the depth before to the depth at the curve's end."""
    since = depth[rounds >= 0]
    before, settled = depth[rounds < 0].mean(), since[-max(len(since) // 4, 1) :].mean()
    if abs(settled - before) < MOVED:
        return None
    done = (since - before) / (settled - before) >= 0.5
    return int(np.argmax(done)) if done.any() else None
