"""Pictures of a simulated server: latency against throughput, quantiles, a timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.report.document import Interval, ResultDocument
from mtpsim.report.figures import style
from mtpsim.report.figures.sweep import Along
from mtpsim.report.formatting import numbers, short_names, swept_keys
from mtpsim.report.serving_document import QUANTILES, ServedArm, ServedPoint
from mtpsim.report.tables.serving import NAMES, at_load, gain_over, has_budgets, sentences, served

LOADS = {
    "serving.arrivals.rate": "arrivals per second",
    "serving.arrivals.closed": "clients",
    "serving.arrivals.burst": "requests of the burst",
}
MOST_TRACES = 3
WIDE = 8  # greatest over least value that a linear axis shows
LEAST_SPEED = 50.0  # % that the axis of speeds shows
BUDGETS = "budgets"  # name of the figure on adaptive verification
STEPS = 400
"""Times that a line of the timeline has at most: more are not seen."""


def served_figures(result: ResultDocument) -> dict[str, Figure]:
    """Every figure of a server that the result has numbers for, by name."""
    found = {"latencies": latencies_figure(result)}
    if len(served(result)) > 1:
        found = {"served": throughput_figure(result), **found}
    if any(point.timeline for _, point in served(result)):
        found["timeline"] = timeline_figure(result)
    if has_budgets(result) and len(swept_keys(result)) == 1 and len(served(result)) > 1:
        found[BUDGETS] = budgets_figure(result, swept_keys(result)[0])
    return found


def _colors(result: ResultDocument) -> dict[str, str]:
    """A colour per arm: those of the depths, then those left for policies."""
    arms = {arm.name: arm.depth for _, point in served(result) for arm in point.arms}
    deepest = max((depth for depth in arms.values() if depth is not None), default=0)
    left = iter((style.LINES * 4)[min(deepest, len(style.LINES)) :])
    return {
        name: style.depth_color(depth, deepest) if depth is not None else next(left)
        for name, depth in arms.items()
    }


def _series(result: ResultDocument, name: str) -> list[tuple[int, ServedArm]]:
    """An arm at every point that has it, with the number of the point."""
    found = served(result)
    return [(n, arm) for n, (_, p) in enumerate(found) for arm in p.arms if arm.name == name]


def _line(policy: bool) -> str:
    return "s--" if policy else "o-"


def throughput_figure(result: ResultDocument) -> Figure:
    """Draw p99 TPOT against output throughput: a line per arm, a marker per load."""
    what = "p99 TPOT against throughput; a marker per load, a line per depth"
    frame = style.Frame(_heading(result), _subtitle(result, what), size=(6.4, 4.4))
    axes = frame.axes[0]
    for name, color in _colors(result).items():
        arms = [arm for _, arm in _series(result, name)]
        x, across = style.means_and_arms([arm.throughput for arm in arms])
        y, up = style.means_and_arms([arm.tpot.p99 for arm in arms])
        line = _line(arms[0].depth is None)
        options: JsonDict = {
            "color": color,
            "label": name,
            "markersize": style.MARKER,
            "linewidth": 1.4,
        }
        axes.errorbar(x, y, yerr=up, xerr=across, fmt=line, elinewidth=1, **options)
    _goal(axes, served(result)[0][1], "tpot")
    frame.name_axes("output tokens per second", "TPOT p99 (ms)")
    _log_if_wide(axes)
    frame.legend()
    frame.note(style.interval_note(result))
    return frame.figure


def _goal(axes: Axes, point: ServedPoint, name: str) -> None:
    if name in point.goals:
        goal = point.goals[name]
        axes.axhline(goal, color=style.INK, linewidth=1, linestyle=style.DASHED, label="goal")


def latencies_figure(result: ResultDocument) -> Figure:
    """Draw quantiles against the load, a line per arm; without a sweep, by arm."""
    keys = swept_keys(result)
    if len(keys) == 1 and len(served(result)) > 1:
        return _over_load(result, keys[0])
    return _by_arm(result)


def _panels(result: ResultDocument) -> list[tuple[str, str]]:
    """The quantities of the panels: p99 of what has a goal, then TPOT and TTFT at p99."""
    goals = served(result)[0][1].goals
    names = list(dict.fromkeys([*(name for name in NAMES if name in goals), "tpot", "ttft"]))
    more = [name for name in ("e2e", "itl") if name not in names]
    return [(name, "p99") for name in [*names, *more][:4]]


def _over_load(result: ResultDocument, key: str) -> Figure:
    along = Along.of(result, key)
    panels = _panels(result)
    what = "p99 by load; dashed: goal" if served(result)[0][1].goals else "p99 by load"
    frame = style.Frame(
        _heading(result), _subtitle(result, what), panels=len(panels), panel=(3.7, 2.7)
    )
    for axes, (quantity, quantile) in zip(frame.axes, panels, strict=True):
        style.panel_title(axes, f"{NAMES[quantity]} {quantile}")
        for name, color in _colors(result).items():
            series = _series(result, name)
            cells = [getattr(arm.time(quantity), quantile) for _, arm in series]
            x = along.x[[n for n, _ in series]]
            order = np.argsort(x, kind="stable")
            y, arms = style.means_and_arms([cells[n] for n in order])
            options: JsonDict = {"color": color, "label": name, "linewidth": 1.4}
            line = _line(series[0][1].depth is None)
            axes.errorbar(x[order], y, yerr=arms, fmt=line, elinewidth=1, markersize=4, **options)
        _goal(axes, served(result)[0][1], quantity)
        _log_if_wide(axes)
        along.tick(axes)
    frame.name_axes(LOADS.get(key, short_names([key])[key]), "ms")
    frame.legend()
    frame.note(style.interval_note(result))
    return frame.figure


def _log_if_wide(axes: Axes) -> None:
    """A logarithmic axis where an overloaded arm would hide the others."""
    drawn = [line.get_ydata() for line in axes.lines if np.size(line.get_ydata())]
    values = np.concatenate([np.asarray(one, float) for one in drawn])
    values = values[np.isfinite(values) & (values > 0)]
    if values.size and values.max() > WIDE * values.min():
        axes.set_yscale("log")
        axes.set_title("log scale", loc="right", fontsize=7, color=style.INK)
        axes.margins(y=0.08)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
    else:
        highest = 1.05 * values.max(initial=0.0)  # room for the marker
        axes.set_ylim(0, max(axes.get_ylim()[1], highest))


def _by_arm(result: ResultDocument) -> Figure:
    """Draw p50, p95 and p99 of each arm at the last load, or at the only one."""
    point = served(result)[-1][1]
    panels = _panels(result)
    what = "quantiles by depth; dashed: goal" if point.goals else "quantiles by depth"
    wide = max(3.7, 0.55 * len(point.arms) + 1.2)
    frame = style.Frame(
        _heading(result), _subtitle(result, what), panels=len(panels), panel=(wide, 2.9)
    )
    x = np.arange(len(point.arms), dtype=float)
    for axes, (name, _) in zip(frame.axes, panels, strict=True):
        style.panel_title(axes, NAMES[name])
        for number, quantile in enumerate(QUANTILES):
            cells = [getattr(arm.time(name), quantile) for arm in point.arms]
            y, arms = style.means_and_arms(cells)
            color = style.LINES[number]
            axes.errorbar(x, y, yerr=arms, fmt="o", color=color, label=quantile, elinewidth=1)
        _goal(axes, point, name)
        _log_if_wide(axes)
        axes.set_xlim(-0.5, len(x) - 0.5)
        width = style.pitch(axes) - 0.04
        texts = [arm.name.removeprefix("depth ") for arm in point.arms]
        axes.set_xticks(x, [style.fit(text, width, 9) for text in texts])
    frame.name_axes("depth or policy", "ms")
    frame.legend()
    frame.note(style.interval_note(result))
    return frame.figure


def budgets_figure(result: ResultDocument, key: str) -> Figure:
    """Draw speed against the first rule that shares a budget, and what became of the drafts."""
    along, points = Along.of(result, key), [point for _, point in served(result)]
    name = next(one.name for point in points for one in point.budgets)
    limit = float(result.experiment["decision"]["indifference"])
    what = f"a line per depth and rule; band: within {100 * limit:g} % of {name}"
    texts = [group.budget_sentence for group in result.by_load or ()]
    texts += [point.budget_sentence for point in points]
    clauses = next(filter(None, texts), name).rstrip(".").split("; ")
    heading = next((text for text in clauses if f"{name} gains" in text), clauses[0])
    heading = heading[0].upper() + heading[1:]
    frame = style.Frame(heading, _subtitle(result, what), panels=3, panel=(4.0, 3.0))
    speed, verified, missed = frame.axes
    style.panel_title(speed, f"speed, % of {name}")
    style.panel_title(verified, "verified drafts per round")
    style.panel_title(missed, "missed drafts per round")
    speed.axhspan(100 / (1 + limit), 100 * (1 + limit), color=style.PALE, linewidth=0)
    for arm, color in _colors(result).items():
        series = _series(result, arm)
        line = _line(series[0][1].depth is None)
        options: JsonDict = {"color": color, "label": arm, "linewidth": 1.4, "markersize": 4}
        options |= {"fmt": line, "elinewidth": 1, "zorder": 3 if arm == name else 2}
        panels = (
            (speed, [_speed_against(points[n], name, arm) for n, _ in series]),
            (verified, [one.verified for _, one in series]),
            (missed, [one.missed for _, one in series]),
        )
        for axes, cells in panels:
            if any(cells):
                x = along.x[[n for n, _ in series]]
                order = np.argsort(x, kind="stable")
                y, bars = style.means_and_arms([cells[n] for n in order])
                axes.errorbar(x[order], y, yerr=bars, **options)
    speed.set_ylim(bottom=max(LEAST_SPEED, speed.get_ylim()[0]))
    for axes in frame.axes:
        along.tick(axes)
    frame.name_axes(LOADS.get(key, short_names([key])[key]), "")
    frame.legend()
    frame.note(style.interval_note(result))
    return frame.figure


def _speed_against(point: ServedPoint, name: str, arm: str) -> Interval | None:
    """Speed of an arm in % of that of a rule."""
    if arm == name:
        return Interval(mean=100.0, low=100.0, high=100.0)
    gain = gain_over(point, name, arm)
    if gain is None:
        return None
    mean, high, low = (
        100 / (1 + end) if end is not None else None for end in (gain.mean, gain.low, gain.high)
    )
    return Interval(mean=mean, low=low, high=high)


def timeline_figure(result: ResultDocument) -> Figure:
    """Draw running and waiting requests, KV in use and depth over one replication."""
    point = _drawn_point([point for _, point in served(result) if point.timeline])
    policies = [arm.name for arm in point.arms if arm.depth is None]
    names = dict.fromkeys([point.best, "off", *policies, *(line.name for line in point.timeline)])
    traces = [line for name in names for line in point.timeline if line.name == name]
    shown = traces[:MOST_TRACES]
    panels = [("running", "running requests"), ("waiting", "waiting requests")]
    if any(line.kv for line in shown):
        panels.append(("kv", "KV in use (tokens)"))
    if any(point.arm(line.name).depth is None for line in shown):
        budget = any(point.arm(line.name).drafted for line in shown)
        panels.append(("depth", "verified drafts per request" if budget else "drafts per request"))
    start = at_load(point)
    heading = f"One replication {start[0].lower()}{start[1:]}"
    what = _subtitle(result, "the same arrivals and lengths for every depth")
    frame = style.Frame(heading, what, panels=len(panels), panel=(4.2, 2.3))
    colors = _colors(result)
    for axes, (field, label) in zip(frame.axes, panels, strict=True):
        style.panel_title(axes, label)
        for line in shown:
            time, value = numbers(line.time) / 1000, numbers(getattr(line, field))
            every = max(len(time) // STEPS, 1)
            options: JsonDict = {"color": colors[line.name], "label": line.name, "linewidth": 1}
            axes.plot(time[::every], value[::every], drawstyle="steps-post", **options)
        axes.set_ylim(0, max(axes.get_ylim()[1], 1))
    frame.name_axes("time (s)", "")
    frame.legend()
    rest = len(traces) - len(shown)
    frame.note(f"{counted(rest, 'more arm', 'are')} not shown." if rest else "")
    return frame.figure


def _drawn_point(points: Sequence[ServedPoint]) -> ServedPoint:
    """The last of the points whose best arm serves the load and meets the goals, else the first."""
    fit = [point for point in points if point.served]
    return fit[-1] if fit else points[0]


def _subtitle(result: ResultDocument, what: str) -> str:
    return style.subtitle_of(replace(result, points=[]), what)


def _heading(result: ResultDocument) -> str:
    """The first sentence of the advice, without its numbers in brackets."""
    found: Sequence[str] = sentences(result)
    return found[0].split(". ")[0].split(": ")[0].rstrip(".") if found else "A server"
