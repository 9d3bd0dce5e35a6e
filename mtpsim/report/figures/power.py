"""Power of a benchmark by its requests."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.special import stdtr, stdtrit

from mtpsim.benchmark.power import Planned, Question
from mtpsim.common.arrays import Floats
from mtpsim.report.figures.style import BLUE, GREY, INK, MARKER, VERMILION, Frame, panel_title

NAMES = {False: ("independent requests", VERMILION), True: ("same prompts (paired)", BLUE)}


def plan_figure(planned: Planned) -> Figure:
    """Draw, for each pair of depths, how the power grows with requests, and what was verified."""
    asked = [q for q in planned.questions if 0 not in q.depths] or planned.questions
    one, two = asked[0].designs
    times = one.requests / two.requests
    heading = f"The same prompts at both depths need {times:.3g}x fewer requests"
    if times < 1.05:
        heading = "The same prompts at both depths save no requests"
    alone = f" between {_pair(asked[0])}" if len(asked) == 1 else ""
    frame = Frame(
        heading,
        f"to find a difference of {100 * planned.effect:g} %{alone} at "
        f"{100 * planned.confidence:g} % "
        "confidence · dots: tried on simulated benchmarks; lines: planned",
        panels=min(len(asked), 6),
    )
    for axes, question in zip(frame.axes, asked, strict=False):
        if len(asked) > 1:
            panel_title(axes, _pair(question))
        for design in question.designs:
            name, color = NAMES[design.paired]
            requests = np.geomspace(max(4, design.requests / 30), design.requests * 6, 80)
            axes.plot(requests, _power(requests, design.requests, planned), color=color, label=name)
            axes.plot(design.requests, design.power, "o", color=color, markersize=MARKER)
        axes.axhline(planned.power, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xscale("log")
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="x", which="minor", length=0)
    frame.axes[0].legend(fontsize=8.5, frameon=False, labelcolor="linecolor", loc="lower right")
    frame.axes[0].xaxis.label.set_color(INK)
    frame.name_axes("requests of each run", "probability to decide right")
    frame.note(f"Dashed: the probability that was asked for, {planned.power:g}.")
    return frame.figure


def _pair(question: Question) -> str:
    return f"depths {question.depths[0]} and {question.depths[1]}"


def _power(requests: Floats, planned: int, wanted: Planned) -> Floats:
    """Power at other sizes, given the size that has the power that was wanted."""
    share = (1 + wanted.confidence) / 2
    shift = stdtrit(planned - 1, share) + stdtrit(planned - 1, wanted.power)
    return np.asarray(
        stdtr(requests - 1, shift * np.sqrt(requests / planned) - stdtrit(requests - 1, share))
    )
