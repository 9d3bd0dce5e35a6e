"""Accept lengths at every depth by posterior replay, as a report, and the replay as a file."""

from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance.replay_file import ReplayFile
from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.fit.by_depth import measured_at, no_surer
from mtpsim.fit.depth_validation import HeldOutDepth, held_out_depths
from mtpsim.fit.draft_lengths import has_random_lengths
from mtpsim.fit.labelled_tokens import label_tokens
from mtpsim.fit.mle import MIN_ROWS
from mtpsim.fit.model import LogFit, kept_rounds
from mtpsim.fit.posterior_replay import DEEPER, Drafter, PosteriorReplay, posterior_replay
from mtpsim.fit.rates import Interval
from mtpsim.formula.closed_form import DEFINITIONS, accept_length, plug_in
from mtpsim.logs import Log

MAX_BYTES = 1 << 28  # of the positions that are written, of all draws together


@dataclass(frozen=True)
class ReplayDepth:
    """Accept length at a depth.

    Attributes:
        depth: number of drafts per round.
        measured: accept length of the rounds at this depth; None where there are none.
        predicted: accept length of the replay, with its interval for the workload.
        these_requests: the same, with the interval for these requests.
        closed_form: accept length by the closed form, by definition of its acceptance rate; the
            last rate goes on beyond the log.
        extrapolated: whether the depth is beyond the deepest recorded one.
    """

    depth: int
    measured: Interval | None
    predicted: Interval
    these_requests: Interval
    closed_form: dict[str, float]
    extrapolated: bool


@dataclass(frozen=True)
class ReplayReport:
    """What recorded requests would accept at every depth.

    Attributes:
        requests: number of requests that are replayed.
        rounds: number of their rounds.
        recorded_depth: depth of these rounds; 0 if they have several.
        accept_length: accept length of the log.
        draws: number of draws.
        states: numbers of hidden states of the token chains.
        shifts: ``[K]`` mean shift of the logit by draft position on one token.
        shift_sds: ``[K]`` standard deviations of the shifts over draws.
        shifts_fitted: whether the log tells the shifts; else they are assumed.
        depths: accept length by depth.
        notes: what was assumed, and what of the fit is at a bound.
        held_out: each depth as predicted by the requests at others; empty if the log has one.
    """

    requests: int
    rounds: int
    recorded_depth: int
    accept_length: float
    draws: int
    states: list[int]
    shifts: list[float]
    shift_sds: list[float]
    shifts_fitted: bool
    depths: list[ReplayDepth]
    notes: list[str]
    held_out: list[HeldOutDepth]

    @property
    def reproduces_log(self) -> bool:
        """Whether every draw has the log's accept length at the recorded depth."""
        if not self.recorded_depth:
            return False
        found = self.depths[self.recorded_depth - 1].these_requests
        return bool(np.allclose([found.low, found.high], self.accept_length, rtol=1e-12))


def why_no_replay(log: Log) -> str:
    """Return why a log can't be replayed, a clause; empty if it can."""
    if log.level != "rounds" or log.sequence is None:
        return f"it needs rounds in order; the log has granularity {log.level}"
    if log.count < MIN_ROWS:
        return f"it needs at least {MIN_ROWS} requests; the log has {log.count}"
    if not log.sequence.drafted.any():
        return "the log has no drafts"
    if has_random_lengths(log):
        return (
            "rounds propose random numbers of drafts, and at another depth it needs to know what "
            "drafts that were not proposed would have been; the fitted model with [draft] lengths "
            "predicts other depths"
        )
    return ""


def drafter_of(log: Log) -> Drafter:
    """Return what the log tells of its drafter: one that drafts nothing at times looks text up."""
    return "lookup" if log.undrafted else "unknown"


def replay_log(log: Log) -> PosteriorReplay:
    """Fit token chains to a log and draw what every position of its requests would accept.

    Args:
        log: log that can be replayed; see :func:`why_no_replay`.
    """
    rounds = kept_rounds(log)
    tokens = label_tokens(rounds)
    untested = int(rounds.drafted.max()) - tokens.depth  # positions that no round came to
    return posterior_replay(tokens, drafter=drafter_of(log), deeper=DEEPER + untested)


def replay_report(fit: LogFit, replay: PosteriorReplay, confidence: float = 0.95) -> ReplayReport:
    """Return the accept lengths of a replay at all its depths.

    Args:
        fit: fit of the same log.
        replay: posterior replay.
        confidence: level of the intervals, as 0.95.
    """
    tokens, rounds = replay.tokens, kept_rounds(fit.log)
    closed = _closed_forms(fit, replay.depth)
    drafts = np.unique(rounds.drafted)
    depths = []
    for k in range(1, replay.depth + 1):
        found, measured = replay.predict(k, confidence), measured_at(fit.log, k, confidence)
        workload = found.workload
        if measured and (drafts.size == 1 or workload.low == workload.high):
            workload = no_surer(workload, measured)
        by_definition = {name: float(lengths[k]) for name, lengths in closed.items()}
        extrapolated = k > int(drafts[-1])
        depths.append(
            ReplayDepth(k, measured, workload, found.requests, by_definition, extrapolated)
        )
    held_out = held_out_depths(rounds, drafter_of(fit.log)) if drafts.size > 1 else []
    checked = [one.sentence() for one in held_out]
    shifts = np.array([chain.shift[: tokens.depth] for chain in replay.chains])
    return ReplayReport(
        requests=tokens.requests,
        rounds=rounds.accepted.size,
        recorded_depth=int(drafts[0]) if drafts.size == 1 else 0,
        accept_length=fit.log.accept_length,
        draws=len(replay.counts),
        states=[one.chain.states for one in replay.fits],
        shifts=shifts.mean(0).tolist(),
        shift_sds=shifts.std(0).tolist(),
        shifts_fitted=replay.free_shift,
        depths=depths,
        notes=[
            *_sample_notes(fit.log, replay),
            _chain_note(replay, shifts),
            *_shift_notes(replay, depths),
            *checked,
            *replay.tail_note,
            *replay.at_bounds,
        ],
        held_out=held_out,
    )


def _closed_forms(fit: LogFit, depth: int) -> dict[str, Floats]:
    """Return accept lengths ``[depth + 1]`` by definition of the rates of the log."""
    conditional, survival = fit.rates.values, fit.rates.survival
    return {
        name: accept_length(plug_in(name, survival, conditional, depth)) for name in DEFINITIONS
    }


def _sample_notes(log: Log, replay: PosteriorReplay) -> list[str]:
    """Return how many requests of a large log are replayed."""
    if replay.tokens.requests == log.count:
        return []
    return [f"a random sample of the log's {counted(log.count, 'request')} is replayed"]


def _chain_note(replay: PosteriorReplay, shifts: Floats) -> str:
    """Return the states and shifts of the chains, with the spread of the latter over draws."""
    states = " or ".join(str(one.chain.states) for one in replay.fits)
    text = f"token chains of {states} hidden state{'s' * (states != '1')}"
    if shifts.shape[1] == 1:
        return text
    falls = ", ".join(
        f"{max(-mean, 0.0):.2f} ± {sd:.2f}"
        for mean, sd in zip(shifts.mean(0)[1:], shifts.std(0)[1:], strict=True)
    )
    origin = "fitted" if replay.free_shift else "assumed around the fit"
    which = f"2 to {shifts.shape[1]}" if shifts.shape[1] > 2 else "2"
    return (
        f"{text}; on one token, draft {which} is worse than the first by {falls} logits ({origin})"
    )


def _shift_notes(replay: PosteriorReplay, depths: list[ReplayDepth]) -> list[str]:
    """Return what a second depth would add to a log of one."""
    if replay.free_shift:
        return []
    known = replay.tokens.depth
    other = depths[0 if known > 1 else 1]
    length = other.these_requests
    half = 100 * (length.high - length.low) / 2 / length.mean
    return [
        "the log has one depth, which doesn't determine how much worse a later draft is on the "
        f"same token; an assumed range makes depth {other.depth} uncertain by ±{half:.1f} %: half "
        f"of the requests at depth {other.depth} would measure it"
    ]


def replay_file(replay: PosteriorReplay, report: ReplayReport) -> ReplayFile:
    """Return the draws as a file that ``model = "trace"`` plays.

    Args:
        replay: posterior replay.
        report: its report.
    """
    draws = max(1, min(len(replay.counts), MAX_BYTES // max(replay.counts.shape[1], 1)))
    return ReplayFile(
        accepted=replay.counts[:draws],
        offsets=replay.tokens.offsets,
        depth=replay.depth,
        recorded_depth=report.recorded_depth,
        accept_length=report.accept_length,
        deepest=replay.depth - DEEPER,
        widening=replay.widening,
    )
