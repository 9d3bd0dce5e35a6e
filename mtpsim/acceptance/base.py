"""The base class of acceptance models, and the small hidden Markov chain that each compiles to."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Probability, Spec
from mtpsim.kernels.arrays import ChainArrays, RecordingArrays

WORDS = 2.0**31  # number of different random words of 31 bits
Counts = npt.NDArray[np.int64]
Sojourn = Annotated[float, Field(ge=1)]
Clock = Literal["round", "token"]
RatesAre = Literal["conditional", "survival", "marginal"]


@dataclass(frozen=True)
class LengthTable:
    """Lengths of requests by the hidden state in which they begin.

    Attributes:
        tokens (Counts): ``[L]`` possible numbers of tokens.
        shares (Floats): ``[S, L]`` probability of each, by first state; rows sum to 1.

    Examples:
        >>> table = LengthTable(tokens=np.array([64, 512]), shares=np.array([[0.5, 0.5]]))
        >>> (table.shares @ table.tokens).tolist()
        [288.0]
    """

    tokens: Counts
    shares: Floats


@dataclass(frozen=True, eq=False)  # hashed by identity, for caches
class AcceptanceChain:
    """A finite hidden Markov chain that decides which drafts are accepted.

    Under the ``round`` clock the state is constant within a round and changes after it. Under the
    ``token`` clock it belongs to a text position: draft ``j`` of a round that starts at position
    ``t`` is verified in the state of position ``t + j - 1``; the state changes at each position.

    Attributes:
        start (Floats): ``[S]`` probability of each state at the first tick of a request.
        step (Floats): ``[A, S, S]`` transition probabilities from tick to tick. ``A`` is 1 if they
            do not depend on the outcome of the tick. Else it is 2: ``step[0]`` follows a tick with
            a rejection, ``step[1]`` a tick without.
        accept (Floats): ``[S, K]`` P(draft j accepted | drafts 1..j-1 accepted, state).
        clock (str): What a tick is: ``"round"`` or ``"token"`` (a text position).
        slowdown (Floats): ``[S]`` factor on the time of a round that starts in the state, or
            ``[S, K + 1]`` by depth.
        lengths (Counts | None): ``[S]`` tokens of a request that starts in the state; 0: as many as
            the experiment says. None: 0 for all states.
        length_table (LengthTable | None): Random lengths by first state, in place of ``lengths``.

    Raises:
        ValueError: Shapes disagree, or a row is not a probability vector.

    Examples:
        Two states, easy and hard text, that last for 20 rounds on average:

        >>> import numpy as np
        >>> from mtpsim.acceptance import AcceptanceChain
        >>> chain = AcceptanceChain(
        ...     start=np.array([0.5, 0.5]),
        ...     step=np.array([[[0.95, 0.05], [0.05, 0.95]]]),
        ...     accept=np.array([[0.9, 0.8], [0.5, 0.4]]),
        ...     clock="round",
        ...     slowdown=np.ones(2),
        ... )
        >>> chain.states, chain.depth
        (2, 2)
        >>> chain.survival.round(2).tolist()
        [[0.9, 0.72], [0.5, 0.2]]
    """

    start: Floats
    step: Floats
    accept: Floats
    clock: Clock
    slowdown: Floats
    lengths: Counts | None = None
    candidates: Floats | None = None
    length_table: LengthTable | None = None

    def __post_init__(self) -> None:
        states = self.start.size
        if self.step.ndim != 3 or self.step.shape[1:] != (states, states):
            raise ValueError(f"step has shape {self.step.shape}, not (A, {states}, {states})")
        if self.step.shape[0] not in (1, 2):
            raise ValueError(f"step has {self.step.shape[0]} row sets; 1 or 2 are possible")
        if self.accept.ndim != 2 or self.accept.shape[0] != states or not self.accept.shape[1]:
            raise ValueError(f"accept has shape {self.accept.shape}, not ({states}, K)")
        by_depth = (states, self.accept.shape[1] + 1)
        if self.slowdown.shape not in ((states,), by_depth) or not (self.slowdown > 0).all():
            raise ValueError(f"slowdown must be {states} positive numbers, or as many by depth")
        if self.lengths is not None and self.lengths.shape != (states,):
            raise ValueError(f"lengths must be {states} numbers of tokens")
        rows_of = {"start": self.start, "step": self.step}
        if self.length_table is not None:
            rows_of["length_table.shares"] = self.length_table.shares
        for name, rows in rows_of.items():
            if (rows < 0).any() or not np.allclose(rows.sum(-1), 1, rtol=0, atol=1e-9):
                raise ValueError(f"each row of {name} must be probabilities that sum to 1")
        if not ((self.accept >= 0) & (self.accept <= 1)).all():
            raise ValueError("accept must lie within [0, 1]")

    @property
    def states(self) -> int:
        """Number of hidden states S."""
        return self.start.size

    def lengths_of(self, tokens: int) -> LengthTable | None:
        """Lengths of requests by their first state; None if all are ``tokens`` long.

        Args:
            tokens (int): Tokens of requests whose state has no length of its own.

        Returns:
            LengthTable | None: Lengths, and their probabilities in each state.
        """
        if self.lengths is None or self.length_table is not None:
            return self.length_table
        own = np.where(self.lengths > 0, self.lengths, tokens)
        lengths = np.unique(own)
        return LengthTable(lengths, (own[:, None] == lengths).astype(float))

    @property
    def outcomes(self) -> int:
        """Number A of row sets of ``step``."""
        return int(self.step.shape[0])

    @property
    def mean_length(self) -> float:
        """0: the horizon of the experiment sets the length of requests."""
        return 0.0

    @property
    def hidden_chain(self) -> "AcceptanceChain":
        """The chain itself; recorded requests have none."""
        return self

    @property
    def depth(self) -> int:
        """Greatest depth K that the chain describes."""
        return int(self.accept.shape[1])

    @property
    def requests_differ(self) -> bool:
        """Whether the long-run average of a request depends on its first state."""
        eigenvalues = np.linalg.eigvals(self.step[-1])
        return self.states > 1 and int((np.abs(eigenvalues - 1) < 1e-12).sum()) > 1

    @property
    def survival(self) -> Floats:
        """``[S, K]`` P(drafts 1..k all accepted) if the state does not change."""
        return np.asarray(np.cumprod(self.accept, axis=1))

    def slowdown_at(self, depth: int) -> Floats:
        """Factor on the time of a round.

        Args:
            depth (int): Drafts of the round.

        Returns:
            Floats: ``[S]`` factor by the state in which the round begins.
        """
        return self.slowdown if self.slowdown.ndim == 1 else self.slowdown[:, depth]

    def arrays(self) -> ChainArrays:
        """The chain as thresholds on random words; the last row starts a request."""
        rows = np.concatenate([self.step.reshape(-1, self.states), self.start[None]])
        accept = self.survival if self.clock == "round" else self.accept
        slowdown = self.slowdown_at(0)
        if self.states == 1:  # add an unreachable state: the vectorized path has two
            rows = np.array([[1.0, 0.0]] * 3)
            accept, slowdown = np.repeat(accept, 2, axis=0), np.ones(2) * slowdown
        state_bounds, accept_bounds, guide = thresholds(rows, accept)
        two = accept.shape[0] == 2 and (self.outcomes == 1 or self.states == 1)
        slow = bool((slowdown != 1).any())
        steps = most_steps(state_bounds, guide)
        # One layout, whatever the model's: kernels read flat rows, and are compiled by layout.
        return ChainArrays(
            state_bounds=np.ascontiguousarray(state_bounds),
            accept_bounds=np.ascontiguousarray(accept_bounds),
            guide=np.ascontiguousarray(guide),
            slowdown=np.ascontiguousarray(slowdown),
            two=two,
            slow=slow,
            steps=steps,
        )


def thresholds(rows: Floats, accept: Floats) -> tuple[npt.NDArray[Any], ...]:
    """Cut the 31-bit words by next state, and each interval again by acceptance.

    Args:
        rows: ``[R, S]`` distribution of the next state, by row.
        accept: ``[S, K]`` probability that decides each draft, within the state.

    Returns:
        ``state_bounds`` ``[R, S]``, ``accept_bounds`` ``[R, S, K]``, ``guide`` ``[R, 256]``.
        Probabilities 0 and 1 are exact, others off by at most 2^-32.
    """
    edge = np.rint(np.cumsum(rows, axis=1) * WORDS).astype(np.int64)
    edge = np.minimum(edge, 2**31)
    edge[:, -1] = 2**31
    below = np.concatenate([np.zeros((len(edge), 1), np.int64), edge[:, :-1]], axis=1)
    width = edge - below
    accept_bounds = below[:, :, None] + np.rint(accept[None] * width[:, :, None]).astype(np.int64)
    buckets = np.arange(256, dtype=np.int64) << 23
    guide = np.stack([np.searchsorted(row - 1, buckets, side="left") for row in edge])
    return (edge - 1).astype(np.int32), (accept_bounds - 1).astype(np.int32), guide.astype(np.int32)


def most_steps(state_bounds: npt.NDArray[np.int32], guide: npt.NDArray[np.int32]) -> int:
    """Most states from the one of the guide to the one that a word leads to.

    Args:
        state_bounds: ``[R, S]``, as of :func:`thresholds`.
        guide: ``[R, 256]``, as of :func:`thresholds`.
    """
    last = (state_bounds < state_bounds[:, -1:]).sum(1, keepdims=True)  # where the last word leads
    return int(np.diff(guide, axis=1, append=last).max())


def stationary(step: Floats, start: Floats | None = None) -> Floats:
    """The long-run distribution of a chain.

    Args:
        step (Floats): ``[S, S]`` transition probabilities; rows sum to 1.
        start (Floats | None): ``[S]`` initial distribution, uniform by default. It matters only if
            the chain has several closed classes.

    Returns:
        Floats: ``[S]`` share of ticks spent in each state.
    """
    states = step.shape[0]
    distribution = np.full(states, 1 / states) if start is None else start
    power = (step + np.eye(states)) / 2  # the lazy chain: same distribution, never periodic
    for _ in range(50):
        power = power @ power
        power /= power.sum(1, keepdims=True)  # keeps rounding from growing along eigenvalue 1
    distribution = distribution @ power
    return np.asarray(distribution / distribution.sum())


class Source(Protocol):
    """Which drafts are accepted: a hidden chain, or recorded requests."""

    def __hash__(self) -> int:
        """By identity."""

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
        """2 if transitions depend on the outcome of the tick, else 1."""

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

    if TYPE_CHECKING:
        model: str

    @abstractmethod
    def chain(self) -> Source:
        """Compile to a hidden chain, or to a recording if the model replays recorded requests."""

    def input_rates(self) -> Floats | None:
        """Rates ``[K]`` of the file as they enter the closed form; None if it has none."""
        return None

    def describe(self) -> list[str]:
        """What the chain alone does not show, as text, one line per part."""
        return []

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

    exclusive = (("rates", "rate"),)
    rates: list[Probability] = Field(
        default_factory=list, description="acceptance rates of positions 1..K"
    )
    rate: Probability | None = Field(
        None, description="one acceptance rate for all positions, with `depth`"
    )
    depth: Depth | None = Field(None, description="number of positions with this `rate`")

    @model_validator(mode="after")
    def _one_way_to_give_rates(self) -> Self:
        if not self.rates and self.rate is None:
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


def step_after(sojourn: list[float]) -> Floats:
    """Transitions ``[S, S]`` of states with these mean durations; all others are equally likely."""
    if not sojourn:
        return np.ones((1, 1))
    leave = 1 / np.array(sojourn, float)
    others = leave.size - 1
    step = np.repeat(leave[:, None] / others, leave.size, axis=1)
    np.fill_diagonal(step, 1 - leave)
    return step


def independent_rounds(conditional: Floats) -> AcceptanceChain:
    """The chain of independent rounds: one state with conditional rates ``[K]``."""
    return AcceptanceChain(
        start=np.ones(1),
        step=np.ones((1, 1, 1)),
        accept=conditional[None],
        clock="round",
        slowdown=np.ones(1),
    )
