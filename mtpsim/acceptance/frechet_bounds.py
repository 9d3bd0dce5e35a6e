"""``bounds``: the extreme couplings of drafts whose rates are known one by one."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import Rated, within_round
from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.formula.closed_form import conditional_from


class Bounds(Rated):
    """Marginal would-be rates and how the drafts of a round hang together at the extreme.

    With P(draft j would be accepted) = m_j and nothing else known, P(1..k all accepted) lies
    within the sharp Frechet limits [max(0, 1 - sum(1 - m_j)), min m_j]. Each limit is reached at
    all depths at once: ``comonotone``, where a round that rejects an easy draft rejects every
    harder one, and ``countermonotone``, where rejections avoid each other.
    """

    model: Literal["bounds"]
    rates_are: Literal["marginal"] = Field(
        "marginal", description="P(draft j would be accepted), whatever became of 1..j-1"
    )
    coupling: Literal["comonotone", "countermonotone"] | None = Field(
        None, description="which limit: the longest or the shortest accept length"
    )
    accept_length: Annotated[float, Field(ge=1)] | None = Field(
        None, description="mix the limits to this accept length at K, instead of `coupling`"
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if (self.accept_length is None) == (self.coupling is None):
            raise ValueError("give either `coupling` or `accept_length`, and not both")
        if self.accept_length is not None:
            low, high = (1 + limit.sum() for limit in self._limits())
            if not low - 1e-12 <= self.accept_length <= high + 1e-12:
                raise FieldError(
                    f"no coupling of these rates gives {self.accept_length:g}; "
                    f"the limits are {low:.6g} and {high:.6g}",
                    key="accept_length",
                )
        return self

    def _limits(self) -> tuple[Floats, Floats]:
        """Least and greatest survival ``[K]``."""
        rates = self.given()
        return np.maximum(0, 1 - np.cumsum(1 - rates)), np.minimum.accumulate(rates)

    def stated_rates(self) -> Floats:
        """The marginal rates ``[K]``, as one plugs them in who takes them for conditional."""
        return self.given()

    def chain(self) -> AcceptanceChain:
        """One state whose survival is the limit."""
        low, high = self._limits()
        if self.accept_length is None:
            share = float(self.coupling == "comonotone")
        else:
            room = high.sum() - low.sum()
            share = np.clip((self.accept_length - 1 - low.sum()) / room, 0, 1) if room > 0 else 1.0
        return within_round(conditional_from((1 - share) * low + share * high, "survival"))
