"""The stopping rule: half-width of a quantity of the report, relative or absolute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.config.simulation import Quantity, Simulation
from mtpsim.kernels.arrays import RowLayout
from mtpsim.stats import estimators
from mtpsim.stats.estimators import ClosedFormPredictor, Tally

_PLAIN: dict[Quantity, Callable[[Floats, RowLayout], Floats]] = {
    "speedup": estimators.with_policies,
    "marginal": estimators.marginal,
    "accept_length": estimators.accept_length,
    "round_time": estimators.round_time,
}


def function_of(
    simulation: Simulation, theory: ClosedFormPredictor, layout: RowLayout
) -> Callable[[Floats], Floats]:
    """The quantity as a function of the mean totals ``[..., C]``."""
    quantity = simulation.precision_of
    if quantity == "difference":
        one, other = simulation.between or (0, 0)

        def difference(means: Floats) -> Floats:
            gains = estimators.speedup(means, layout)
            return gains[..., other : other + 1] - gains[..., one : one + 1]

        return difference
    plain = theory.error if quantity == "theory_error" else _PLAIN[quantity]
    return lambda means: plain(means, layout)


def half_width(
    simulation: Simulation, theory: ClosedFormPredictor, layout: RowLayout, tally: Tally
) -> float:
    """Greatest half-width of the quantity over all depths, on the scale of the experiment."""
    found = estimators.delta_method(
        function_of(simulation, theory, layout), tally, simulation.confidence
    )
    if simulation.scale == "absolute":
        return float(found.half_width.max())
    none = np.full_like(found.half_width, np.inf)
    size = np.abs(found.values)
    widths = np.divide(found.half_width, size, out=none, where=size > 0)
    return float(np.where(found.half_width > 0, widths, 0.0).max())
