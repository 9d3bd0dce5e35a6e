"""A page of pictures: the log against each model that was fitted to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.fit.model import Fitted
from mtpsim.fit.replicas import LAGS, Features
from mtpsim.fit.round_times import Times
from mtpsim.report.figures.style import GREY, INK, LINES, MARKER, Frame, panel_title, write

SHOWN = 4  # models drawn: the chosen one, then the best of each other kind


def fit_page(fitted: Fitted) -> Figure:
    """Rates, histogram, correlation and spread of the log, over what the models show."""
    assert fitted.selection is not None
    assert fitted.features is not None
    log = fitted.log
    chosen = fitted.selection.chosen.name
    wrong = [c.name for c in fitted.goodness[chosen].checks if not c.fits]
    heading = f"{chosen} explains the log best" + (f", but for its {wrong[0]}" if wrong else "")
    frame = Frame(
        heading,
        f"{log.count:,} {log.unit}s ({log.engine}) · points: the log; lines: replicas of each "
        "model",
        panels=4 if fitted.ordered else 3,
    )
    models = {name: fitted.goodness[name].mean for name in _shown(fitted)}
    colors = dict(zip(models, LINES, strict=False))
    _rates(frame.axes[0], fitted, models, colors)
    _histogram(frame.axes[1], fitted.features, models, colors)
    _spread(frame.axes[2], fitted, colors)
    if fitted.ordered:
        _correlation(frame.axes[3], fitted.features, models, colors)
    _name_lines(frame.figure, frame.axes[0])
    return frame.figure


def _shown(fitted: Fitted) -> list[str]:
    """The chosen model, and the best of each other family."""
    assert fitted.selection is not None
    order = sorted(fitted.selection.trials, key=lambda trial: (trial.behind, trial.whole.bic))
    found = [fitted.selection.chosen.name]
    for trial in order:
        if _family(trial.name) not in {_family(name) for name in found}:
            found.append(trial.name)
    return found[:SHOWN]


def _family(name: str) -> str:
    return name.split("-")[0].rstrip("23")


def _rates(axes: Axes, fitted: Fitted, models: dict[str, Features], colors: dict[str, str]) -> None:
    panel_title(axes, "P(draft j accepted | reached)")
    rates, j = fitted.rates, np.arange(1, fitted.log.depth + 1)
    for name, features in models.items():
        axes.plot(j, features.rates, color=colors[name], linewidth=1.4, label=name)
    arms = np.clip([rates.values - rates.low, rates.high - rates.values], 0, None)
    axes.errorbar(j, rates.values, arms, fmt="o", color=INK, markersize=MARKER * 0.8, capsize=2)
    axes.set_xlabel("draft position j", fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _name_lines(figure: Figure, axes: Axes) -> None:
    """Name the models at the foot, where no line is; ``axes`` has one of each."""
    style: dict[str, Any] = {"fontsize": 8.5, "frameon": False, "labelcolor": "linecolor"}
    figure.legend(*axes.get_legend_handles_labels(), loc="lower left", ncols=SHOWN, **style)


def _histogram(
    axes: Axes, log: Features, models: dict[str, Features], colors: dict[str, str]
) -> None:
    panel_title(axes, "share of rounds by accepted drafts")
    a = np.arange(log.histogram.size)
    axes.bar(a, log.histogram, color="#D9D9D9", width=0.9)
    width = 0.8 / max(len(models), 1)
    for number, (name, features) in enumerate(models.items()):
        at = a + (number - (len(models) - 1) / 2) * width
        axes.plot(at, features.histogram, "_", color=colors[name], markersize=9, mew=2)
    axes.set_xlabel("accepted drafts (bars: the log)", fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _spread(axes: Axes, fitted: Fitted, colors: dict[str, str]) -> None:
    panel_title(axes, f"sd of accept length over {fitted.log.unit}s")
    checks = {
        name: next(c for c in fitted.goodness[name].checks if c.name.startswith("spread"))
        for name in colors
    }
    top = 1.12 * max(max(c.high, c.log) for c in checks.values()) or 1
    for row, (name, check) in enumerate(checks.items()):
        axes.plot([check.low, check.high], [row, row], color=colors[name], linewidth=4)
        axes.plot(check.mean, row, "|", color=colors[name], markersize=14, mew=2)
        axes.axvline(check.log, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        # Names stand where the dashed line isn't.
        side, place = ("left", 0.02 * top) if check.log > top / 2 else ("right", 0.98 * top)
        write(axes, place, row - 0.17, name, color=colors[name], ha=side, va="bottom")
    axes.set_yticks([])
    axes.set_ylim(len(checks) - 0.4, -0.6)
    axes.set_xlim(0, top)
    axes.grid(visible=False)
    axes.set_xlabel("dashed: the log; bars: range of the replicas", fontsize=9, color=INK)


def _correlation(
    axes: Axes, log: Features, models: dict[str, Features], colors: dict[str, str]
) -> None:
    panel_title(axes, "correlation of rounds of a request")
    lags = np.arange(1, LAGS + 1)
    for name, features in models.items():
        axes.plot(lags, features.autocorrelation, color=colors[name], linewidth=1.4)
    axes.plot(lags, log.autocorrelation, "o", color=INK, markersize=MARKER * 0.8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("rounds apart", fontsize=9, color=INK)


def times_figure(times: Times) -> Figure:
    """Measured round times over the laws that were fitted to them."""
    best = times.laws[0]
    verdict = (
        f"{best.name} noise describes round times to {100 * best.distance:.1f} points"
        if times.described
        else f"No law describes round times: {best.name} is off by {100 * best.distance:.0f} points"
    )
    frame = Frame(
        verdict[0].upper() + verdict[1:],
        f"{counted(times.samples.size, 'round')}, mean {times.samples.mean():.2f} ms · grey: "
        "measured; lines: fitted laws",
    )
    axes = frame.axes[0]
    ratio = times.samples / times.samples.mean()
    low, high = np.quantile(ratio, [0.0005, 0.9985])
    edges = np.linspace(low, high, 60)
    axes.hist(ratio, edges.tolist(), density=True, color="#D9D9D9")
    middle: Floats = (edges[1:] + edges[:-1]) / 2
    top = axes.get_ylim()[1] * 1.15
    for number, law in enumerate(times.laws):
        density = np.diff(law.cumulated(edges)) / np.diff(edges)
        width, color = 1.2 if number else 2.0, LINES[number % len(LINES)]
        axes.plot(
            middle, np.minimum(density, 2 * top), color=color, linewidth=width, label=law.name
        )
    axes.set_ylim(0, top)
    axes.legend(fontsize=9, frameon=False, labelcolor="linecolor")
    frame.name_axes("time of a round over its mean", "density")
    return frame.figure
