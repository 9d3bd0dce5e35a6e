"""Fit a log: rates, candidate models, the selection among them, and their uncertainty."""

from dataclasses import dataclass, field, replace

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.common.renamed import PROGRESS, renamed_keyword
from mtpsim.fit.aggregated_chain import AggregatedFit, depth_counts, fit_aggregated
from mtpsim.fit.by_depth import (
    AtDepth,
    by_depth,
    chain_lengths,
    has_several_depths,
    lengths_of_totals,
)
from mtpsim.fit.candidates import Candidate, candidates
from mtpsim.fit.clock_test import ClockTest, clock_tests
from mtpsim.fit.draft_lengths import (
    DraftLengths,
    as_recorded,
    by_drafter,
    draft_lengths,
    has_random_lengths,
)
from mtpsim.fit.holdout import Prediction, predict_held_out
from mtpsim.fit.likelihood import (
    Observations,
    PositionCounts,
    RequestTotals,
    RoundSequence,
    Sample,
    position_counts,
    truncated,
)
from mtpsim.fit.limitations import limitations
from mtpsim.fit.mle import (
    MIN_CLUSTERS,
    MIN_ROWS,
    MleResult,
    draw_parameters,
    fit_mle,
    parameter_covariance,
)
from mtpsim.fit.model_selection import CandidateFit, Selection, StepCallback, select_model
from mtpsim.fit.rates import Rates, estimate_rates
from mtpsim.fit.replicas import Features, GoodnessOfFit, compare_replicas, features
from mtpsim.fit.round_times import RoundTimes, round_times_of
from mtpsim.formula.closed_form import accept_length
from mtpsim.logs import Log, Rounds
from mtpsim.logs.reducer import Ints

MAX_ROUNDS = 200_000  # fitted in order; more rounds add little precision and much time
MAX_ROWS = 20_000  # fitted as counts
# With random numbers of drafts these are fitted only if named: others are nearly as fast, and more.
SPECIAL_CASES = ("geometric", "decay", "beta", "difficulty-round")
DRAWS = 500
ASSUMED_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class LogFit:
    """The fit of a log.

    Attributes:
        log (Log): the log that was fitted.
        rates (Rates): conditional acceptance rates by position.
        times (RoundTimes): round times and their noise.
        tokens (int): median number of tokens per request; 512 is assumed where not logged.
        notes (list[str]): what the log can't show, and what was assumed, a sentence each.
        selection (Selection | None): fitted candidates; None where the log has no counts by
            position, or too few requests.
        chosen (MleResult | None): selected model, fitted to all requests; None with ``selection``,
            unless totals show that requests differ.
        draws (NDArray[float64]): ``[500, P]`` draws of the parameters of ``chosen``.
        goodness (dict[str, GoodnessOfFit]): comparison with replicas of the log, by name of the
            candidate.
        features (Features | None): features of the log; None with ``selection``.
        predictions (list[Prediction]): accept lengths of held-out requests, by depth; empty if none
            are held out.
        by_depth (list[AtDepth]): accept length and round time at each depth, measured and
            predicted; empty if the log has one depth and no random numbers of proposed drafts.
        ordered (bool): whether the candidates were fitted to rounds in order.
        requests_fitted (int): number of requests that the candidates were fitted to.
        rounds_fitted (int): number of rounds that the candidates were fitted to.
        aggregated (AggregatedFit | None): token chains for other depths; None where the log has
            rounds in order, or no accepted draft.
        clock_tests (list[ClockTest]): tests of a state that moves by round; empty where the log has
            no rounds in order.
        lengths (DraftLengths | None): number of proposed drafts per round, fitted with ``chosen``;
            None where it is not random, or not logged per round.
        warnings (list[str]): why accept lengths of other depths are not to be trusted.
    """

    log: Log
    rates: Rates
    times: RoundTimes
    tokens: int
    notes: list[str]
    selection: Selection | None = None
    chosen: MleResult | None = None
    draws: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    goodness: dict[str, GoodnessOfFit] = field(default_factory=dict)
    features: Features | None = None
    predictions: list[Prediction] = field(default_factory=list)
    by_depth: list[AtDepth] = field(default_factory=list)
    ordered: bool = False
    requests_fitted: int = 0
    rounds_fitted: int = 0
    aggregated: AggregatedFit | None = None
    clock_tests: list[ClockTest] = field(default_factory=list)
    lengths: DraftLengths | None = None
    warnings: list[str] = field(default_factory=list)


@renamed_keyword(PROGRESS, "on_progress")
def fit_log(
    log: Log,
    *,
    holdout: float = 0.3,
    confidence: float = 0.95,
    only: list[str] | None = None,
    on_progress: StepCallback = lambda label, share: None,
) -> LogFit:
    """Fit acceptance models and the noise of round times to a log.

    Args:
        log (Log): counts and times, from :func:`mtpsim.read_logs`.
        holdout (float): share of requests held out to select the model, from 0 to 0.9.
        confidence (float): level of the intervals, as 0.95.
        only (list[str] | None): names of the candidates to fit; None: all that the log can
            distinguish.
        on_progress (StepCallback): called with a label and the share of the fit that is done (0 to
            1).

    Returns:
        Rates by position, the selected model with draws of its parameters, goodness of fit,
        held-out predictions and round times.

    Raises:
        InputError: a name in ``only`` is unknown.

    Examples:
        >>> import mtpsim
        >>> log = mtpsim.read_logs("experiments/logs/samples/trtllm-requests.jsonl")
        >>> fit = mtpsim.fit_log(log, only=["geometric", "independent"])
        >>> fit.rates.values.round(3).tolist()
        [0.767, 0.626, 0.758, 0.596]
        >>> fit.chosen.section["model"], fit.draws.shape
        ('independent', (500, 4))
    """
    base = LogFit(
        log=log,
        rates=estimate_rates(log, confidence),
        times=round_times_of(log, by_length=has_random_lengths(log)),
        tokens=_tokens(log),
        notes=[*log.notes, *limitations(log)],
        aggregated=_aggregated(log),
        clock_tests=clock_tests(kept_rounds(log)) if _has_rounds(log) else [],
    )
    base.notes.extend(_other_depths(base))
    several = has_several_depths(log)
    if log.level == "totals" and log.unit == "request" and log.count >= MIN_ROWS and not several:
        return _with_spread(base)
    if log.level == "totals" and several:
        lengths, draws = lengths_of_totals(log, confidence)
        return replace(base, by_depth=by_depth(log, lengths, draws, confidence))
    if log.level == "totals" or (not several and (log.count < MIN_ROWS or log.unit == "total")):
        return base
    data = _observations(log)
    found = select_model(
        _candidates(log, data, only),
        data,
        _start_rates(data, base.rates),
        holdout=holdout,
        on_progress=on_progress,
    )
    on_progress("replicas", 0.9)
    return _evaluated(base, found, data, confidence)


def _has_rounds(log: Log) -> bool:
    return log.sequence is not None and log.level == "rounds"


def _aggregated(log: Log) -> AggregatedFit | None:
    """Return token chains of a log without rounds in order; None where nothing was accepted."""
    if _has_rounds(log) or not log.accepted.sum():
        return None
    return fit_aggregated(depth_counts(log))


def _evaluated(
    base: LogFit, selection: Selection, data: RoundSequence | PositionCounts, confidence: float
) -> LogFit:
    """Add the selection, its uncertainty, goodness of fit and held-out predictions to a fit."""
    log = base.log
    sample: Sample = data.rounds if isinstance(data, RoundSequence) else data
    chosen, covariance = _refit(log, data, selection.chosen)
    lengths = None
    if isinstance(sample, Rounds) and chosen.candidate.lengths:
        chosen = as_recorded(chosen, sample)
        lengths = draft_lengths(chosen, sample, log.depth)
        sample = replace(sample, drafted=np.full_like(sample.drafted, log.depth))
    predictions, several = [], has_several_depths(log)
    if selection.test.size and not several:
        predictions = predict_held_out(
            selection.chosen.trained.chain,
            train=sample.subset(selection.train),
            test=sample.subset(selection.test),
            depth=log.depth,
            confidence=confidence,
        )
    draws = draw_parameters(chosen, covariance, DRAWS)

    def lengths_at(parameters: Floats | None) -> Floats:
        chain = chosen.chain if parameters is None else chosen.candidate.chain(parameters)
        return chain_lengths(chain, base.tokens)

    return replace(
        base,
        notes=[*base.notes, *_off_the_record(base, chosen)],
        selection=selection,
        chosen=chosen,
        draws=draws,
        by_depth=by_depth(log, lengths_at, draws, confidence) if several or lengths else [],
        goodness={
            fit.name: compare_replicas(fit.refit.chain, sample, log.depth) for fit in selection.fits
        },
        features=features(sample, log.depth),
        predictions=predictions,
        ordered=isinstance(data, RoundSequence),
        requests_fitted=data.requests,
        rounds_fitted=int(truncated(sample, 0)[:, 0].sum()),
        lengths=lengths,
        warnings=_refuted(base, chosen) if lengths else [],
    )


def _other_depths(base: LogFit) -> list[str]:
    """Return the shallower depth at which rates by position are furthest from the token chain."""
    chain, rates = base.aggregated, base.rates.values
    if chain is None or has_several_depths(base.log) or rates.size < 2:
        return []
    lengths = accept_length(rates)[1:]
    found = [chain.predict(k) for k in range(1, rates.size)]
    off = [abs(length / one.mean - 1) for length, one in zip(lengths, found, strict=False)]
    depth = int(np.argmax(off)) + 1
    length, one = float(lengths[depth - 1]), found[depth - 1]
    if one.low <= length <= one.high:
        return []
    return [
        f"at depth {depth} the rates by position give an accept length of {length:.3f}, a token "
        f"chain {one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]: counts of depth {rates.size} do "
        "not tell how rounds depend; for other depths run the file .tokens.toml"
    ]


def _refuted(base: LogFit, chosen: MleResult) -> list[str]:
    """Return that other depths of a model with random draft lengths are refuted, if so."""
    if not any(test.rejected for test in base.clock_tests):
        return []
    return [
        f"a state that moves by round is refuted, and {chosen.candidate.name} with [draft] lengths "
        "has one: where acceptance and proposed drafts belong to the text, accept lengths below "
        f"depth {base.log.depth} are higher than predicted (by 4 to 10 % at half the depth and "
        "less, in a made-up log); measure another depth"
    ]


def _off_the_record(base: LogFit, chosen: MleResult) -> list[str]:
    """Return by how much the selected model misses the accept length that the log states."""
    log, known = base.log, base.rates.accept_length
    if has_several_depths(log) or (log.has_short_drafts and not chosen.candidate.lengths):
        return []
    expected = float(chain_lengths(chosen.chain, base.tokens)[-1])
    if known.low <= expected <= known.high:
        return []
    return [
        f"{chosen.candidate.name} expects an accept length of {expected:.3f} at the recorded depth "
        f"{log.depth}, outside the log's interval {known.mean:.3f} [{known.low:.3f}, "
        f"{known.high:.3f}]: the replay, or rates by position, have the log's"
    ]


def _with_spread(base: LogFit) -> LogFit:
    """Add a model of requests that differ to the fit of totals, if they differ more than chance.

    Otherwise a benchmark would be planned as if they were all the same.
    """
    log = base.log
    data = RequestTotals(log.rounds, log.accepted)
    known = {one.name: one for one in candidates(log.depth, dynamic=False)}
    same, differ = (
        fit_mle(known[name], data, known[name].initial(base.rates.values))
        for name in ("geometric" if log.depth > 1 else "independent", "beta")
    )
    if differ.bic > same.bic:
        return base
    mean, spread = data.accepted / data.rounds + 1, float(differ.section["concentration"])
    note = (
        f"accept lengths of requests, {mean.min():.2f} to {mean.max():.2f}, differ by more than "
        f"chance: rates have a beta distribution over requests, concentration {spread:.3g}"
    )
    return replace(
        base,
        notes=[*base.notes, note],
        chosen=differ,
        draws=draw_parameters(differ, parameter_covariance(differ, data), DRAWS),
        requests_fitted=log.count,
        rounds_fitted=int(log.rounds.sum()),
    )


def _tokens(log: Log) -> int:
    if log.unit != "request":
        return ASSUMED_TOKENS
    tokens = np.where(np.isfinite(log.tokens), log.tokens, log.rounds + log.accepted)
    return max(1, round(float(np.median(tokens))))


def _observations(log: Log) -> RoundSequence | PositionCounts:
    """Return what candidates are fitted to: a random sample of the rows, if there are many."""
    if has_random_lengths(log):
        rounds = _sampled_rounds(log)[0]
        return RoundSequence(rounds, log.depth, by_drafter(rounds, log.depth))
    if _has_rounds(log):
        return RoundSequence(kept_rounds(log), log.depth)
    rng = np.random.default_rng(0)
    return _counts_of(log, np.sort(rng.permutation(log.count)[:MAX_ROWS]))


def kept_rounds(log: Log) -> Rounds:
    """Return the rounds in order of a random sample of the requests, if there are many.

    Args:
        log: log whose ``sequence`` is not None.
    """
    rounds, kept = _sampled_rounds(log)
    if not log.undrafted:
        return rounds
    # The drafter sets the length: what it leaves out is not accepted.
    depths = log.depths[log.sequence_rows[kept]].astype(np.uint8)
    return replace(rounds, drafted=np.repeat(depths, np.diff(rounds.offsets)))


def _sampled_rounds(log: Log) -> tuple[Rounds, Ints]:
    """Return what :func:`kept_rounds` does, with the drafts of the log, and its requests."""
    assert log.sequence is not None
    lengths = np.diff(log.sequence.offsets)
    order = np.random.default_rng(0).permutation(log.sequence.requests)
    enough = int((np.cumsum(lengths[order]) <= MAX_ROUNDS).sum())
    kept = np.sort(order[: max(enough, 1)])
    return log.sequence.subset(kept), kept


def _start_rates(data: RoundSequence | PositionCounts, rates: Rates) -> Floats:
    """Return conditional rates ``[K]`` to start from: those of proposed drafts."""
    if isinstance(data, PositionCounts) or data.by_drafter is None:
        return rates.values
    counts = position_counts(data.rounds, data.depth)
    return np.asarray(counts.hit.sum(0) / np.maximum(counts.reached.sum(0), 1))


def _counts_of(log: Log, rows: Ints) -> PositionCounts:
    return PositionCounts(log.reached[rows], log.hit[rows], log.rounds[rows], log.depths[rows])


def _candidates(
    log: Log, data: RoundSequence | PositionCounts, only: list[str] | None
) -> list[Candidate]:
    ordered, drafted = isinstance(data, RoundSequence), None
    if isinstance(data, RoundSequence) and data.by_drafter is not None:
        drafted = data.rounds.drafted[data.by_drafter].astype(np.int64)
    known = candidates(
        log.depth,
        by_request=log.unit == "request",
        dynamic=ordered,
        several_depths=has_several_depths(log),
        drafted=drafted,
    )
    by_name = {candidate.name: candidate for candidate in known}
    for name in only or ():
        if name not in by_name:
            message = f"unknown candidate {name!r} for this log"
            raise InputError.of(message, key="--candidates", given=name, allowed=by_name)
    if only:
        return [by_name[name] for name in only]
    if drafted is None or log.depth == 1:
        return known
    return [candidate for candidate in known if candidate.name not in SPECIAL_CASES]


def _refit(log: Log, data: Observations, chosen: CandidateFit) -> tuple[MleResult, Floats]:
    """Fit the selected candidate to the counts of all requests, if counts suffice for it."""
    if isinstance(data, PositionCounts) and log.count < MIN_CLUSTERS:
        return chosen.refit, _dispersion(chosen.refit, data) * parameter_covariance(
            chosen.refit, data
        )
    if chosen.refit.candidate.is_dynamic or data.requests == log.count:
        return chosen.refit, parameter_covariance(chosen.refit, data)
    counts = _counts_of(log, np.arange(log.count))
    best = fit_mle(chosen.refit.candidate, counts, [chosen.refit.parameters])
    return best, parameter_covariance(best, counts)


def _dispersion(fit: MleResult, data: PositionCounts) -> float:
    """Return by how much the variance of counts exceeds that of independent rounds, at least 1.

    Runs at different depths differ by more than their rounds explain. Source: McCullagh and Nelder
    (1989), section 4.5: Pearson's statistic over its degrees of freedom.
    """
    rates = data.rates_of_rows(fit.chain)
    variance = data.reached * rates * (1 - rates)
    seen = variance > 0
    off = (data.hit - data.reached * rates)[seen] ** 2 / variance[seen]
    return max(1.0, float(off.sum()) / max(off.size - fit.parameters.size, 1))
