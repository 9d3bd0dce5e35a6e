"""``difficulty``: a hidden difficulty of the text that drifts, as an AR(1) process."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.acceptance.base import Rated, compiled_once
from mtpsim.acceptance.chain import AcceptanceChain, Clock
from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative, Positive, Slowdown


def rouwenhorst(states: int, persistence: float) -> Floats:
    """Transition ``[S, S]`` on an even grid of an AR(1) process.

    Its stationary law is binomial and its autocorrelation that of the AR(1), exactly, at every
    lag (Rouwenhorst 1995; Kopecky and Suen 2010).
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


class Difficulty(Rated):
    """Accept draft j with probability link(b_j - difficulty); b_j makes the mean rate the stated.

    ``rates`` are averages over the difficulty of the text. A difficulty of mean 0 and standard
    deviation ``sd`` is measured in probits or logits, and its correlation between ticks d apart is
    exp(-d / length).
    """

    model: Literal["difficulty"]
    rates_are: Literal["average"] = Field("average", description="over all difficulties")
    clock: Clock = Field("round", description="whether it drifts from round to round or by token")
    sd: NonNegative = Field(description="standard deviation of the difficulty")
    length: Positive = Field(description="correlation length in ticks")
    scale: Literal["probit", "logit"] = Field("probit", description="unit of the difficulty")
    slowdown: Slowdown = Field(
        1.0, description="factor on the round time for each standard deviation of difficulty"
    )
    states: Annotated[int, Field(ge=2, le=64)] = Field(
        15, description="grid points of the difficulty; more follow the normal law further out"
    )

    def stated_rates(self) -> Floats:
        """The average rates ``[K]``, as one plugs them in who takes them for conditional."""
        return self.given()

    def _accept(self, law: Floats, difficulty: Floats) -> Floats:
        """``[S, K]``, each column with the stated mean: intercepts by bisection."""
        from scipy.special import expit, ndtr

        link = ndtr if self.scale == "probit" else expit
        rates = self.given()
        reach = 40 + np.abs(difficulty).max()
        low, high = np.full(rates.size, -reach), np.full(rates.size, reach)
        for _ in range(100):
            middle = (low + high) / 2
            above = law @ link(middle - difficulty[:, None]) > rates
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        accept = link(high - difficulty[:, None])
        certain = (rates == 0) | (rates == 1)  # no finite intercept gives these
        return np.where(certain, rates, accept)

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """A Rouwenhorst chain; its stationary law is binomial."""
        step = rouwenhorst(self.states, float(np.exp(-1 / self.length)))
        law = np.ones(1)
        for _ in range(self.states - 1):
            law = np.convolve(law, [0.5, 0.5])
        z = np.linspace(-1, 1, self.states) * np.sqrt(self.states - 1)
        accept = self._accept(law, self.sd * z)
        return AcceptanceChain(law, step[None], accept, self.clock, self.slowdown**z)
