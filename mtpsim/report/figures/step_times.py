"""Measured step times over the cost model that was fitted to them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mtpsim.common.arrays import Floats
from mtpsim.report.figures.style import GREY, LINES, MARKER, Frame, by_last_value


def fit_figure(
    heading: str, batch: Floats, measured: Mapping[int, Floats], fitted: Mapping[int, Floats]
) -> Figure:
    """Draw times by batch, a colour a depth.

    Args:
        heading: what was found.
        batch: ``[n]`` of the steps.
        measured: ms by depth ``[n]``, NaN where a step has another depth.
        fitted: the same of the model, at every step's batch.

    """
    frame = Frame(heading, "dots: measured verify times; lines: the fitted cost model")
    axes, order = frame.axes[0], np.argsort(batch)
    drawn = []
    for depth, times in measured.items():
        color = LINES[(depth - 1) % len(LINES)] if depth else GREY
        axes.plot(batch, times, "o", color=color, markersize=MARKER * 0.8)
        name = f"depth {depth}" if depth else "plain step"
        drawn += axes.plot(
            batch[order], fitted[depth][order], color=color, linewidth=1.4, label=name
        )
    if batch.min() < batch.max():
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(batch)), nbins=10))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(0, None)
    frame.name_axes("requests that decode together (batch)", "time of a pass, ms")
    frame.legend(by_last_value(drawn))
    return frame.figure
