"""Uniform samples of streams, for logs too large to be kept whole."""

from __future__ import annotations

from array import array

import numpy as np

from mtpsim.common.arrays import Floats


class Reservoir:
    """A uniform sample of a stream of unknown length.

    Source:
        J. S. Vitter, Random sampling with a reservoir, ACM TOMS 11 (1985), algorithm R.
    """

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, 0
        self._random = np.random.default_rng(0)

    def place(self) -> int | None:
        """Return the index at which to store the next item; None: do not store it."""
        self.seen += 1
        if self.seen <= self.size:
            return self.seen - 1
        at = int(self._random.integers(self.seen))
        return at if at < self.size else None

    def keep(self, kept: array[float], new: Floats) -> None:
        """Add several items to the kept ones."""
        free = max(self.size - self.seen, 0)
        kept.extend(new[:free].tolist())
        late = new[free:]
        if late.size:
            seen = max(self.seen, self.size) + np.arange(1, late.size + 1)
            at = self._random.integers(seen)
            for place, value in zip(at[at < self.size], late[at < self.size], strict=True):
                kept[int(place)] = float(value)
        self.seen += new.size
