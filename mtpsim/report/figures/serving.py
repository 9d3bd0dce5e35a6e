"""Pictures of a simulated server: latency against throughput, quantiles, a timeline."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted, listed
from mtpsim.report.document import Interval, ResultDocument
from mtpsim.report.figures import style
from mtpsim.report.figures.sweep import Along, values_of
from mtpsim.report.formatting import (
    axis_names,
    known,
    numbers,
    set_label,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.serving_document import QUANTILES, ServedArm, ServedPoint
from mtpsim.report.tables.serving import NAMES, at_load, gain_over, has_budgets, served

LOADS = {
    "serving.arrivals.rate": "arrivals per second",
    "serving.arrivals.closed": "clients",
    "serving.arrivals.burst": "requests of the burst",
}
MOST_TRACES = 3
MARKERS = "o^vDP*X<>"
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


def _axis_key(result: ResultDocument) -> str:
    """The swept key that is the x axis: the load, else the one of the most values; or none."""
    keys = swept_keys(result)
    many = {key: len(set(map(value_text, values_of(result, key)))) for key in keys}
    return max(many, key=lambda key: (key in LOADS and many[key] > 1, many[key]), default="")


def _groups(result: ResultDocument) -> list[ResultDocument]:
    """The result by values of the other swept keys; at most as many as a figure has panels."""
    key, found = _axis_key(result), defaultdict(list)
    for point in result.points:
        others = {name: value for name, value in point.set.items() if name != key}
        found[set_label(others)].append(point)
    return [replace(result, points=points) for points in found.values()][: style.MAX_PANELS]


def _group_label(result: ResultDocument, group: ResultDocument) -> str:
    """What the points of a group share: ``resumed = 0.1``; empty where all points are one."""
    key = _axis_key(result)
    shared = {name: value for name, value in group.points[0].set.items() if name != key}
    return set_label(shared, short_names(swept_keys(result)))


def _axis_name(key: str) -> str:
    return LOADS.get(key) or axis_names([key])[0]


def _looks(result: ResultDocument) -> dict[str, JsonDict]:
    """Options of the line of each arm: cool colours for depths, warm and dashed for rules."""
    arms = {arm.name: arm for _, point in served(result) for arm in point.arms}
    depths = sorted({arm.depth for arm in arms.values() if arm.depth})
    shades: Sequence[str] = style.COOL
    if len(depths) > len(style.COOL):
        shades = [to_hex(c) for c in colormaps["viridis"](np.linspace(0, 0.9, len(depths)))]
    warm, crosses, found = cycle(style.WARM), cycle("x+1"), {}
    for name, arm in arms.items():
        if arm.depth:
            place = depths.index(arm.depth)
            look = {"color": shades[place], "marker": MARKERS[place % len(MARKERS)]}
        elif arm.depth == 0:
            look = {"color": style.GREY, "marker": "o"}
        elif arm.bound:
            look = {"color": style.GREY, "marker": next(crosses), "linestyle": ":"}
        else:
            look = {"color": next(warm), "marker": "s", "linestyle": "--"}
        found[name] = {"linestyle": "-", "linewidth": 1.4, "elinewidth": 1, **look, "label": name}
        found[name]["markersize"] = 4
    return found


def _series(result: ResultDocument, name: str) -> list[tuple[int, ServedArm]]:
    """An arm at every point that has it, with the number of the point."""
    found = served(result)
    return [(n, arm) for n, (_, p) in enumerate(found) for arm in p.arms if arm.name == name]


def throughput_figure(result: ResultDocument) -> Figure:
    """Draw p99 TPOT against output throughput: a line per arm, a marker per load."""
    groups, key = _groups(result), _axis_key(result)
    marker = "load" if key in LOADS else _axis_name(key)
    what = f"p99 TPOT against throughput; a marker per {marker}, a line per depth"
    size = (6.4, 4.4) if len(groups) == 1 else None
    options: JsonDict = {"panels": len(groups), "panel": (3.7, 2.7), "size": size, "left": 0.85}
    frame = style.Frame(_heading(result), _subtitle(result, what), **options)
    looks = _looks(result)
    for axes, group in zip(frame.axes, groups, strict=True):
        style.panel_title(axes, _group_label(result, group))
        for name, look in looks.items():
            if arms := [arm for _, arm in _series(group, name)]:
                x, across = style.means_and_arms([arm.throughput for arm in arms])
                y, up = style.means_and_arms([arm.tpot.p99 for arm in arms])
                axes.errorbar(x, y, yerr=up, xerr=across, **look)
        _goal(axes, served(group)[0][1], "tpot")
    _log_if_wide(frame.axes)
    frame.name_axes("output tokens per second", "TPOT p99 (ms)")
    frame.legend()
    frame.note(style.interval_note(result))
    return frame.figure


def _goal(axes: Axes, point: ServedPoint, name: str) -> None:
    if name in point.goals:
        goal = point.goals[name]
        axes.axhline(goal, color=style.INK, linewidth=1, linestyle=style.DASHED, label="goal")


def latencies_figure(result: ResultDocument) -> Figure:
    """Draw quantiles against the load, a line per arm; without a sweep, by arm."""
    return _over_load(result) if len(served(result)) > 1 else _by_arm(result)


def _panels(result: ResultDocument) -> list[tuple[str, str]]:
    """The quantities of the panels: p99 of what has a goal, then TPOT and TTFT at p99."""
    goals = served(result)[0][1].goals
    names = list(dict.fromkeys([*(name for name in NAMES if name in goals), "tpot", "ttft"]))
    more = [name for name in ("e2e", "itl") if name not in names]
    return [(name, "p99") for name in [*names, *more][:4]]


def _over_load(result: ResultDocument) -> Figure:
    """Panels of all quantities, or of one or two where there are groups of points."""
    key, groups = _axis_key(result), _groups(result)
    most = {1: 4, 2: 2, 3: 2}.get(len(groups), 1)
    panels = [(*one, group) for one in _panels(result)[:most] for group in groups]
    heading = f"Latencies by {'load' if key in LOADS else short_names([key])[key]}"
    what = "p99, a line per depth" + "; dashed: goal" * bool(served(result)[0][1].goals)
    frame = style.Frame(
        heading, _subtitle(result, what), panels=len(panels), panel=(3.7, 2.7), left=0.95
    )
    looks, titles = _looks(result), []
    for axes, (quantity, quantile, group) in zip(frame.axes, panels, strict=True):
        title = f"{NAMES[quantity]} {quantile} (ms)"
        style.panel_title(axes, _group_label(result, group) if len(groups) > 1 else title)
        titles.append(title if len(groups) > 1 else "")
        along = Along.of(group, key)
        for name, look in looks.items():
            series = _series(group, name)
            cells = [getattr(arm.time(quantity), quantile) for _, arm in series]
            _draw(axes, along, [n for n, _ in series], cells, look)
        _goal(axes, served(group)[0][1], quantity)
        along.tick(axes)
    frame.name_axes(_axis_name(key), "")
    for first in range(0, len(panels), len(groups)):
        _log_if_wide(frame.axes[first : first + len(groups)])
        frame.axes[first].set_ylabel(titles[first], fontsize=9, color=style.INK)
    frame.legend()
    frame.note(style.interval_note(result))
    return frame.figure


def _draw(
    axes: Axes,
    along: Along,
    points: Sequence[int],
    cells: Sequence[Interval | None],
    look: JsonDict,
) -> None:
    """Draw a quantity of an arm along a swept key; ``points`` are those that have a cell."""
    if any(cells):
        x = along.x[list(points)]
        order = np.argsort(x, kind="stable")
        y, bars = style.means_and_arms([cells[n] for n in order])
        axes.errorbar(x[order], y, yerr=bars, **look)


def _log_if_wide(panels: Sequence[Axes]) -> None:
    """Common limits, and a logarithmic axis where an overloaded arm would hide the others."""
    drawn = [line.get_ydata() for axes in panels for line in axes.lines]
    values = np.concatenate([np.asarray(one, float) for one in drawn if np.size(one)])
    values = values[np.isfinite(values) & (values > 0)]
    wide = values.size and values.max() > WIDE * values.min()
    for axes in panels:
        if wide:
            axes.set_yscale("log")
            axes.set_title("log scale", loc="right", fontsize=7, color=style.INK)
            axes.margins(y=0.08)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.minorticks_off()
        else:
            highest = 1.05 * values.max(initial=0.0)  # room for the marker
            axes.set_ylim(0, max(axes.get_ylim()[1], highest))
    style.share_limits(panels)


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
        style.panel_title(axes, f"{NAMES[name]} (ms)")
        for number, quantile in enumerate(QUANTILES):
            cells = [getattr(arm.time(name), quantile) for arm in point.arms]
            y, arms = style.means_and_arms(cells)
            color = style.LINES[number]
            axes.errorbar(x, y, yerr=arms, fmt="o", color=color, label=quantile, elinewidth=1)
        _goal(axes, point, name)
        _log_if_wide([axes])
        axes.set_xlim(-0.5, len(x) - 0.5)
        width = style.pitch(axes) - 0.04
        texts = [arm.name.removeprefix("depth ") for arm in point.arms]
        axes.set_xticks(x, [style.fit(text, width, 9) for text in texts])
    frame.name_axes("depth or policy", "")
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
    for arm, look in _looks(result).items():
        series = _series(result, arm)
        shown = [n for n, _ in series]
        look["zorder"] = 3 if arm == name else 2
        cells = [_speed_against(points[n], name, arm) for n in shown]
        _draw(speed, along, shown, cells, look)
        _draw(verified, along, shown, [one.verified for _, one in series], look)
        _draw(missed, along, shown, [one.missed for _, one in series], look)
    cut = speed.get_ylim()[0] < LEAST_SPEED
    speed.set_ylim(bottom=max(LEAST_SPEED, speed.get_ylim()[0]))
    for axes in frame.axes:
        along.tick(axes)
    frame.name_axes(_axis_name(key), "")
    frame.legend()
    below = f" Speeds below {LEAST_SPEED:g} % of {name} are not shown." if cut else ""
    frame.note(f"{style.interval_note(result)}{below}")
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
    fixed = [arm for arm in point.arms if arm.depth]
    fixed.sort(key=lambda arm: arm.loss.mean if arm.loss and known(arm.loss.mean) else math.inf)
    best = [arm.name for arm in fixed[:1]]
    others = [line.name for line in point.timeline]
    names = dict.fromkeys([point.best, "off", *best, *policies, *others])
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
    looks = _looks(result)
    for axes, (field, label) in zip(frame.axes, panels, strict=True):
        style.panel_title(axes, label)
        for line in shown:
            time, value = numbers(line.time) / 1000, numbers(getattr(line, field))
            every = max(len(time) // STEPS, 1)
            look: JsonDict = {"color": looks[line.name]["color"], "label": line.name}
            axes.plot(time[::every], value[::every], drawstyle="steps-post", linewidth=1, **look)
        axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        if field != "depth":
            axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    frame.name_axes("time (s)", "")
    frame.legend()
    rest = len(traces) - len(shown)
    more = f" {counted(rest, 'more arm', 'are')} not shown." if rest else ""
    frame.note(f"A line ends when the last measured request of its arm is done.{more}")
    return frame.figure


def _drawn_point(points: Sequence[ServedPoint]) -> ServedPoint:
    """The last of the points whose best arm serves the load and meets the goals, else the first."""
    fit = [point for point in points if point.served]
    return fit[-1] if fit else points[0]


def _subtitle(result: ResultDocument, what: str) -> str:
    return style.subtitle_of(replace(result, points=[]), what)


def _heading(result: ResultDocument) -> str:
    """The advice without its numbers in brackets; of groups that differ, what it depends on."""
    keys = [key for key in swept_keys(result) if key not in LOADS]
    choices: dict[float | None, set[str]] = defaultdict(set)
    for _, point in served(result):
        choices[point.load].add(point.best if point.served else "")
    if any(len(names) > 1 for names in choices.values()):
        return f"The best depth depends on {listed(list(short_names(keys).values()))}"
    if len(groups := result.by_load or ()) > 1:
        return f"The best depth at each load is the same at every {listed(keys)} of the sweep"
    first = groups[0].sentence if groups else served(result)[0][1].sentence
    return first.split(". ")[0].split(": ")[0].rstrip(".")
