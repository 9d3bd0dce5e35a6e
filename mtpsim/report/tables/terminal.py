"""What every table on a terminal shares: plain text, one look, no wider than there is room."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO, TypeVar

from mtpsim.report.tables.table_model import MARK, Sheet

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Choice = TypeVar("Choice")
PIPE_WIDTH, USUAL_WIDTH, LEAST_WIDTH = 170, 80, 40
STYLES = {"best": "bold green", "chosen": "bold", "faint": "dim"}


def console_on(file: TextIO) -> Console:
    """A console as wide as COLUMNS says, or else the terminal.

    A pipe has no width: a log is better off with the whole table than with a folded one.
    """
    from rich.console import Console

    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return Console(file=file, width=max(int(asked), LEAST_WIDTH))
    try:
        width = os.get_terminal_size(file.fileno()).columns if file.isatty() else PIPE_WIDTH
    except (OSError, ValueError):  # a terminal that does not tell
        width = 0
    return Console(file=file, width=width or USUAL_WIDTH)


def show_table(console: Console, table: Table) -> None:
    """Print a table; beyond a terminal, which has no more room, no value of it is cut off."""
    width = console.width
    if not console.is_terminal:
        console.width = max(width, _width(table, console, folded=True))
    console.print(table)
    console.width = width


def _width(table: Table, console: Console, folded: bool = False) -> int:
    """What a table needs; with its columns ``folded`` as far as whole words allow."""
    from rich.measure import Measurement

    unbounded = console.options.update(max_width=10_000)
    width = Measurement.get(console, unbounded, table).maximum
    for column in table.columns:
        if folded and not column.no_wrap:
            parts = [Measurement.get(console, unbounded, c) for c in (column.header, *column.cells)]
            width -= max(part.maximum for part in parts) - max(part.minimum for part in parts)
    return width


def say(console: Console, text: str, style: str = "") -> None:
    """Print a sentence as it is: wrapped at words, no markup, no colours of its own."""
    console.print(plain(text, console), style=style or None, markup=False, highlight=False)


def plain(text: str, console: Console) -> str:
    """The text in the characters that the console's encoding has."""
    return text.replace("±", "+-").replace("▸", ">") if console.options.ascii_only else text


def new_table() -> Table:
    """An empty table in the look of the house."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), header_style="bold")


def drawn(sheet: Sheet, console: Console) -> Table:
    """A sheet as a table; marks stand before the first cell."""
    table = new_table()
    for column in sheet.columns:
        table.add_column(
            column.header,
            justify="left" if column.left else "right",
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
            style="dim" if column.faint else None,
        )
    # Cells on the right line up as they are; those on the left need room where the mark is not.
    blank = "  " if sheet.columns[0].left and any(row.marked for row in sheet.rows) else ""
    for row in sheet.rows:
        first = (f"{MARK} " if row.marked else blank) + row.cells[0]
        cells = (plain(cell, console) for cell in (first, *row.cells[1:]))
        table.add_row(*cells, style=STYLES.get(row.tone))
    return table


def show_widest(
    console: Console, choices: Sequence[Choice], build: Callable[[Choice], Table]
) -> None:
    """Print the table of the first choice that the console has room for; the last where none."""
    for choice in choices:
        table = build(choice)
        if _width(table, console) <= console.width:
            break
    show_table(console, table)
