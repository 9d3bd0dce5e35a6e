"""How many states a token chain needs, by the likelihood of held-out requests."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import TypeVar

import numpy as np

from mtpsim.fit.labelled_tokens import Ints, LabelledTokens
from mtpsim.fit.token_chain import ChainFit, Shifts, fit_chain, initial_chain

MAX_STATES = 6
STARTS = 2
FIRST_ITERATIONS = 15  # of each start; the best one goes on
MAX_TOKENS = 40_000  # of a random sample of requests that decides the number of states
HELD_OUT = 0.3
MAX_SE_BEHIND = 1.0  # of the best held-out score, within which fewer states are as good
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class StateNumber:
    """A number of states, and how well it predicts held-out requests.

    Attributes:
        states (int): number of states S.
        score (float): mean log-likelihood per held-out request.
        behind (float): by how much ``score`` is below the best.
        behind_se (float): standard error of ``behind``, paired by request.
        fit (ChainFit): fit to the training requests.
    """

    states: int
    score: float
    behind: float
    behind_se: float
    fit: ChainFit

    @property
    def is_near_best(self) -> bool:
        """Whether the score is within a standard error of the best."""
        return self.behind <= MAX_SE_BEHIND * self.behind_se


def in_threads(function: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Return the results for all items in order; the kernels run beside each other."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(pool.map(function, items))


def best_fit(
    tokens: LabelledTokens, states: int, shifts: Shifts, iterations: int = 100
) -> ChainFit:
    """Fit a chain from several start points.

    Args:
        tokens: labelled tokens.
        states: number of states S.
        shifts: what is fitted of the shifts.
        iterations: largest number of iterations from the best start point.
    """
    begun = [
        fit_chain(
            tokens,
            initial_chain(states, tokens, seed),
            shifts=shifts,
            iterations=FIRST_ITERATIONS,
        )
        for seed in range(STARTS if states > 1 else 1)
    ]
    best = max(begun, key=lambda one: one.log_likelihood)
    return fit_chain(tokens, best.chain, shifts=shifts, iterations=iterations)


def sampled(tokens: LabelledTokens, most: int, rng: np.random.Generator) -> Ints:
    """Return requests in random order, until they have ``most`` tokens."""
    order = rng.permutation(tokens.requests)
    total = np.cumsum(np.diff(tokens.offsets)[order])
    return order[: max(2, int((total <= most).sum()))]


def state_numbers(
    tokens: LabelledTokens, shifts: Shifts, most: int = MAX_STATES
) -> list[StateNumber]:
    """Fit chains of 1 to ``most`` states to some requests and score them on others.

    Args:
        tokens: labelled tokens of at least two requests.
        shifts: what is fitted of the shifts.
        most: largest number of states.
    """
    chosen = sampled(tokens, MAX_TOKENS, np.random.default_rng(0))
    size = max(1, round(HELD_OUT * chosen.size))
    test, train = tokens.subset(chosen[:size]), tokens.subset(chosen[size:])
    fits = in_threads(lambda states: best_fit(train, states, shifts), range(1, most + 1))
    scores = np.array([one.chain.log_likelihood(test) for one in fits])
    behind = scores[scores.mean(1).argmax()] - scores
    error = behind.std(1, ddof=1) / size**0.5 if size > 1 else np.zeros(most)
    return [
        StateNumber(s + 1, float(scores[s].mean()), float(behind[s].mean()), float(error[s]), one)
        for s, one in enumerate(fits)
    ]
