"""Choice of depth with uncertain inputs, and the minimax-regret depth over scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Experiment
from mtpsim.report.document import (
    DepthEnds,
    Ends,
    Interval,
    Robust,
    RobustDepth,
    UncertainDepth,
    UncertainInput,
    Uncertainty,
    WorstRegret,
)
from mtpsim.stats.comparisons import Choice, choose, log_of, normal_draws, student_scales
from mtpsim.stats.estimators import Estimates

if TYPE_CHECKING:
    from mtpsim.engine.scenarios import ScenarioResults


def joint_draws(found: Sequence[Estimates]) -> Floats:
    """``[DRAWS, Q]`` log values over uncertain inputs, each with an error of its simulation.

    Args:
        found: estimates of one quantity for each draw of the inputs, on common random numbers.
    """
    logs = [log_of(estimates) for estimates in found]
    error = normal_draws(np.mean([one.covariance for one in logs], axis=0))
    error = error / student_scales(logs[0].freedom)
    return np.resize([one.values for one in logs], error.shape) + error


def uncertainty(
    experiment: Experiment, outcomes: ScenarioResults, choice: Choice, drawn: Floats
) -> Uncertainty:
    """The section on uncertain inputs.

    Args:
        experiment: that of the point.
        outcomes: simulated draws of the inputs.
        choice: comparison of the depths over them.
        drawn: of :func:`joint_draws`.
    """
    speedups = np.array([found.values for found in outcomes.draws])
    simulated = np.mean([found.half_width for found in outcomes.draws], axis=0)
    confidence = experiment.simulation.confidence
    gains = [None, *intervals_of(np.diff(drawn, axis=1), confidence)]
    lengths: list[Ends | None] = [None] * speedups.shape[1]
    if outcomes.lengths:
        found = intervals_of(joint_draws(outcomes.lengths), confidence)
        lengths = [Ends(low=one.low or 0.0, high=one.high or 0.0) for one in found]
    return Uncertainty(
        draws=len(speedups),
        requests=outcomes.requests,
        depth=choice.best,
        depths=[
            UncertainDepth(
                depth=k,
                speedup=speedup,
                gain=gains[k],
                simulation=float(simulated[k]),
                best=float(choice.probability[k]),
                regret=float(choice.regret[k]),
                accept_length=lengths[k],
            )
            for k, speedup in enumerate(intervals_of(drawn, confidence))
        ],
        inputs=_inputs(outcomes, speedups, choice.best),
        perfect=_perfect(speedups, speedups),
        replayed=outcomes.variants.replayed,
    )


def intervals_of(logs: Floats, confidence: float) -> list[Interval]:
    """Mean and central interval of each column of draws ``[R, Q]``, given as logarithms."""
    tail = (1 - confidence) / 2
    low, high = np.exp(np.quantile(logs, [tail, 1 - tail], axis=0))
    ends = zip(np.exp(logs).mean(0).tolist(), low.tolist(), high.tolist(), strict=True)
    return [Interval(mean=mean, low=a, high=b) for mean, a, b in ends]


def _inputs(outcomes: ScenarioResults, speedups: Floats, depth: int) -> list[UncertainInput]:
    """Effect of each input alone, sorted by the value of measuring it.

    No input is worth more than all together: a regression of few draws on many numbers could
    otherwise say so.
    """
    found, most = [], _perfect(speedups, speedups)
    for number, (key, drawn) in enumerate(outcomes.variants.inputs.items()):
        low, high = outcomes.ends[2 * number].values, outcomes.ends[2 * number + 1].values
        found.append(
            UncertainInput(
                key=key,
                mean=drawn.mean(0).tolist(),
                sd=drawn.std(0, ddof=1).tolist(),
                speedup=Ends(low=float(low[depth]), high=float(high[depth])),
                depth=DepthEnds(low=int(np.argmax(low)), high=int(np.argmax(high))),
                worth=min(_perfect(speedups, _explained(drawn, speedups)), most),
            )
        )
    return sorted(found, key=lambda e: (-e.worth, -abs(e.speedup.high - e.speedup.low)))


def _explained(inputs: Floats, speedups: Floats) -> Floats:
    """Speedup by depth, fitted as a quadratic in each of the inputs ``[D, n]``."""
    centred = (inputs - inputs.mean(0)) / np.maximum(inputs.std(0), 1e-300)
    columns = np.concatenate([np.ones((len(inputs), 1)), centred, centred**2], axis=1)
    slope, *_ = np.linalg.lstsq(columns, speedups, rcond=None)
    return np.asarray(columns @ slope)


def _perfect(speedups: Floats, known: Floats) -> float:
    """Relative gain of choosing the depth knowing ``known`` rather than the means alone.

    Expected value of (partial) perfect information, by regression (Strong, Oakley, Brennan 2014).
    """
    gain = known.max(1).mean() - known.mean(0).max()
    return float(max(gain, 0.0) / speedups.mean(0).max())


def robust(experiment: Experiment, outcomes: ScenarioResults) -> Robust | None:
    """The depth that loses least in its worst scenario; None where none are declared."""
    if not outcomes.scenarios:
        return None
    confidence = experiment.simulation.confidence
    choices = [choose(log_of(found), confidence) for found in outcomes.scenarios]
    loss = -np.expm1(-np.array([choice.loss for choice in choices]))
    high = -np.expm1(-np.array([choice.high for choice in choices]))
    speedups = np.array([found.values for found in outcomes.scenarios])
    worst, sets = loss.argmax(0), outcomes.variants.sets
    return Robust(
        scenarios=len(sets),
        requests=outcomes.requests,
        depth=int(loss.max(0).argmin()),
        depths=[
            RobustDepth(
                depth=k,
                regret=WorstRegret(mean=float(loss[worst[k], k]), high=float(high[:, k].max())),
                where=sets[worst[k]],
                least_speedup=float(speedups[:, k].min()),
            )
            for k in range(speedups.shape[1])
        ],
    )
