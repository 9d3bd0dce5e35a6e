"""``beta``: the acceptance rate itself varies, by request or by round, as a Beta variable."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceModel, within_round
from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Positive, Slowdown
from mtpsim.common.text import counted

InnerProbability = Annotated[float, Field(gt=0, lt=1)]
NODES = 24
NARROW = 1e4  # concentration beyond which Gauss-Jacobi nodes lose their digits
LARGE = 700  # log of weights that a float can't hold


class Beta(AcceptanceModel):
    """Rate x ~ Beta(mean c, (1 - mean) c) with concentration c.

    With a list of means each position has its own Beta law, and one hidden quantile moves them
    all: an easy request is easy at every position.
    """

    model: Literal["beta"]
    mean: InnerProbability | list[InnerProbability] = Field(description="a number, or by position")
    concentration: Positive = Field(description="a + b of the Beta law; small means spread out")
    depth: Depth | None = Field(None, description="number of positions, where `mean` is a number")
    level: Literal["request", "round"] = Field("request", description="what draws a new rate")
    slowdown: Slowdown = Field(
        1.0, description="factor on the round time for each standard deviation that is harder"
    )

    @model_validator(mode="after")
    def _depth_known(self) -> Self:
        if isinstance(self.mean, list):
            if not self.mean:
                raise FieldError(
                    "`mean` is an empty list; give a rate for each position", key="mean"
                )
            if self.depth is not None and self.depth != len(self.mean):
                raise FieldError(
                    f"`depth` is {self.depth} but `mean` has {counted(len(self.mean), 'entry')}",
                    key="depth",
                )
        elif self.depth is None:
            raise FieldError("`depth` is needed where `mean` is a number", key="depth")
        return self

    def _nodes(self) -> tuple[Floats, Floats]:
        """Quadrature of the Beta law: weights ``[S]`` and rates ``[S, K]``."""
        from scipy.special import betaincinv, roots_jacobi, roots_legendre

        c = self.concentration
        if isinstance(self.mean, list) or not self._gauss_jacobi(self.mean):
            x, weight = roots_legendre(NODES)
            mean = np.broadcast_to(self.mean, self.depth or len(np.atleast_1d(self.mean)))
            rates = betaincinv(mean * c, (1 - mean) * c, ((x + 1) / 2)[:, None])
        else:
            with np.errstate(invalid="ignore"):  # 0 / 0 at a concentration of 1, which goes unused
                x, weight = roots_jacobi(NODES, (1 - self.mean) * c - 1, self.mean * c - 1)
            rates = np.repeat((x[:, None] + 1) / 2, self.depth or 0, axis=1)
        return weight / weight.sum(), np.clip(rates, 0, 1)

    def _gauss_jacobi(self, mean: float) -> bool:
        """Whether the weights of that quadrature, which are exact, can be had."""
        from scipy.special import betaln

        c = self.concentration
        return bool(c <= NARROW and c * np.log(2) + betaln((1 - mean) * c, mean * c) < LARGE)

    def chain(self) -> AcceptanceChain:
        """Gauss nodes: by request they never move, by round they are drawn anew each time.

        Where rounds are alike but for the draw and time ignores it, the implied conditional rates
        say all: one state.
        """
        weight, rates = self._nodes()
        by_round = self.level == "round"
        if by_round and self.slowdown == 1:
            survival = weight @ np.cumprod(rates, axis=1)
            return within_round(survival / np.concatenate([[1.0], survival[:-1]]))
        step = np.repeat(weight[None], NODES, axis=0) if by_round else np.eye(NODES)
        easier = rates.mean(1) - weight @ rates.mean(1)
        spread = np.sqrt(weight @ easier**2)
        harder = -easier / spread if spread > 0 else easier  # a law so narrow has one rate
        return AcceptanceChain(weight, step[None], rates, "round", self.slowdown**harder)
