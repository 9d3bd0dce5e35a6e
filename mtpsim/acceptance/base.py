"""What an acceptance model promises: a section of the file that compiles to a chain."""

from abc import ABC, abstractmethod
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.acceptance.recording import Recording
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Probability, Spec

RatesAre = Literal["conditional", "survival", "marginal"]
Source = AcceptanceChain | Recording


class AcceptanceModel(Spec, ABC):
    """The ``[acceptance]`` section; a subclass has ``model: Literal["its name"]``."""

    @abstractmethod
    def chain(self) -> Source:
        """Compile to the hidden chain; a model of recorded rounds gives the recording."""

    def stated_rates(self) -> Floats | None:
        """Rates ``[K]`` that the file gives, to plug into the closed form; None: it gives none."""
        return None

    def warnings(self) -> list[str]:
        """What a reader of the results should know of the model."""
        return []


class Rated(AcceptanceModel):
    """A model whose file gives a rate by position, or one rate for several of them."""

    rates: list[Probability] = Field(default_factory=list, description="by position 1..K")
    rate: Probability | None = Field(None, description="one rate for every position")
    depth: Depth | None = Field(None, description="number of positions that `rate` stands for")

    @model_validator(mode="after")
    def _one_way_to_give_rates(self) -> Self:
        if bool(self.rates) == (self.rate is not None):
            raise ValueError("give either `rates` (a list) or `rate` with `depth`, and not both")
        if (self.rate is None) != (self.depth is None):
            raise FieldError(
                "`rate` and `depth` go together: one rate for that many positions", key="rate"
            )
        return self

    def given(self) -> Floats:
        """The rates as the file gives them, ``[K]``."""
        return np.array(self.rates or [self.rate or 0.0] * (self.depth or 0), float)


def check_rows(name: str, rows: list[list[float]], size: int, one_a: str) -> None:
    """Refuse what is no square matrix of probabilities.

    Raises:
        ValueError: says which row of ``name`` has the wrong length or sum.

    """
    if len(rows) != size or any(len(row) != size for row in rows):
        raise FieldError(f"must be {size} rows of {size}, one per {one_a}", key=name)
    for number, row in enumerate(rows, 1):
        if abs(sum(row) - 1) > 1e-9:
            raise FieldError(f"row {number} sums to {sum(row):.9g}, not to 1", key=name)


def within_round(conditional: Floats) -> AcceptanceChain:
    """The chain of rounds that are independent of each other: one state, rates ``[K]``."""
    one = np.ones(1)
    return AcceptanceChain(one, np.ones((1, 1, 1)), conditional[None], "round", one)
