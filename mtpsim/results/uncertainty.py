"""Choice of depth with uncertain inputs, and the minimax-regret depth over scenarios."""

from __future__ import annotations

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
from mtpsim.stats.comparisons import choose, log_of

if TYPE_CHECKING:
    from mtpsim.engine.scenarios import ScenarioResults


def uncertainty(experiment: Experiment, outcomes: ScenarioResults) -> Uncertainty | None:
    """The section on uncertain inputs; None where all inputs are certain."""
    if not outcomes.draws:
        return None
    speedups = np.array([found.values for found in outcomes.draws])
    tail = (1 - experiment.simulation.confidence) / 2
    top = speedups.max(1, keepdims=True)
    low, high = np.quantile(speedups, [tail, 1 - tail], axis=0)
    regret = (1 - speedups / top).mean(0)
    best = (speedups >= top).mean(0)
    depth = int(np.argmin(regret))
    simulated = np.mean([found.half_width for found in outcomes.draws], axis=0)
    return Uncertainty(
        draws=len(speedups),
        requests=outcomes.requests,
        depth=depth,
        depths=[
            UncertainDepth(
                depth=k,
                speedup=Interval(
                    mean=float(speedups[:, k].mean()), low=float(low[k]), high=float(high[k])
                ),
                simulation=float(simulated[k]),
                best=float(best[k]),
                regret=float(regret[k]),
            )
            for k in range(speedups.shape[1])
        ],
        inputs=_inputs(outcomes, speedups, depth),
        perfect=_perfect(speedups, speedups),
    )


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
