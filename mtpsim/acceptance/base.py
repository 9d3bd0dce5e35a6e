"""The base class of acceptance models: a section of the file that compiles to a chain."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.chain import AcceptanceChain, Clock
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Probability, Spec
from mtpsim.kernels.arrays import ChainArrays, RecordingArrays

RatesAre = Literal["conditional", "survival", "marginal"]


class Source(Protocol):
    """Which drafts are accepted: a hidden chain, or recorded requests."""

    @property
    def depth(self) -> int:
        """Greatest depth K."""

    @property
    def clock(self) -> Clock:
        """What a tick is: a round, or a token of the text."""

    @property
    def states(self) -> int:
        """Number of hidden states S."""

    @property
    def slowdown(self) -> Floats:
        """``[S]`` factor on the time of a round that starts in the state."""

    @property
    def outcomes(self) -> int:
        """2 if the outcome of a tick steers the next state, else 1."""

    @property
    def requests_differ(self) -> bool:
        """Whether requests have different long-run acceptance rates."""

    @property
    def mean_length(self) -> float:
        """Mean ticks per recorded request; 0 for a chain."""

    @property
    def hidden_chain(self) -> AcceptanceChain | None:
        """The chain; None for recorded requests."""

    def arrays(self) -> ChainArrays | RecordingArrays:
        """What the kernels read."""


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


def check_stochastic(name: str, rows: list[list[float]], *, size: int, row_of: str) -> None:
    """Raise a FieldError of key ``name`` unless rows are transition probabilities ``[size, size]``.

    ``row_of`` names what a row belongs to, for the message.
    """
    if len(rows) != size or any(len(row) != size for row in rows):
        raise FieldError(f"must be {size} rows of {size}, one per {row_of}", key=name)
    for number, row in enumerate(rows, 1):
        if abs(sum(row) - 1) > 1e-9:
            raise FieldError(f"row {number} sums to {sum(row):.9g}, not to 1", key=name)


def conditional_rates(survival: Floats) -> Floats:
    """Conditional rates ``[K]`` of survival rates ``[K]``: 0 after a rate of 0, never above 1."""
    before = np.concatenate([[1.0], survival[:-1]])
    rates = np.divide(survival, before, out=np.zeros_like(survival), where=before > 0)
    return np.asarray(np.minimum(rates, 1.0))  # a ratio of equal rates may round to more


def independent_rounds(conditional: Floats) -> AcceptanceChain:
    """The chain of independent rounds: one state with conditional rates ``[K]``."""
    return AcceptanceChain(
        start=np.ones(1),
        step=np.ones((1, 1, 1)),
        accept=conditional[None],
        clock="round",
        slowdown=np.ones(1),
    )
