"""Step times of a fit: what is said of the cost models, their picture, and the section."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mtpsim.experiment import Raw
from mtpsim.fit.steps import Fit, Steps, predict


def described(fits: list[Fit]) -> str:
    """A line a model, the best first."""
    return "\n".join(
        f"{' ' if number else '▸'} {fit.keys['model']}: left-out steps predicted to "
        f"{100 * fit.predicted:.2g} %, worst fitted step off by {100 * fit.worst:.2g} %"
        for number, fit in enumerate(fits)
    )


def draw_steps(fit: Fit, steps: Steps, path: Path) -> None:
    """The measured steps over the fitted model, each at its own context."""
    from mtpsim.report.draw import save
    from mtpsim.report.fit_plot import fit_figure

    depths = sorted({int(depth) for depth in steps.depth})
    measured = {k: np.where(steps.depth == k, steps.verify, np.nan) for k in depths}
    fitted = {k: predict(fit.keys, replace(steps, depth=0 * steps.depth + k)) for k in depths}
    heading = (
        f"A {fit.keys['model']} cost model predicts steps left out to {100 * fit.predicted:.2g} %"
    )
    save(fit_figure(heading, steps.batch, measured, fitted), path, dpi=150)


def latency_of(fit: Fit, before: Raw) -> Raw:
    """The section ``[latency]`` of a cost model; noise that was stated before is kept."""
    return {**fit.keys, **{key: value for key, value in before.items() if key == "noise"}}
