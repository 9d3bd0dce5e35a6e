"""The catalogue's pictures: SVG text for a light page, and the same in colours for a dark one."""

from __future__ import annotations

import io
from collections.abc import Iterable

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtpsim.acceptance import AcceptanceChain, Source
from mtpsim.exact.chain_solver import solve
from mtpsim.formula.closed_form import accept_length
from mtpsim.latency import LatencySpec
from mtpsim.latency.noise import NoiseSpec
from mtpsim.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINES,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    depth_ticks,
    plain_axes,
)

WIDTH, HEIGHT = 7.4, 2.5
PAPER = "#ffffff"
DARK = {
    PAPER: "#1e2129",
    INK: "#e4e4e4",
    GREY: "#a8a8a8",
    PALE: "#3b3f4a",
    BLUE: "#5aa9e0",
    VERMILION: "#f0814a",
    GREEN: "#3cc79d",
    PURPLE: "#e0a3c6",
    ORANGE: ORANGE,
    SKY: SKY,
}
MANY = 3  # states that are told apart by colour; of more, each has a faint line
TICKS = [1, 4, 16, 64, 256, 1024]
BATCHES = np.geomspace(1, 1024, 61)


def darker(svg: str) -> str:
    """The same picture for a dark page."""
    for light, dark in DARK.items():
        svg = svg.replace(light.lower(), dark.lower()).replace(light.upper(), dark.lower())
    return svg


def _figure(panels: int, titles: Iterable[str] = ()) -> tuple[Figure, list[Axes]]:
    figure = Figure((WIDTH, HEIGHT), facecolor=PAPER)
    edges = {"left": 0.07, "right": 0.985, "bottom": 0.2, "top": 0.88, "wspace": 0.16}
    axes = list(figure.subplots(1, panels, squeeze=False, gridspec_kw=edges).flat)
    for one in axes:
        one.set_facecolor(PAPER)
        plain_axes(one)
    for one, title in zip(axes, titles, strict=False):
        one.set_title(title, fontsize=9.5, loc="left", color=INK)
    return figure, axes


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mtpsim"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def chain_picture(source: Source) -> str:
    """Conditional rates by position, and accept length by depth against the closed form."""
    figure, (rates, lengths) = _figure(
        2, ("Conditional rate by position", "Accept length by depth")
    )
    depths, positions = np.arange(source.depth + 1), np.arange(1, source.depth + 1)
    solved = [solve(source, int(k)) for k in depths]
    if isinstance(source, AcceptanceChain) and source.states > 1:
        _by_state(rates, positions, source)
    mixed = solved[-1].conditional
    rates.plot(positions, mixed, "o-", color=INK, ms=4, lw=1.6, label="all rounds, greatest depth")
    rates.set_ylim(0, 1.04)
    depth_ticks(rates, 1, source.depth)
    rates.legend(fontsize=8, frameon=False, loc="lower left", labelcolor=INK)
    first = np.full(source.depth, solved[1].conditional[0])
    exact = [s.accept_length for s in solved]
    naive = accept_length(first)
    lengths.plot(depths, naive, "--", color=GREY, lw=1.2, label="if p1 at depth 1 held for all")
    lengths.plot(depths, exact, "o-", color=BLUE, ms=4, lw=1.6, label="exact")
    depth_ticks(lengths, 0, source.depth)
    lengths.legend(fontsize=8, frameon=False, loc="upper left", labelcolor=INK)
    return _svg(figure)


def _by_state(axes: Axes, positions: np.ndarray, chain: AcceptanceChain) -> None:
    few = chain.states <= MANY
    for state, row in enumerate(chain.accept):
        color = LINES[state] if few else SKY
        label = f"state {state}" if few else "" if state else f"each of {chain.states} states"
        style = {"lw": 1.4 if few else 0.8, "alpha": 1 if few else 0.7}
        axes.plot(positions, row, "-", color=color, label=label or None, **style)


def noise_picture(noise: NoiseSpec) -> str:
    """The law of a factor of mean 1."""
    figure, (axes,) = _figure(1, ("Share of rounds by time over its mean",))
    u = (np.arange(20_000) + 0.5) / 20_000
    values = noise.table().quantile(u)
    low, high = min(values[0], 0.8), max(np.quantile(values, 0.995), 1.2)
    bins = np.linspace(low, high, 81)
    share = np.histogram(values, bins)[0] / values.size
    axes.stairs(share, bins, fill=True, color=BLUE, alpha=0.85)
    axes.axvline(1, color=GREY, lw=1, ls="--")
    tail = np.interp(0.999, u, values)
    axes.set_xlabel(
        f"time / mean; 99.9 % of rounds take less than {tail:.2f}", color=INK, fontsize=9
    )
    return _svg(figure)


def latency_picture(latency: LatencySpec, batched: bool, depth: int = 3) -> str:
    """Time of a round by batch and depth, or by depth alone."""
    if not batched:
        return _times_picture(latency, depth)
    titles = "Time of a round, ms", "Accept length from which drafting pays"
    figure, (times, pays) = _figure(2, titles)
    known = getattr(latency, "batches", None)
    batches = BATCHES[known[-1] >= BATCHES] if known else BATCHES
    ticks = [tick for tick in TICKS if tick <= batches[-1]]
    rounds = np.array([np.add(*latency.at_batch(float(b), depth)) for b in batches])
    for k in range(depth + 1):
        color = INK if k == 0 else LINES[k - 1]
        times.plot(batches, rounds[:, k], color=color, lw=1.5, label=f"depth {k}")
        if k:
            pays.plot(batches, rounds[:, k] / rounds[:, 0], color=color, lw=1.5)
            pays.axhline(k + 1, color=color, lw=1.2, ls=(0, (1, 2)))
    times.set_yscale("log")
    times.yaxis.set_major_formatter("{x:g}")
    for axes in (times, pays):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("requests that decode together", color=INK, fontsize=9)
    pays.set_ylim(1, None)
    times.legend(fontsize=8, frameon=False, loc="upper left", labelcolor=INK)
    return _svg(figure)


def _times_picture(latency: LatencySpec, depth: int) -> str:
    figure, (axes,) = _figure(1, ("Time of a round by depth, ms",))
    verify, draft = latency.times(depth)
    depths = np.arange(depth + 1)
    axes.bar(depths, verify, 0.6, color=BLUE, label="verify, or the plain step")
    axes.bar(depths, draft, 0.6, bottom=verify, color=ORANGE, label="draft")
    depth_ticks(axes, 0, depth)
    axes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2, labelcolor=INK)
    axes.set_ylim(0, 1.3 * float((verify + draft).max()))
    return _svg(figure)


def policy_picture(depth: np.ndarray, accepted: np.ndarray, hard: np.ndarray, most: int) -> str:
    """Depth and accepted drafts, round by round, over easy and hard text ``[rounds]``."""
    figure, (axes,) = _figure(1)
    edges = np.arange(len(depth) + 1) - 0.5
    axes.fill_between(
        np.repeat(edges, 2)[1:-1], 0, np.repeat(hard, 2) * (most + 0.6), color=PALE, lw=0, alpha=0.6
    )
    axes.stairs(depth, edges, color=BLUE, lw=1.5, baseline=None, label="depth chosen", zorder=3)
    axes.plot(accepted, ".", color=VERMILION, ms=3.5, label="drafts accepted")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-0.3, most + 1.4)
    axes.set_yticks(range(most + 1))
    axes.set_xlabel("round; shaded where the text is hard", color=INK, fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2, labelcolor=INK)
    return _svg(figure)
