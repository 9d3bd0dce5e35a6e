"""Power of a benchmark by number of requests."""

import numpy as np
from matplotlib.figure import Figure

from mtpsim.benchmark.power import BenchmarkPlan, Comparison
from mtpsim.common.arrays import Floats
from mtpsim.common.special import stdtr, stdtrit
from mtpsim.report.figures.style import BLUE, GREY, INK, MARKER, VERMILION, Frame, panel_title

NAMES = {False: ("independent requests", VERMILION), True: ("same prompts (paired)", BLUE)}


def plan_figure(plan: BenchmarkPlan) -> Figure:
    """Draw power by number of requests for each comparison, with the verified sizes as dots."""
    shown = [each for each in plan.questions if 0 not in each.depths] or plan.questions
    one, two = shown[0].designs
    times = one.requests / two.requests
    heading = f"The same prompts at both depths need {times:.3g}x fewer requests"
    if times < 1.05:
        heading = "The same prompts at both depths need as many requests"
    alone = f" between {_pair(shown[0])}" if len(shown) == 1 else ""
    frame = Frame(
        heading,
        f"to detect a difference of {100 * plan.effect:g} %{alone} at {100 * plan.confidence:g} % "
        "confidence · dots: simulated benchmarks; lines: planned",
        panels=min(len(shown), 6),
        panel=(3.6, 2.85),  # legends lie within the panels
    )
    for axes, comparison in zip(frame.axes, shown, strict=False):
        if len(shown) > 1:
            panel_title(axes, _pair(comparison))
        for design in comparison.designs:
            name, color = NAMES[design.paired]
            requests = np.geomspace(max(4, design.requests / 30), design.requests * 6, 80)
            axes.plot(requests, _power(requests, design.requests, plan), color=color, label=name)
            axes.plot(design.requests, design.power, "o", color=color, markersize=MARKER)
        axes.axhline(plan.power, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xscale("log")
        axes.set_ylim(0, 1.02)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="x", which="minor", length=0)
    frame.axes[0].legend(fontsize=8.5, frameon=False, labelcolor="linecolor", loc="lower right")
    frame.axes[0].xaxis.label.set_color(INK)
    frame.name_axes("requests per run", "probability of a right decision")
    frame.note(f"Dashed: the wanted probability, {plan.power:g}.")
    return frame.figure


def _pair(comparison: Comparison) -> str:
    return f"depths {comparison.depths[0]} and {comparison.depths[1]}"


def _power(requests: Floats, planned: int, plan: BenchmarkPlan) -> Floats:
    """Power at other sizes, given the size that has the wanted power."""
    share = (1 + plan.confidence) / 2
    shift = stdtrit(planned - 1, share) + stdtrit(planned - 1, plan.power)
    return np.asarray(
        stdtr(requests - 1, shift * np.sqrt(requests / planned) - stdtrit(requests - 1, share))
    )
