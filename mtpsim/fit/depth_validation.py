"""Held-out depths: requests of some depths predict the accept length of those at another.

Rounds cut short are not what an engine does at a shallower depth, as it would begin other rounds.
A log of several depths has requests that show it: none of them, nor their depth, is in the fit.
"""

from dataclasses import dataclass

import numpy as np

from mtpsim.fit.labelled_tokens import label_tokens
from mtpsim.fit.posterior_replay import DEEPER, Drafter, posterior_replay
from mtpsim.fit.rates import Interval, accept_length_interval
from mtpsim.logs import Rounds

MIN_REQUESTS = 20  # at the depth that is held out, and at the others
DRAWS, STATES = 12, 3  # fewer than of the replay itself: a check of a log is repeated per depth


@dataclass(frozen=True)
class HeldOutDepth:
    """Accept length at a depth, and as predicted without its requests.

    Attributes:
        depth (int): number of drafts per round.
        measured (Interval): accept length of the requests at this depth.
        predicted (Interval): accept length by the other requests, with the interval of a workload.
    """

    depth: int
    measured: Interval
    predicted: Interval

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted.mean / self.measured.mean - 1

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the interval of both."""
        one, two = self.predicted, self.measured
        squared = (one.high - one.low) ** 2 + (two.high - two.low) ** 2
        return 4 * (one.mean - two.mean) ** 2 <= squared

    def sentence(self) -> str:
        """Return the comparison."""
        verdict = "agree" if self.agrees else "differ: do the depths have the same workload?"
        known, found = (
            f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"
            for one in (self.measured, self.predicted)
        )
        return (
            f"depth {self.depth}, held out: predicted {found}, measured {known} "
            f"({100 * self.error:+.1f} %): they {verdict}"
        )


def held_out_depths(
    rounds: Rounds, drafter: Drafter = "unknown", confidence: float = 0.95
) -> list[HeldOutDepth]:
    """Predict each depth of a log from its requests at other depths.

    Args:
        rounds: rounds in order; requests whose rounds differ in their drafts are left out.
        drafter: what is known of the shifts by draft position.
        confidence: level of the intervals.
    """
    depths = np.array(
        [
            int(row[0]) if row.size and (row == row[0]).all() else 0
            for row in np.split(rounds.drafted, rounds.offsets[1:-1])
        ]
    )
    found = []
    for depth in np.unique(depths[depths > 0]).tolist():
        here = np.flatnonzero(depths == depth)
        others = np.flatnonzero((depths > 0) & (depths != depth))
        reach = int(depths[others].max(initial=0)) + DEEPER
        if min(here.size, others.size) < MIN_REQUESTS or depth > reach:
            continue
        tokens = label_tokens(rounds.subset(others))
        replay = posterior_replay(tokens, drafter=drafter, draws=DRAWS, states=STATES)
        predicted = replay.predict(depth, confidence).workload
        measured = _measured(rounds.subset(here), depth, confidence)
        found.append(HeldOutDepth(depth, measured, predicted))
    return found


def _measured(rounds: Rounds, depth: int, confidence: float) -> Interval:
    accepted = np.add.reduceat(rounds.accepted.astype(np.int64), rounds.offsets[:-1])
    survived = (rounds.accepted[:, None] >= np.arange(1, depth + 1)).mean(0)
    return accept_length_interval(np.diff(rounds.offsets), accepted, survived, confidence)
