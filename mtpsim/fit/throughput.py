"""Compare a log's own tokens per second with those of the fitted model at the recorded depth."""

from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Experiment
from mtpsim.fit.by_depth import has_several_depths, measured_at
from mtpsim.fit.limitations import SHORT
from mtpsim.fit.model import LogFit
from mtpsim.fit.rates import Interval
from mtpsim.fit.round_times import usable_rows
from mtpsim.stats.estimators import Tally, delta_method

LEAST_DIFFERENCE = 0.02  # relative; smaller ones are not reported


@dataclass(frozen=True, kw_only=True)
class SpeedCheck:
    """Tokens per second and request at the recorded depth.

    Attributes:
        depth (int): recorded number of drafts per round.
        log (Interval): tokens/s of the log itself.
        model (float): tokens/s of the fitted experiment.
        accept_length (float): accept length of the model.
        round_ms (float): ms of a round of the model.
        difference (float): relative difference of the model from the log.
        allowed (float): largest difference that the intervals of both allow.
        speedup (float): speed of the log itself relative to plain decoding.
        suspects (list[str]): what may explain a difference beyond ``allowed``.
    """

    depth: int
    log: Interval
    model: float
    accept_length: float
    round_ms: float
    difference: float
    allowed: float
    speedup: float
    suspects: list[str]

    @property
    def agrees(self) -> bool:
        """Whether the intervals allow the difference."""
        return abs(self.difference) <= self.allowed

    def sentence(self) -> str:
        """Return the comparison, and what is suspected if it fails."""
        text = (
            f"The log itself runs at {self.log.mean:.2f} tokens/s per request ({self.speedup:.2f}x "
            f"plain decoding), the fitted experiment at depth {self.depth} at {self.model:.2f} "
            f"({100 * self.difference:+.0f} %, the intervals allow {100 * self.allowed:.0f} %)."
        )
        return f"{text} Suspects: {'; '.join(self.suspects)}." if self.suspects else text


def check_speed(
    fit: LogFit, *, accept_length: float, target: float, round_ms: float, times_from: str
) -> SpeedCheck | None:
    """Return the comparison; None where the log has no times at its largest depth.

    Args:
        fit: fit of a log.
        accept_length: accept length of the experiment at the recorded depth.
        target: ms of a plain step in the experiment.
        round_ms: ms of a round at the recorded depth in the experiment.
        times_from: source of these times, for the message; empty if it is the log.
    """
    log = fit.log
    speed = _speed_of_log(fit)
    if speed is None:
        return None
    model = 1000.0 * accept_length / round_ms
    allowed = LEAST_DIFFERENCE + sum(
        (one.high - one.low) / 2 / one.mean for one in (speed, _length_of_log(fit))
    )
    check = SpeedCheck(
        depth=log.depth,
        log=speed,
        model=model,
        accept_length=accept_length,
        round_ms=round_ms,
        difference=model / speed.mean - 1,
        allowed=allowed,
        speedup=target * speed.mean / 1000.0,
        suspects=[],
    )
    if not check.agrees:
        check.suspects.extend(_suspects(fit, check, times_from))
    return check


def _speed_of_log(fit: LogFit) -> Interval | None:
    log = fit.log
    rows = usable_rows(log) & (log.depths == log.depth)
    if rows.any():
        columns = np.stack([(log.rounds + log.accepted)[rows], log.times.by_row[rows]], axis=1)

        def ratio(means: Floats) -> Floats:
            return np.asarray(1000.0 * means[..., :1] / means[..., 1:])

        tally = Tally.of(columns.astype(float))
        if rows.sum() > 1:
            return Interval.of(delta_method(ratio, tally, 0.95))
        mean = float(ratio(tally.mean)[0])
        return Interval(mean, mean, mean)
    mean_ms = _round_ms(fit)
    if mean_ms is None:
        return None
    length = _length_of_log(fit)
    return Interval(*(1000.0 * value / mean_ms for value in (length.mean, length.low, length.high)))


def _round_ms(fit: LogFit) -> float | None:
    """Return the mean round time at the recorded depth, whatever number of drafts it proposes."""
    if fit.lengths is None or not fit.log.times.by_depth:
        return fit.times.by_depth.get(fit.log.depth)
    return float(np.concatenate(list(fit.log.times.by_depth.values())).mean())


def _length_of_log(fit: LogFit) -> Interval:
    """Return the accept length of the rows of the recorded depth."""
    several = has_several_depths(fit.log)
    measured = measured_at(fit.log, fit.log.depth, 0.95) if several else None
    return measured or fit.rates.accept_length


def _suspects(fit: LogFit, check: SpeedCheck, times_from: str) -> list[str]:
    log, found = fit.log, []
    if log.mean_drafts < SHORT * log.depth and fit.lengths is None:
        found.append(
            f"rounds drafted {log.mean_drafts:.2f} tokens on average (--spec-draft-p-min, n-gram "
            f"drafts, or a wrong --depth), but the experiment drafts {log.depth} in each round"
        )
    measured = _round_ms(fit)
    length = _length_of_log(fit).mean if has_several_depths(log) else log.accept_length
    if abs(check.accept_length / length - 1) > LEAST_DIFFERENCE:
        found.append(
            f"the accept length is {length:.3f} in the log and {check.accept_length:.3f} in the "
            "model"
        )
    if measured and abs(check.round_ms / measured - 1) > LEAST_DIFFERENCE:
        source = f" by {times_from}" if times_from else ""
        found.append(
            f"a round took {measured:.2f} ms in the log and takes {check.round_ms:.2f} ms{source}: "
            "another machine, batch size or context length"
        )
    return found or ["time without requests, or prompts, within the log's times"]


def time_warnings_of(
    fit: LogFit, experiment: Experiment, *, target: float | None, verify: float | None
) -> list[str]:
    """Return warnings on the mean times; a target slower than logged rounds comes first.

    Args:
        fit: fit of the log.
        experiment: the fitted experiment.
        target: given time of a plain step in ms.
        verify: given time of a verification in ms.
    """
    logged = {depth: ms for depth, ms in fit.times.by_depth.items() if depth}
    deepest = max(logged, default=0)
    if target is None or not deepest or logged[deepest] >= target:
        return experiment.time_warnings()
    text = (
        f"--target {target:g} ms is slower than a round of the log, {logged[deepest]:.4g} ms at "
        f"depth {deepest}: measure plain steps on the same machine, batch and context length"
    )
    return [text] if verify is None else [text, *experiment.time_warnings()]
