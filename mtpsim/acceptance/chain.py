"""The compiled form of acceptance models: a small hidden Markov chain."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.kernels.arrays import ChainArrays

WORDS = 2.0**31  # number of different random words of 31 bits
Clock = Literal["round", "token"]


@dataclass(frozen=True)
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
        slowdown (Floats): ``[S]`` factor on the time of a round that starts in the state.

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

    def __post_init__(self) -> None:
        states = self.start.size
        if self.step.ndim != 3 or self.step.shape[1:] != (states, states):
            raise ValueError(f"step has shape {self.step.shape}, not (A, {states}, {states})")
        if self.step.shape[0] not in (1, 2):
            raise ValueError(f"step has {self.step.shape[0]} row sets; 1 or 2 are possible")
        if self.accept.ndim != 2 or self.accept.shape[0] != states or not self.accept.shape[1]:
            raise ValueError(f"accept has shape {self.accept.shape}, not ({states}, K)")
        if self.slowdown.shape != (states,) or not (self.slowdown > 0).all():
            raise ValueError(f"slowdown must be {states} positive numbers")
        for name, rows in (("start", self.start), ("step", self.step)):
            if (rows < 0).any() or not np.allclose(rows.sum(-1), 1, rtol=0, atol=1e-9):
                raise ValueError(f"each row of {name} must be probabilities that sum to 1")
        if not ((self.accept >= 0) & (self.accept <= 1)).all():
            raise ValueError("accept must lie within [0, 1]")

    @property
    def states(self) -> int:
        """Number of hidden states S."""
        return self.start.size

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

    def arrays(self) -> ChainArrays:
        """The chain as thresholds on random words; the last row starts a request."""
        rows = np.concatenate([self.step.reshape(-1, self.states), self.start[None]])
        accept = self.survival if self.clock == "round" else self.accept
        slowdown = self.slowdown
        if self.states == 1:  # add an unreachable state: the vectorized path has two
            rows = np.array([[1.0, 0.0]] * 3)
            accept, slowdown = np.repeat(accept, 2, axis=0), np.ones(2) * slowdown
        upto, cut, guide = thresholds(rows, accept)
        two = accept.shape[0] == 2 and (self.outcomes == 1 or self.states == 1)
        return ChainArrays(upto, cut, guide, slowdown, two, bool((slowdown != 1).any()))


def thresholds(rows: Floats, accept: Floats) -> tuple[npt.NDArray[np.int32], ...]:
    """Cut the 31-bit words by next state, and each interval again by acceptance.

    Args:
        rows: ``[R, S]`` distribution of the next state, by row.
        accept: ``[S, K]`` probability that decides each draft, within the state.

    Returns:
        ``upto`` ``[R, S]``, ``cut`` ``[R, S, K]``, ``guide`` ``[R, 256]``, int32. Probabilities
        0 and 1 are exact, others off by at most 2^-32.
    """
    edge = np.rint(np.cumsum(rows, axis=1) * WORDS).astype(np.int64)
    edge = np.minimum(edge, 2**31)
    edge[:, -1] = 2**31
    below = np.concatenate([np.zeros((len(edge), 1), np.int64), edge[:, :-1]], axis=1)
    width = edge - below
    cut = below[:, :, None] + np.rint(accept[None] * width[:, :, None]).astype(np.int64)
    buckets = np.arange(256, dtype=np.int64) << 23
    guide = np.stack([np.searchsorted(row - 1, buckets, side="left") for row in edge])
    return (edge - 1).astype(np.int32), (cut - 1).astype(np.int32), guide.astype(np.int32)


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
