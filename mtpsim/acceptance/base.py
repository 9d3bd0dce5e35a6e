"""The base class of acceptance models: a section of the file that compiles to a chain."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Literal, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.acceptance.recording import Recording
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Probability, Spec

RatesAre = Literal["conditional", "survival", "marginal"]
Source = AcceptanceChain | Recording
Model = TypeVar("Model", bound="AcceptanceModel")


class AcceptanceModel(Spec, ABC):
    """The ``[acceptance]`` section; a subclass has ``model: Literal["its name"]``.

    Attributes:
        model (str): Name of the model in TOML.

    """

    @abstractmethod
    def chain(self) -> Source:
        """Compile to a hidden chain, or to a recording if the model replays recorded requests."""

    def input_rates(self) -> Floats | None:
        """Rates ``[K]`` of the file as they enter the closed form; None if it has none."""
        return None

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # lists of rates have no hash of their own

    def warnings(self) -> list[str]:
        """Properties of the model that limit what the results mean, one sentence each."""
        return []


def compiled_once(chain: Callable[[Model], AcceptanceChain]) -> Callable[[Model], AcceptanceChain]:
    """Decorate ``chain``, so that equal models of a process are compiled once.

    Every point of a sweep, and every check of a file, has a model object of its own.
    """
    cached = lru_cache(maxsize=32)(chain)

    @wraps(chain)
    def compiled(model: Model) -> AcceptanceChain:
        return cached(model)

    return compiled


class RatesModel(AcceptanceModel):
    """A model with one acceptance rate per position, or one rate for several positions."""

    rates: list[Probability] = Field(
        default_factory=list, description="acceptance rates of positions 1..K"
    )
    rate: Probability | None = Field(
        None, description="one acceptance rate for all positions, with `depth`"
    )
    depth: Depth | None = Field(None, description="number of positions with this `rate`")

    @model_validator(mode="after")
    def _one_way_to_give_rates(self) -> Self:
        if bool(self.rates) == (self.rate is not None):
            raise FieldError("give either `rates` (a list), or `rate` with `depth`")
        if (self.rate is None) != (self.depth is None):
            raise FieldError("`rate` and `depth` must be given together", key="rate")
        return self

    def rates_by_position(self) -> Floats:
        """The rates of the file, ``[K]``."""
        return np.array(self.rates or [self.rate or 0.0] * (self.depth or 0), float)


def check_stochastic(name: str, rows: list[list[float]], size: int, row_of: str) -> None:
    """Raise a FieldError of key ``name`` unless rows are transition probabilities ``[size, size]``.

    ``row_of`` names what a row belongs to, for the message.
    """
    if len(rows) != size or any(len(row) != size for row in rows):
        raise FieldError(f"must be {size} rows of {size}, one per {row_of}", key=name)
    for number, row in enumerate(rows, 1):
        if abs(sum(row) - 1) > 1e-9:
            raise FieldError(f"row {number} sums to {sum(row):.9g}, not to 1", key=name)


def independent_rounds(conditional: Floats) -> AcceptanceChain:
    """The chain of independent rounds: one state with conditional rates ``[K]``."""
    return AcceptanceChain(
        start=np.ones(1),
        step=np.ones((1, 1, 1)),
        accept=conditional[None],
        clock="round",
        slowdown=np.ones(1),
    )
