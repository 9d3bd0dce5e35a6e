"""Tables as text, which a terminal and the page share, and how a terminal prints them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from mtpsim.report.formatting import MISSING, legible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MARK = "▸"
PIPE_WIDTH, USUAL_WIDTH, LEAST_WIDTH = 170, 80, 40
STYLES = {"best": "bold green", "chosen": "bold", "faint": "dim"}
TONES = {
    **dict.fromkeys(("holds", "faster", "essential", "optional"), "good"),
    **dict.fromkeys(("fails", "slower", "harmful"), "bad"),
    **dict.fromkeys(("undecided", "no times", "open", "negligible"), "open"),
}


class VerdictText(str):
    """A verdict of the document as the text of a cell, behind the number that it is on.

    Attributes:
        tone: ``good``, ``bad``, ``open`` or empty.
    """

    tone: str

    def __new__(cls, verdict: str, number: str = "") -> VerdictText:
        """The text and tone of a verdict; ``-`` where it is empty."""
        text = super().__new__(cls, ", ".join(filter(None, (number, verdict))) or MISSING)
        text.tone = TONES.get(verdict, "")
        return text


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        header: as a terminal shows it, with line breaks.
        full: the header where it is read alone; by default the same.
        left: whether its cells are aligned to the left.
        folds: whether its cells may break over lines.
        faint: whether it is printed dim.
        joins: whether the page shows its cells in the column before.
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
        cells: texts, one per column; verdicts are :class:`VerdictText`.
        tone: ``best``, ``chosen``, ``faint`` or empty.
        marked: whether a mark, visible without colour, stands before its first cell.
    """

    cells: Sequence[str]
    tone: str = ""
    marked: bool = False


@dataclass(frozen=True)
class TextTable:
    """Columns and rows of text."""

    columns: Sequence[Column]
    rows: Sequence[Row]

    @classmethod
    def of(cls, headers: Iterable[str], rows: Iterable[Sequence[str]]) -> TextTable:
        """A table of plain rows, with all columns aligned to the right."""
        return cls([Column(header) for header in headers], [Row(row) for row in rows])


def console_on(file: TextIO) -> Console:
    """A console as wide as COLUMNS says, or else the terminal; a pipe has 170 columns."""
    from rich.console import Console

    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return Console(file=file, width=max(int(asked), LEAST_WIDTH), markup=False, emoji=False)
    try:
        width = os.get_terminal_size(file.fileno()).columns if file.isatty() else PIPE_WIDTH
    except (OSError, ValueError):  # a terminal without a size
        width = 0
    return Console(file=file, width=width or USUAL_WIDTH, markup=False, emoji=False)


def print_table(console: Console, *choices: TextTable) -> TextTable:
    """Print the first of the tables that fits the console's width, else the last, in long lines.

    A terminal wraps long lines: no value is cut off.

    Returns:
        The table that is printed.
    """
    width = console.width
    for chosen in choices:
        table = drawn(chosen, console)
        if _width(table, console) <= width:
            break
    else:
        console.width = max(width, _width(table, console, folded=True))
    console.print(table)
    console.width = width
    return chosen


def _width(table: Table, console: Console, folded: bool = False) -> int:
    """Width that a table needs; with its columns ``folded`` as far as whole words allow."""
    from rich.measure import Measurement

    unbounded = console.options.update(max_width=10_000)
    width = Measurement.get(console, unbounded, table).maximum
    for column in table.columns:
        if folded and not column.no_wrap:
            parts = [Measurement.get(console, unbounded, c) for c in (column.header, *column.cells)]
            width -= max(part.maximum for part in parts) - max(part.minimum for part in parts)
    return width


def say(console: Console, text: str, style: str = "") -> None:
    """Print a sentence, wrapped at words; nothing in it is read as markup."""
    console.print(plain(text, console), style=style or None, markup=False, highlight=False)


def print_warnings(console: Console, warnings: Iterable[str]) -> None:
    """Print each warning on a line of its own."""
    for warning in warnings:
        say(console, f"warning: {warning}", "yellow")


def plain(text: str, console: Console) -> str:
    """The text in the characters that the console's encoding has, and none that steers it."""
    return encodable(legible(text), console.encoding)


def encodable(text: str, encoding: str) -> str:
    """The text with the signs of the report in ASCII where an encoding does not have them."""
    try:
        "±▸".encode(encoding)
    except UnicodeEncodeError:
        return text.replace("±", "+-").replace("▸", ">")
    return text


def drawn(text: TextTable, console: Console) -> Table:
    """A table ready to print; marks stand before the first cell."""
    from rich import box
    from rich.table import Table

    padding = (0, 0, 0, 1)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=padding, header_style="bold")
    lines = max(column.header.count("\n") for column in text.columns)
    for column in text.columns:
        table.add_column(
            "\n" * (lines - column.header.count("\n")) + column.header,
            justify="left" if column.left else "right",
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
            style="dim" if column.faint else None,
        )
    # Cells aligned to the left are indented in rows without the mark.
    blank = "  " if text.columns[0].left and any(row.marked for row in text.rows) else ""
    for row in text.rows:
        first = (f"{MARK} " if row.marked else blank) + row.cells[0]
        cells = (plain(cell, console) for cell in (first, *row.cells[1:]))
        table.add_row(*cells, style=STYLES.get(row.tone))
    return table
