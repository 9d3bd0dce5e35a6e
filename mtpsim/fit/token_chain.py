"""A hidden chain by tokens, fitted to labelled tokens.

``P(token accepted as draft j | state s) = expit(a_s + b_j)`` with ``b_1 = 0`` and ``b`` that does
not rise: on one token a later draft is worse than the first by a constant. Rates that are free by
state *and* position would explain the memory of text by draft positions that cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import cpu_count
from typing import Literal, TypeVar

import numpy as np
from scipy.special import expit, softmax

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.fit.labelled_tokens import Ints, LabelledTokens
from mtpsim.kernels.labelled_tokens import expected_labels, log_likelihoods

Shifts = Literal["fixed", "scaled", "free"]
"""What is fitted of the shifts: nothing, a factor of those of a typical drafter, or each."""
TYPICAL = np.array([0.0, -0.35, -0.5])  # of an EAGLE head; deeper positions as the last
EXTRA_DROP = 0.025  # mean further drop per position beyond the recorded depth: the shifts of EAGLE
# heads at positions 4 to 7 are within 0.1 of that at position 3
PRIOR_TRIALS = 1.0  # of each state, half accepted: rates stay within 0 and 1
PRIOR_MOVES = 0.5  # transitions out of each state, spread over all states
MAX_SCALE = 3.0  # of the typical shifts
MAX_DROP = 5.0  # of the logit from a draft position to the next
MAX_LOGIT = 15.0
RELATIVE_GAIN = 1e-6  # of the log-likelihood, at which to stop
MAX_STATES = 6
STARTS = 2
FIRST_ITERATIONS = 15  # of each start; the best one goes on
MAX_TOKENS = 40_000  # of a random sample of requests that decides the number of states
HELD_OUT = 0.3
MAX_SE_BEHIND = 1.0  # of the best held-out score, within which fewer states are as good
T = TypeVar("T")
U = TypeVar("U")


def typical_shift(depth: int, scale: float = 1.0) -> Floats:
    """Return ``[depth]`` shifts of a typical trained drafter, times a scale."""
    return scale * np.concatenate([TYPICAL, np.full(max(depth - 3, 0), TYPICAL[-1])])[:depth]


@dataclass(frozen=True)
class TokenChain:
    """A hidden chain by tokens whose drafts differ by a constant logit.

    Attributes:
        start (NDArray[float64]): ``[S]`` distribution of the state of a request's first token.
        step (NDArray[float64]): ``[S, S]`` transition probabilities from token to token.
        level (NDArray[float64]): ``[S]`` logit of the acceptance of a first draft, by state.
        shift (NDArray[float64]): ``[K]`` change of the logit by draft position; the first is 0.
    """

    start: Floats
    step: Floats
    level: Floats
    shift: Floats

    @property
    def states(self) -> int:
        """Number of states S."""
        return self.level.size

    def with_shift(self, shift: Floats) -> TokenChain:
        """Return the chain with other shifts ``[K]``."""
        return replace(self, shift=shift)

    def accept(self, depth: int) -> Floats:
        """Return the rates ``[S, depth]``; the last shift holds at deeper positions."""
        more = max(depth - self.shift.size, 0)
        shift = np.concatenate([self.shift, np.repeat(self.shift[-1], more)])[:depth]
        return np.asarray(expit(self.level[:, None] + shift))

    def emission(self, depth: int) -> Floats:
        """Return the probability ``[2 depth + 1, S]`` of the labels -depth to depth."""
        accept = self.accept(depth).T
        untested = np.ones((1, self.states))
        return np.ascontiguousarray(np.concatenate([1 - accept[::-1], untested, accept]))

    def chain(self, depth: int) -> AcceptanceChain:
        """Return the chain for the simulator, which starts new requests."""
        return AcceptanceChain(
            self.start, self.step[None], self.accept(depth), "token", np.ones(self.states)
        )

    def log_likelihood(self, tokens: LabelledTokens) -> Floats:
        """Return the log-likelihood of each request, ``[R]``."""
        depth, out = tokens.depth, np.zeros(tokens.requests)
        log_likelihoods(
            self.emission(depth),
            self.step,
            self.start,
            tokens.symbols(depth),
            tokens.offsets,
            tokens.longest,
            out,
        )
        return out


@dataclass(frozen=True)
class ChainFit:
    """A fitted chain.

    Attributes:
        chain (TokenChain): the chain.
        log_likelihood (float): log-likelihood of all tokens, each request by its weight.
        converged (bool): whether the optimizer ended before its last iteration.
    """

    chain: TokenChain
    log_likelihood: float
    converged: bool


def initial_chain(states: int, tokens: LabelledTokens, seed: int) -> TokenChain:
    """Return a start point: levels around the log's own, and stays drawn at random.

    Args:
        states: number of states S.
        tokens: tokens to fit.
        seed: number of the start point.
    """
    rng = np.random.default_rng([states, seed])
    rejected, accepted = tokens.counts().sum(0)
    spread = np.linspace(-1.5, 1.5, states) if states > 1 else np.zeros(1)
    level = np.log((accepted + 1) / (rejected + 1)) + spread * rng.uniform(0.7, 1.5)
    stay = rng.uniform(0.3, 0.95, (states, 1))
    step = stay * np.eye(states) + (1 - stay) * rng.dirichlet(np.ones(states), states)
    return TokenChain(np.full(states, 1 / states), step, level, typical_shift(max(tokens.depth, 1)))


def fit_chain(
    tokens: LabelledTokens,
    initial: TokenChain,
    *,
    shifts: Shifts,
    weights: Floats | None = None,
    iterations: int = 100,
) -> ChainFit:
    """Fit a chain by maximum likelihood: L-BFGS-B on gradients from forward-backward passes.

    Expectation maximization would need hundreds of passes, as levels and shifts are nearly
    confounded. A weak prior keeps all probabilities off 0 and 1.

    Args:
        tokens: labelled tokens of requests.
        initial: start point.
        shifts: what is fitted of the shifts; the others of ``initial`` are kept.
        weights: ``[R]`` how often each request counts; None: once.
        iterations: largest number of iterations.

    Source:
        Fisher's identity: the gradient of the log-likelihood is that of the expected log
        probability of states and labels. O. Cappe, E. Moulines, T. Ryden, Inference in Hidden
        Markov Models (2005), section 10.2.
    """
    from scipy.optimize import minimize

    each = np.ones(tokens.requests) if weights is None else weights
    evidence, form = _Evidence(tokens, each, initial.states), _Form(initial, shifts)

    def loss(x: Floats) -> tuple[float, Floats]:
        total, gradient = evidence.gradient(form.chain(x))
        return -total / each.sum(), -form.gradient(gradient) / each.sum()

    found = minimize(
        loss,
        form.vector(initial),
        jac=True,
        method="L-BFGS-B",
        bounds=form.bounds,
        options={"maxiter": iterations, "ftol": RELATIVE_GAIN, "maxcor": 20},
    )
    chain = form.chain(found.x)
    total = float(each @ chain.log_likelihood(tokens))
    return ChainFit(chain, total, bool(found.nit < iterations))


class _Evidence:
    """Tokens, and the gradient of their log-likelihood."""

    def __init__(self, tokens: LabelledTokens, weights: Floats, states: int) -> None:
        self.depth, self.weights = max(tokens.depth, 1), weights
        self.arrays = tokens.symbols(self.depth), tokens.offsets, tokens.longest, weights
        self.out = np.empty(tokens.requests)
        self.moves, self.starts = np.empty((states, states)), np.empty(states)
        self.seen = np.empty((2 * self.depth + 1, states))

    def gradient(self, chain: TokenChain) -> tuple[float, TokenChain]:
        """Return the penalized log-likelihood, and its gradient in the place of a chain.

        That is: with respect to the logarithms of probabilities, and to levels and shifts.
        """
        expected_labels(
            chain.emission(self.depth),
            chain.step,
            chain.start,
            *self.arrays,
            self.out,
            self.moves,
            self.starts,
            self.seen,
        )
        prior = PRIOR_MOVES / chain.states
        moves, starts = self.moves + prior, self.starts + prior
        rejected, accepted = self.seen[: self.depth][::-1].T, self.seen[self.depth + 1 :].T
        off = accepted - (accepted + rejected) * chain.accept(self.depth)
        first = chain.accept(1)[:, 0]
        total = float(self.weights @ self.out) + prior * float(
            np.log(chain.step).sum() + np.log(chain.start).sum()
        )
        total += PRIOR_TRIALS / 2 * float(np.log(first * (1 - first)).sum())
        return total, TokenChain(
            starts - starts.sum() * chain.start,
            moves - moves.sum(1, keepdims=True) * chain.step,
            off.sum(1) + PRIOR_TRIALS * (0.5 - first),
            off.sum(0),
        )


class _Form:
    """A chain as a vector without constraints but the signs of the steps of its shifts."""

    def __init__(self, chain: TokenChain, shifts: Shifts) -> None:
        self.states, self.shift, depth = chain.states, chain.shift, chain.shift.size
        parts: dict[Shifts, Floats] = {
            "fixed": np.zeros((0, depth)),
            "scaled": typical_shift(depth)[None],
            "free": np.tril(np.full((depth, depth), -1.0)).T[1:],
        }
        self.basis = parts[shifts][: depth - 1]
        highest = MAX_SCALE if shifts == "scaled" else MAX_DROP
        free = self.states * (self.states + 2)
        limit = [(-MAX_LOGIT, MAX_LOGIT)]
        self.bounds = limit * free + [(0.0, highest)] * len(self.basis)

    def vector(self, chain: TokenChain) -> Floats:
        """Return the vector of a chain."""
        drops = -np.diff(chain.shift)
        if len(self.basis) == 1 and chain.shift.size > 1:
            drops = chain.shift[1:2] / self.basis[0, 1]
        parts = np.log(chain.start), np.log(chain.step).ravel(), chain.level
        return np.concatenate([*parts, drops[: len(self.basis)]])

    def chain(self, x: Floats) -> TokenChain:
        """Return the chain of a vector."""
        size = self.states
        start, step, level, drops = np.split(x, [size, size + size**2, 2 * size + size**2])
        return TokenChain(
            softmax(start),
            softmax(step.reshape(size, size), axis=-1),
            level,
            drops @ self.basis if len(self.basis) else self.shift,
        )

    def gradient(self, at: TokenChain) -> Floats:
        """Return the gradient with respect to the vector."""
        return np.concatenate([at.start, at.step.ravel(), at.level, self.basis @ at.shift])


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
            tokens, initial_chain(states, tokens, seed), shifts=shifts, iterations=FIRST_ITERATIONS
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
