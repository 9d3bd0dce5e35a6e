"""What an acceptance model promises: a section of the file that compiles to a chain."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.chain import AcceptanceChain, Clock
from mtpsim.common.arrays import Floats
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
    """The ``[acceptance]`` section; a subclass has ``model: Literal["its name"]``."""

    @abstractmethod
    def chain(self) -> Source:
        """Compile to the hidden chain; a model of recorded rounds gives the recording."""

    def stated_rates(self) -> Floats | None:
        """Rates ``[K]`` that the file gives, to plug into the closed form; None: it gives none."""
        return None

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # lists of rates have no hash of their own

    def warnings(self) -> list[str]:
        """What a reader of the results should know of the model."""
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
            raise ValueError("`rate` and `depth` go together: one rate for that many positions")
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
        raise ValueError(f"`{name}` must be {size} rows of {size}, one a {one_a}")
    for number, row in enumerate(rows, 1):
        if abs(sum(row) - 1) > 1e-9:
            raise ValueError(f"`{name}`: row {number} sums to {sum(row):.9g}, not to 1")


def within_round(conditional: Floats) -> AcceptanceChain:
    """The chain of rounds that are independent of each other: one state, rates ``[K]``."""
    one = np.ones(1)
    return AcceptanceChain(one, np.ones((1, 1, 1)), conditional[None], "round", one)
