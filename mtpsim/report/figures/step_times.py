"""Figure of measured step times and the fitted cost model."""

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
    """Draw step times by batch size, a colour per depth.

    Args:
        heading: title of the figure.
        batch: ``[n]`` batch size of each step.
        measured: ms of each step ``[n]`` by depth, NaN at steps of another depth.
        fitted: ms by the model ``[n]`` by depth, at every step's batch size.

    """
    frame = Frame(heading, "dots: measured verify times; lines: fitted cost model")
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
    frame.name_axes("batch size, requests", "verify time, ms")
    frame.legend(by_last_value(drawn))
    return frame.figure
