"""Tables for the terminal and for the page; the minimum of several turns."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from rich import box
from rich.table import Table as Rich

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Table:
    """Text cells under a title."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def markdown(self) -> str:
        lines = [self.head, ("---",) + ("---:",) * (len(self.head) - 1), *self.rows]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"## {self.title}\n\n{text}\n"

    def rich(self) -> Rich:
        shown = Rich(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(self.head):
            shown.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            shown.add_row(*row)
        return shown


def best(programs: Mapping[Name, Callable[[], float]], turns: int) -> dict[Name, float]:
    """Minimum time over each program's turns: other load on the machine can only add to it."""
    taken = {name: float("inf") for name in programs}
    for _ in range(turns):
        for name, run in programs.items():
            taken[name] = min(taken[name], run())
    return taken
