"""Moments of request totals, which merge by addition over blocks, threads and machines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats


@dataclass(frozen=True)
class Tally:
    """Moments of the totals of requests, the independent unit of the simulation.

    Attributes:
        count (int): Number of requests.
        mean (Floats): ``[C]`` mean of each total over requests.
        comoment (Floats): ``[C, C]`` sum over requests of products of deviations from the mean.
    """

    count: int
    mean: Floats
    comoment: Floats

    @classmethod
    def empty(cls, columns: int) -> Tally:
        """A tally of no requests, with ``columns`` totals."""
        return cls(0, np.zeros(columns), np.zeros((columns, columns)))

    @classmethod
    def of(cls, rows: Floats) -> Tally:
        """Tally of ``rows`` ``[n, C]``, one request per row."""
        mean = rows.mean(0)
        return cls(len(rows), mean, (rows - mean).T @ (rows - mean))

    def __add__(self, other: Tally) -> Tally:
        """Tally of both together (pairwise update of Chan, Golub, LeVeque 1979)."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        difference = other.mean - self.mean
        return Tally(
            count,
            self.mean + difference * (other.count / count),
            self.comoment
            + other.comoment
            + np.outer(difference, difference) * (self.count * other.count / count),
        )

    @property
    def freedom(self) -> int:
        """Degrees of freedom of ``covariance_of_mean``."""
        return self.count - 1

    @property
    def covariance_of_mean(self) -> Floats:
        """``[C, C]`` estimated covariance of ``mean``.

        Raises:
            ValueError: There are fewer than two requests.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 requests, not {self.count}")
        return self.comoment / (self.count * (self.count - 1))
