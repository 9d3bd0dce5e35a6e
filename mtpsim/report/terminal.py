"""What every table on a terminal shares: plain text, one look, no wider than there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Choice = TypeVar("Choice")


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
