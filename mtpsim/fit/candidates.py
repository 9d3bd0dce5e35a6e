"""Candidate models of a log, each parametrized without bounds and written as ``[acceptance]``."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, softmax

from mtpsim.acceptance import MODELS, AcceptanceChain
from mtpsim.acceptance.base import Clock
from mtpsim.acceptance.draft_lengths import thin
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.fit.token_chain import typical_shift

Ints = npt.NDArray[np.int64]
MARGIN = 1e-6  # least distance of fitted rates from 0 and 1
DIFFICULTY_STATES = 9
LEAST_FALL = 0.02  # logits from a draft to the next, so that each can be fitted
SCALES = (-7.0, 3.0)  # logarithm of the factor of typical falls
CONDITIONAL = {"rates_are": "conditional"}  # stated, so that a reader need not guess
CLOCKS: tuple[Clock, ...] = ("round", "token")
LEAN = 2.0  # logits between the longest and shortest drafts of the start point of extreme states
MAX_LOGIT = 14.0  # of a share of draft lengths: a millionth
UNSEEN = 3.7  # rounds: upper 97.5 % limit of a Poisson mean of which none is seen


@dataclass(frozen=True)
class LengthLaw:
    """A law of the number of proposed drafts: one row of shares, or one per state.

    The parameters of a row are log shares, relative to the most frequent number.

    Attributes:
        depth: greatest number of drafts K.
        numbers: ``[n]`` numbers of drafts that occur, the most frequent one first.
        shares: ``[n]`` shares of rounds that propose them.
        rounds: number of rounds that the shares are of.
        rows: number of rows.
        order: returns the states of parameters ``[P]`` in the order of the section.
    """

    depth: int
    numbers: Ints
    shares: Floats
    rounds: int
    rows: int
    order: Callable[[Floats], Ints]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.rows * (self.numbers.size - 1)

    def initial(self) -> Floats:
        """Return a start point: shares of all rounds, in easy states those of longer drafts."""
        lean = LEAN * (self.numbers[1:] - self.numbers[0]) / self.depth
        each = np.linspace(1, -1, self.rows) if self.rows > 1 else np.zeros(1)
        return np.asarray(np.log(self.shares[1:] / self.shares[0]) + each[:, None] * lean).ravel()

    def law(self, parameters: Floats) -> Floats:
        """Return the rows ``[rows, K + 1]`` of parameters ``[P]``, in the order of the section."""
        found = np.zeros((self.rows, self.depth + 1))
        logs = parameters[parameters.size - self.size :].reshape(self.rows, -1)
        logs = np.pad(np.clip(logs, -MAX_LOGIT, MAX_LOGIT), ((0, 0), (1, 0)))
        found[:, self.numbers] = softmax(logs, axis=1)
        return np.asarray(found[self.order(parameters)])

    def limited(self, draws: Floats, fitted: Floats) -> Floats:
        """Return draws whose share of a number that a state does not propose stays next to 0.

        A log share is normal only where rounds have that number: else it has no lower end, and a
        symmetric distribution would draw shares near 1.

        Args:
            draws: ``[n, P]`` draws of the parameters.
            fitted: ``[P]`` parameters that they are about.
        """
        logs = fitted[fitted.size - self.size :].reshape(self.rows, -1)
        total = np.logaddexp(np.logaddexp.reduce(logs, axis=1), 0.0)
        most = total + np.log(UNSEEN * self.rows / self.rounds)
        limits = np.full(fitted.size, np.inf)
        limits[fitted.size - self.size :] = np.where(
            logs < most[:, None], most[:, None], np.inf
        ).ravel()
        return np.asarray(np.minimum(draws, limits))

    def slopes(self, parameters: Floats, weights: Floats) -> Floats:
        """Return the gradient of the sum of ``weights`` times the log shares.

        Args:
            parameters: ``[P]`` parameters.
            weights: ``[rows, K + 1]`` expected rounds by row and number of drafts.
        """
        off = weights - weights.sum(1, keepdims=True) * self.law(parameters)
        found = np.empty_like(off)
        found[self.order(parameters)] = off
        return np.asarray(found[:, self.numbers[1:]].ravel())


@dataclass(frozen=True)
class Candidate:
    """A model to fit.

    Attributes:
        name: name in tables.
        depth: number of drafts per round K.
        fitted_keys: keys of ``[acceptance]`` whose values are fitted.
        initial: returns start points ``[P]`` of the optimizer, given conditional rates ``[K]``.
        section: returns the section ``[acceptance]`` of parameters ``[P]``, which are unbounded.
        is_dynamic: whether the state changes within a request, which counts by position can't show.
        lengths: law of the number of proposed drafts, whose parameters are the last ones; None if
            the number is given.
    """

    name: str
    depth: int
    fitted_keys: tuple[str, ...]
    initial: Callable[[Floats], list[Floats]]
    section: Callable[[Floats], JsonDict]
    is_dynamic: bool = False
    lengths: LengthLaw | None = None

    def chain(self, parameters: Floats) -> AcceptanceChain:
        """Return the acceptance chain of parameters ``[P]``; drafts not proposed are rejected."""
        section = self.section(parameters)
        chain = MODELS[section["model"]].model_validate(section).chain()
        assert isinstance(chain, AcceptanceChain)
        return thin(chain, self.lengths.law(parameters)) if self.lengths else chain


def _logit(rates: Floats) -> Floats:
    return np.asarray(logit(np.clip(rates, MARGIN, 1 - MARGIN)))


def _rates(parameters: Floats) -> list[float]:
    return [float(rate) for rate in np.clip(expit(parameters), MARGIN, 1 - MARGIN)]


def _independent(depth: int) -> Candidate:
    """One rate per position."""
    return Candidate(
        name="independent",
        depth=depth,
        fitted_keys=("rates",),
        initial=lambda rates: [_logit(rates)],  # the maximum of the likelihood
        section=lambda x: {"model": "independent", "rates": _rates(x), **CONDITIONAL},
    )


def _geometric(depth: int) -> Candidate:
    """One rate for all positions."""
    return Candidate(
        name="geometric",
        depth=depth,
        fitted_keys=("rate",),
        initial=lambda rates: [_logit(rates.mean(keepdims=True))],
        section=lambda x: {
            "model": "independent",
            "rate": _rates(x)[0],
            "depth": depth,
            **CONDITIONAL,
        },
    )


def _decay(depth: int) -> Candidate:
    """Rates that fall by a constant factor per position."""

    def section(x: Floats) -> JsonDict:
        first, factor = _rates(x)
        return {"model": "decay", "first": first, "factor": factor, "depth": depth}

    return Candidate(
        name="decay",
        depth=depth,
        fitted_keys=("first", "factor"),
        initial=lambda rates: [_logit(np.array([rates[0], factor])) for factor in (0.9, 0.5)],
        section=section,
    )


def _beta(depth: int, *, by_position: bool = False) -> Candidate:
    """Rates that differ between requests, around one mean or one mean per position."""

    def initial(rates: Floats) -> list[Floats]:
        mean = rates if by_position else rates.mean(keepdims=True)
        return [np.append(_logit(mean), np.log(concentration)) for concentration in (10.0, 100.0)]

    def section(x: Floats) -> JsonDict:
        means, concentration = _rates(x[:-1]), float(np.exp(np.clip(x[-1], -3, 9)))
        shape = {"mean": means} if by_position else {"mean": means[0], "depth": depth}
        return {"model": "beta", **shape, "concentration": concentration, "level": "request"}

    return Candidate(
        name="beta-position" if by_position else "beta",
        depth=depth,
        fitted_keys=("mean", "concentration"),
        initial=initial,
        section=section,
    )


def _difficulty(depth: int, clock: Clock) -> Candidate:
    """A difficulty that drifts by round or by token."""

    def initial(rates: Floats) -> list[Floats]:
        return [np.append(_logit(rates), np.log([0.7, length])) for length in (3.0, 30.0)]

    def section(x: Floats) -> JsonDict:
        sd, length = np.exp(np.clip(x[-2:], [-6, -3], [2, 9]))
        return {
            "model": "difficulty",
            "clock": clock,
            "rates": _rates(x[:-2]),
            "sd": float(sd),
            "length": float(length),
            "states": DIFFICULTY_STATES,
        }

    return Candidate(
        name=f"difficulty-{clock}",
        depth=depth,
        fitted_keys=("rates", "sd", "length"),
        initial=initial,
        section=section,
        is_dynamic=True,
    )


def easiest_first(rows: Floats) -> Ints:
    """Return the states of rates, given as logits ``[S, K]``, the easiest one first."""
    return np.argsort(-expit(rows).mean(1), kind="stable")


def _regime(depth: int, states: int, clock: Clock) -> Candidate:
    """Hidden states with geometric sojourns, each with one rate per position."""

    def initial(rates: Floats) -> list[Floats]:
        shifts = np.linspace(1.2, -1.2, states)[:, None]
        x = (_logit(rates) + shifts).ravel()
        return [np.append(x, np.full(states, np.log(sojourn - 1))) for sojourn in (3.0, 20.0)]

    def section(x: Floats) -> JsonDict:
        rows = x[:-states].reshape(states, depth)
        sojourns = 1 + np.exp(np.clip(x[-states:], -9, 9))
        order = easiest_first(rows)
        return {
            "model": "regime",
            "clock": clock,
            "rates": [_rates(row) for row in rows[order]],
            **CONDITIONAL,
            "sojourn": [float(sojourn) for sojourn in sojourns[order]],
        }

    return Candidate(
        name=f"regime{states}-{clock}",
        depth=depth,
        fitted_keys=("rates", "sojourn"),
        initial=initial,
        section=section,
        is_dynamic=True,
    )


def _tokens(depth: int, states: int, *, several_depths: bool) -> Candidate:
    """Hidden states by token, in each of which a later draft is worse by the same logits.

    One depth doesn't determine the shifts by draft position: they are a factor of typical ones.
    """
    moves, falls = states * (states - 1), -np.diff(typical_shift(depth))
    size = falls.size if several_depths else min(falls.size, 1)

    def initial(rates: Floats) -> list[Floats]:
        levels = _logit(rates[:1]) + np.linspace(1.2, -1.2, states)
        scale = np.zeros(size)
        return [
            np.concatenate([levels, np.full(moves, -np.log(stay - 1)), scale])
            for stay in (3.0, 20.0)
        ]

    def section(x: Floats) -> JsonDict:
        levels = x[:states]
        away = x[states : states + moves].reshape(states, states - 1)
        step = np.array([np.insert(row, s, 0.0) for s, row in enumerate(away)])
        scale = np.exp(np.clip(x[states + moves :], *SCALES))
        shift = np.concatenate([[0.0], -np.cumsum(scale * np.maximum(falls, LEAST_FALL))])
        order = np.argsort(-levels, kind="stable")  # the easiest state first
        return {
            "model": "regime",
            "clock": "token",
            "rates": [_rates(levels[s] + shift[:depth]) for s in order],
            **CONDITIONAL,
            "step": softmax(step, axis=1)[np.ix_(order, order)].tolist(),
        }

    return Candidate(
        name=f"tokens{states}",
        depth=depth,
        fitted_keys=("rates", "step"),
        initial=initial,
        section=section,
        is_dynamic=True,
    )


def candidates(
    depth: int,
    *,
    by_request: bool = True,
    dynamic: bool = True,
    several_depths: bool = False,
    drafted: Ints | None = None,
) -> list[Candidate]:
    """Return the candidates that a log can distinguish, the simplest first.

    Args:
        depth: number of drafts per round K; at depth 1 there is one rate.
        by_request: whether rows are requests, so that differences between them can be seen.
        dynamic: whether rounds are in order, so that a changing state can be seen.
        several_depths: whether rows have different depths: a state that changes by token then shows
            in rates that depend on the depth.
        drafted: ``[N]`` numbers of proposed drafts, if they are random: their law is fitted too,
            and the state moves by round.
    """
    found = [_independent(depth)]
    if depth > 1:
        found = [_geometric(depth), _decay(depth), *found]
    if by_request:
        found.append(_beta(depth))
        found += [_beta(depth, by_position=True)] if depth > 1 else []
    if several_depths and not dynamic:
        found.append(_difficulty(depth, "token"))
    if dynamic:
        found += [_difficulty(depth, clock) for clock in CLOCKS]
        found += [_regime(depth, states, clock) for states in (2, 3) for clock in CLOCKS]
        found += [_tokens(depth, states, several_depths=several_depths) for states in (2, 3)]
    if drafted is None:
        return found
    by_token = ("-token", "tokens2", "tokens3")
    return [with_lengths(one, drafted) for one in found if not one.name.endswith(by_token)]


def with_lengths(candidate: Candidate, drafted: Ints) -> Candidate:
    """Return a candidate whose number of proposed drafts is random, by state where it has rates.

    Args:
        candidate: model of the round clock.
        drafted: ``[N]`` numbers of proposed drafts.
    """
    found, counts = np.unique(drafted, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")
    states = int(candidate.name[len("regime")]) if candidate.name.startswith("regime") else 1

    def order(x: Floats) -> Ints:
        rates = x[: states * candidate.depth].reshape(states, -1)
        return easiest_first(rates) if states > 1 else np.zeros(1, np.int64)

    law = LengthLaw(
        depth=candidate.depth,
        numbers=found[frequent].astype(np.int64),
        shares=counts[frequent] / drafted.size,
        rounds=drafted.size,
        rows=states,
        order=order,
    )
    return replace(
        candidate,
        initial=lambda rates: [
            # One start point of many parameters, of long sojourns: drafts come in runs.
            np.append(x, law.initial())
            for x in candidate.initial(rates)[-1 if states > 2 else 0 :]
        ],
        section=lambda x: candidate.section(x[: x.size - law.size]),
        is_dynamic=True,
        lengths=law,
    )
