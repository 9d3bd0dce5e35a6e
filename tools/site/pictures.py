"""Pictures of the catalogue as SVG text. On a dark page the style sheet inverts them."""

import base64
import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtpsim.acceptance import AcceptanceChain, Source
from mtpsim.acceptance.trees import Tree, Weights, chain_tree
from mtpsim.common.arrays import Floats
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.posterior_replay import DepthPrediction
from mtpsim.formula.closed_form import accept_length
from mtpsim.latency import LatencySpec
from mtpsim.latency.noise import NoiseSpec
from mtpsim.report.document_shapes import DraftTree
from mtpsim.report.figures import style
from mtpsim.report.figures.tree import draw_tree

BATCH_TICKS = [1, 4, 16, 64, 256, 1024]
BATCHES = np.geomspace(1, 1024, 61)


def _figure(titles: list[str]) -> tuple[Figure, list[Axes]]:
    figure = Figure((7.4, 2.5), facecolor="white")
    margins = {"left": 0.07, "right": 0.985, "bottom": 0.2, "top": 0.88, "wspace": 0.16}
    axes = list(figure.subplots(1, len(titles), squeeze=False, gridspec_kw=margins).flat)
    for one, title in zip(axes, titles, strict=True):
        style.plain_axes(one)
        one.set_title(title, fontsize=9.5, loc="left", color=style.INK)
    return figure, axes


def _svg(figure: Figure, legend: dict[int, str] | None = None, columns: int = 1) -> str:
    """The figure as SVG text, with legends at a place of panels by number."""
    for panel, place in (legend or {}).items():
        axes = figure.axes[panel]
        axes.legend(fontsize=8, frameon=False, loc=place, ncols=columns, labelcolor=style.INK)
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mtpsim"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def chain_picture(source: Source) -> str:
    """Conditional rates by position, and accept length by depth against the closed form."""
    figure, (rates, lengths) = _figure(["Conditional rate by position", "Accept length by depth"])
    depths, positions = np.arange(source.depth + 1), np.arange(1, source.depth + 1)
    solved = [solve(source, int(k)) for k in depths]
    if isinstance(source, AcceptanceChain) and source.states > 1:
        for state, row in enumerate(source.accept):
            label = "_" if state else f"each of {source.states} states"
            rates.plot(positions, row, color=style.SKY, lw=0.9, label=label)
    pooled = solved[-1].conditional
    rates.plot(
        positions, pooled, "o-", color=style.INK, ms=4, lw=1.6, label="all rounds, greatest depth"
    )
    rates.set_ylim(0, 1.04)
    style.depth_ticks(rates, 1, source.depth)
    first = accept_length(np.full(source.depth, solved[1].conditional[0]))
    exact = [solution.accept_length for solution in solved]
    lengths.plot(
        depths, first, "--", color=style.GREY, lw=1.2, label="p1 of depth 1 at every position"
    )
    lengths.plot(depths, exact, "o-", color=style.BLUE, ms=4, lw=1.6, label="exact")
    style.depth_ticks(lengths, 0, source.depth)
    return _svg(figure, {0: "lower left", 1: "upper left"})


def tree_picture(tree: Tree, chain: AcceptanceChain) -> str:
    """The tree, and its accept length by depth against a chain."""
    figure, (drawing, lengths) = _figure(["Probability of each node", "Accept length by depth"])
    weights = Weights.of(chain)
    probability = (weights.states @ weights.reach(tree)).tolist()
    draw_tree(
        drawing,
        DraftTree(
            parents=list(tree.parents),
            probability=probability,
            accept_length=weights.accept_length(tree),
        ),
    )
    for shape, label, style_of in (
        (chain_tree(tree.depth), "chain", {"ls": "--", "color": style.GREY, "lw": 1.2}),
        (tree, "tree", {"marker": "o", "color": style.BLUE, "ms": 4, "lw": 1.6}),
    ):
        applied = shape.applied(chain)
        exact = [solve(applied, k).accept_length for k in range(tree.depth + 1)]
        lengths.plot(range(tree.depth + 1), exact, label=label, **style_of)
    style.depth_ticks(lengths, 0, tree.depth)
    return _svg(figure, {1: "upper left"})


def depths_picture(
    truth: Floats, found: list[DepthPrediction], closed: dict[str, Floats], measured: int
) -> str:
    """Accept lengths by depth, predicted from one depth, and their errors."""
    figure, (lengths, errors) = _figure(["Accept length by depth", "Error, %"])
    depths = np.arange(1, truth.size)
    lengths.plot(depths, truth[1:], "-", color=style.INK, lw=1.6, label="truth")
    mean = np.array([one.workload.mean for one in found])
    ends = [[one.workload.low for one in found], [one.workload.high for one in found]]
    bars = {"fmt": "o", "ms": 4, "lw": 1.2, "capsize": 2, "color": style.BLUE}
    lines = {
        "closed form": (closed["conditional"], style.VERMILION),
        "survival as conditional": (closed["survival"], style.ORANGE),
        "p1 at every position": (closed["first"], style.GREY),
    }
    for axes, scale in ((lengths, None), (errors, truth[1:])):

        def shown(values: Floats, scale: Floats | None = scale) -> Floats:
            return values if scale is None else 100 * (values / scale - 1)

        for label, (values, color) in lines.items():
            axes.plot(depths, shown(values[1:]), "--", color=color, lw=1.2, label=label)
        half = np.abs(shown(np.array(ends)) - shown(mean))
        axes.errorbar(depths, shown(mean), half, label="replay, 95 %", **bars)
        axes.axvline(measured, color=style.PALE, lw=6, zorder=0)
        style.depth_ticks(axes, 1, truth.size - 1)
    errors.axhline(0, color=style.INK, lw=0.8)
    errors.set_ylim(-14, 8)
    lengths.set_ylim(0.8, None)  # room for the legend
    return _svg(figure, {0: "lower right"})


def inline(alt: str, svg: str) -> str:
    """The picture as Markdown."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<p><img alt="{alt}" src="data:image/svg+xml;base64,{data}"></p>\n'


def noise_picture(noise: NoiseSpec) -> str:
    """Histogram of a noise factor of mean 1."""
    figure, (axes,) = _figure(["Share of rounds by time / mean"])
    u = (np.arange(20_000) + 0.5) / 20_000
    values = noise.table().quantile(u)
    bins = np.linspace(min(values[0], 0.8), max(np.quantile(values, 0.995), 1.2), 81)
    share = np.histogram(values, bins)[0] / values.size
    axes.stairs(share, bins, fill=True, color=style.BLUE, alpha=0.85)
    axes.axvline(1, color=style.GREY, lw=1, ls="--")
    tail = np.interp(0.999, u, values)
    axes.set_xlabel(f"time / mean (99.9 % quantile: {tail:.2f})", color=style.INK, fontsize=9)
    return _svg(figure)


def latency_picture(latency: LatencySpec, batched: bool, depth: int = 3) -> str:
    """Time of a round by batch size and depth, or by depth alone."""
    if not batched:
        return _bars(latency, depth)
    figure, (times, ratios) = _figure(["Time of a round, ms", "Accept length needed to break even"])
    measured = getattr(latency, "batches", None)
    batches = BATCHES[measured[-1] >= BATCHES] if measured else BATCHES
    ticks = [tick for tick in BATCH_TICKS if tick <= batches[-1]]
    rounds = np.array([np.add(*latency.at_batch(float(batch), depth)) for batch in batches])
    for k in range(depth + 1):
        color = style.INK if k == 0 else style.LINES[k - 1]
        times.plot(batches, rounds[:, k], color=color, lw=1.5, label=f"depth {k}")
        if k:
            ratios.plot(batches, rounds[:, k] / rounds[:, 0], color=color, lw=1.5)
            ratios.axhline(k + 1, color=color, lw=1.2, ls=(0, (1, 2)))
    times.set_yscale("log")
    times.yaxis.set_major_formatter("{x:g}")
    for axes in (times, ratios):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
        axes.set_xlabel("batch size, requests", color=style.INK, fontsize=9)
    ratios.set_ylim(1, None)
    return _svg(figure, {0: "upper left"})


def _bars(latency: LatencySpec, depth: int) -> str:
    figure, (axes,) = _figure(["Time of a round by depth, ms"])
    verify, draft = latency.times(depth)
    depths = np.arange(depth + 1)
    axes.bar(depths, verify, 0.6, color=style.BLUE, label="verify (depth 0: plain step)")
    axes.bar(depths, draft, 0.6, bottom=verify, color=style.ORANGE, label="draft")
    style.depth_ticks(axes, 0, depth)
    axes.set_ylim(0, 1.3 * float((verify + draft).max()))
    return _svg(figure, {0: "upper left"}, columns=2)


def budget_picture(line: dict[str, list[float]]) -> str:
    """Verified drafts per request, and running requests, while a burst is served."""
    figure, (axes,) = _figure([""])
    seconds = np.array(line["time"]) / 1000
    axes.step(seconds, line["depth"], where="post", color=style.BLUE, lw=1.2, label="_")
    axes.plot([], [], color=style.BLUE, label="verified drafts per request")
    axes.plot([], [], color=style.GREY, label="running requests (right)")
    axes.set(ylim=(0, 9), xlim=(0, seconds[-1]))
    other = axes.twinx()
    for one in (axes, other):  # room for the labels on the right
        one.set_position((0.07, 0.2, 0.87, 0.68))
    other.plot(seconds, line["running"], color=style.GREY, lw=1.2)
    other.set(ylim=(0, 1.3 * max(line["running"])))
    other.tick_params(labelsize=8)
    axes.set_xlabel("time, s", color=style.INK, fontsize=9)
    return _svg(figure, {0: "upper center"}, columns=2)


def policy_picture(depth: list[int], accepted: list[int], state: list[int]) -> str:
    """Depth and accepted drafts of each round; rounds in state 1, hard text, are shaded."""
    figure, (axes,) = _figure([""])
    edges = np.arange(len(depth) + 1) - 0.5
    axes.stairs(6.0 * np.array(state), edges, fill=True, color=style.PALE, alpha=0.6)
    axes.stairs(depth, edges, color=style.BLUE, lw=1.5, baseline=None, label="depth", zorder=3)
    axes.plot(accepted, ".", color=style.VERMILION, ms=3.5, label="accepted drafts")
    axes.set(xlim=edges[[0, -1]], ylim=(-0.3, 7), yticks=range(6))
    axes.set_xlabel("round (shaded: hard text)", color=style.INK, fontsize=9)
    return _svg(figure, {0: "upper left"}, columns=2)
