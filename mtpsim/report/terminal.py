"""What every table on a terminal shares: plain text, one look, no wider than there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from mtpsim.report.sheet import MARK, Sheet

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Choice = TypeVar("Choice")
STYLES = {"best": "bold green", "chosen": "bold", "faint": "dim"}


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


def widest_that_fits(
    console: Console, choices: Sequence[Choice], build: Callable[[Choice], Table]
) -> Table:
    """The table of the first choice whose natural width the console has; the last where none."""
    from rich.measure import Measurement

    unbounded = console.options.update(max_width=10_000)
    for choice in choices:
        table = build(choice)
        if Measurement.get(console, unbounded, table).maximum <= console.width:
            break
    return table
