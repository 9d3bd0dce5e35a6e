"""``decay``: acceptance rates that fall geometrically with the position."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.acceptance.base import (
    AcceptanceChain,
    AcceptanceModel,
    compiled_once,
    independent_rounds,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.section import Depth, Probability


class Decay(AcceptanceModel):
    """Conditional rates ``first``, ``first x factor``, ``first x factor^2``, ...

    A draft head that is applied to its own outputs loses accuracy at each position.
    """

    model: Literal["decay"]
    first: Probability = Field(description="acceptance rate p1 of the first draft")
    factor: Annotated[float, Field(ge=0, le=1)] = Field(
        description="ratio of each rate to the one before"
    )
    depth: Depth = Field(description="number of positions")

    def input_rates(self) -> Floats:
        """Conditional rates ``[K]``."""
        return np.asarray(self.first * self.factor ** np.arange(self.depth))

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state with these rates."""
        return independent_rounds(self.input_rates())
