"""Adaptive policies: gains, where in a sweep adapting pays, one request, reaction to changes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.report.document import (
    Adaptive,
    PointResult,
    PolicyResult,
    ReactionCurve,
    ResultDocument,
    TimelinePolicy,
)
from mtpsim.report.figures import style
from mtpsim.report.figures.sweep import Along, Grid
from mtpsim.report.formatting import indifference, level, numbers, point_label, swept_keys
from mtpsim.report.tables.policies import (
    best_policy,
    bound,
    candidates,
    fixed_name,
    policies_heading,
    verdict,
)

SECOND_DASHES = (0, (8, 2))
"""Dashes of policies for which no colour is left."""
MAX_NAME = 2.0
"""Inches for the name of a policy."""
GAIN = "gain over the best fixed depth (%)"
BOUNDS: dict[str, Any] = {
    "oracle": (0, (5, 2)),
    "filter": (0, (1, 1.3)),
    "clairvoyant": (0, (5, 1.5, 1, 1.5)),
}
"""Dashes of upper bounds by rule."""
BOUND_NOTE = "Grey: upper bounds that use information no engine has. "


def policies_figure(result: ResultDocument) -> Figure:
    """Draw every policy's gain; over a sweep of one or two keys, where adapting pays."""
    keys = swept_keys(result)
    if len(result.points) > 1 and len(keys) == 1:
        return _against_one_key(result, keys[0])
    if len(result.points) > 1 and len(keys) == 2:
        return _map_of_two_keys(result, keys[0], keys[1])
    point, adaptive = _adaptive_points(result)[0]
    return _bars(result, point, adaptive)


def _adaptive_points(result: ResultDocument) -> list[tuple[PointResult, Adaptive]]:
    return [(point, point.adaptive) for point in result.points if point.adaptive]


def _greatest_gain(result: ResultDocument) -> tuple[PointResult, Adaptive]:
    """The point at which adapting gains most."""
    return max(
        _adaptive_points(result),
        key=lambda pair: np.nan_to_num(_gains([best_policy(pair[1])])[0], nan=-100.0),
    )


def _gains(policies: Sequence[PolicyResult | None], end: str = "mean") -> Floats:
    """Gains in percent, ``[N]``; NaN where there is no policy."""
    return 100 * (numbers(getattr(p.gain, end) if p else None for p in policies) - 1)


def _at_point(result: ResultDocument, point: PointResult) -> str:
    label = point_label(result, point)
    return f" · {label}" if label else ""


def _bars(result: ResultDocument, point: PointResult, adaptive: Adaptive) -> Figure:
    """A row per policy: its gain with interval, and the depths it ran at."""
    policies = sorted(adaptive.policies, key=lambda p: p.speedup.mean or 0)
    what = f"gain over the best fixed depth, simultaneous {level(result, [point])} intervals"
    names = [style.fit(policy.name, MAX_NAME, 9) for policy in policies]
    frame = style.Frame(
        verdict(adaptive, indifference(result, point)),
        style.subtitle_of(result, what),
        panels=2,
        size=(8.6, 2.5 + 0.28 * len(policies)),
        left=0.4 + style.longest(names),
    )
    gains, shares = frame.axes
    mean, low, high = (_gains(policies, end) for end in ("mean", "low", "high"))
    for row, policy in enumerate(policies):
        color = style.GREY if policy.knows else style.BLUE if mean[row] > 0 else style.VERMILION
        gains.barh(row, mean[row], color=color, height=0.55, alpha=0.45 if policy.knows else 0.85)
        gains.plot([low[row], high[row]], [row, row], color=style.INK, linewidth=1.2)
        _share_bar(shares, row, policy.depths)
    gains.axvline(0, color=style.INK, linewidth=1)
    gains.set_yticks(range(len(policies)), names, fontsize=9, parse_math=False)
    gains.set_xlabel(f"gain over {fixed_name(adaptive)} (%)", fontsize=10, color=style.INK)
    gains.locator_params(axis="x", nbins=6)
    shares.set_yticks([])
    shares.set_xlim(0, 100)
    shares.set_xlabel("share of rounds (%)", fontsize=10, color=style.INK)
    style.panel_title(shares, "rounds by depth (number in the bar)")
    for axes in frame.axes:
        axes.grid(visible=False)
        axes.set_ylim(-0.6, len(policies) - 0.4)
    frame.note(BOUND_NOTE if any(policy.knows for policy in policies) else "")
    return frame.figure


def _share_bar(axes: Axes, row: int, depths: Sequence[float]) -> None:
    start = 0.0
    for depth, share in enumerate(depths):
        shade = colormaps["Blues"](0.25 + 0.7 * depth / max(len(depths) - 1, 1))
        axes.barh(row, 100 * share, left=start, color=shade if depth else style.PALE, height=0.55)
        if share > 0.08:
            color = style.text_color(shade) if depth else style.INK
            options = {"ha": "center", "va": "center", "fontsize": 8}
            style.write(axes, start + 50 * share, row, str(depth), color=color, **options)
        start += 100 * share


def _against_one_key(result: ResultDocument, key: str) -> Figure:
    """A line per policy: its gain over the best fixed depth, by the swept value."""
    along = Along.of(result, key)
    x, order = along.x, along.order
    frame = style.Frame(policies_heading(result), style.subtitle_of(result, GAIN))
    axes = frame.axes[0]
    drawn: list[Any] = []
    for number, name in enumerate(p.name for p in _adaptive_points(result)[0][1].policies):
        found = [_named(point, name) for point in result.points]
        mean, low, high = (_gains(found, end)[order] for end in ("mean", "low", "high"))
        color, dashes = _line(next(policy for policy in found if policy), number)
        label = style.fit(name, MAX_NAME, 9)
        drawn += axes.plot(
            x[order], mean, color=color, linestyle=dashes, linewidth=1.6, label=label
        )
        axes.fill_between(x[order], low, high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(0, color=style.INK, linewidth=1)
    along.tick(axes)
    frame.name_axes(along.name, GAIN)
    frame.legend(style.by_last_value(drawn))
    bounds = BOUND_NOTE if any(line.get_color() == style.GREY for line in drawn) else ""
    frame.note(f"{bounds}Bands: simultaneous {level(result)} intervals.")
    return frame.figure


def _line(policy: PolicyResult, number: int) -> tuple[str, Any]:
    """Colour and dashes of a policy; upper bounds are grey and differ by their dashes."""
    if policy.knows:
        return style.GREY, BOUNDS.get(policy.rule, BOUNDS["oracle"])
    return style.LINES[number % len(style.LINES)], "-" if number < len(
        style.LINES
    ) else SECOND_DASHES


def _named(point: PointResult, name: str) -> PolicyResult | None:
    policies = point.adaptive.policies if point.adaptive else []
    return next((policy for policy in policies if policy.name == name), None)


def _map_of_two_keys(result: ResultDocument, down: str, across: str) -> Figure:
    """Two maps over the swept keys: the gain of the oracle, and that of the fastest policy."""
    grid = Grid.of(result, down, across)
    size = max(2.2 + 1.25 * len(grid.columns), 8.0), max(2.5 + 0.42 * len(grid.rows), 3.8)
    subtitle = style.subtitle_of(result, GAIN)
    frame = style.Frame(policies_heading(result), subtitle, panels=2, size=size, left=grid.left)
    maps = [grid.empty() for _ in range(2)]
    names: dict[tuple[int, int], str] = {}
    for point, adaptive in _adaptive_points(result):
        place, policy = grid.place(point), best_policy(adaptive)
        maps[0][place], maps[1][place] = _gains([bound(adaptive), policy])
        names[place] = policy.name if policy else ""
    top = max(float(np.nanmax(np.abs(maps))), 1e-9)
    norm, colors = TwoSlopeNorm(0, -top, top), colormaps["RdBu"]
    titles = "upper bound: the oracle", "fastest policy"
    for axes, values, text in zip(frame.axes, maps, titles, strict=True):
        style.panel_title(axes, text)
        width = axes.bbox.width / axes.figure.dpi / len(grid.columns) - 0.06
        named = axes is frame.axes[1] and len(grid.columns) <= 6
        cells = {
            place: f"{values[place]:+.1f}" + (f"\n{style.fit(name, width, 7.5)}" if named else "")
            for place, name in names.items()
            if np.isfinite(values[place])
        }
        grid.paint(axes, values, colors, norm, cells, 7.5)
    grid.name_axes(frame)
    return frame.figure


def timeline_figure(result: ResultDocument) -> Figure:
    """One request under every policy: depth as a line, accepted drafts as dots, shaded states."""
    point, adaptive = _greatest_gain(result)
    timeline, names = adaptive.timeline, _fastest(adaptive)
    labels = [style.fit(name, MAX_NAME, 9, bold=True) for name in names]
    unit = "text position" if timeline.clock == "token" else "round"
    what = f"request {timeline.request}: depth (line) and accepted drafts (dots) by {unit}"
    frame = style.Frame(
        _depth_changes(adaptive, names),
        style.subtitle_of(result, what + _at_point(result, point)),
        size=(9.2, 1.9 + 0.72 * len(names)),
        left=max(1.45, 0.35 + style.longest(labels, bold=True)),
    )
    axes, depths = frame.axes[0], len(point.depths)
    hardness = np.array(timeline.hardness)
    height = depths + 0.6  # of a row, in depths
    feet = height * np.arange(len(names))[::-1]
    for name, foot in zip(names, feet, strict=True):
        _draw_request(axes, timeline.policies[name], foot, unit, hardness, depths)
    ticks = axes.set_yticks(feet + (depths - 1) / 2, labels, parse_math=False)
    ticks[0].label1.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.set_ylim(-0.5, len(names) * height - 0.4)
    axes.margins(x=0)
    axes.set_xlabel(unit, fontsize=10, color=style.INK)
    shade = "Shaded: states in which drafts are rejected more often. " if hardness.max() else ""
    sizes = [len(timeline.policies[name].depth) for name in names]
    ends = [_length(timeline.policies[name], unit) for name in names]
    # The others reach the end of the request.
    cut = f" Short strips: the first {max(sizes)} rounds." if min(ends) < 0.99 * max(ends) else ""
    frame.note(
        f"{shade}Each strip: depth 0 at the bottom to depth {depths - 1} at the top; "
        f"the fastest policy first.{cut}"
    )
    return frame.figure


def _length(request: TimelinePolicy, unit: str) -> int:
    """How far the strip of a policy reaches, in rounds or text positions."""
    return len(request.depth) + (sum(request.accepted) if unit == "text position" else 0)


def _depth_changes(adaptive: Adaptive, names: Sequence[str]) -> str:
    """Which policy changes its depth most in the request that is drawn, and which least."""
    drawn = adaptive.timeline.policies
    bounds = {policy.name for policy in adaptive.policies if policy.knows}
    changes = {
        name: int(np.count_nonzero(np.diff(drawn[name].depth)))
        for name in names
        if name not in bounds
    }
    if not any(changes.values()):
        return "No policy changes its depth in this request"
    most, least = max(changes, key=changes.__getitem__), min(changes, key=changes.__getitem__)
    rounds = counted(len(drawn[most].depth), "round")
    text = f"{most} changes its depth {_times(changes[most])} in {rounds}"
    return text if changes[least] == changes[most] else f"{text}, {least} {_times(changes[least])}"


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _fastest(adaptive: Adaptive) -> list[str]:
    """Policies that change the depth, the fastest first; others only where none does."""
    policies = [p for p in adaptive.policies if max(p.depths) < 1] or adaptive.policies
    ordered = sorted(policies, key=lambda p: -(p.speedup.mean or 0))
    return [policy.name for policy in ordered[: style.MAX_PANELS + 4]]


def _draw_request(
    axes: Axes, request: TimelinePolicy, foot: float, unit: str, hardness: Floats, depths: int
) -> None:
    depth, accepted = np.array(request.depth), np.array(request.accepted)
    hard = hardness[np.minimum(request.state, len(hardness) - 1)]
    length = accepted + 1 if unit == "text position" else np.ones_like(accepted)
    edges = np.concatenate([[0], np.cumsum(length)])
    changes = np.concatenate([[0], np.flatnonzero(np.diff(hard)) + 1, [hard.size]])
    low, high = foot - 0.3, foot + depths - 0.7
    for first, last in pairwise(changes):
        if shade := hard[first]:
            span = [edges[first], edges[last]]
            axes.fill_between(span, low, high, color=style.PALE, alpha=shade, linewidth=0)
    axes.stairs(foot + depth, edges, baseline=None, color=style.BLUE, linewidth=1.2)
    axes.plot(
        (edges[:-1] + edges[1:]) / 2, foot + accepted, ".", color=style.VERMILION, markersize=3.2
    )
    axes.plot([0, edges[-1]], [low, low], color=style.GREY, linewidth=0.4)


def learning_figure(result: ResultDocument) -> Figure | None:
    """Mean depth of every policy around a change of the hidden state; None without changes."""
    point, adaptive = _greatest_gain(result)
    directions = {"harder": "drafts get harder", "easier": "drafts get easier"}
    if not any(_curve(p, way) for p in adaptive.policies for way in directions):
        return None
    what = "mean depth of each policy after a change of the hidden state"
    subtitle = style.subtitle_of(result, what + _at_point(result, point))
    frame = style.Frame(_fastest_reaction(adaptive), subtitle, panels=2, size=(8.0, 4.0))
    drawn: dict[str, Any] = {}
    shown = _reacting(adaptive)
    for axes, (direction, text) in zip(frame.axes, directions.items(), strict=True):
        style.panel_title(axes, text)
        for number, policy in enumerate(shown):
            curve = _curve(policy, direction)
            if curve is None:
                continue
            color, dashes = _line(policy, number)
            (drawn[policy.name],) = axes.plot(
                curve.rounds,
                curve.depth,
                color=color,
                linestyle=dashes,
                linewidth=1.4,
                label=style.fit(policy.name, MAX_NAME, 9),
            )
        axes.axvline(0, color=style.INK, linewidth=1)
        axes.locator_params(axis="x", nbins=6)
    style.share_limits(frame.axes)
    frame.name_axes("rounds since the change", "mean depth")
    frame.legend(style.by_last_value(list(drawn.values())))
    bounds = BOUND_NOTE if any(policy.knows for policy in shown) else ""
    moving = [p.name for p in adaptive.policies if max(p.depths) < 1]
    rest = [name for name in moving if name not in drawn]
    frame.note(bounds + (f"Not drawn: {', '.join(rest)}." if rest else ""))
    return frame.figure


def _curve(policy: PolicyResult, direction: str) -> ReactionCurve | None:
    curve: ReactionCurve | None = getattr(policy.learning, direction, None)
    return curve


def _reacting(adaptive: Adaptive) -> list[PolicyResult]:
    """The fastest policies, as many as there are colours, and the bounds that infer the state."""
    ordered = sorted(candidates(adaptive), key=lambda p: -(p.speedup.mean or 0))[: len(style.LINES)]
    return [*ordered, *(p for p in adaptive.policies if p.rule in ("oracle", "filter"))]


def _fastest_reaction(adaptive: Adaptive) -> str:
    """Which policy completes half of its change first, and from which depth to which it goes.

    Policies that change their depth by less than half as much as another one are left out.
    """
    found = []
    for policy in adaptive.policies:
        curves = [_curve(policy, way) for way in ("harder", "easier")]
        halves = [(curve.half, curve) for curve in curves if curve and curve.half is not None]
        if not policy.knows and len(halves) == 2:
            rounds, curve = max(halves, key=lambda pair: pair[0])
            change = min(abs(one.depth[-1] - one.depth[0]) for _, one in halves)
            found.append((rounds, policy.name, curve, change))
    if not found:
        return "No policy reacts to changes of the hidden state in both directions"
    most = max(change for *_, change in found)
    rounds, name, curve, _ = min((one for one in found if one[3] >= most / 2), key=lambda f: f[:2])
    within = f"within {counted(rounds, 'round')} of" if rounds else "in the round of"
    first, last = curve.depth[0], curve.depth[-1]
    return (
        f"{name} makes half of its depth change ({first:.1f} to {last:.1f}) {within} a change of "
        "the hidden state"
    )
