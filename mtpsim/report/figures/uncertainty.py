"""Uncertain inputs: the effect of each on the speedup (a tornado), and the regret of each depth."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mtpsim.common.text import counted
from mtpsim.report.document import ResultDocument, Uncertainty
from mtpsim.report.figures import style
from mtpsim.report.formatting import short_names, title
from mtpsim.report.tables.uncertainty import WORTH_SAYING, greatest_loss

MAX_INPUTS = 12


def uncertainty_figure(result: ResultDocument) -> Figure:
    """Draw the first point that has uncertain inputs."""
    has_inputs = (
        point for point in result.points if point.uncertainty and point.uncertainty.inputs
    )
    point = next(has_inputs)
    if (found := point.uncertainty) is None:
        raise ValueError("no point has uncertain inputs")
    best = found.depths[found.depth]
    heading = (
        f"Depth {found.depth} has the lowest expected regret, {100 * best.regret:.2g} % "
        f"(at most {greatest_loss(point, found.depth)} %)"
    )
    requests = counted(found.requests, "request")
    drawn = f"{found.draws:,} draws of the uncertain inputs, {requests} each"
    subtitle = " · ".join(part for part in (title(result), drawn) if part)
    names = short_names([entry.key for entry in found.inputs])
    labels = [
        style.shorten(names[entry.key], 18) + _percent(entry.worth)
        for entry in found.inputs[:MAX_INPUTS]
    ]
    left = 0.5 + style.longest(labels)
    frame = style.Frame(heading, subtitle, panels=2, size=(7.4 + left, 4.3), left=left, values=True)
    tornado, regret = frame.axes
    _draw_inputs(tornado, found, labels)
    _draw_regret(regret, found, [greatest_loss(point, k) for k in range(len(found.depths))])
    frame.legend(
        [Patch(color=style.ORANGE, label="input low"), Patch(color=style.BLUE, label="input high")]
    )
    frame.note(
        "Left: one input at a time at the ends of its interval, the others as given; in brackets: "
        "expected gain from knowing the input exactly. "
        "Right: expected loss against the best depth of each draw."
    )
    return frame.figure


def _draw_inputs(axes: Axes, found: Uncertainty, labels: list[str]) -> None:
    inputs = found.inputs[:MAX_INPUTS]
    middle = found.depths[found.depth].speedup.mean or 0.0
    order = np.argsort([abs(entry.speedup.high - entry.speedup.low) for entry in inputs])
    for row, number in enumerate(order):
        ends = inputs[number].speedup
        axes.barh(row, ends.low - middle, left=middle, height=0.55, color=style.ORANGE)
        axes.barh(row, ends.high - middle, left=middle, height=0.55, color=style.BLUE)
    axes.grid(visible=False)
    axes.grid(axis="x", color=style.PALE, linewidth=0.6)
    axes.set_yticks(range(len(labels)), [labels[n] for n in order], parse_math=False)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(f"speedup at depth {found.depth} (x)", fontsize=10, color=style.INK)
    style.panel_title(axes, "effect of each input on the speedup")


def _percent(worth: float) -> str:
    return f" ({100 * worth:.2g} %)" if worth >= WORTH_SAYING else ""


def _draw_regret(axes: Axes, found: Uncertainty, bounds: list[str]) -> None:
    regrets = [100 * entry.regret for entry in found.depths]
    colors = [style.BLUE if k == found.depth else style.GREY for k in range(len(regrets))]
    axes.bar(range(len(regrets)), regrets, width=0.6, color=colors)
    axes.margins(y=0.08)
    style.value_ticks(axes, 0, bounds, found.depth)
    axes.set_xlabel(f"{style.DEPTH_AXIS}; below: upper bound (%)", fontsize=10, color=style.INK)
    axes.set_ylabel("expected regret (%)", fontsize=10, color=style.INK)
    style.panel_title(axes, "expected regret of each depth")
