"""Drawings of drafted trees: a node per draft, as large as its probability."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtpsim.acceptance.trees import Tree
from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted
from mtpsim.report.document import ResultDocument
from mtpsim.report.document_shapes import DraftTree
from mtpsim.report.figures import style

LABELLED = 0.1  # probability from which a node has its value beside it


def tree_figure(result: ResultDocument) -> Figure:
    """Draw every tree of the points, a panel each."""
    trees = {tuple(point.tree.parents): point.tree for point in result.points if point.tree}
    shown = list(trees.values())[: style.MAX_PANELS]
    lengths = [tree.accept_length for tree in shown]
    heading = f"{_name(shown[0])} yields {lengths[0]:.2f} tokens per round"
    if len(shown) > 1:
        heading = f"Tokens per round: {min(lengths):.2f} to {max(lengths):.2f}, by shape"
    subtitle = style.subtitle_of(result, "area and number: probability that the node is accepted")
    frame = style.Frame(heading, subtitle, panels=len(shown))
    for axes, tree in zip(frame.axes, shown, strict=True):
        if len(shown) > 1:
            style.panel_title(axes, f"{_name(tree)}: {tree.accept_length:.2f}")
        draw_tree(axes, tree)
    frame.name_axes("", "level")
    frame.note("Children of a node from left to right: first, second, ... candidate.")
    return frame.figure


def _name(tree: DraftTree) -> str:
    kind, drafts = ("chain", "draft") if tree.is_chain else ("tree", "node")
    return f"A {kind} of {counted(len(tree.parents), drafts)}"


def draw_tree(axes: Axes, tree: DraftTree) -> None:
    """Draw a tree with its root on top."""
    shape = Tree(tuple(tree.parents))
    across, level = places(shape), np.append(0, shape.levels)
    probability = np.append(1.0, tree.probability)
    for node, parent in enumerate(shape.parents, 1):
        ends = [parent, node]
        axes.plot(across[ends], level[ends], color=style.PALE, linewidth=1.2, zorder=1)
    color = [style.INK, *(style.depth_color(k, shape.depth) for k in shape.levels)]
    axes.scatter(across, level, s=140 * probability + 6, color=color, zorder=2)
    for x, y, value in zip(across[1:], level[1:], probability[1:], strict=True):
        if value >= LABELLED:
            axes.annotate(f"{value:.2f}", (x, y), (6, 3), textcoords="offset points", fontsize=7)
    axes.set_ylim(shape.depth + 0.5, -0.5)
    axes.set_xlim(across.min() - 0.7, across.max() + 1.2)
    axes.set_yticks(range(shape.depth + 1))
    axes.set_xticks([])
    axes.grid(visible=False)


def places(tree: Tree) -> Floats:
    """Horizontal place of the root and of each node, ``[n + 1]``: leaves are 1 apart."""
    children: list[list[int]] = [[] for _ in range(tree.nodes + 1)]
    for node, parent in enumerate(tree.parents, 1):
        children[parent].append(node)
    across, leaves = np.zeros(tree.nodes + 1), 0
    order, stack = [], [0]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += reversed(children[node])
        if not children[node]:
            across[node] = leaves
            leaves += 1
    for node in reversed(order):
        if children[node]:
            across[node] = across[children[node]].mean()
    return across
