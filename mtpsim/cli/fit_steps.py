"""Output of ``mtpsim fit`` about step times: summary, section and warnings."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.sweep import swept_values
from mtpsim.fit.step_times import MIN_STEPS, CostModelFit, StepTimes, fit_cost_models
from mtpsim.latency.cost_model import POOR_FIT

if TYPE_CHECKING:
    from mtpsim.cli.fit import FitOptions


def summary_lines(fits: list[CostModelFit]) -> str:
    """Return a line per cost model, the best first."""
    return "\n".join(
        f"{' ' if number else '▸'} {fit.name}: {_quality(fit)}" for number, fit in enumerate(fits)
    )


def _quality(fit: CostModelFit) -> str:
    if fit.depth is not None and len(fit.section["batches"]) == 1:
        return f"the measured times of depths 0 to {fit.depth}, as they are"
    left_out = f"leave-one-out error {100 * fit.left_out_error:.2g} %"
    if fit.is_table:
        return f"the measured times as they are, {left_out} between them"
    low, high = (100 * error for error in fit.errors)
    text = f"{left_out}, largest error of a fitted step {100 * fit.worst_error:.2g} %"
    return text + f"; refused, off by {low:+.2g} to {high:+.2g} %" * fit.refused


@dataclass(frozen=True)
class FittedCosts:
    """A fit of step times, and the section ``[latency]`` made of it."""

    fit: CostModelFit
    section: JsonDict


def depth_of(like: JsonDict) -> int | None:
    """Return the depth of an experiment's acceptance model; None if it has no valid one."""
    times: JsonDict = {"target": 1.0, "verify": 1.0, "draft": 0.0}
    only = {"acceptance": like.get("acceptance"), "latency": times, "simulation": {"rounds": 1}}
    try:
        return Experiment.model_validate(only).acceptance.chain().depth
    except ValueError:
        return None


def usable(fits: list[CostModelFit], like: JsonDict, depth: int | None) -> list[CostModelFit]:
    """Return the fits that an experiment can use: a table only at its batches, depths and tokens.

    Args:
        fits: cost models, the best first.
        like: experiment that they are put in.
        depth: depth of the acceptance model; None if not known.
    """
    changed = {**swept_values(like.get("sweep", {})), **like.get("robust", {})}
    batches = [like.get("latency", {}).get("batch"), *changed.get("latency.batch", [])]
    batches = [batch for batch in batches if isinstance(batch, int | float)]
    deepest = depth or 0

    def covers(fit: CostModelFit) -> bool:
        if not fit.is_table:
            return True
        if "latency.cached" in changed:
            return False
        if fit.most_tokens is not None:
            return max(batches, default=1) * (deepest + 1) <= fit.most_tokens
        measured = fit.section["batches"]
        within = all(measured[0] <= batch <= measured[-1] for batch in batches)
        return within and deepest <= (fit.depth or 0)

    return [fit for fit in fits if covers(fit)]


def cost_section(
    fit: CostModelFit, steps: StepTimes, before: JsonDict, depth: int | None
) -> JsonDict:
    """Return the section ``[latency]`` of a cost model; what was not measured is kept.

    Args:
        fit: cost model.
        steps: measured steps.
        before: section that is replaced.
        depth: depth of the acceptance model; None if not known.
    """
    names = ["noise", "persistence", "batch"]
    if fit.depth is None:
        names += ["cached"]
    if not steps.has_draft:
        names += ["draft", "draft_per_request"]
    kept: JsonDict = {key: before[key] for key in names if key in before}
    if isinstance(draft := kept.get("draft"), dict) and "mean" in draft:
        kept["draft"] = draft["mean"]  # a cost model has noise of the whole round alone
    section = {"model": fit.section["model"], "batch": 1, **fit.section, **kept}
    if fit.depth is not None and depth:
        section["verify"] = [row[: depth + 1] for row in section["verify"]]
        if isinstance(section["draft"], list):
            section["draft"] = section["draft"][:depth]
    if fit.worst_error > POOR_FIT:
        section["fit_error"] = fit.worst_error
    return section


def cost_warnings(fit: CostModelFit, steps: StepTimes, like: JsonDict) -> list[str]:
    """Return warnings about the fitted times, given the experiment that they are put in."""
    found = []
    if fit.worst_error > POOR_FIT:
        found.append(
            f"poor fit: the best cost model is off by {100 * fit.worst_error:.2g} % at a step, so "
            "smaller differences between depths are not reliable; the latency models 'steps' and "
            "'table' use measured times as they are"
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
    if not steps.has_draft:
        kept = "draft" in like.get("latency", {})
        found.append(
            "no column `draft`: "
            + ("that of --like is kept" if kept else "drafting is taken as 0 ms")
        )
    if not steps.cached.any() and "latency.cached" in sweep:
        found.append("`cached` was not measured: the sweep over latency.cached has no effect")
    return found


def fitted_costs(
    steps: StepTimes, like: JsonDict, depth: int | None, options: FitOptions
) -> FittedCosts:
    """Return the cost model for an experiment; print the summary and the warnings.

    Args:
        steps: measured steps.
        like: experiment that they are put in.
        depth: depth of the acceptance model; None if not known.
        options: options of the command.
    """
    fits = usable(fit_cost_models(steps, options.experts, options.active), like, depth)
    if not fits:
        message = (
            f"has the times of depths 0 to {steps.depth.max():g}, but the acceptance model has "
            f"depth {depth}: measure these too, or at least {MIN_STEPS} steps for a cost model"
        )
        raise InputError.of(message, file=options.files[0])
    if not options.quiet:
        print(summary_lines(fits), file=sys.stderr)
        for warning in cost_warnings(fits[0], steps, like):
            print(f"warning: {warning}", file=sys.stderr)
    return FittedCosts(fits[0], cost_section(fits[0], steps, like.get("latency", {}), depth))
