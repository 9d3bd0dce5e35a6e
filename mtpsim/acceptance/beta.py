"""``beta``: the acceptance rate itself varies, by request or by round, as a Beta variable."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.chain import AcceptanceChain, Floats
from mtpsim.spec import Depth, Positive

InnerProbability = Annotated[float, Field(gt=0, lt=1)]
NODES = 24
NARROW = 1e4  # concentration beyond which Gauss-Jacobi weights overflow


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

    @model_validator(mode="after")
    def _depth_known(self) -> Beta:
        if isinstance(self.mean, list):
            if not self.mean:
                raise ValueError("`mean` is an empty list; give a rate for each position")
            if self.depth is not None and self.depth != len(self.mean):
                raise ValueError(f"`depth` is {self.depth} but `mean` has {len(self.mean)} entries")
        elif self.depth is None:
            raise ValueError("`depth` is needed where `mean` is a number")
        return self

    def _nodes(self) -> tuple[Floats, Floats]:
        """Quadrature of the Beta law: weights ``[S]`` and rates ``[S, K]``."""
        from scipy.special import betaincinv, roots_jacobi, roots_legendre

        c = self.concentration
        if isinstance(self.mean, list) or c > NARROW:
            x, weight = roots_legendre(NODES)
            mean = np.broadcast_to(self.mean, self.depth or len(np.atleast_1d(self.mean)))
            rates = betaincinv(mean * c, (1 - mean) * c, ((x + 1) / 2)[:, None])
        else:
            x, weight = roots_jacobi(NODES, (1 - self.mean) * c - 1, self.mean * c - 1)
            rates = np.repeat((x[:, None] + 1) / 2, self.depth or 0, axis=1)
        return weight / weight.sum(), np.clip(rates, 0, 1)

    def chain(self) -> AcceptanceChain:
        """By request: Gauss nodes that never move. By round: the conditional rates implied."""
        weight, rates = self._nodes()
        if self.level == "round":
            survival = weight @ np.cumprod(rates, axis=1)
            conditional = survival / np.concatenate([[1.0], survival[:-1]])
            one = np.ones(1)
            return AcceptanceChain(one, np.ones((1, 1, 1)), conditional[None], "round", one)
        return AcceptanceChain(weight, np.eye(NODES)[None], rates, "round", np.ones(NODES))
