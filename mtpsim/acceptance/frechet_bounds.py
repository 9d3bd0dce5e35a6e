"""``bounds``: the extreme couplings of drafts with known marginal rates."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import AcceptanceChain, RatesModel, compiled_once, independent_rounds
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.formula.closed_form import conditional_from


class Bounds(RatesModel):
    """Marginal acceptance rates, with the strongest positive or negative dependence in a round.

    If only P(draft j would be accepted) = m_j is known, P(1..k all accepted) lies within the sharp
    Frechet bounds [max(0, 1 - sum(1 - m_j)), min m_j]. Each bound is reached at all depths by one
    coupling: ``comonotone``, where a round that rejects a draft also rejects all drafts with lower
    rates, and ``countermonotone``, where rejections exclude each other as far as possible.
    """

    model: Literal["bounds"]
    rates_are: Literal["marginal"] = Field(
        "marginal", description="P(draft j would be accepted) regardless of drafts 1..j-1"
    )
    coupling: Literal["comonotone", "countermonotone"] | None = Field(
        None, description="comonotone: longest accept length; countermonotone: shortest"
    )
    accept_length: Annotated[float, Field(ge=1)] | None = Field(
        None, description="mixture of both couplings with this accept length at depth K"
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if (self.accept_length is None) == (self.coupling is None):
            raise FieldError("give either `coupling` or `accept_length`")
        if self.accept_length is not None:
            low, high = (1 + limit.sum() for limit in self._limits())
            if not low - 1e-12 <= self.accept_length <= high + 1e-12:
                raise FieldError(
                    f"no coupling of these rates gives {self.accept_length:g}; "
                    f"the bounds are {low:.6g} and {high:.6g}",
                    key="accept_length",
                )
        return self

    def _limits(self) -> tuple[Floats, Floats]:
        """Lower and upper bound of the survival rates, each ``[K]``."""
        rates = self.rates_by_position()
        return np.maximum(0, 1 - np.cumsum(1 - rates)), np.minimum.accumulate(rates)

    def input_rates(self) -> Floats:
        """The marginal rates ``[K]``."""
        return self.rates_by_position()

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state whose survival rates are the bound, or a mixture of both."""
        low, high = self._limits()
        if self.accept_length is None:
            share = float(self.coupling == "comonotone")
        else:
            width = high.sum() - low.sum()
            excess = self.accept_length - 1 - low.sum()
            share = np.clip(excess / width, 0, 1) if width > 0 else 1.0
        return independent_rounds(conditional_from((1 - share) * low + share * high, "survival"))
