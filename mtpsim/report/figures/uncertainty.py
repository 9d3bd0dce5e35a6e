"""Uncertain inputs: what each does to the speedup (a tornado), and what each depth may cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from mtpsim.common.text import counted
from mtpsim.report.document import ResultDocument
from mtpsim.report.figures.speedup import Y_NAME
from mtpsim.report.figures.style import (
    BLUE,
    GREY,
    INK,
    LINES,
    ORANGE,
    PALE,
    Frame,
    depth_ticks,
    panel_title,
    plain_axes,
    shorten,
    write,
)
from mtpsim.report.formatting import short_names, title
from mtpsim.report.tables.uncertainty import WORTH_SAYING

MOST_INPUTS = 12


def uncertainty_figure(result: ResultDocument) -> Figure:
    """Draw the first point that has uncertain inputs."""
    found = next(p["uncertainty"] for p in result["points"] if p.get("uncertainty"))
    best = found["depths"][found["depth"]]
    heading = (
        f"Depth {found['depth']} loses least, {100 * best['regret']:.2g} % on average; it is the "
        f"fastest with probability {best['best']:.2f}"
    )
    drawn = (
        f"{found['draws']:,} draws of the uncertain inputs, "
        f"{counted(found['requests'], 'request')} each"
    )
    subtitle = " · ".join(part for part in (title(result), drawn) if part)
    frame = Frame(heading, subtitle, panels=2, size=(9.2, 4.3), left=1.9)
    tornado, costs = frame.axes
    _tornado(tornado, found)
    _costs(costs, found)
    frame.note(
        "Left: each input by itself moved to the ends of its interval, all else as in the file; "
        "in brackets what it is worth to know it for sure. Right: expected loss against the best "
        "depth, over the draws."
    )
    return frame.figure


def _tornado(axes: Axes, found: Any) -> None:
    inputs = found["inputs"][:MOST_INPUTS]
    names = short_names([entry["key"] for entry in inputs])
    order = np.argsort([abs(e["speedup"]["high"] - e["speedup"]["low"]) for e in inputs])
    labels = []
    for row, number in enumerate(order):
        entry = inputs[number]
        low, high = entry["speedup"]["low"], entry["speedup"]["high"]
        # Orange where the input is low, blue where it is high: the colours tell its direction.
        middle = found["depths"][found["depth"]]["speedup"]["mean"]
        axes.barh(row, low - middle, left=middle, height=0.55, color=ORANGE)
        axes.barh(row, high - middle, left=middle, height=0.55, color=BLUE)
        worth = f" ({100 * entry['worth']:.2g} %)" if entry["worth"] >= WORTH_SAYING else " (0)"
        labels.append(shorten(names[entry["key"]], 18) + worth)
    plain_axes(axes)
    axes.grid(visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.yaxis.set_major_locator(FixedLocator(range(len(labels))))
    axes.set_yticklabels(labels, parse_math=False)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel(Y_NAME.replace("speedup", f"speedup at depth {found['depth']}"), color=INK)
    panel_title(axes, "input low (orange) to high (blue)")


def _costs(axes: Axes, found: Any) -> None:
    regrets = [100 * entry["regret"] for entry in found["depths"]]
    colors = [LINES[0] if k == found["depth"] else GREY for k in range(len(regrets))]
    axes.bar(range(len(regrets)), regrets, width=0.6, color=colors)
    for k, entry in enumerate(found["depths"]):
        text = f"{regrets[k]:.2g} %\nP {entry['best']:.2f}"
        write(axes, k, regrets[k], text, ha="center", va="bottom", fontsize=8.5)
    axes.set_ylim(0, max(regrets) * 1.22 or 1)
    depth_ticks(axes, 0, len(regrets) - 1)
    axes.set_xlabel("depth", color=INK)
    axes.set_ylabel("expected loss, %", color=INK)
    panel_title(axes, "what each depth costs, P = P(best)")
