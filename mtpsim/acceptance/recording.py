"""Recorded requests, to be played again: what a trace compiles to instead of a chain."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Recording:
    """Accepted drafts of recorded requests, one after the other.

    Under the ``round`` clock an entry is a round. Under the ``token`` clock an entry is a text
    position: how many drafts a round would accept that begins there.

    Attributes:
        accepted: ``[N]`` accepted drafts by entry, all requests in a row.
        begins: ``[R + 1]`` where each request begins in ``accepted``; the last entry is N.
        depth: greatest depth K that was drafted.
        clock: what an entry is.

    """

    accepted: Ints
    begins: npt.NDArray[np.int64]
    depth: int
    clock: Literal["round", "token"]

    @property
    def requests(self) -> int:
        """Number of recorded requests."""
        return self.begins.size - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """``[R]`` entries of each request."""
        return np.diff(self.begins)

    @property
    def requests_differ(self) -> bool:
        """Whether some request is easier than another, which each simulated one then repeats."""
        return self.requests > 1
