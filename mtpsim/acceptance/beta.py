"""``beta``: the acceptance rate has a Beta distribution over requests or rounds."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import (
    AcceptanceChain,
    AcceptanceModel,
    compiled_once,
    conditional_rates,
    independent_rounds,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Positive, Slowdown
from mtpsim.common.text import counted

InnerProbability = Annotated[float, Field(gt=0, lt=1)]
NODES = 24
NARROW = 1e4  # concentration above which Gauss-Jacobi nodes lose precision
LARGE = 700  # log of weights that overflow a float
SMALL = 1e-9  # least shape parameter of the Beta distribution that quadrature distinguishes from 0


class Beta(AcceptanceModel):
    """Rate x ~ Beta(mean c, (1 - mean) c) with concentration c.

    With a list of means each position has its own Beta distribution, and all positions share one
    hidden quantile: an easy request is easy at every position.
    """

    model: Literal["beta"]
    mean: InnerProbability | list[InnerProbability] = Field(
        description="mean acceptance rate: a number, or a list by position"
    )
    concentration: Positive = Field(
        description="a + b of the Beta distribution; smaller values vary more"
    )
    depth: Depth | None = Field(None, description="number of positions, if `mean` is a number")
    level: Literal["request", "round"] = Field(
        "request", description="whether a new rate is drawn per request or per round"
    )
    slowdown: Slowdown = Field(
        1.0, description="factor on the round time per standard deviation of lower acceptance"
    )

    @model_validator(mode="after")
    def _depth_known(self) -> Self:
        if isinstance(self.mean, list):
            if not self.mean:
                raise FieldError("the list is empty; give one rate per position", key="mean")
            if self.depth is not None and self.depth != len(self.mean):
                raise FieldError(
                    f"{self.depth} is given, but `mean` has {counted(len(self.mean), 'entry')}",
                    key="depth",
                )
        elif self.depth is None:
            raise FieldError("is required if `mean` is a number", key="depth", kind="missing")
        return self

    @model_validator(mode="after")
    def _shapes_resolved(self) -> Self:
        means = np.atleast_1d(self.mean)
        least = float(np.minimum(means, 1 - means).min()) if means.size else 1.0
        if least * self.concentration < SMALL:
            raise FieldError(
                f"{self.concentration:g} is given; it must be at least {SMALL / least:.3g} for "
                "these means",
                key="concentration",
            )
        return self

    def _nodes(self) -> tuple[Floats, Floats]:
        """Quadrature of the Beta distribution: weights ``[S]`` and rates ``[S, K]``."""
        from scipy.special import betaincinv, roots_jacobi, roots_legendre

        c = self.concentration
        if isinstance(self.mean, list) or not self._gauss_jacobi(self.mean):
            x, weight = roots_legendre(NODES)
            mean = np.broadcast_to(self.mean, self.depth or len(np.atleast_1d(self.mean)))
            rates = betaincinv(mean * c, (1 - mean) * c, ((x + 1) / 2)[:, None])
        else:
            with np.errstate(invalid="ignore"):  # 0 / 0 at a concentration of 1, which is not used
                x, weight = roots_jacobi(NODES, (1 - self.mean) * c - 1, self.mean * c - 1)
            rates = np.repeat((x[:, None] + 1) / 2, self.depth or 0, axis=1)
        return weight / weight.sum(), np.clip(rates, 0, 1)

    def _gauss_jacobi(self, mean: float) -> bool:
        """Whether the exact weights of this quadrature are finite."""
        from mtpsim.common.special import betaln

        c = self.concentration
        return bool(c <= NARROW and c * np.log(2) + betaln((1 - mean) * c, mean * c) < LARGE)

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state per quadrature node, drawn once per request or once per round.

        Rates drawn per round without a slowdown reduce to one state: rounds are independent, with
        the conditional rates that the mixture implies.
        """
        weight, rates = self._nodes()
        by_round = self.level == "round"
        if by_round and self.slowdown == 1:
            survival = weight @ np.cumprod(rates, axis=1)
            return independent_rounds(conditional_rates(survival))
        step = np.repeat(weight[None], NODES, axis=0) if by_round else np.eye(NODES)
        easier = rates.mean(1) - weight @ rates.mean(1)
        spread = np.sqrt(weight @ easier**2)
        harder = -easier / spread if spread > 0 else easier  # 0 where all rates are equal
        return AcceptanceChain(
            start=weight,
            step=step[None],
            accept=rates,
            clock="round",
            slowdown=self.slowdown**harder,
        )
