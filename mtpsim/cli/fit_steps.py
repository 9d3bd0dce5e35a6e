"""Step times of a fit: what is said of the cost models, their picture, and the section."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mtpsim.common.arrays import JsonDict
from mtpsim.config.sweep import axes
from mtpsim.fit.step_times import Fit, Steps, predict

POOR = 0.03  # worst relative error of a fitted step above which a fit is called poor


def described(fits: list[Fit]) -> str:
    """A line a model, the best first."""
    return "\n".join(
        f"{' ' if number else '▸'} {fit.keys['model']}: left-out steps predicted to "
        f"{100 * fit.predicted:.2g} %, worst fitted step off by {100 * fit.worst:.2g} %"
        for number, fit in enumerate(fits)
    )


def draw_steps(fit: Fit, steps: Steps, path: Path) -> None:
    """The measured steps over the fitted model, each at its own context."""
    from mtpsim.report.figures.step_times import fit_figure
    from mtpsim.report.figures.style import save

    depths = sorted({int(depth) for depth in steps.depth})
    measured = {k: np.where(steps.depth == k, steps.verify, np.nan) for k in depths}
    fitted = {k: predict(fit.keys, replace(steps, depth=0 * steps.depth + k)) for k in depths}
    heading = (
        f"A {fit.keys['model']} cost model predicts steps left out to {100 * fit.predicted:.2g} %"
    )
    save(fit_figure(heading, steps.batch, measured, fitted), path, dpi=150)


def latency_of(fit: Fit, before: JsonDict) -> JsonDict:
    """The section ``[latency]`` of a cost model; what else was stated before is kept."""
    kept: JsonDict = {key: before[key] for key in ("batch", "cached", "noise") if key in before}
    return {"model": fit.keys["model"], "batch": 1, **fit.keys, **kept}


def doubts(fit: Fit, steps: Steps, like: JsonDict) -> list[str]:
    """What a user of the fitted times should know before a depth is chosen by them."""
    found = []
    if fit.worst > POOR:
        found.append(
            f"no cost model describes these times: the best is off by {100 * fit.worst:.2g} % at a "
            "step, and a choice of depth by less than that is not to be trusted; a latency model "
            "'table' takes the times as they are"
        )
    sweep = axes(like.get("sweep", {}))
    batches = [b for b in sweep.get("latency.batch", []) if isinstance(b, int | float)]
    low, high = steps.batch.min(), steps.batch.max()
    if batches and (min(batches) < low or max(batches) > high):
        found.append(
            f"batches from {low:g} to {high:g} were measured, and the sweep goes from "
            f"{min(batches):g} to {max(batches):g}: what it says beyond is extrapolated"
        )
    if not steps.cached.any() and "latency.cached" in sweep:
        found.append("no `cached` was measured: the sweep over latency.cached will show no effect")
    return found
