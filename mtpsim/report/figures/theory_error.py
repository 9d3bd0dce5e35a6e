"""How far the closed form is off: by what was plugged in, by depth, over what was swept."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mtpsim.common.arrays import Floats
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MARKER,
    PALE,
    PURPLE,
    VERMILION,
    Frame,
    depth_ticks,
    error_arms,
    interval_note,
    label_ends,
    label_of,
    longest,
    pitch,
    shades,
    shorten,
    subtitle_of,
    write,
)
from mtpsim.report.figures.sweep import MOST_ROWS
from mtpsim.report.figures.sweep_axes import Along, Grid, ink_on, values_of
from mtpsim.report.formatting import (
    best_depth,
    epsilon,
    fixed,
    known,
    numbers,
    swept_keys,
    tolerance,
    value_text,
)
from mtpsim.report.tables.definitions import NAMES, row_name, worth_showing

COLORS = {
    "stated": INK,
    "conditional": BLUE,
    "survival": VERMILION,
    "pooled": PURPLE,
    "first": GREEN,
}
DASHES: dict[str | None, Any] = {
    None: "-",
    "round-pooled": "-",
    "request-mean": (0, (5, 2)),
    "every-position": (0, (1, 1.5)),
}
OFF = {0: "off", None: ""}  # the closed form has no say there
Y_NAME = "error of the predicted speedup (%)"


def theory_figure(result: ResultDocument) -> Figure:
    """Draw the relative error of the closed form with its intervals and the tolerance.

    One point shows every way to measure the rates, by depth. A sweep shows the way that was chosen
    against what was swept.
    """
    if len(result["points"]) == 1:
        return _one_point(result)
    keys = swept_keys(result)
    if len(keys) == 1:
        return _against_one_key(result, keys[0])
    if len(keys) == 2 and _fills_a_grid(result, keys):
        return _map_of_two_keys(result, keys[0], keys[1])
    return _list_of_points(result)


def _within(result: ResultDocument, points: list[PointResult]) -> Floats:
    """Errors in percent within which the theory holds at points."""
    return 100 * numbers(epsilon(result, point) for point in points)


def chosen_row(point: PointResult) -> Any:
    """The row of the trial that the experiment asks for."""
    rows: list[Any] = point["trial"]["rows"]
    return next(row for row in rows if row["chosen"])


def _errors(row: Any) -> tuple[Floats, Floats]:
    """Errors in percent ``[K]`` and their arms ``[2, K]``."""
    cells = [entry["speedup_error"] for entry in row["depths"]]
    mean, low, high = (100 * numbers(c[f] for c in cells) for f in ("mean", "low", "high"))
    return mean, error_arms(mean, low, high)


def _heading(points: list[PointResult]) -> str:
    """State the worst error of what was plugged in."""
    cells = [(d["theory_error"], d["depth"]) for p in points for d in p["depths"][1:]]
    failed = [(c["mean"], k) for c, k in cells if c and c.get("verdict") == "fails"]
    if failed:
        error, depth = max(failed, key=lambda pair: abs(pair[0]))
        much = "too much" if error > 0 else "too little"
        return f"The closed form promises {100 * abs(error):.3g} % {much} at depth {depth}"
    if any(c and c.get("verdict") == "undecided" for c, _ in cells):
        return "No error of the closed form is sure, but not all are sure to be small"
    return "The closed form holds at every depth" + (", at every point" if len(points) > 1 else "")


def _plugged(point: PointResult) -> str:
    row = chosen_row(point)
    if row["definition"] == "stated":
        return "plugged in: the rates of the file"
    weighting = row["weighting"].replace("-", " ")
    at = point["trial"]["measured_at"]
    return f"plugged in: {NAMES[row['definition']]} rates of depth {at}, {weighting}"


def _grey(result: ResultDocument) -> str:
    return f"Grey: within {tolerance(result)}, where the theory holds."


def _shade(axes: Axes, result: ResultDocument, along: Along | None = None) -> None:
    """Shade where the theory holds: at each point, where the sweep moves that."""
    within = _within(result, result["points"])
    shade: dict[str, Any] = {"color": PALE, "alpha": 0.6, "zorder": 0, "linewidth": 0}
    if along is None or (within == within[0]).all():
        axes.axhspan(-within[0], within[0], **shade)
    else:
        x, ends = along.x[along.order], within[along.order]
        axes.fill_between(x, -ends, ends, **shade)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)


def _one_point(result: ResultDocument) -> Figure:
    point = result["points"][0]
    rows = worth_showing(point["trial"])
    lines = sum(row_name(row).count(",") + 1 for row in rows)
    frame = Frame(
        _heading([point]),
        subtitle_of(result, _plugged(point)),
        size=(8.0, max(4.5, 1.9 + 0.185 * lines)),
        right=2.15,
    )
    axes = frame.axes[0]
    labels, arms = [], []
    for row in rows:
        mean, arm = _errors(row)
        depths = [entry["depth"] for entry in row["depths"]]
        color = COLORS[row["definition"]]
        axes.errorbar(
            depths,
            mean,
            arm,
            color=color,
            linestyle=DASHES[row["weighting"]],
            linewidth=2.6 if row["chosen"] else 1.2,
            marker="o",
            markersize=MARKER if row["chosen"] else 3.5,
            capsize=2,
            zorder=3 if row["chosen"] else 2,
        )
        labels.append((mean[-1], row_name(row).replace(", ", ",\n"), color))
        arms.append(arm)
    _shade(axes, result)
    depth_ticks(axes, 1, len(point["depths"]) - 1)
    axes.margins(y=0.08)
    label_ends(axes, labels)
    frame.name_axes("depth (drafts a round)", Y_NAME)
    frame.note(
        f"Thick: what was plugged in. {_grey(result)} "
        f"{interval_note(result, axes, np.concatenate(arms, axis=1))}"
    )
    return frame.figure


def _against_one_key(result: ResultDocument, key: str) -> Figure:
    points, along = result["points"], Along.of(result, key)
    x, order = along.x, along.order
    subtitle = subtitle_of(result, "the chosen way to measure rates, a line a depth")
    frame = Frame(_heading(points), subtitle, right=0.95)
    axes = frame.axes[0]
    deepest = max(len(point["depths"]) for point in points) - 1
    labels, all_arms = [], []
    for depth, color in enumerate(shades(deepest), 1):
        cells = [_theory_error(point, depth) for point in points]
        mean, low, high = (100 * numbers(c.get(f) for c in cells) for f in ("mean", "low", "high"))
        arms = error_arms(mean, low, high)
        axes.errorbar(
            x[order], mean[order], arms[:, order], color=color, marker="o", markersize=4, capsize=2
        )
        labels.append((mean[order[-1]], f"depth {depth}", color))
        all_arms.append(arms)
    _shade(axes, result, along)
    along.tick(axes)
    label_ends(axes, labels)
    frame.name_axes(along.name, Y_NAME)
    frame.note(f"{_grey(result)} {interval_note(result, axes, np.concatenate(all_arms, axis=1))}")
    return frame.figure


def _theory_error(point: PointResult, depth: int | None) -> Any:
    if depth is None or depth >= len(point["depths"]):
        return {}
    found: Any = point["depths"][depth]["theory_error"] or {}
    return found


def _fills_a_grid(result: ResultDocument, keys: list[str]) -> bool:
    """Whether the two keys cross (those that go in step are a list of points)."""
    sizes = [len({value_text(v) for v in values_of(result, key)}) for key in keys]
    return len(result["points"]) == sizes[0] * sizes[1]


def _map_of_two_keys(result: ResultDocument, down: str, across: str) -> Figure:
    grid = Grid.of(result, down, across)
    rows, columns = grid.rows, grid.columns
    error, marks = grid.empty(), {}
    for point in result["points"]:
        place = grid.place(point)
        depth = best_depth(point)
        cell = _theory_error(point, depth)
        error[place] = numbers([cell.get("mean")])[0] * 100
        told = f"{fixed(error[place], 2)}\n{cell.get('verdict') or ''}, d{depth}"
        marks[place] = told if depth else OFF[depth]
    size = (min(2.6 + 1.0 * len(columns), 11), min(2.3 + 0.62 * len(rows), 9))
    frame = Frame(
        _heading(result["points"]),
        subtitle_of(result, "error of the closed form at the best depth (%)"),
        size=(max(size[0], 7.2), max(size[1], 3.6)),
        left=grid.left,
    )
    axes = frame.axes[0]
    least = 4 * _within(result, result["points"]).max()  # what is within the tolerance stays pale
    reach = max(float(np.nanmax(np.abs(error), initial=0)), least)
    colors, norm = colormaps["RdBu_r"], Normalize(-1.3 * reach, 1.3 * reach)
    grid.paint(axes, error, colors, norm)
    if len(rows) <= 12 and len(columns) <= 9:
        for (row, col), text in marks.items():
            ink = ink_on(colors(norm(np.nan_to_num(error[row, col]))))
            write(axes, col, row, text, color=ink, ha="center", va="center", fontsize=8.5)
    off = "; off: plain decoding is" * (OFF[0] in marks.values())
    frame.note(f"Red: promises too much; blue: too little. d2: depth 2 is the fastest{off}.")
    grid.name_axes(frame)
    return frame.figure


def _list_of_points(result: ResultDocument) -> Figure:
    points = result["points"][:MOST_ROWS]
    names = [shorten(label_of(result, n), 48) for n in range(len(points))]
    left = 0.4 + 0.075 * max(len(name) for name in names)
    frame = Frame(
        _heading(result["points"]),
        subtitle_of(result, "error of the closed form at the best depth of each point"),
        size=(left + 5, 1.9 + 0.26 * len(points)),
        left=left,
    )
    axes = frame.axes[0]
    axes.grid(visible=False)
    for row, within in enumerate(_within(result, points)):
        band = [row - 0.5, row + 0.5]
        axes.fill_betweenx(band, -within, within, color=PALE, alpha=0.6, zorder=0, linewidth=0)
    for row, point in enumerate(points):
        depth = best_depth(point)
        cell = _theory_error(point, depth)
        if not depth:
            write(axes, 0, row, OFF[depth], va="center", ha="center", fontsize=8)
        if not known(cell.get("mean")):
            continue
        mean, low, high = (100 * float(cell[field]) for field in ("mean", "low", "high"))
        arms = error_arms(np.array([mean]), np.array([low]), np.array([high]))
        axes.errorbar(mean, row, xerr=arms, fmt="o", color=BLUE, markersize=MARKER)
        note = f"  depth {depth}, {cell.get('verdict') or ''}"
        write(axes, high, row, note, va="center", fontsize=8)
    axes.set_yticks(range(len(points)), names, fontsize=8.5)
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    room = (0.1 + longest([text.get_text() for text in axes.texts], 8)) * pitch(axes) ** -1
    axes.set_xlim(low, high + room * (high - low) / (high - low - room))
    frame.name_axes(Y_NAME, "")
    rest = len(points) < len(result["points"])
    part = f"The first {len(points)} of {len(result['points'])} points. " if rest else ""
    frame.note(f"{part}{_grey(result)}")
    return frame.figure
