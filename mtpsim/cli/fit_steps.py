"""Output of ``mtpsim fit`` about step times: summary, section and warnings."""

from __future__ import annotations

from mtpsim.common.arrays import JsonDict
from mtpsim.config.sweep import swept_values
from mtpsim.fit.step_times import CostModelFit, StepTimes

POOR_FIT = 0.03  # relative error of a fitted step above which a warning is printed


def summary_lines(fits: list[CostModelFit]) -> str:
    """Return a line per cost model, the best first."""
    return "\n".join(
        f"{' ' if number else '▸'} {fit.section['model']}: leave-one-out error "
        f"{100 * fit.left_out_error:.2g} %, largest error of a fitted step "
        f"{100 * fit.worst_error:.2g} %"
        for number, fit in enumerate(fits)
    )


def cost_section(fit: CostModelFit, before: JsonDict) -> JsonDict:
    """Return the section ``[latency]`` of a cost model; batch, cached and noise are kept."""
    kept: JsonDict = {key: before[key] for key in ("batch", "cached", "noise") if key in before}
    return {"model": fit.section["model"], "batch": 1, **fit.section, **kept}


def cost_warnings(fit: CostModelFit, steps: StepTimes, like: JsonDict) -> list[str]:
    """Return warnings about the fitted times, given the experiment that they are put in."""
    found = []
    if fit.worst_error > POOR_FIT:
        found.append(
            f"poor fit: the best cost model is off by {100 * fit.worst_error:.2g} % at a step, so "
            "smaller differences between depths are not reliable; the latency model 'table' uses "
            "measured times as they are"
        )
    sweep = swept_values(like.get("sweep", {}))
    batches = [b for b in sweep.get("latency.batch", []) if isinstance(b, int | float)]
    low, high = steps.batch.min(), steps.batch.max()
    if batches and (min(batches) < low or max(batches) > high):
        found.append(
            f"batches from {low:g} to {high:g} were measured, but the sweep goes from "
            f"{min(batches):g} to {max(batches):g}: times beyond the measured range are "
            "extrapolated"
        )
    if not steps.cached.any() and "latency.cached" in sweep:
        found.append("`cached` was not measured: the sweep over latency.cached has no effect")
    return found
