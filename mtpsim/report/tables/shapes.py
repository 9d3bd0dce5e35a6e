"""The fastest shape of drafts by batch: a table and a sentence."""

from mtpsim.report.document_shapes import Shape, Shapes
from mtpsim.report.tables.terminal import Column, Row, TextTable

NAMES = {"tree": "a tree", "chain": "a chain", "off": "plain decoding"}


def shapes_sentence(shapes: Shapes) -> str:
    """Kind of the fastest shape by whole batches: ``Fastest: a tree up to a batch of 5, ...``."""
    parts = []
    for entry in shapes.ranges:
        where = f"at batches {entry.from_:,} to {entry.to:,}"
        if entry is shapes.ranges[0]:
            where = f"up to a batch of {entry.to:,}"
        elif entry is shapes.ranges[-1]:
            where = f"from a batch of {entry.from_:,}"
        parts.append(f"{NAMES[entry.kind]} {where}")
    if len(parts) == 1:
        return f"Fastest at every batch up to {shapes.ranges[0].to:,}: {NAMES[entry.kind]}."
    return f"Fastest: {', '.join(parts)}."


def titled_table(shapes: Shapes) -> tuple[str, TextTable]:
    """A heading, and a row per batch: the fastest shape beside the fastest chain."""
    columns = [
        Column("batch"),
        Column("shape", left=True),
        Column("nodes\nper level", left=True, folds=True),
        Column("accept\nlength"),
        Column("speedup"),
        Column("best\nchain"),
        Column("its\nspeedup"),
        Column("gain over\nchain, %"),
    ]
    heading = (
        f"Fastest shape of drafts by batch (exact; trees of at most {shapes.nodes} nodes and "
        f"{shapes.levels} levels)"
    )
    return heading, TextTable(columns, [_row(shape) for shape in shapes.by_batch])


def _row(shape: Shape) -> Row:
    size = f" of {shape.nodes}" if shape.nodes else ""
    gain = 100 * (shape.speedup / max(shape.chain_speedup, 1.0) - 1)
    return Row(
        [
            f"{shape.batch:,}",
            shape.kind + size,
            " ".join(map(str, shape.widths)),
            f"{shape.accept_length:.3f}",
            f"{shape.speedup:.3f}",
            f"depth {shape.chain_depth}",
            f"{shape.chain_speedup:.3f}",
            f"{gain:.1f}",
        ]
    )
