"""Trees of drafts: shapes, the probability of each node, and the chain of a drafted tree.

A round verifies all nodes in one pass. It then walks from the root: it accepts at most one child of
the node it stands on, the ``b``-th with the rate of rank ``b``, and stops where it accepts none.
The probability of a node is the product of the rates on its path, and the expected number of
accepted drafts is the sum over all nodes.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance.base import AcceptanceChain, conditional_rates, stationary
from mtpsim.common.arrays import Floats

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """A tree of drafts.

    Attributes:
        parents (tuple[int, ...]): ``[n]`` parent of nodes 1..n, before the node itself; 0 is the
            root, the last token of the text. Children of a node have ranks in this order.

    Examples:
        >>> tree = Tree((0, 0, 1))
        >>> tree.levels.tolist(), tree.ranks.tolist(), tree.drafted.tolist()
        ([1, 1, 2], [0, 1, 0], [0.0, 2.0, 3.0])
    """

    parents: tuple[int, ...]

    @property
    def nodes(self) -> int:
        """Number of drafted nodes, without the root."""
        return len(self.parents)

    @cached_property
    def levels(self) -> Integers:
        """``[n]`` level of each node; children of the root have level 1."""
        levels = [0]
        for parent in self.parents:
            levels.append(levels[parent] + 1)
        return np.array(levels[1:])

    @cached_property
    def ranks(self) -> Integers:
        """``[n]`` rank of each node among its siblings, from 0."""
        children = [0] * (self.nodes + 1)
        ranks = []
        for parent in self.parents:
            ranks.append(children[parent])
            children[parent] += 1
        return np.array(ranks)

    @property
    def depth(self) -> int:
        """Number of levels."""
        return int(self.levels.max())

    @property
    def widest(self) -> int:
        """Greatest number of children of a node."""
        return int(self.ranks.max()) + 1

    @property
    def is_chain(self) -> bool:
        """Whether no node has two children."""
        return self.widest == 1

    @property
    def drafted(self) -> Floats:
        """``[D + 1]`` nodes at levels 1..k."""
        return np.cumsum(np.bincount(self.levels, minlength=self.depth + 1)).astype(float)

    def reach(self, candidates: Floats) -> Floats:
        """Probability that a round accepts each node.

        Args:
            candidates (Floats): ``[S, K, W]`` rates by state, level and rank.

        Returns:
            Floats: ``[S, n]`` probabilities.
        """
        reach = np.ones((len(candidates), self.nodes + 1))
        for node, parent in enumerate(self.parents):
            rate = candidates[:, self.levels[node] - 1, self.ranks[node]]
            reach[:, node + 1] = reach[:, parent] * rate
        return reach[:, 1:]

    def applied(self, chain: AcceptanceChain) -> AcceptanceChain:
        """The chain of rounds that draft this tree; depth k means the levels up to k.

        Args:
            chain (AcceptanceChain): A chain with candidates, at least as deep and as wide.

        Returns:
            AcceptanceChain: The same states, with the rates at which a level is accepted.
        """
        if self.is_chain:
            accept = chain.accept[:, : self.depth]
        else:
            assert chain.candidates is not None
            levels = np.arange(1, self.depth + 1)[:, None] == self.levels
            survival = self.reach(chain.candidates) @ levels.T
            accept = np.array([conditional_rates(np.minimum(row, 1.0)) for row in survival])
        return replace(chain, accept=accept, candidates=None)


@dataclass(frozen=True)
class Weights:
    """Probability of nodes on average over the states of a chain.

    Attributes:
        candidates (Floats): ``[S, K, W]`` rates by state, level and rank.
        states (Floats): ``[S]`` share of rounds in each state.
    """

    candidates: Floats
    states: Floats

    @classmethod
    def of(cls, chain: AcceptanceChain) -> Weights:
        """The rates of a chain in its long-run states; a chain without candidates has one each."""
        candidates = chain.accept[:, :, None] if chain.candidates is None else chain.candidates
        return cls(candidates, stationary(chain.step[-1], chain.start))

    def accept_length(self, tree: Tree) -> float:
        """Expected tokens of a round: 1 and the sum over nodes of the products on their paths."""
        return 1 + float(self.states @ self.reach(tree).sum(1))

    def reach(self, tree: Tree) -> Floats:
        """``[S, n]`` probability of each node, by state."""
        return tree.reach(self.candidates)


def chain_tree(depth: int) -> Tree:
    """A single path of ``depth`` nodes."""
    return Tree(tuple(range(depth)))


def best_first(weights: Weights, nodes: int, levels: int) -> Tree:
    """The tree with the greatest expected accept length: nodes in order of their probability.

    A node is at most as probable as its parent and, where rates fall with the rank, as the sibling
    before it. So the most probable nodes form a tree, and no tree of as many nodes is better:
    Sequoia's dynamic program (Chen et al. 2024) finds the same. DDTree builds it from the marginal
    probabilities of a block drafter.

    Args:
        weights (Weights): Rates of the candidates.
        nodes (int): Number of nodes; fewer where no other node can be accepted.
        levels (int): Greatest level.
    """
    rates, states = weights.candidates, weights.states
    parents: list[int] = []

    def entry(parent: int, above: Floats, level: int, rank: int) -> _Entry:
        own = above * rates[:, level, rank]
        return _Entry(-float(states @ own), level, rank, parent, above, own)

    heap = [entry(0, np.ones(len(states)), 0, 0)]
    while heap and len(parents) < nodes:
        best = heapq.heappop(heap)
        if best.order == 0:
            break
        parents.append(best.parent)
        if best.rank + 1 < rates.shape[2]:
            heapq.heappush(heap, entry(best.parent, best.above, best.level, best.rank + 1))
        if best.level + 1 < levels:
            heapq.heappush(heap, entry(len(parents), best.own, best.level + 1, 0))
    return Tree(tuple(parents))


@dataclass(frozen=True)
class _Entry:
    """A node that may come next: minus its probability, and what its relatives need."""

    order: float
    level: int
    rank: int
    parent: int
    above: Floats
    own: Floats

    def __lt__(self, other: _Entry) -> bool:
        return (self.order, self.level, self.rank, self.parent) < (
            *(other.order, other.level, other.rank, other.parent),
        )


def topk_tree(weights: Weights, *, steps: int, topk: int, nodes: int) -> Tree:
    """The tree of EAGLE-2 and SGLang: expand the ``topk`` most probable nodes of each level.

    Each of them gets ``topk`` children; in the end the ``nodes`` most probable of all are verified.

    Args:
        weights (Weights): Rates of the candidates.
        steps (int): Draft passes, one per level.
        topk (int): Nodes expanded per level, and children of each.
        nodes (int): Nodes to verify; fewer where fewer are drafted.
    """
    grown: list[int] = []
    front, reach = [0], {0: np.ones(len(weights.states))}
    for level in range(steps):
        new = []
        for parent in front:
            for rank in range(topk):
                grown.append(parent)
                reach[len(grown)] = reach[parent] * weights.candidates[:, level, rank]
                new.append(len(grown))
        front = sorted(new, key=lambda node: -float(weights.states @ reach[node]))[:topk]
    order = sorted(range(1, len(grown) + 1), key=lambda node: -float(weights.states @ reach[node]))
    return _numbered(grown, sorted(order[:nodes]))


def _numbered(parents: Sequence[int], kept: Sequence[int]) -> Tree:
    """The tree of some nodes, numbered anew; each has its parent among them."""
    number = {0: 0} | {node: new for new, node in enumerate(kept, 1)}
    return Tree(tuple(number[parents[node - 1]] for node in kept))
