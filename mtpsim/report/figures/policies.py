"""Adaptive policies: what each gains, where in a sweep adapting pays, and what one request saw."""

from __future__ import annotations

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
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    GREY,
    INK,
    LINES,
    MOST_PANELS,
    PALE,
    VERMILION,
    WIDTH,
    Frame,
    fit,
    height_for,
    label_ends,
    longest,
    panel_title,
    pitch,
    share_limits,
    subtitle_of,
    write,
)
from mtpsim.report.figures.sweep_axes import Along, Grid, ink_on
from mtpsim.report.formatting import (
    level,
    point_label,
    swept_keys,
)
from mtpsim.report.tables.policies import best_policy, bound, candidates, fixed_name, verdict

SECOND = (0, (8, 2))
"""Dashes of policies for which no colour is left."""
NAME_ROOM = 2.0
"""Inches for the name of a policy."""
GAIN = "gain over the best fixed depth, %"
DASHES: dict[str, tuple[str, Any]] = {
    "oracle": ("dashed", (0, (5, 2))),
    "filter": ("dotted", (0, (1, 1.3))),
    "clairvoyant": ("dash and dot", (0, (5, 1.5, 1, 1.5))),
}
"""Bounds by rule: what their line is called, and its style."""


def policies_figure(result: ResultDocument) -> Figure:
    """Draw every policy's gain; over a sweep of one or two keys, where adapting pays."""
    keys = swept_keys(result)
    if len(result["points"]) > 1 and len(keys) == 1:
        return _against_one_key(result, keys[0])
    if len(result["points"]) > 1 and len(keys) == 2:
        return _map_of_two_keys(result, keys[0], keys[1])
    return _bars(result, _adaptive_points(result)[0])


def _adaptive_points(result: ResultDocument) -> list[Any]:
    return [point for point in result["points"] if point.get("adaptive")]


def _most_worth(result: ResultDocument) -> Any:
    """The point at which adapting gains most: there is something to be seen."""
    points = _adaptive_points(result)
    return max(points, key=lambda p: np.nan_to_num(_gain(best_policy(p["adaptive"])), nan=-100.0))


def _where(result: ResultDocument, point: PointResult) -> str:
    label = point_label(result, point)
    return f" · {label}" if label else ""


def _gain(policy: Any | None, end: str = "mean") -> float:
    return 100 * (policy["gain"][end] - 1) if policy else np.nan


def _bars(result: ResultDocument, point: PointResult) -> Figure:
    """A row a policy: its gain with interval, and the depths it ran at."""
    adaptive = point["adaptive"]
    policies = sorted(adaptive["policies"], key=lambda p: p["speedup"]["mean"])
    what = (
        f"gain over the best fixed depth with {level(result, [point])} intervals that hold together"
    )
    names = [fit(p["name"], NAME_ROOM, 9) for p in policies]
    frame = Frame(
        verdict(adaptive),
        subtitle_of(result, what),
        panels=2,
        size=(8.6, 2.4 + 0.28 * len(policies)),
        left=0.4 + longest(names),
    )
    gains, shares = frame.axes
    rows = range(len(policies))
    for row, policy in zip(rows, policies, strict=True):
        mean, low, high = (_gain(policy, end) for end in ("mean", "low", "high"))
        color = GREY if policy["knows"] else BLUE if mean > 0 else VERMILION
        gains.barh(row, mean, color=color, height=0.55, alpha=0.85 if not policy["knows"] else 0.45)
        gains.plot([low, high], [row, row], color=INK, linewidth=1.2)
        _share_bar(shares, row, policy["depths"])
    gains.axvline(0, color=INK, linewidth=1)
    gains.set_yticks(rows, names, fontsize=9, parse_math=False)
    gains.set_xlabel(f"gain over {fixed_name(adaptive)}, %", fontsize=10, color=INK)
    gains.locator_params(axis="x", nbins=6)
    shares.set_yticks([])
    shares.set_xlim(0, 100)
    shares.set_xlabel("rounds at each depth, %", fontsize=10, color=INK)
    for axes in frame.axes:
        axes.grid(visible=False)
        axes.set_ylim(-0.6, len(policies) - 0.4)
    _depth_legend(shares, len(policies[0]["depths"]))
    if any(p["knows"] for p in policies):
        frame.note("Grey bars are bounds: they know what no engine knows.")
    return frame.figure


def _depth_color(depth: int, depths: int) -> Any:
    return PALE if depth == 0 else colormaps["Blues"](0.25 + 0.7 * depth / max(depths - 1, 1))


def _share_bar(axes: Axes, row: int, depths: Sequence[float]) -> None:
    start = 0.0
    for depth, share in enumerate(depths):
        color = _depth_color(depth, len(depths))
        axes.barh(row, 100 * share, left=start, color=color, height=0.55)
        if share > 0.08:
            ink = INK if depth == 0 else ink_on(color)
            place = start + 50 * share
            write(axes, place, row, str(depth), color=ink, ha="center", va="center", fontsize=8)
        start += 100 * share


def _depth_legend(axes: Axes, depths: int) -> None:
    panel_title(axes, "number: depth, 0 is off" if depths > 1 else "")


def _against_one_key(result: ResultDocument, key: str) -> Figure:
    """A line a policy: its gain over the best fixed depth, by the swept value."""
    along = Along.of(result, key)
    x, order = along.x, along.order
    policies = [p["name"] for p in _adaptive_points(result)[0]["adaptive"]["policies"]]
    names = [fit(policy, NAME_ROOM, 9) for policy in policies]
    right = 0.3 + longest([*names, f"{names[-1]} (dashed)"])
    size = max(WIDTH, right + 5.1), height_for(names)
    frame = Frame(_sweep_heading(result), subtitle_of(result, GAIN), size=size, right=right)
    axes = frame.axes[0]
    labels = []
    for number, policy in enumerate(policies):
        found = [_named(point, policy) for point in result["points"]]
        mean = np.array([_gain(entry) for entry in found])
        ends = np.array([[_gain(entry, end) for entry in found] for end in ("low", "high")])
        color, style = _line(next(entry for entry in found if entry), number)
        axes.plot(x[order], mean[order], color=color, linestyle=style, linewidth=1.6)
        axes.fill_between(x[order], *ends[:, order], color=color, alpha=0.15, linewidth=0)
        name = names[number] if style != SECOND else f"{names[number]} (dashed)"
        labels.append((mean[order[-1]], name, color))
    axes.axhline(0, color=INK, linewidth=1)
    along.tick(axes)
    label_ends(axes, labels)
    frame.name_axes(along.name, GAIN)
    bands = f"Bands: {level(result)} intervals that hold together."
    frame.note(f"{_bounds(_adaptive_points(result)[0]['adaptive'])}{bands}")
    return frame.figure


def _line(policy: Any, number: int) -> tuple[str, Any]:
    """Colour and style: policies by colour, bounds that know too much grey and by their dashes."""
    if policy["knows"]:
        return GREY, DASHES.get(policy["rule"], DASHES["oracle"])[1]
    return LINES[number % len(LINES)], "-" if number < len(LINES) else SECOND


def _bounds(adaptive: Any, shown: Sequence[str] | None = None) -> str:
    """What the grey lines are; nothing where there are none."""
    told = [
        f"{policy['name']} {DASHES[policy['rule']][0]}"
        for policy in adaptive["policies"]
        if policy["rule"] in DASHES and (shown is None or policy["name"] in shown)
    ]
    return f"Grey: bounds that know what no engine knows ({', '.join(told)}). " if told else ""


def _named(point: PointResult, policy: str) -> Any | None:
    entries = (point.get("adaptive") or {}).get("policies", [])
    return next((entry for entry in entries if entry["name"] == policy), None)


def _sweep_heading(result: ResultDocument) -> str:
    points = _adaptive_points(result)
    best = [best_policy(point["adaptive"]) for point in points]
    paying = sum(policy is not None and policy["gain"]["verdict"] == "faster" for policy in best)
    if not paying:
        return f"Adapting pays at none of {len(points)} points"
    top = max(_gain(policy) for policy in best if policy)
    return f"Adapting pays at {paying} of {len(points)} points, by up to {top:.2g} %"


def _map_of_two_keys(result: ResultDocument, down: str, across: str) -> Figure:
    """Two maps over the swept keys: the room that the oracle has, and what is got of it."""
    grid = Grid.of(result, down, across)
    rows, columns = grid.rows, grid.columns
    size = (max(2.2 + 1.25 * len(columns), 8.0), max(2.4 + 0.42 * len(rows), 3.8))
    subtitle = subtitle_of(result, GAIN)
    frame = Frame(_sweep_heading(result), subtitle, panels=2, size=size, left=grid.left)
    maps = [grid.empty() for _ in range(2)]
    labels: dict[tuple[int, int], str] = {}
    for point in _adaptive_points(result):
        place = grid.place(point)
        policy = best_policy(point["adaptive"])
        maps[0][place], maps[1][place] = _gain(bound(point["adaptive"])), _gain(policy)
        labels[place] = policy["name"] if policy else ""
    top = max(float(np.nanmax(np.abs(maps))), 1e-9)
    norm, colors = TwoSlopeNorm(0, -top, top), colormaps["RdBu"]
    titles = "an oracle that knows the state", "the fastest policy of those compared"
    for axes, values, text in zip(frame.axes, maps, titles, strict=True):
        grid.paint(axes, values, colors, norm)
        panel_title(axes, text)
        for place in labels:
            value = values[place]
            cell = f"{value:+.1f}" if np.isfinite(value) else ""
            if axes is frame.axes[1] and len(columns) <= 6:
                cell += f"\n{fit(labels[place], pitch(axes) - 0.06, 7.5)}"
            ink = ink_on(colors(norm(value))) if np.isfinite(value) else INK
            write(axes, place[1], place[0], cell, color=ink, ha="center", va="center", fontsize=7.5)
    frame.axes[1].set_yticks([])
    grid.name_axes(frame)
    return frame.figure


def timeline_figure(result: ResultDocument) -> Figure:
    """One request under every policy: depth as a line, accepted drafts as dots, state behind."""
    point = _most_worth(result)
    line = point["adaptive"]["timeline"]
    names = _worth_showing(point["adaptive"])
    told = [fit(name, NAME_ROOM, 9, bold=True) for name in names]
    unit = "text position" if line["clock"] == "token" else "round"
    what = f"request {line['request']}: depth (line), accepted drafts (dots), by {unit}"
    what += _where(result, point)
    height = 1.75 + 0.72 * len(names)
    frame = Frame(
        _busiest(point["adaptive"], names),
        subtitle_of(result, what),
        size=(9.2, height),
        right=0.2,
        left=max(1.45, 0.35 + longest(told)),
    )
    host = frame.axes[0]
    depths = len(point["depths"])
    hardness = np.array(line["hardness"])
    lift = depths + 0.6  # rows of the picture, one above the other
    for row, (name, label) in enumerate(zip(names[::-1], told[::-1], strict=True)):
        _draw_request(host, line["policies"][name], row * lift, unit, hardness, depths)
        bold = "bold" if name == names[0] else "normal"
        host.text(
            *(-0.012, row * lift + (depths - 1) / 2, label),
            transform=host.get_yaxis_transform(),
            ha="right", va="center", fontsize=9, color=INK, fontweight=bold, parse_math=False,
        )  # fmt: skip
    host.set_yticks([])
    host.grid(visible=False)
    host.set_ylim(-0.5, len(names) * lift - 0.4)
    host.margins(x=0)
    host.set_xlabel(unit, fontsize=10, color=INK)
    shade = "Shaded: states in which drafts are rejected more often. " if hardness.max() else ""
    strip = f"Each strip runs from depth 0 at its foot to depth {depths - 1}, the fastest on top."
    frame.note(f"{shade}{strip}")
    return frame.figure


def _busiest(adaptive: Any, names: Sequence[str]) -> str:
    """Who changes its depth most in the request that is drawn, and who least."""
    drawn = adaptive["timeline"]["policies"]
    knows = {policy["name"] for policy in adaptive["policies"] if policy["knows"]}
    turns = {
        name: int(np.count_nonzero(np.diff(drawn[name]["depth"])))
        for name in names
        if name not in knows
    }
    if not any(turns.values()):
        return "No policy changes its depth in this request"
    most, least = max(turns, key=turns.__getitem__), min(turns, key=turns.__getitem__)
    rounds = len(drawn[most]["depth"])
    text = f"{most} changes its depth {_times(turns[most])} in {counted(rounds, 'round')}"
    return text if turns[least] == turns[most] else f"{text}, {least} {_times(turns[least])}"


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _worth_showing(adaptive: Any) -> list[str]:
    """The best fixed depth is a flat line: policies that change the depth, the fastest first."""
    policies = [p for p in adaptive["policies"] if max(p["depths"]) < 1] or adaptive["policies"]
    ordered = sorted(policies, key=lambda p: -p["speedup"]["mean"])
    return [p["name"] for p in ordered[: MOST_PANELS + 4]]


def _draw_request(
    axes: Axes, request: Any, foot: float, unit: str, hardness: Floats, depths: int
) -> None:
    depth, accepted = np.array(request["depth"]), np.array(request["accepted"])
    hard = hardness[np.minimum(request["state"], len(hardness) - 1)]
    length = accepted + 1 if unit == "text position" else np.ones_like(accepted)
    edges = np.concatenate([[0], np.cumsum(length)])
    turns = np.concatenate([[0], np.flatnonzero(np.diff(hard)) + 1, [hard.size]])
    for first, last in pairwise(turns):
        start, end, shade = edges[first], edges[last], hard[first]
        if shade:
            axes.fill_between(
                [start, end], foot - 0.3, foot + depths - 0.7,
                color=PALE, alpha=shade, linewidth=0,
            )  # fmt: skip
    axes.stairs(foot + depth, edges, baseline=None, color=BLUE, linewidth=1.2)
    axes.plot((edges[:-1] + edges[1:]) / 2, foot + accepted, ".", color=VERMILION, markersize=3.2)
    axes.plot([0, edges[-1]], [foot - 0.3] * 2, color=GREY, linewidth=0.4)


def learning_figure(result: ResultDocument) -> Figure | None:
    """Mean depth of every policy around a change of the text; None where nothing changes."""
    point = _most_worth(result)
    if not _learns(point):
        return None
    what = "mean depth of each policy by rounds since the change" + _where(result, point)
    shown = _learners(point["adaptive"])
    names = [fit(name, NAME_ROOM, 9) for name in shown]
    right = 0.3 + longest(names)
    size = 6.6 + right, height_for(names, 3.95)
    frame = Frame(
        _fastest_learner(point), subtitle_of(result, what), panels=2, size=size, right=right
    )
    titles = {"harder": "the text gets harder", "easier": "the text gets easier"}
    for axes, (direction, text) in zip(frame.axes, titles.items(), strict=True):
        panel_title(axes, text)
        labels = []
        for number, name in enumerate(shown):
            entry = _named(point, name)
            curve = ((entry or {}).get("learning") or {}).get(direction)
            if not entry or not curve:
                continue
            color, style = _line(entry, number)
            axes.plot(curve["rounds"], curve["depth"], color=color, linestyle=style, linewidth=1.4)
            labels.append((curve["depth"][-1], names[number], color))
        axes.axvline(0, color=INK, linewidth=1)
        axes.locator_params(axis="x", nbins=6)
    share_limits(frame.axes, "y")
    label_ends(frame.axes[-1], labels)
    frame.name_axes("rounds since the change", "mean depth")
    frame.note(_bounds(point["adaptive"], shown))
    return frame.figure


def _learners(adaptive: Any) -> list[str]:
    """The fastest policies, as many as there are colours, and who knows the state or the chain."""
    ordered = sorted(candidates(adaptive), key=lambda p: -p["speedup"]["mean"])[: len(LINES)]
    bounds = [p for p in adaptive["policies"] if p["rule"] in ("oracle", "filter")]
    return [p["name"] for p in [*ordered, *bounds]]


def _learns(point: PointResult) -> bool:
    curves = [(p.get("learning") or {}) for p in point["adaptive"]["policies"]]
    return any(curve.get("harder") or curve.get("easier") for curve in curves)


def _fastest_learner(point: PointResult) -> str:
    found = []
    for policy in point["adaptive"]["policies"]:
        halves: list[Any] = [
            ((policy.get("learning") or {}).get(way) or {}).get("half")
            for way in ("harder", "easier")
        ]
        if not policy["knows"] and all(half is not None for half in halves):
            found.append((max(halves), policy["name"]))
    if not found:
        return "No policy follows the text both ways"
    rounds, name = min(found)
    if rounds == 0:
        return f"{name} follows a change of the text at once, either way"
    return f"{name} is half-way to its new depth within {counted(rounds, 'round')}, either way"
