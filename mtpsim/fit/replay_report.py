"""Accept lengths at every depth by posterior replay, as a report, and the replay as a log."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from mtpsim.common.errors import InputError
from mtpsim.fit.by_depth import measured_at
from mtpsim.fit.labelled_tokens import label_tokens
from mtpsim.fit.model import MIN_ROWS, LogFit, kept_rounds
from mtpsim.fit.posterior_replay import Drafter, PosteriorReplay, posterior_replay
from mtpsim.fit.rates import Interval
from mtpsim.formula.closed_form import accept_length
from mtpsim.logs import Log

MAX_POSITIONS = 1_000_000  # written, of all draws together


@dataclass(frozen=True)
class ReplayDepth:
    """Accept length at a depth.

    Attributes:
        depth: number of drafts per round.
        measured: accept length of the rounds at this depth; None where there are none.
        predicted: accept length of the replay, with its interval for the workload.
        these_requests: the same, with the interval for these requests.
        closed_form: accept length by the closed form; the last rate goes on beyond the log.
        extrapolated: whether the depth is beyond the deepest recorded one.
    """

    depth: int
    measured: Interval | None
    predicted: Interval
    these_requests: Interval
    closed_form: float
    extrapolated: bool


@dataclass(frozen=True)
class ReplayReport:
    """What recorded requests would accept at every depth.

    Attributes:
        requests: number of requests that are replayed.
        rounds: number of their rounds.
        draws: number of draws.
        states: numbers of hidden states of the token chains.
        shifts: ``[K]`` mean shift of the logit by draft position on one token.
        shifts_fitted: whether the log tells the shifts; else they are assumed.
        depths: accept length by depth.
        notes: what was assumed, and what of the fit is at a bound.
    """

    requests: int
    rounds: int
    draws: int
    states: list[int]
    shifts: list[float]
    shifts_fitted: bool
    depths: list[ReplayDepth]
    notes: list[str]


def replay_log(log: Log) -> PosteriorReplay:
    """Fit token chains to a log and draw what every position of its requests would accept.

    Args:
        log: log with rounds in order.

    Raises:
        InputError: it has no rounds in order, or too few requests.
    """
    if log.sequence is None or log.level != "rounds" or log.count < MIN_ROWS:
        message = (
            f"needs rounds in order of at least {MIN_ROWS} requests; the log has {log.count} "
            f"{log.unit}s of granularity {log.level}"
        )
        raise InputError.of(message, key="--replay")
    drafter: Drafter = "lookup" if log.undrafted else "unknown"
    return posterior_replay(label_tokens(kept_rounds(log)), drafter=drafter)


def replay_report(fit: LogFit, replay: PosteriorReplay, confidence: float = 0.95) -> ReplayReport:
    """Return the accept lengths of a replay at all its depths.

    Args:
        fit: fit of the same log.
        replay: posterior replay.
        confidence: level of the intervals, as 0.95.
    """
    known = replay.tokens.depth
    rates = fit.rates.values[:known]
    closed = accept_length(np.append(rates, np.repeat(rates[-1:], replay.depth - known)))
    depths = []
    for k in range(1, replay.depth + 1):
        found = replay.predict(k, confidence)
        measured = measured_at(fit.log, k, confidence)
        lengths = found.workload, found.requests, float(closed[k])
        depths.append(ReplayDepth(k, measured, *lengths, found.extrapolated))
    tokens = replay.tokens
    return ReplayReport(
        requests=tokens.requests,
        rounds=int(replay.totals(known)[0][0].sum())
        if not replay.free_shift
        else fit.rounds_fitted,
        draws=len(replay.counts),
        states=[one.chain.states for one in replay.fits],
        shifts=np.mean([chain.shift for chain in replay.chains], 0)[:known].tolist(),
        shifts_fitted=replay.free_shift,
        depths=depths,
        notes=[*_shift_notes(replay, depths), *replay.at_bounds],
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
        f"the log has one depth, which hardly tells how much worse a later draft is on the same "
        f"token; an assumed range makes depth {other.depth} uncertain by ±{half:.1f} %: half of "
        f"the requests at depth {other.depth} would measure it"
    ]


def replay_lines(replay: PosteriorReplay, depth: int) -> str:
    """Return draws as a log by text position, a line of JSON per request and draw.

    Args:
        replay: posterior replay.
        depth: most accepted drafts of a position.
    """
    offsets, lines = replay.tokens.offsets, []
    draws = max(1, min(len(replay.counts), MAX_POSITIONS // max(int(offsets[-1]), 1)))
    for counts in np.minimum(replay.counts[:draws], depth):
        lines += [
            json.dumps({"accepted": part.tolist(), "depth": depth}, separators=(",", ":"))
            for part in np.split(counts, offsets[1:-1])
            if part.size
        ]
    return "\n".join(lines) + "\n"
