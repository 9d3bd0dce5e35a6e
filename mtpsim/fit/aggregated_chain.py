"""A token chain fitted to counts of accepted drafts without the order of rounds.

Console windows, histograms and rates by position are averages over the rounds of a depth. They do
not tell how rounds depend, so that a chain needs a prior: what is known of text and of drafters.
The posterior distribution is sampled, and so the intervals at other depths contain what the counts
leave open. Each draw has the form of :class:`mtpsim.fit.token_chain.TokenChain`; its steady state
is solved exactly.

The constants of the prior. Drafters: on one token, a second draft is worse than a first by 0.35
logits and a third by another 0.15, as EAGLE heads on four tasks are, with standard deviations wide
enough for drafters that look text up (no drop) and for other heads. Memory: a token keeps its state
with probability 0.82, else the state is drawn anew, as text does not alternate. With these, 0.78 of
first drafts are accepted after a full round of three and 0.56 after a round that accepted none,
where 0.66 are in all; measured on EAGLE heads: 0.73 to 0.83, 0.49 to 0.64, and 0.67.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri, softmax

from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import steady_accepted
from mtpsim.fit.by_depth import survived_at
from mtpsim.fit.rates import Interval, accept_length_interval
from mtpsim.fit.token_chain import EXTRA_DROP, TokenChain
from mtpsim.logs import Log

STATES = 2  # the fewest that have a memory
LEVEL = (1.0, 2.5)  # logit of first drafts by state: mean and standard deviation
STAY = (1.5, 1.0)  # logit of the probability to keep the state
DROPS = np.array([0.35, 0.15, 0.0])  # of the logit from draft 1 to 2, 2 to 3, 3 to 4 and later
DROP_SDS = np.array([0.5, 0.5, 0.25])
MAX_ROUNDS = 2000.0  # effective rounds per depth: beyond these a chain of few states is inexact
WALKERS, SWEEPS, KEEP_EVERY = 64, 600, 5
FIRST_DRAWS = 40  # of the prior per walker, of which the best are start points
USUAL = 0.95  # level of the interval that rounds are worth
TINY = 1e-12  # least probability whose logarithm is taken
DEEPER = 4  # positions beyond the counts that are extrapolated
MISFIT, MISFIT_SE = 0.02, 3.0  # of a survival rate, absolute and in standard errors, worth a note


@dataclass(frozen=True)
class DepthCounts:
    """What is known of the rounds at one depth.

    Attributes:
        depth (int): number of drafts per round.
        rounds (float): effective number of independent rounds.
        accept_length (float): tokens per round.
        accepted (NDArray[float64] | None): ``[depth + 1]`` share of rounds by accepted drafts; None
            where only the accept length is known.
    """

    depth: int
    rounds: float
    accept_length: float
    accepted: Floats | None = None

    @classmethod
    def of_survival(cls, survival: Sequence[float], rounds: float) -> DepthCounts:
        """Return the counts of shares of rounds that accept at least 1 to K drafts."""
        kept = np.concatenate([[1.0], survival, [0.0]])
        return cls(len(survival), rounds, float(kept.sum()), -np.diff(kept))

    def log_likelihood(self, accepted: Floats) -> Floats:
        """Return the log-likelihood ``[N]`` of laws ``[N, depth + 1]`` of the accepted drafts."""
        if self.accepted is not None:
            law = np.log(np.maximum(accepted, TINY))
            return np.asarray(self.rounds * (law @ self.accepted))
        count = np.arange(self.depth + 1)
        mean = accepted @ count
        variance = np.maximum(accepted @ count**2 - mean**2, TINY)
        off = (self.accept_length - 1 - mean) ** 2 / variance
        return np.asarray(-(self.rounds * off + np.log(variance)) / 2)


def depth_counts(log: Log) -> list[DepthCounts]:
    """Return what a log tells of each of its depths, without the order of rounds.

    Args:
        log: counts by request, window or total. Its rounds are worth as many independent ones as
            give the interval of the measured accept length: fewer where rows differ by more than
            chance, or are few.
    """
    found = []
    for depth in np.unique(log.depths[log.rounds > 0]).tolist():
        rows = (log.depths == depth) & (log.rounds > 0)
        rounds, accepted = log.rounds[rows], log.accepted[rows]
        total, mean = float(rounds.sum()), float(accepted.sum() / rounds.sum())
        survived = survived_at(log, depth)
        independent = float(survived @ (2 * np.arange(1, depth + 1) - 1)) - mean**2
        measured = accept_length_interval(rounds, accepted, survived, USUAL)
        error = (measured.high - measured.low) / 2 / float(ndtri((1 + USUAL) / 2))
        worth = min(MAX_ROUNDS, total, independent / error**2 if independent > TINY else total)
        if log.level == "totals":
            found.append(DepthCounts(depth, worth, 1 + mean))
        else:
            found.append(DepthCounts.of_survival(survived.tolist(), worth))
    return found


class _Prior:
    """Vectors of parameters: levels in falling order, stays, where to, drops of the logit."""

    size = 3 * STATES - 1 + DROPS.size
    mean = np.concatenate([[LEVEL[0]] * STATES, [STAY[0]] * STATES, [0.0] * (STATES - 1), DROPS])
    sd = np.concatenate([[LEVEL[1]] * STATES, [STAY[1]] * STATES, [1.0] * (STATES - 1), DROP_SDS])

    def draw(self, number: int, rng: np.random.Generator) -> Floats:
        """Return draws ``[number, P]``."""
        found = self.mean + self.sd * rng.standard_normal((number, self.size))
        found[:, :STATES] = -np.sort(-found[:, :STATES], axis=1)
        found[:, -DROPS.size :] = abs(found[:, -DROPS.size :])
        return np.asarray(found)

    def log_density(self, x: Floats) -> Floats:
        """Return the log density ``[N]`` of vectors ``[N, P]``, up to a constant."""
        inside = (np.diff(x[:, :STATES]) <= 0).all(1) & (x[:, -DROPS.size :] >= 0).all(1)
        return np.where(inside, -(((x - self.mean) / self.sd) ** 2).sum(1) / 2, -np.inf)


def _parts(x: Floats, depth: int) -> tuple[Floats, Floats, Floats]:
    """Return steps ``[N, S, S]``, levels ``[N, S]`` and shifts ``[N, depth]`` of vectors."""
    stay = expit(x[:, STATES : 2 * STATES])
    where = np.concatenate([np.zeros((len(x), 1)), x[:, 2 * STATES : -DROPS.size]], axis=1)
    step = stay[..., None] * np.eye(STATES) + (1 - stay)[..., None] * softmax(where, 1)[:, None]
    falls = np.concatenate([np.zeros((len(x), 1)), x[:, -DROPS.size :]], axis=1)
    shift = -np.cumsum(falls, axis=1)[:, np.minimum(np.arange(depth), DROPS.size)]
    return step, x[:, :STATES], shift


def _log_posterior(x: Floats, counts: Sequence[DepthCounts]) -> Floats:
    total = _Prior().log_density(x)
    inside = np.isfinite(total)
    step, level, shift = _parts(x[inside], max(one.depth for one in counts))
    accept = expit(level[..., None] + shift[:, None])
    for one in counts:
        total[inside] += one.log_likelihood(steady_accepted(step, accept, one.depth))
    return total


def _sample(counts: Sequence[DepthCounts], rng: np.random.Generator) -> Floats:
    """Return posterior draws ``[n, P]`` of an ensemble of walkers.

    Half of the walkers move along differences of the other half or towards them, in turn.

    Source:
        J. Goodman and J. Weare, Ensemble samplers with affine invariance (2010); C. ter Braak, A
        Markov chain Monte Carlo version of differential evolution (2006).
    """
    first = _Prior().draw(FIRST_DRAWS * WALKERS, rng)
    density = _log_posterior(first, counts)
    best = np.argsort(-density)[:WALKERS]
    x, density, kept, half = first[best], density[best], [], WALKERS // 2
    for sweep in range(SWEEPS):
        order = rng.permutation(WALKERS)
        for some, others in ((order[:half], order[half:]), (order[half:], order[:half])):
            if rng.random() < 0.5:  # stretch
                factor = (rng.random(half) + 1) ** 2 / 2
                proposed = x[others] + factor[:, None] * (x[some] - x[others])
                gain = (x.shape[1] - 1) * np.log(factor)
            else:
                one, two = x[rng.permutation(others)], x[rng.permutation(others)]
                scale = rng.choice([0.5, 1.0, 2.0]) * 1.2 / x.shape[1] ** 0.5
                proposed, gain = x[some] + scale * (one - two), np.zeros(half)
            there = _log_posterior(proposed, counts)
            moved = np.log(rng.random(half)) < there - density[some] + gain
            x[some[moved]], density[some[moved]] = proposed[moved], there[moved]
        if sweep >= SWEEPS // 2 and sweep % KEEP_EVERY == 0:
            kept.append(x.copy())
    return np.concatenate(kept)


@dataclass(frozen=True)
class AggregatedFit:
    """Posterior draws of chains, given counts of accepted drafts.

    Attributes:
        counts (list[DepthCounts]): what was fitted.
        step (NDArray[float64]): ``[n, S, S]`` transition probabilities of each draw.
        level (NDArray[float64]): ``[n, S]`` logit of first drafts by state.
        shift (NDArray[float64]): ``[n, K + 4]`` change of the logit by draft position; the last
            four are extrapolated.
    """

    counts: list[DepthCounts]
    step: Floats
    level: Floats
    shift: Floats

    @property
    def known(self) -> int:
        """Deepest depth of the counts."""
        return int(max(one.depth for one in self.counts))

    @property
    def depth(self) -> int:
        """Deepest depth that can be predicted."""
        return int(self.shift.shape[1])

    def accept_lengths(self, depth: int) -> Floats:
        """Return the accept length of every draw at a depth, ``[n]``."""
        accept = expit(self.level[..., None] + self.shift[:, None])
        law = steady_accepted(self.step, accept, depth)
        return np.asarray(1 + law @ np.arange(depth + 1))

    def predict(self, depth: int, confidence: float = 0.95) -> Interval:
        """Return the accept length at a depth, mean and quantiles of the draws."""
        lengths = self.accept_lengths(depth)
        low, high = np.quantile(lengths, [(1 - confidence) / 2, (1 + confidence) / 2])
        return Interval(float(lengths.mean()), float(low), float(high))

    def chain(self, draw: int) -> TokenChain:
        """Return the chain of a draw, started in its steady state."""
        start = np.linalg.matrix_power(self.step[draw], 2**20)[0]
        return TokenChain(start, self.step[draw], self.level[draw], self.shift[draw])

    def typical_draw(self) -> int:
        """Return the draw whose accept lengths are nearest to the means at all depths."""
        lengths = np.array([self.accept_lengths(k) for k in range(1, self.depth + 1)])
        off = lengths / lengths.mean(1, keepdims=True) - 1
        return int((off**2).sum(0).argmin())

    def misfit(self) -> list[str]:
        """Return what of the counts the mean of the draws does not reproduce, a sentence each."""
        accept, found = expit(self.level[..., None] + self.shift[:, None]), []
        for one in self.counts:
            if one.accepted is None:
                continue
            law = steady_accepted(self.step, accept, one.depth).mean(0)
            off = np.cumsum((law - one.accepted)[::-1])[::-1][1:]
            worst = int(abs(off).argmax())
            seen = float(one.accepted[worst + 1 :].sum())
            fitted = seen + float(off[worst])
            noise = (fitted * (1 - fitted) / one.rounds) ** 0.5
            if abs(off[worst]) > max(MISFIT, MISFIT_SE * noise):
                found.append(
                    f"at depth {one.depth}, {seen:.3f} of rounds accept at least {worst + 1} "
                    f"drafts, {fitted:.3f} in the chain: text or drafter have a "
                    "feature that the chain lacks, and intervals at other depths may be too narrow"
                )
        return found


def fit_aggregated(counts: Sequence[DepthCounts], seed: int = 0) -> AggregatedFit:
    """Return the posterior distribution of chains, given counts of accepted drafts.

    Args:
        counts: what is known at each of one or several depths.
        seed: seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    found = _sample(counts, rng)
    known = max(one.depth for one in counts)
    step, level, shift = _parts(found, known + DEEPER)
    extra = rng.exponential(EXTRA_DROP, (len(found), 1)) * np.arange(1, DEEPER + 1)
    shift[:, known:] -= extra
    return AggregatedFit(list(counts), step, level, shift)
