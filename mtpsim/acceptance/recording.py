"""Recorded requests (the compiled form of a trace), and their replay."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.kernels.arrays import RecordingArrays

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)  # hashed by identity, for caches
class Recording:
    """Accepted drafts of recorded requests, one after the other.

    Under the ``round`` clock an entry is a round. Under the ``token`` clock an entry is a text
    position: how many drafts a round would accept that begins there.

    Attributes:
        accepted: ``[N]`` accepted drafts by entry, all requests in a row.
        offsets: ``[R + 1]`` where each request begins in ``accepted``; the last entry is N.
        depth: greatest depth K that was drafted.
        clock: what an entry is.
        in_order: whether simulated request i is recorded request i, from the first again after the
            last; else each is drawn at random, with replacement.
        draws: number of draws of the same requests, one after the other; they differ in what the
            log does not show.
        recorded_depth: depth of the rounds of the log that was replayed; 0 if unknown or several.
        recorded_length: accept length of that log.
        deepest: deepest draft that the log has; deeper ones are extrapolated. 0 if unknown.
        widening: factor on standard errors over requests, where a few long ones may decide.
        whole: whether the last round of a request counts in full at every depth, as the log counts
            its own; else it is cut at the end of the recorded text.
        confidence: ``[N, K]`` the draft's confidence in each of its drafts; None if not recorded.
    """

    accepted: Ints
    offsets: npt.NDArray[np.int64]
    depth: int
    clock: Literal["round", "token"]
    in_order: bool = False
    draws: int = 1
    recorded_depth: int = 0
    recorded_length: float = 0.0
    deepest: int = 0
    widening: float = 1.0
    whole: bool = False
    confidence: npt.NDArray[np.float32] | None = None

    states = 1
    outcomes = 1
    hidden_chain = None

    @property
    def slowdown(self) -> Floats:
        """``[1]`` 1: recorded requests have no states that slow rounds down."""
        return np.ones(1)

    @property
    def mean_length(self) -> float:
        """Mean entries per request."""
        return float(self.accepted.size / self.requests)

    def arrays(self) -> RecordingArrays:
        """The entries, as the kernels read them."""
        given = self.accepted, self.offsets, self.clock == "token", self.in_order
        found = RecordingArrays(*given, whole=self.whole)
        if self.confidence is None:
            return found
        return found._replace(confidence=np.ascontiguousarray(self.confidence))

    @property
    def requests(self) -> int:
        """Number of recorded requests, of all draws together."""
        return self.offsets.size - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """``[R]`` entries of each request."""
        return np.diff(self.offsets)

    @property
    def requests_differ(self) -> bool:
        """Whether requests have different acceptance rates."""
        return self.requests > 1


def play(
    recording: Recording, requests: slice, depth: int, *, rounds: int = 0, tokens: int = 0
) -> Ints:
    """Play recorded requests at ``depth``.

    Args:
        recording: what was recorded.
        requests: which of its requests.
        depth: 0..K.
        rounds: horizon in rounds, or
        tokens: in tokens. With neither a request ends with its record. One that is longer than
            its record continues from the record's beginning.

    Returns:
        ``[n, rounds]`` accepted drafts of each round; -1 after a request's last one.
    """
    first = recording.offsets[:-1][requests]
    length = recording.lengths[requests]
    by_position = recording.clock == "token"
    most_tokens = tokens or (length if by_position and not rounds else np.inf)
    most_rounds = rounds or (length if not (by_position or tokens) else np.inf)
    at, made = np.zeros(first.size, np.int64), np.zeros(first.size, np.int64)
    played: list[Ints] = []
    while (live := (made < most_tokens) & (len(played) < most_rounds)).any():
        accepted = np.minimum(recording.accepted[first + at % length], depth)
        played.append(np.where(live, accepted, -1).astype(np.int32))
        made += accepted + 1
        at += accepted + 1 if by_position else 1
    return np.stack(played, axis=1)
