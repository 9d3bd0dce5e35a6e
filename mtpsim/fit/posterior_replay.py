"""Recorded requests as they may have been at every text position, given what was logged.

A draw fills in what a log does not show: for each request the states are sampled given its labels,
and for each token a uniform number that agrees with its label. So a draw is a recording by
position, on which any depth can be played. The recorded depth comes out exactly in every draw;
lengths, difficult requests, drift and loops are those of the log. Draws differ in the states, in
the parameters of the chain (by a bootstrap over requests), in the number of states where several
predict about equally well, and in the shifts of the draft positions where these are not known.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance.recording import Recording
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.common.special import ndtr, ndtri, stdtrit
from mtpsim.fit.labelled_tokens import Ints, LabelledTokens
from mtpsim.fit.rates import Interval
from mtpsim.fit.token_chain import (
    EXTRA_DROP,
    MAX_SCALE,
    MAX_STATES,
    TYPICAL,
    ChainFit,
    Shifts,
    StateNumber,
    TokenChain,
    fit_chain,
    in_threads,
    state_numbers,
    typical_shift,
)
from mtpsim.kernels.labelled_tokens import draw_positions, play_positions

Drafter = Literal["trained", "lookup", "unknown"]
DRAWS = 24
MIN_SHARE = 0.05  # of full rounds, from which on a depth counts as one of several
DEEPER = 4  # positions beyond the recorded depth that are extrapolated
REFIT_ITERATIONS = 12  # of a bootstrap draw, which starts from the fit
SCALE_SD = 0.5  # of the fitted scale of shifts: a wrong model of the text leans to a wrong scale
SCALES = {"trained": (0.0, 2.0), "lookup": (0.0, 0.2), "unknown": (-1.0, 2.0)}
"""Factor of the typical shifts, uniform; below 0 it is 0, as for a drafter that looks text up."""
LARGE_SHARE = 0.25  # of the tokens, in the longest 5 % of requests, that is worth a note
UNTESTED_SD = 0.25  # of the logit of tokens that no round tested, against that of the chain
USUAL = 0.95  # level of intervals
SURE = 5.0  # logit of a state that accepts almost all drafts or none


@dataclass(frozen=True)
class DepthPrediction:
    """Accept length at a depth.

    Attributes:
        depth (int): number of drafts per round.
        workload (Interval): interval for the workload that the requests are a sample of.
        requests (Interval): interval for these requests; its ends are equal at a depth at which
            all were recorded.
        extrapolated (bool): whether the depth is beyond the deepest recorded draft position.
    """

    depth: int
    workload: Interval
    requests: Interval
    extrapolated: bool


@dataclass(frozen=True, kw_only=True)
class PosteriorReplay:
    """Draws of what recorded requests would accept at every text position.

    Attributes:
        tokens (LabelledTokens): what was logged.
        numbers (list[StateNumber]): held-out score by number of states.
        fits (list[ChainFit]): fits to all requests, one for each number of states that is used.
        chains (list[TokenChain]): chain of each draw.
        counts (NDArray[uint8]): ``[draws, N]`` drafts that a round would accept which begins at
            each position.
        depth (int): deepest depth that can be played.
        free_shift (bool): whether the shifts by position were fitted, or drawn from their prior.
    """

    tokens: LabelledTokens
    numbers: list[StateNumber]
    fits: list[ChainFit]
    chains: list[TokenChain]
    counts: npt.NDArray[np.uint8]
    depth: int
    free_shift: bool

    def recording(self, draw: int) -> Recording:
        """Return a draw as recorded requests by position."""
        counts = self.counts[draw].astype(np.int32)
        return Recording(counts, self.tokens.offsets, self.depth, "token")

    def totals(self, depth: int) -> tuple[Ints, Ints]:
        """Return the rounds and accepted drafts ``[draws, R]`` of all requests at a depth."""
        shape = len(self.counts), self.tokens.requests
        rounds, accepted = np.empty(shape, np.int64), np.empty(shape, np.int64)
        for draw, counts in enumerate(self.counts):
            play_positions(counts, self.tokens.offsets, depth, rounds[draw], accepted[draw])
        return rounds, accepted

    def predict(self, depth: int, confidence: float = 0.95) -> DepthPrediction:
        """Return the accept length at a depth, with intervals.

        Args:
            depth: number of drafts per round, 1 to ``self.depth``.
            confidence: level of the intervals.
        """
        rounds, accepted = self.totals(depth)
        lengths = 1 + accepted.sum(1) / rounds.sum(1)
        mean, draws = float(lengths.mean()), lengths.size
        of_draws = float(lengths.var(ddof=1)) * (1 + 1 / draws) if draws > 1 else 0.0
        off = (accepted - (lengths - 1)[:, None] * rounds).mean(0)
        narrow = of_draws**0.5 * float(stdtrit(max(draws - 1, 1), (1 + confidence) / 2))
        wide = float(np.hypot(narrow, sampling_half_width(off, rounds.mean(0), confidence)))
        ends = [
            Interval(mean, max(mean - half, 1.0), min(mean + half, depth + 1.0))
            for half in (wide, narrow)
        ]
        return DepthPrediction(depth, ends[0], ends[1], depth > self.tokens.depth)

    @property
    def widening(self) -> float:
        """Factor on a standard error over requests, for intervals as wide as those predicted."""
        rounds, accepted = self.totals(self.tokens.depth)
        lengths = accepted.sum(1) / rounds.sum(1)
        off, of_request = (accepted - lengths[:, None] * rounds).mean(0), rounds.mean(0)
        requests = off.size
        error = float(((off**2).sum() * requests / (requests - 1)) ** 0.5 / of_request.sum())
        if not error:
            return 1.0
        usual = error * float(stdtrit(requests - 1, (1 + USUAL) / 2))
        return max(1.0, sampling_half_width(off, of_request, USUAL) / usual)

    @property
    def tail_note(self) -> list[str]:
        """Which share of the tokens the longest requests have, where it is large."""
        lengths = np.sort(np.diff(self.tokens.offsets))[::-1]
        share = float(lengths[: max(lengths.size // 20, 1)].sum() / lengths.sum())
        if share <= LARGE_SHARE:
            return []
        return [
            f"the longest 5 % of requests have {100 * share:.0f} % of the tokens: others like them "
            "may move the workload, and intervals of made-up workloads of such tails held the "
            "truth in 91 to 98 % instead of 95 %"
        ]

    @property
    def at_bounds(self) -> list[str]:
        """What of the fits is at a bound, a sentence each."""
        most = self.numbers[-1].states
        found = [text for fit in self.fits for text in _at_bounds(fit, self.free_shift)]
        if self.fits[0].chain.states == most:
            found.append(f"{most} states are the most that are tried; more may fit better")
        return [*dict.fromkeys(found), *self._tied_drafts()]

    def _tied_drafts(self) -> list[str]:
        """In how many draws a draft is as good as the one before, the least that is possible."""
        if not self.free_shift:
            return []
        known = np.array([chain.shift[: self.tokens.depth] for chain in self.chains])
        return [
            f"on one token, draft {j} is as good as draft {j - 1} in {tied} of {len(known)} draws: "
            "a fit has no later draft that is better"
            for j, tied in enumerate((np.diff(known, axis=1) == 0).sum(0), 2)
            if tied
        ]


def sampling_half_width(off: Floats, rounds: Floats, confidence: float) -> float:
    """Return the half-width of an interval of accepted drafts per round over requests.

    Lengths of requests have heavy tails, so that a few may decide. The error of each is taken as
    if it had been left out of the estimate, and Student's distribution has as many degrees of
    freedom as equal errors that are worth these.

    Args:
        off: ``[R]`` accepted drafts of each request, minus those expected of its rounds.
        rounds: ``[R]`` rounds of each request.
        confidence: level of the interval.

    Source:
        MacKinnon and White (1985), HC3; L. Kish, Survey Sampling (1965), section 8.2, for the
        number of equal errors.
    """
    total = float(rounds.sum())
    squared = (off / np.maximum(total - rounds, 1.0)) ** 2
    variance = float(squared.sum())
    if not variance:
        return 0.0
    freedom = max(variance**2 / float((squared**2).sum()), 1.0)
    return float(variance**0.5 * stdtrit(freedom, (1 + confidence) / 2))


def _at_bounds(fit: ChainFit, free_shift: bool) -> list[str]:
    chain, found = fit.chain, []
    if not fit.converged:
        found.append(f"the fit of {chain.states} states has not converged")
    sure = chain.accept(1)[np.abs(chain.level) > SURE, 0]
    found += [f"a state accepts {100 * rate:.2f} % of first drafts" for rate in sure]
    if not free_shift and chain.shift.size > 1 and chain.shift[1] in (0.0, MAX_SCALE * TYPICAL[1]):
        found.append(f"the shift of draft 2, {chain.shift[1]:.2f}, is at its bound")
    return found


def draw_replay(
    tokens: LabelledTokens,
    chain: TokenChain,
    depth: int,
    rng: np.random.Generator,
    untested: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Return a draw of the accepted drafts ``[N]`` at every position, given the labels.

    Args:
        tokens: labelled tokens.
        chain: chain by tokens.
        depth: most drafts of a round.
        rng: source of random numbers.
        untested: change of the logit of tokens that were not tested, against the chain's.
    """
    counts = np.empty(tokens.labels.size, np.uint8)
    chance = rng.random((2, tokens.labels.size + tokens.requests * depth), np.float32)
    draw_positions(
        chain.emission(depth),
        chain.step,
        chain.start,
        tokens.symbols(depth),
        tokens.offsets,
        tokens.longest,
        chain.accept(depth),
        float(np.exp(untested)),
        chance,
        counts,
    )
    return counts


def posterior_replay(
    tokens: LabelledTokens,
    *,
    drafter: Drafter = "unknown",
    free_shift: bool | None = None,
    draws: int = DRAWS,
    deeper: int = DEEPER,
    states: int = MAX_STATES,
    seed: int = 0,
) -> PosteriorReplay:
    """Fit chains to labelled tokens and draw what every position would accept.

    Args:
        tokens: labelled tokens of at least two requests.
        drafter: what is known of the shifts by draft position if they are not fitted: about 0 for
            ``"lookup"`` (n-gram, suffix), up to twice those of an EAGLE head for ``"trained"``.
        free_shift: whether the shifts are fitted. A log of one depth doesn't determine them; None:
            fit them if requests differ in depth or rounds in their drafts.
        draws: number of draws.
        deeper: number of positions beyond the recorded depth.
        states: largest number of hidden states to try.
        seed: seed of the random numbers.

    Raises:
        InputError: there are fewer than two requests, or no drafts.
    """
    if tokens.depth == 0 or tokens.requests < 2:
        raise InputError.of("posterior replay needs two requests with drafts")
    free = has_several_depths(tokens) if free_shift is None else free_shift
    shifts: Shifts = "free" if free else "scaled"
    numbers = state_numbers(tokens, shifts, states)
    fits = [_fit_all(tokens, one, shifts) for one in [n for n in numbers if n.is_near_best][:2]]
    depth = tokens.depth + deeper
    unknowns = _unknowns(drafter, draws, seed)

    def draw(number: int) -> tuple[TokenChain, npt.NDArray[np.uint8]]:
        rng, chain = np.random.default_rng([seed, number]), fits[number % len(fits)].chain
        unknown = unknowns[number]
        fitted = 1.0 if free or tokens.depth == 1 else float(chain.shift[1] / TYPICAL[1])
        prior = typical_shift(depth, unknown.scale(fitted))
        found = fit_chain(
            tokens,
            chain if free else chain.with_shift(prior[: tokens.depth]),
            shifts="free" if free else "fixed",
            weights=rng.standard_exponential(tokens.requests),
            iterations=REFIT_ITERATIONS,
        ).chain
        more = prior[tokens.depth :] - prior[tokens.depth - 1]
        more -= unknown.drop * np.arange(1, deeper + 1)
        deep = found.with_shift(np.concatenate([found.shift, found.shift[-1] + more]))
        return deep, draw_replay(tokens, deep, depth, rng, unknown.untested)

    chains, counts = zip(*in_threads(draw, range(draws)), strict=True)
    return PosteriorReplay(
        tokens=tokens,
        numbers=numbers,
        fits=fits,
        chains=list(chains),
        counts=np.stack(counts),
        depth=depth,
        free_shift=free,
    )


@dataclass(frozen=True)
class _Unknown:
    """What a draw assumes of what the log does not tell.

    Attributes:
        share: quantile of the scale of the shifts, within the bounds of the drafter.
        bounds: lowest and highest scale.
        untested: change of the logit of tokens that were not tested.
        drop: of the logit, per position beyond the recorded depth.
    """

    share: float
    bounds: tuple[float, float]
    untested: float
    drop: float

    def scale(self, fitted: float) -> float:
        """Return the scale of the shifts: normal around the fitted one, within the bounds."""
        low, high = ndtr((np.array(self.bounds) - fitted) / SCALE_SD)
        return max(fitted + SCALE_SD * float(ndtri(low + (high - low) * self.share)), 0.0)


def _unknowns(drafter: Drafter, draws: int, seed: int) -> list[_Unknown]:
    """Return the unknowns of all draws, each stratified: a Latin hypercube."""
    rng = np.random.default_rng(seed)
    scale, untested, drop = ((rng.permutation(draws) + 0.5) / draws for _ in range(3))
    per_step = 0.0 if drafter == "lookup" else EXTRA_DROP
    return [
        _Unknown(float(a), SCALES[drafter], UNTESTED_SD * float(ndtri(b)), -per_step * np.log1p(-c))
        for a, b, c in zip(scale, untested, drop, strict=True)
    ]


def _fit_all(tokens: LabelledTokens, number: StateNumber, shifts: Shifts) -> ChainFit:
    """Fit a number of states to all requests, from the fit to some."""
    chain = number.fit.chain
    more = np.repeat(chain.shift[-1:], tokens.depth - chain.shift.size)
    chain = chain.with_shift(np.concatenate([chain.shift, more]))  # these may reach deeper
    return fit_chain(tokens, chain, shifts=shifts)


def has_several_depths(tokens: LabelledTokens) -> bool:
    """Return whether full rounds have several depths, none of which is an exception."""
    labels = tokens.labels
    last = labels[np.maximum(np.flatnonzero(labels == 0) - 1, 0)]
    of_depth = np.bincount(last[last > 0])
    return bool((of_depth > MIN_SHARE * of_depth.sum()).sum() > 1)
