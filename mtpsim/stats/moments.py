"""Tallies merge by addition: blocks, threads, machines and resumed runs all meet here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats


@dataclass(frozen=True)
class Tally:
    """Moments of the totals of requests, the unit of replication.

    Attributes:
        count: number of requests.
        mean: ``[C]`` mean of each total over requests.
        comoment: ``[C, C]`` sum over requests of products of deviations from the mean.

    """

    count: int
    mean: Floats
    comoment: Floats

    @classmethod
    def empty(cls, columns: int) -> Tally:
        """The neutral element: no request yet."""
        return cls(0, np.zeros(columns), np.zeros((columns, columns)))

    @classmethod
    def of(cls, rows: Floats) -> Tally:
        """Tally of ``rows`` ``[n, C]``, a request each."""
        mean = rows.mean(0)
        return cls(len(rows), mean, (rows - mean).T @ (rows - mean))

    def __add__(self, other: Tally) -> Tally:
        """Tally of both together (Chan, Golub, LeVeque 1979, pairwise update)."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        apart = other.mean - self.mean
        return Tally(
            count,
            self.mean + apart * (other.count / count),
            self.comoment
            + other.comoment
            + np.outer(apart, apart) * (self.count * other.count / count),
        )

    @property
    def freedom(self) -> int:
        """Degrees of freedom of ``covariance_of_mean``."""
        return self.count - 1

    @property
    def covariance_of_mean(self) -> Floats:
        """``[C, C]`` estimated covariance of ``mean``; needs two requests.

        Raises:
            ValueError: with fewer than two requests there is no spread to estimate.

        """
        if self.count < 2:
            raise ValueError(f"a spread needs at least 2 requests, not {self.count}")
        return self.comoment / (self.count * (self.count - 1))
