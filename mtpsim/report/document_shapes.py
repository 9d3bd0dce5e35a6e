"""What the result document holds on the shape of the drafts."""

from typing import Annotated

from pydantic import Field

from mtpsim.common.text import counted
from mtpsim.report.document_section import DocumentSection


class DraftTree(DocumentSection):
    """The tree of drafts of a round.

    Attributes:
        parents (list[int]): ``[n]`` parent of nodes 1..n; 0 is the root.
        probability (list[float]): ``[n]`` probability that a round accepts each node.
        accept_length (float): 1 and the sum of these.
    """

    parents: list[int]
    probability: list[float]
    accept_length: float

    @property
    def is_chain(self) -> bool:
        """Whether it is a single path."""
        return self.parents == list(range(len(self.parents)))


class Shape(DocumentSection):
    """The fastest shape of drafts at a batch size, exact.

    Attributes:
        batch (int): Requests that decode together.
        kind (str): ``"tree"``, ``"chain"`` or ``"off"``.
        nodes (int): Drafted nodes.
        widths (list[int]): Nodes by level.
        accept_length (float): Tokens per round.
        speedup (float): Over plain decoding.
        chain_depth (int): Depth of the fastest chain.
        chain_speedup (float): Its speedup.
    """

    batch: int
    kind: str
    nodes: int
    widths: list[int]
    accept_length: float
    speedup: float
    chain_depth: int
    chain_speedup: float

    @property
    def faster_sentence(self) -> str:
        """That it is faster than the drafted shape."""
        levels = f" ({', '.join(map(str, self.widths))} per level)" * (self.kind == "tree")
        drafts = counted(self.nodes, "draft" if self.kind == "chain" else "node")
        name = f"A {self.kind} of {drafts}{levels}" if self.nodes else "Plain decoding"
        return f"{name} is faster at a batch of {self.batch:,}: {self.speedup:.3f}x (exact)."


class ShapeRange(DocumentSection):
    """Batch sizes ``from_`` to ``to``, both included, at which a kind of shape is fastest."""

    from_: Annotated[int, Field(validation_alias="from")]
    to: int
    kind: str


class Shapes(DocumentSection):
    """The fastest of all trees with at most ``nodes`` nodes and ``levels`` levels, by batch."""

    nodes: int
    levels: int
    by_batch: list[Shape]
    ranges: list[ShapeRange]
