"""A table as text, before a terminal or a page draws it: both show the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MARK = "▸"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: as a terminal shows it, with line breaks.
        full: the header where it is read alone; by default the same.
        left: whether its cells are aligned to the left.
        folds: whether its cells may break over lines.
        faint: whether it stands behind the others.
        joins: whether it says more of the column before, and needs no header of its own.

    """

    header: str
    full: str = ""
    left: bool = False
    folds: bool = False
    faint: bool = False
    joins: bool = False

    @property
    def name(self) -> str:
        """The header in one line."""
        return self.full or self.header.replace("-\n", "-").replace("\n", " ").strip()


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        cells: texts, one a column.
        tone: ``best``, ``chosen``, ``faint`` or nothing.
        marked: whether it carries a mark that is seen without colour.

    """

    cells: Sequence[str]
    tone: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Sheet:
    """Columns and rows of text."""

    columns: Sequence[Column]
    rows: Sequence[Row]
