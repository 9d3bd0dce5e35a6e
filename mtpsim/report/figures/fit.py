"""Figures of a fit: log and models, round times and noise, step times and cost model."""

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from mtpsim.common.arrays import Floats
from mtpsim.common.special import ndtri
from mtpsim.common.text import counted
from mtpsim.fit.confidence import CALIBRATION_BINS, Pairs, Quality, reliability
from mtpsim.fit.model import LogFit
from mtpsim.fit.model_selection import Selection
from mtpsim.fit.replicas import LAGS, Features
from mtpsim.fit.round_times import RoundTimes
from mtpsim.fit.step_times import CostModelFit, StepTimes, predict
from mtpsim.report.figures import style

MAX_MODELS = 4  # drawn: the selected one, then the best of each other family
LEVEL = 0.95


def fit_page(fit: LogFit) -> Figure:
    """Draw rates, histogram, spread and correlation of the log and of replicas of the models."""
    assert fit.selection is not None
    assert fit.features is not None
    log = fit.log
    chosen = fit.selection.chosen.name
    failed = fit.goodness[chosen].failed
    frame = style.Frame(
        f"Selected: {chosen}" + (f" (misfit: {failed[0].name})" if failed else ""),
        f"{log.count:,} {log.unit}s ({log.engine}) · points: log; lines: replicas of each model",
        panels=4 if fit.ordered else 3,
    )
    models = {name: fit.goodness[name].mean for name in _shown(fit.selection)}
    colors = dict(zip(models, style.LINES, strict=False))
    _rates(frame.axes[0], fit, models, colors)
    _histogram(frame.axes[1], fit.features, models, colors)
    _spread(frame.axes[2], fit, colors)
    if fit.ordered:
        _correlation(frame.axes[3], fit.features, models, colors)
    # A legend at the foot, of the first panel, which has a line per model.
    options: dict[str, Any] = {"fontsize": 8.5, "frameon": False, "labelcolor": "linecolor"}
    handles, labels = frame.axes[0].get_legend_handles_labels()
    options |= {"bbox_to_anchor": (frame.axes[0].get_position().x0, 0.0), "borderaxespad": 0.5}
    frame.figure.legend(handles, labels, loc="lower left", ncols=MAX_MODELS, **options)
    return frame.figure


def _shown(selection: Selection) -> list[str]:
    """Return the names of the selected model and of the best of each other family."""
    found = [selection.chosen.name]
    for fit in sorted(selection.fits, key=lambda fit: (fit.behind, fit.refit.bic)):
        if _family(fit.name) not in {_family(name) for name in found}:
            found.append(fit.name)
    return found[:MAX_MODELS]


def _family(name: str) -> str:
    return name.split("-")[0].rstrip("23")


def _rates(axes: Axes, fit: LogFit, models: dict[str, Features], colors: dict[str, str]) -> None:
    style.panel_title(axes, "P(draft j accepted | reached)")
    rates, j = fit.rates, np.arange(1, fit.log.depth + 1)
    for name, features in models.items():
        axes.plot(j, features.rates, color=colors[name], linewidth=1.4, label=name)
    arms = np.clip([rates.values - rates.low, rates.high - rates.values], 0, None)
    axes.errorbar(
        j, rates.values, arms, fmt="o", color=style.INK, markersize=style.MARKER * 0.8, capsize=2
    )
    axes.set_xlabel("draft position j", fontsize=9, color=style.INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _histogram(
    axes: Axes, log: Features, models: dict[str, Features], colors: dict[str, str]
) -> None:
    style.panel_title(axes, "share of rounds by accepted drafts")
    a = np.arange(log.histogram.size)
    axes.bar(a, log.histogram, color=style.PALE, width=0.9)
    width = 0.8 / max(len(models), 1)
    for number, (name, features) in enumerate(models.items()):
        at = a + (number - (len(models) - 1) / 2) * width
        ends = at - 0.45 * width, at + 0.45 * width
        axes.hlines(features.histogram, *ends, color=colors[name], linewidth=2)
    axes.set_xlabel("accepted drafts (bars: log)", fontsize=9, color=style.INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _spread(axes: Axes, fit: LogFit, colors: dict[str, str]) -> None:
    style.panel_title(axes, f"sd of accept length over {fit.log.unit}s")
    checks = {
        name: next(c for c in fit.goodness[name].checks if c.kind == "spread") for name in colors
    }
    top = 1.12 * max(max(c.high, c.log) for c in checks.values()) or 1
    for row, (name, check) in enumerate(checks.items()):
        axes.plot([check.low, check.high], [row, row], color=colors[name], linewidth=4)
        axes.plot(check.mean, row, "|", color=colors[name], markersize=9, mew=2)
        axes.axvline(check.log, color=style.INK, linewidth=1, linestyle=(0, (4, 3)))
        # Write the name on the side without the dashed line.
        side, place = ("left", 0.02 * top) if check.log > top / 2 else ("right", 0.98 * top)
        style.write(axes, place, row - 0.24, name, color=colors[name], ha=side, va="bottom")
    axes.set_yticks([])
    axes.set_ylim(len(checks) - 0.4, -0.75)
    axes.set_xlim(0, top)
    axes.grid(visible=False)
    axes.set_xlabel("dashed: log; bars: range of replicas", fontsize=9, color=style.INK)


def _correlation(
    axes: Axes, log: Features, models: dict[str, Features], colors: dict[str, str]
) -> None:
    style.panel_title(axes, "autocorrelation of accepted drafts")
    lags = np.arange(1, LAGS + 1)
    for name, features in models.items():
        axes.plot(lags, features.autocorrelation, color=colors[name], linewidth=1.4)
    axes.plot(lags, log.autocorrelation, "o", color=style.INK, markersize=style.MARKER * 0.8)
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.set_xlabel("lag, rounds", fontsize=9, color=style.INK)


def times_figure(times: RoundTimes) -> Figure:
    """Draw measured round times and the noise distributions fitted to them."""
    best = times.noise[0]
    quality = "best fit" if times.is_described else "poor fit, best of all"
    frame = style.Frame(
        f"Round times: {best.name} noise ({quality}), KS distance {best.distance:.3f}",
        f"{counted(times.samples.size, 'round')}, mean {times.samples.mean():.2f} ms · grey: "
        "measured; lines: fitted distributions",
    )
    axes = frame.axes[0]
    ratio = times.samples / times.samples.mean()
    low, high = np.quantile(ratio, [0.0005, 0.9985])
    edges = np.linspace(low, high, 60)
    axes.hist(ratio, edges.tolist(), density=True, color=style.PALE)
    middle: Floats = (edges[1:] + edges[:-1]) / 2
    top = axes.get_ylim()[1] * 1.15
    for number, noise in enumerate(times.noise):
        density = np.diff(noise.cdf(edges)) / np.diff(edges)
        width, color = 1.2 if number else 2.0, style.LINES[number % len(style.LINES)]
        shown = np.minimum(density, 2 * top)
        axes.plot(middle, shown, color=color, linewidth=width, label=noise.name)
    axes.set_ylim(0, top)
    axes.legend(fontsize=9, frameon=False, labelcolor="linecolor")
    frame.name_axes("round time / mean", "density")
    return frame.figure


def steps_figure(fit: CostModelFit, steps: StepTimes) -> Figure:
    """Draw measured step times by batch size, and the cost model at each step's own context."""
    frame = style.Frame(
        f"{fit.section['model'].capitalize()} cost model"
        + f": leave-one-out error {100 * fit.left_out_error:.2g} %" * (fit.left_out_error > 0),
        "dots: measured verify times; lines: fitted cost model",
    )
    axes, order, drawn = frame.axes[0], np.argsort(steps.batch), []
    if steps.by_tokens:
        return _by_tokens(frame, fit, steps)
    for depth in sorted({int(depth) for depth in steps.depth}):
        color = style.LINES[(depth - 1) % len(style.LINES)] if depth else style.GREY
        measured = np.where(steps.depth == depth, steps.verify, np.nan)
        fitted = predict(fit.section, replace(steps, depth=0 * steps.depth + depth))[order]
        axes.plot(steps.batch, measured, "o", color=color, markersize=style.MARKER * 0.8)
        name = f"depth {depth}" if depth else "plain step"
        drawn += axes.plot(steps.batch[order], fitted, color=color, linewidth=1.4, label=name)
    if steps.batch.min() < steps.batch.max():
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(steps.batch)), nbins=10))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(0, None)
    frame.name_axes("batch size, requests", "verify time, ms")
    frame.legend(style.by_last_value(drawn))
    return frame.figure


def _by_tokens(frame: style.Frame, fit: CostModelFit, steps: StepTimes) -> Figure:
    """Draw step times by the tokens of the pass, a colour per number of requests."""
    axes, drawn = frame.axes[0], []
    times = predict(fit.section, steps)
    for number, requests in enumerate(np.unique(steps.batch)):
        color = style.LINES[number % len(style.LINES)]
        mine = np.flatnonzero(steps.batch == requests)
        mine = mine[np.argsort(steps.tokens[mine])]
        tokens, label = steps.tokens[mine], f"{requests:g} requests"
        axes.plot(tokens, steps.verify[mine], "o", color=color, markersize=style.MARKER * 0.8)
        drawn += axes.plot(tokens, times[mine], color=color, linewidth=1.4, label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(0, None)
    frame.name_axes("tokens of the pass", "verify time, ms")
    if len(drawn) > 1:
        frame.legend(style.by_last_value(drawn))
    return frame.figure


def reliability_figure(pairs: Pairs, quality: Quality) -> Figure:
    """Draw acceptance by confidence with Wilson intervals, over the share of pairs by bin."""
    counts, confidence, accepted = reliability(pairs)
    known = counts > 0
    n, z = counts[known], float(ndtri((1 + LEVEL) / 2))
    middle = (accepted[known] + z**2 / (2 * n)) / (1 + z**2 / n)
    half = (
        z / (1 + z**2 / n) * np.sqrt(accepted[known] * (1 - accepted[known]) / n + (z / n / 2) ** 2)
    )
    way = "above" if quality.mean > quality.acceptance else "below"
    frame = style.Frame(
        f"Confidence {abs(quality.mean - quality.acceptance):.3f} {way} acceptance on average",
        f"{quality.pairs:,} drafts · AUC {quality.auc:.3f}, calibration error (ECE) "
        f"{quality.calibration_error:.3f}",
    )
    (axes,) = frame.axes
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    axes.stairs(counts / counts.sum(), edges, fill=True, color=style.PALE, label="share of drafts")
    axes.plot([0, 1], [0, 1], color=style.GREY, linestyle=style.DASHED, label="calibrated")
    ends = np.maximum([accepted[known] - middle + half, middle + half - accepted[known]], 0)
    axes.errorbar(
        confidence[known], accepted[known], ends, fmt="o", color=style.BLUE, label="accepted, 95 %"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    frame.name_axes("confidence", "share accepted")
    frame.legend()
    return frame.figure
