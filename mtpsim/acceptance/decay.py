"""``decay``: each draft position is accepted less often than the one before it."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.acceptance.base import AcceptanceModel, compiled_once, within_round
from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.common.section import Depth, Probability


class Decay(AcceptanceModel):
    """Conditional rates ``first``, ``first x factor``, ``first x factor^2``, ...

    A draft head that feeds on its own guesses loses a share of its rate at each position.
    """

    model: Literal["decay"]
    first: Probability = Field(description="p1, the rate of the first draft")
    factor: Annotated[float, Field(ge=0, le=1)] = Field(
        description="what is left of the rate at each further position"
    )
    depth: Depth = Field(description="number of positions")

    def stated_rates(self) -> Floats:
        """Conditional rates ``[K]``."""
        return np.asarray(self.first * self.factor ** np.arange(self.depth))

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state."""
        return within_round(self.stated_rates())
