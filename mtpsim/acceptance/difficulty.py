"""``difficulty``: a hidden difficulty of the text that drifts, as an AR(1) process."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.acceptance.base import AcceptanceChain, Clock, RatesModel, compiled_once
from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative, Positive, Slowdown


def rouwenhorst(states: int, persistence: float) -> Floats:
    """Transition matrix ``[S, S]`` that approximates an AR(1) process on an even grid.

    Its stationary distribution is binomial, and its autocorrelation is exactly that of the AR(1)
    at every lag (Rouwenhorst 1995; Kopecky and Suen 2010).
    """
    p = (1 + persistence) / 2
    step = np.array([[p, 1 - p], [1 - p, p]])
    for size in range(3, states + 1):
        wide = np.zeros((size, size))
        wide[:-1, :-1] += p * step
        wide[:-1, 1:] += (1 - p) * step
        wide[1:, :-1] += (1 - p) * step
        wide[1:, 1:] += p * step
        wide[1:-1] /= 2
        step = wide
    return step


class Difficulty(RatesModel):
    """Draft j is accepted with probability link(b_j - difficulty).

    The intercepts b_j are solved for such that ``rates`` are the averages over the difficulty of
    the text. The difficulty is an AR(1) process with mean 0 and standard deviation ``sd``, in
    probits or logits; its correlation at a distance d is exp(-d / length).
    """

    model: Literal["difficulty"]
    rates_are: Literal["average"] = Field(
        "average", description="rates are averages over all difficulties"
    )
    clock: Clock = Field(
        "round", description="whether the difficulty changes per round or per token"
    )
    sd: NonNegative = Field(description="standard deviation of the difficulty")
    length: Positive = Field(description="correlation length, in rounds or tokens")
    scale: Literal["probit", "logit"] = Field(
        "probit", description="link function: difficulty in probits or in logits"
    )
    slowdown: Slowdown = Field(
        1.0, description="factor on the round time per standard deviation of difficulty"
    )
    states: Annotated[int, Field(ge=2, le=64)] = Field(
        15, description="number of grid points of the difficulty; more cover the tails further out"
    )

    def input_rates(self) -> Floats:
        """The average rates ``[K]``."""
        return self.rates_by_position()

    def _accept(self, weights: Floats, difficulty: Floats) -> Floats:
        """``[S, K]`` rates with the given averages; intercepts by bisection."""
        from mtpsim.common.special import expit, ndtr

        link = ndtr if self.scale == "probit" else expit
        rates = self.rates_by_position()
        reach = 40 + np.abs(difficulty).max()
        low, high = np.full(rates.size, -reach), np.full(rates.size, reach)
        for _ in range(100):
            middle = (low + high) / 2
            above = weights @ link(middle - difficulty[:, None]) > rates
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        accept = link(high - difficulty[:, None])
        certain = (rates == 0) | (rates == 1)  # these require an infinite intercept
        return np.where(certain, rates, accept)

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """A Rouwenhorst chain; its stationary distribution is binomial."""
        step = rouwenhorst(self.states, float(np.exp(-1 / self.length)))
        weights = np.ones(1)
        for _ in range(self.states - 1):
            weights = np.convolve(weights, [0.5, 0.5])
        z = np.linspace(-1, 1, self.states) * np.sqrt(self.states - 1)
        accept = self._accept(weights, self.sd * z)
        return AcceptanceChain(
            start=weights,
            step=step[None],
            accept=accept,
            clock=self.clock,
            slowdown=self.slowdown**z,
        )
