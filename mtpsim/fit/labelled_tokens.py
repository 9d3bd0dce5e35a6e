"""Tokens of logged rounds, with what each round says about them.

A round at depth K that accepts a < K drafts says that its first a tokens are accepted as drafts
1..a, and that the next one is rejected as draft a + 1. Of a full round the last token was not
tested, nor was any token of a round without drafts. So depths that vary, rounds that draft less
and logs of several depths are all the same kind of data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.logs import Rounds

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelledTokens:
    """Tokens of requests, the requests one after the other.

    Attributes:
        labels (NDArray[int8]): ``[N]`` j for a token accepted as draft j, -j for one rejected as
            draft j, 0 for one that was not tested.
        offsets (NDArray[int64]): ``[R + 1]`` index of the first token of each request.
    """

    labels: npt.NDArray[np.int8]
    offsets: Ints

    @property
    def requests(self) -> int:
        """Number of requests R."""
        return self.offsets.size - 1

    @property
    def depth(self) -> int:
        """Deepest draft position that was tested; 0 if none was."""
        return int(np.abs(self.labels).max(initial=0))

    @property
    def longest(self) -> int:
        """Number of tokens of the longest request."""
        return int(np.diff(self.offsets).max(initial=0))

    def symbols(self, depth: int) -> npt.NDArray[np.uint8]:
        """``[N]`` labels from -depth to depth as indices from 0."""
        return (self.labels.astype(np.int16) + depth).astype(np.uint8)

    def subset(self, which: Ints) -> LabelledTokens:
        """Return the tokens of the requests with these indices."""
        lengths = np.diff(self.offsets)[which]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][which] - offsets[:-1], lengths)
        return LabelledTokens(self.labels[at], offsets)

    def counts(self) -> Floats:
        """``[K, 2]`` number of tokens rejected and accepted as each draft."""
        by_label = np.bincount(self.symbols(self.depth), minlength=2 * self.depth + 1)
        return np.stack([by_label[: self.depth][::-1], by_label[self.depth + 1 :]], 1).astype(float)


def label_tokens(rounds: Rounds) -> LabelledTokens:
    """Return the tokens of rounds with their labels.

    Args:
        rounds: rounds in order, with the number of drafts of each.

    Examples:
        >>> import numpy as np
        >>> from mtpsim.logs import Rounds
        >>> accepted, drafted = np.array([1, 2, 0], np.uint8), np.array([2, 2, 0], np.uint8)
        >>> label_tokens(Rounds(accepted, drafted, np.array([0, 3]))).labels.tolist()
        [1, -2, 1, 2, 0, 0]
    """
    accepted = rounds.accepted.astype(np.int64)
    ends = np.cumsum(accepted + 1)
    first = ends - accepted - 1
    labels = 1 + np.arange(ends[-1] if ends.size else 0) - np.repeat(first, accepted + 1)
    labels[ends - 1] = np.where(accepted < rounds.drafted, -accepted - 1, 0)
    return LabelledTokens(labels.astype(np.int8), np.concatenate([[0], ends])[rounds.offsets])
