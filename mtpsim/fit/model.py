"""From a log to a model: rates, candidates, the choice among them, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError, nearest
from mtpsim.fit.candidates import Candidate, candidates
from mtpsim.fit.holdout import Forecast, forecasts
from mtpsim.fit.likelihood import Counts, Evidence, Sequence
from mtpsim.fit.mle import Maximum, draws, maximise, spread
from mtpsim.fit.model_selection import CandidateFit, Selection, Told, selection
from mtpsim.fit.rates import Rates, rates_of
from mtpsim.fit.replicas import Features, Goodness, features, goodness
from mtpsim.fit.round_times import Times, times_of
from mtpsim.logs import Log, Rounds

ROUNDS = 200_000  # that candidates are fitted to; more would tell little and take long
DRAWS = 500
LEAST = 5  # requests or windows, to fit anything but pooled rates
ASSUMED_TOKENS = 512


@dataclass(frozen=True)
class Fitted:
    """All that a log says.

    Attributes:
        log: what was read.
        rates: by position, as they are.
        times: of rounds.
        tokens: of a request: the median, or an assumption where none are told.
        contest: the candidates; None where the log has totals alone.
        chosen: the model that is written; None with ``selection``.
        sampled: ``[DRAWS, P]`` numbers of the chosen model that might as well be true.
        goodness: of each candidate by name.
        features: of the log.
        forecasts: by depth, of held-out requests; none where none were held out.
        ordered: whether rounds were told in order.
        fitted_to: requests and rounds that candidates were fitted to.
        notes: what the log can't tell.

    """

    log: Log
    rates: Rates
    times: Times
    tokens: int
    selection: Selection | None
    chosen: Maximum | None
    sampled: Floats
    goodness: dict[str, Goodness]
    features: Features | None
    forecasts: list[Forecast]
    ordered: bool
    fitted_to: tuple[int, int]
    notes: list[str]


def fit_log(
    log: Log,
    *,
    holdout: float = 0.3,
    confidence: float = 0.95,
    only: list[str] | None = None,
    told: Told = lambda label, share: None,
) -> Fitted:
    """Fit what a log can tell.

    Args:
        log: from :func:`mtpsim.logs.read_logs`.
        holdout: share of the requests that candidates are judged by.
        confidence: of intervals.
        only: names of the candidates to try, by default all that the log can tell apart.
        told: of progress.

    Raises:
        InputError: a name is no candidate's.

    """
    rates, tokens = rates_of(log, confidence), _tokens(log)
    plain = partial(Fitted, log, rates, times_of(log), tokens)
    notes = [*log.notes, *_can_not_tell(log)]
    if log.level == "totals" or log.count < LEAST or log.unit == "total":
        return plain(None, None, np.zeros((0, 0)), {}, None, [], False, (0, 0), notes)
    evidence, rounds = _evidence(log)
    ordered = isinstance(evidence, Sequence)
    entrants = _entrants(log, ordered, only)
    found = selection(entrants, evidence, rates.values, holdout=holdout, told=told)
    best, sure = _refit(log, evidence, found.chosen)
    told("replicas", 0.9)
    checked = {
        trial.name: goodness(trial.whole.chain, rounds, log.depth, ordered)
        for trial in found.trials
    }
    ahead = []
    if found.test.size:
        parts = rounds.some(found.train), rounds.some(found.test)
        ahead = forecasts(found.chosen.trained.chain, *parts, log.depth, confidence)
    return plain(
        *(found, best, draws(best, sure, DRAWS), checked),
        *(features(rounds, log.depth), ahead, ordered),
        *((evidence.requests, int(rounds.begins[-1])), notes),
    )


def _tokens(log: Log) -> int:
    if log.unit != "request":
        return ASSUMED_TOKENS
    made = np.where(np.isfinite(log.tokens), log.tokens, log.rounds + log.accepted)
    return max(1, round(float(np.median(made))))


def _can_not_tell(log: Log) -> list[str]:
    """What this kind of log leaves in the dark."""
    found = []
    if log.unit == "window":
        found.append(
            "windows pool many requests: how requests differ, and rounds depend, is not seen"
        )
    elif 2 <= log.count < LEAST:
        found.append(f"{log.count} {log.unit}s tell little of how they differ: no model is chosen")
    elif log.count == 1:
        found.append(
            "one entry has no spread between requests: the intervals take rounds for independent, "
            "and published logs show them too narrow by 1.4 to 26 times; log by request, or state "
            "--design-effect"
        )
    if log.unit == "request" and log.level != "rounds":
        found.append(
            f"a {log.level} can't show correlation from round to round: regimes and drifting "
            "difficulty were not tried"
        )
    if log.level == "totals":
        found.append("totals say nothing of positions: one rate is taken for all of them")
    if log.short and log.level in ("histogram", "positions"):
        found.append(
            "some rounds drafted less than the depth, and which is not told: rates beyond position "
            "1 are too low; an engine that counts by draft length would mend it"
        )
    elif log.short and log.level != "totals":
        found.append(
            "drafts differ in length: a position counts rounds that drafted it, which is right "
            "unless the draft stops where it expects a rejection"
        )
    return found


def _evidence(log: Log) -> tuple[Evidence, Rounds]:
    """What candidates are fitted to, and rounds of that shape, for replicas."""
    rng = np.random.default_rng(0)
    if log.level == "rounds" and log.sequence is not None:
        lengths = np.diff(log.sequence.begins)
        order = rng.permutation(log.sequence.requests)
        enough = int((np.cumsum(lengths[order]) <= ROUNDS).sum())
        rounds = log.sequence.some(np.sort(order[: max(enough, 1)]))
        return Sequence(rounds, log.depth), rounds
    order = rng.permutation(log.count)
    enough = int((np.cumsum(log.rounds[order]) <= 10 * ROUNDS).sum())
    some = np.sort(order[: max(enough, 2)])
    begins = np.concatenate([[0], np.cumsum(log.rounds[some])])
    drafted = np.full(begins[-1], log.depth, np.uint8)
    accepted = np.concatenate([_unordered(log, int(row)) for row in some])
    return Counts(log.reached[some], log.hit[some]), Rounds(accepted, drafted, begins)


def _unordered(log: Log, row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Rounds of a request by its counts, in no order that means anything."""
    at_least = np.concatenate([[log.rounds[row]], log.hit[row], [0]])
    return np.repeat(np.arange(log.depth + 1, dtype=np.uint8), np.maximum(-np.diff(at_least), 0))


def _entrants(log: Log, ordered: bool, only: list[str] | None) -> list[Candidate]:
    known = candidates(log.depth, by_request=log.unit == "request", moving=ordered)
    names = {candidate.name: candidate for candidate in known}
    for name in only or ():
        if name not in names:
            message = f"{name!r} is none of {', '.join(names)}{nearest(name, names)}"
            raise InputError.of(message, key="--candidates")
    return [names[name] for name in only] if only else known


def _refit(log: Log, evidence: Evidence, chosen: CandidateFit) -> tuple[Maximum, Floats]:
    """The chosen candidate on all that there is: counts are cheap, so that all of them serve."""
    if chosen.whole.candidate.moves or evidence.requests == log.count:
        return chosen.whole, spread(chosen.whole, evidence)
    whole = Counts(log.reached, log.hit)
    best = maximise(chosen.whole.candidate, whole, [chosen.whole.numbers])
    return best, spread(best, whole)
