"""The ``[draft]`` section: which drafts of a round are made and verified."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Discriminator, Field, PrivateAttr, Tag, ValidationInfo, model_validator

from mtpsim.acceptance import AcceptanceChain, AcceptanceModel, Source
from mtpsim.acceptance.draft_lengths import propose
from mtpsim.acceptance.trees import Tree, Weights, best_first, chain_tree, topk_tree
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, NonNegative, Spec
from mtpsim.common.text import counted
from mtpsim.latency.samples import read_samples

MAX_NODES = 4096
ROUNDING = 1e-6  # of a sum of shares that were written with few digits
Nodes = Annotated[int, Field(ge=1, le=MAX_NODES)]
Parent = Annotated[int, Field(ge=0, lt=MAX_NODES)]
NEEDS: dict[str, tuple[str, ...]] = {
    "chain": (),
    "best_first": ("nodes",),
    "sequoia": ("nodes",),
    "topk": ("nodes", "topk"),
    "list": (),
}


Shares = Annotated[list[NonNegative], Field(min_length=2, max_length=65)]


class ProposedSamples(Spec):
    """Measured numbers of proposed drafts, resampled; those above the depth count as it."""

    samples: str = Field(
        description="file of proposed drafts: one number per line, or CSV; a number above "
        "the depth of the acceptance model counts as this depth"
    )
    column: str | None = Field(None, description="name of the CSV column")
    _counts: tuple[int, ...] = PrivateAttr()  # models with an array can't be compared

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        path = Path((info.context or {}).get("folder", Path()), self.samples)
        self._counts = tuple(read_samples(path, self.column, counts=True).astype(int).tolist())
        return self

    def shares(self, depth: int) -> list[float]:
        """Shares of rounds that propose 0 to ``depth`` drafts."""
        found = np.bincount(np.minimum(self._counts, depth), minlength=depth + 1)
        shares: list[float] = (found / found.sum()).tolist()
        return shares


def _form_of_lengths(value: Any) -> str:
    if isinstance(value, dict | ProposedSamples):
        return "file"
    rows = isinstance(value, list) and any(isinstance(row, list) for row in value)
    return "rows" if rows else "shares"


Lengths = Annotated[
    Annotated[Shares, Tag("shares")]
    | Annotated[list[Shares], Tag("rows")]
    | Annotated[ProposedSamples, Tag("file")],
    Discriminator(_form_of_lengths),
]


class Draft(Spec):
    """The shape of the drafts: a chain, or a tree of candidates (acceptance model ``ranks``).

    With a tree a depth of the results is a number of levels: depth k drafts the first k levels in k
    passes and verifies all of their nodes.
    """

    tree: Annotated[
        Annotated[Literal["chain", "best_first", "sequoia", "topk"], Tag("name")]
        | Annotated[list[Parent], Field(min_length=1, max_length=MAX_NODES), Tag("list")],
        Discriminator(lambda value: "list" if isinstance(value, list) else "name"),
    ] = Field(
        "chain",
        description="`chain`; `best_first`: the most probable nodes (DDTree); `sequoia`: optimum "
        "for `nodes` and `steps`; `topk`: EAGLE-2 and SGLang; or the parent of each node, 0 being "
        "the root",
    )
    nodes: Nodes | None = Field(
        None, description="drafted nodes to verify per round, without the root (the bonus token)"
    )
    steps: Depth | None = Field(
        None, description="greatest number of levels (default: all positions of the acceptance)"
    )
    topk: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="nodes expanded per level, and children of each (tree = `topk` only)"
    )

    block: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None,
        description="drafts that the drafter makes, and takes the time of, in every round; "
        "verified are those of the depth (default: as many as the depth)",
    )
    lengths: Lengths | None = Field(
        None,
        description="shares of rounds that propose 0, 1, .. K drafts (sum: 1), or a row for each "
        "hidden state, or a file of proposed drafts; a round verifies what is proposed, at most "
        "the depth (default: always K)",
    )

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="before")
    @classmethod
    def _by_confidence(cls, data: Any) -> Any:
        for key in ("p_min", "n_min"):
            if isinstance(data, dict) and key in data:
                raise FieldError(
                    "lengths by confidence are a policy: give adaptive.policies = [{ rule = "
                    '"threshold", theta = p_min, drop = true, n_min = n_min }]',
                    key=key,
                )
        return data

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        kind = "list" if isinstance(self.tree, list) else self.tree
        named = "explicit parents" if kind == "list" else f'tree = "{kind}"'
        for key in ("nodes", "topk"):
            if (getattr(self, key) is None) == (key in NEEDS[kind]):
                raise FieldError(
                    f"{'is required with' if key in NEEDS[kind] else 'is not a key of'} {named}",
                    key=key,
                )
        if self.lengths is not None:
            if kind != "chain":
                raise FieldError('is for tree = "chain"', key="lengths")
            for number, row in enumerate(self._given_rows(), 1):
                if abs(sum(row) - 1) > ROUNDING:
                    raise FieldError(
                        f"the shares of row {number} sum to {sum(row):.6g}; they must sum to 1",
                        key="lengths",
                    )
        if self.block is not None and kind != "chain":
            raise FieldError('is for tree = "chain"', key="block")
        if isinstance(self.tree, list):
            if self.steps is not None:
                raise FieldError(f"is not a key of {named}", key="steps")
            for node, parent in enumerate(self.tree, 1):
                if parent >= node:
                    raise FieldError(
                        f"node {node} has parent {parent}; a parent must be listed before its "
                        f"children: 0 to {node - 1}",
                        key="tree",
                    )
        return self

    def _given_rows(self) -> list[list[float]]:
        """Rows of shares in the file; none of a file of proposed drafts."""
        rows = self.lengths
        if rows is None or isinstance(rows, ProposedSamples):
            return []
        return [row for row in rows if isinstance(row, list)] or [list(map(float, rows))]  # type: ignore[arg-type]

    def length_rows(self, depth: int) -> list[list[float]]:
        """Shares of rounds that propose 0 to K drafts: one row, or one for each hidden state."""
        if isinstance(self.lengths, ProposedSamples):
            return [self.lengths.shares(depth)]
        return self._given_rows()

    def length_law(self, source: Source, depth: int) -> Floats:
        """Probability of 0..K proposed drafts by state, ``[S, K + 1]``.

        Raises:
            FieldError: The acceptance model has other states or positions, or no rounds of its own.
        """
        rows = self.length_rows(depth)
        chain = source.hidden_chain
        if chain is None or chain.outcomes == 2 or (chain.clock == "token" and chain.states > 1):
            raise FieldError(
                "needs an acceptance model whose states change by round, whatever the outcome",
                key="lengths",
            )
        wrong = [len(row) for row in rows if len(row) != depth + 1]
        if wrong:
            raise FieldError(
                f"{wrong[0]} shares are given, but depth {depth} needs {depth + 1}: of 0 to "
                f"{depth} proposed drafts",
                key="lengths",
            )
        if len(rows) not in (1, chain.states):
            raise FieldError(
                f"{len(rows)} rows are given, but the acceptance model has "
                f"{counted(chain.states, 'state')}",
                key="lengths",
            )
        law = np.array(rows, float)
        return np.broadcast_to(law / law.sum(1, keepdims=True), (chain.states, depth + 1))

    def shape(self, source: Source) -> Tree:
        """The tree that a round drafts.

        Raises:
            FieldError: The acceptance model has no such candidates.
        """
        steps = self.steps or source.depth
        if steps > source.depth:
            raise FieldError(
                f"{steps} is given, but the acceptance model has depth {source.depth}", key="steps"
            )
        if self.tree == "chain":
            if steps < source.depth and not isinstance(source, AcceptanceChain):
                raise FieldError(
                    "recorded requests are replayed at their depth: give acceptance.depth",
                    key="steps",
                )
            return chain_tree(steps)
        if not isinstance(source, AcceptanceChain) or source.candidates is None:
            raise FieldError(
                'a tree needs rates of several candidates: acceptance.model = "ranks"', key="tree"
            )
        widest = source.candidates.shape[2]
        if self.topk is not None and self.topk > widest:
            raise FieldError(
                f"{self.topk} is given, but the acceptance model has {widest} candidates per "
                "position",
                key="topk",
            )
        if isinstance(self.tree, list):
            return _given_tree(tuple(self.tree), source.depth, widest)
        weights, nodes = Weights.of(source), self.nodes or 0
        if self.tree == "topk":
            tree = topk_tree(weights, steps=steps, topk=self.topk or 1, nodes=nodes)
        else:
            tree = best_first(weights, nodes, steps)
        if tree.nodes < nodes:
            raise FieldError(
                f"{nodes} is given, but the greatest such tree has {tree.nodes}", key="nodes"
            )
        return tree


def _given_tree(parents: tuple[int, ...], depth: int, widest: int) -> Tree:
    tree = Tree(parents)
    if tree.depth > depth or tree.widest > widest:
        raise FieldError(
            f"{tree.depth} levels of up to {tree.widest} children are given, but the acceptance "
            f"model has depth {depth} and {widest} candidates per position",
            key="tree",
        )
    return tree


@lru_cache(maxsize=32)
def drafted_tree(acceptance: AcceptanceModel, draft: Draft) -> Tree:
    """The tree of a section; equal sections of a process build it once."""
    return draft.shape(acceptance.chain())


@lru_cache(maxsize=32)
def drafted_source(acceptance: AcceptanceModel, draft: Draft) -> Source:
    """Which levels of the drafted tree are accepted."""
    source = acceptance.chain()
    tree = drafted_tree(acceptance, draft)
    if tree.depth == source.depth and tree.is_chain:
        return source
    assert isinstance(source, AcceptanceChain)
    return tree.applied(source)


@lru_cache(maxsize=32)
def proposing_source(
    source: Source, draft: Draft, verify: tuple[float, ...], times: tuple[float, ...], idle: float
) -> Source:
    """Which drafts are accepted, where their number is random; arguments as for `propose`."""
    law, chain = draft.length_law(source, source.depth), source.hidden_chain
    assert chain is not None
    return propose(
        chain,
        law,
        verify=np.array(verify),
        draft=np.array(times),
        block=draft.block is not None,
        idle=idle,
    )
