"""Rounds of requests in order, as a log has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Confidences = list[list[float]]
"""Confidences of the drafts of each round; empty if they are not logged."""


@dataclass(frozen=True)
class Rounds:
    """Rounds in order, the requests one after the other.

    Attributes:
        accepted (NDArray[uint8]): ``[N]`` number of accepted drafts of each round.
        drafted (NDArray[uint8]): ``[N]`` number of proposed drafts of each round.
        offsets (NDArray[int64]): ``[R + 1]`` index of the first round of each request; the last
            entry is N.
        confidence (NDArray[float32] | None): ``[N, K]`` the draft's confidence in each proposed
            draft, 0 to 1; NaN where there is none. None if no request has any.
    """

    accepted: Bytes
    drafted: Bytes
    offsets: Ints
    confidence: npt.NDArray[np.float32] | None = None

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return self.offsets.size - 1

    def subset(self, which: Ints) -> Rounds:
        """Return the rounds of the requests with these indices."""
        pieces = [slice(self.offsets[r], self.offsets[r + 1]) for r in which]
        lengths = [piece.stop - piece.start for piece in pieces]
        empty, known = np.zeros(0, np.uint8), self.confidence
        return Rounds(
            np.concatenate([empty, *(self.accepted[p] for p in pieces)]),
            np.concatenate([empty, *(self.drafted[p] for p in pieces)]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            None if known is None else np.concatenate([known[:0], *(known[p] for p in pieces)]),
        )


def padded(
    by_request: Sequence[Confidences], lengths: Sequence[int]
) -> npt.NDArray[np.float32] | None:
    """Confidences of the rounds of requests as an array ``[N, K]``; None if there are none.

    Args:
        by_request: confidences of the rounds of each request; empty if a request has none.
        lengths: number of rounds of each request.
    """
    most = max((len(row) for rows in by_request for row in rows), default=0)
    if not most:
        return None
    found = np.full((sum(lengths), most), np.nan, np.float32)
    at = 0
    for rows, length in zip(by_request, lengths, strict=True):
        for number, row in enumerate(rows, at):
            found[number, : len(row)] = row
        at += length
    return found
