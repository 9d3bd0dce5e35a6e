"""The fastest shape of drafts by batch size: a tree, a chain or nothing, from the exact answer.

What a round yields does not depend on the batch, and the cost model knows the time of a step at any
number of tokens. Of all trees with so many nodes and levels the best is known
(:func:`mtpsim.acceptance.trees.best_first`), so nothing is simulated here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.acceptance.trees import Tree, Weights, best_first, chain_tree
from mtpsim.common.arrays import Floats
from mtpsim.config.experiment import Experiment
from mtpsim.latency import CostModel
from mtpsim.report.document import Advice
from mtpsim.report.document_shapes import DraftTree, Shape, ShapeRange, Shapes
from mtpsim.results.batch_schedule import constant_ranges

MOST_NODES = 64  # of the trees that are compared; more if the experiment drafts more
MOST_BATCH = 1024
LOOKED = 256  # batches at which the kind of the fastest shape is computed; then by halves


def draft_tree(experiment: Experiment) -> DraftTree | None:
    """The drafted tree with the probability of each node; None without one of a fixed size."""
    tree = experiment.tree
    source = None if tree is None else experiment.acceptance.chain()
    if tree is None or not isinstance(source, AcceptanceChain):
        return None
    if experiment.draft and experiment.draft.lengths is not None:
        return None
    weights = Weights.of(source)
    return DraftTree(
        parents=list(tree.parents),
        probability=(weights.states @ weights.reach(tree)).tolist(),
        accept_length=weights.accept_length(tree),
    )


def shapes_of(experiment: Experiment) -> Shapes | None:
    """The fastest shape by batch; None without candidates, or times by batch.

    Args:
        experiment (Experiment): A point of a sweep.
    """
    found, cost = _compared(experiment), experiment.latency
    if found is None:
        return None
    from mtpsim.latency.costs import Table

    first, last = 1, MOST_BATCH
    if isinstance(cost, Table):
        first, last = int(np.ceil(cost.batches[0])), int(cost.batches[-1])
    if first > last:
        return None
    powers = [2**n for n in range(int(np.log2(last)) + 1) if first <= 2**n]
    return Shapes(
        nodes=found.nodes,
        levels=found.levels,
        by_batch=[found.best(batch) for batch in powers],
        ranges=[
            ShapeRange(from_=start, to=end, kind=kind)
            for start, end, kind in constant_ranges(
                lambda batch: found.best(batch).kind, first, last, LOOKED
            )
        ],
    )


def add_shape(advice: Advice, experiment: Experiment) -> Advice:
    """The advice, which names the fastest shape if it is faster than the depth by the indifference.

    Args:
        advice (Advice): Of a point; one on quantiles, or without a depth, stays as it is.
        experiment (Experiment): The point.
    """
    found, batch = _compared(experiment), experiment.batch or 0.0
    if found is None or advice.recommended is None or advice.objective != "mean" or batch % 1:
        return advice
    shape = found.best(int(batch))
    if shape.speedup <= found.drafted(batch, advice.depth) * (1 + experiment.decision.indifference):
        return advice
    sentence = f"{advice.sentence} {shape.faster_sentence}"
    return replace(advice, sentence=sentence, faster_shape=shape)


def _compared(experiment: Experiment) -> _Shapes | None:
    """The shapes of a point; None without candidates, or times by batch."""
    source, cost, tree = experiment.acceptance.chain(), experiment.latency, experiment.tree
    if tree is None or not isinstance(cost, CostModel):
        return None
    if not isinstance(source, AcceptanceChain) or source.candidates is None:
        return None
    return _Shapes(cost, Weights.of(source), tree)


class _Shapes:
    """Every best tree ``[levels, nodes + 1]``: accept length, and whether it is a chain."""

    def __init__(self, cost: CostModel, weights: Weights, drafted: Tree) -> None:
        self._cost, self.levels, self._drafted = cost, drafted.depth, drafted
        self._reach = weights.states @ weights.reach(drafted)
        self.nodes = max(MOST_NODES, drafted.nodes)
        shape = self.levels, self.nodes + 1
        self._length, self._chain = np.full(shape, np.nan), np.zeros(shape, bool)
        self._trees: list[Tree] = []
        for levels in range(1, self.levels + 1):
            tree = best_first(weights, self.nodes, levels)
            gains = weights.states @ weights.reach(tree)
            self._length[levels - 1, : tree.nodes + 1] = 1 + np.cumsum(np.append(0.0, gains))
            self._chain[levels - 1, 1 : tree.nodes + 1] = np.cumsum(tree.ranks) == 0
            self._trees.append(tree)
        gains = weights.states @ weights.reach(chain_tree(self.levels))
        self._chain_length = 1 + np.cumsum(gains)

    def best(self, batch: int) -> Shape:
        """The fastest shape at a batch size, and the fastest chain."""
        pace = self._pace(batch)
        speedup = self._length * pace
        level, nodes = np.unravel_index(np.nanargmax(speedup), speedup.shape)
        depths = np.arange(1, self.levels + 1)
        chains = self._chain_length * pace[depths - 1, depths]
        kind = "off"
        if nodes:
            kind = "chain" if self._chain[level, nodes] else "tree"
        tree = Tree(self._trees[level].parents[:nodes])
        return Shape(
            batch=batch,
            kind=kind,
            nodes=int(nodes),
            widths=np.bincount(tree.levels)[1:].tolist() if nodes else [],
            accept_length=float(self._length[level, nodes]),
            speedup=float(speedup[level, nodes]),
            chain_depth=int(np.argmax(chains)) + 1,
            chain_speedup=float(chains.max()),
        )

    def drafted(self, batch: float, depth: int) -> float:
        """Speedup of the first ``depth`` levels of the tree of the experiment."""
        if not depth:
            return 1.0
        within = self._drafted.levels <= depth
        pace = self._pace(batch)[depth - 1, np.count_nonzero(within)]
        return float(pace * (1 + self._reach[within].sum()))

    def _pace(self, batch: float) -> Floats:
        """Time of a plain step over that of a round, ``[levels, nodes + 1]``."""
        cost, tokens = self._cost, np.arange(self.nodes + 1.0)
        batch = cost.rank_batch(batch)
        verify = cost.step(batch, tokens)
        passes = cost.draft_times(batch, self.levels, np.zeros(self.levels + 1))[1:, None]
        draft = passes + cost.draft_per_request * batch * tokens
        draft[:, 0] = 0.0
        if cost.draft_overlap:
            draft = np.maximum(draft - verify, 0.0)
        return np.asarray(verify[0] / (verify + draft))
