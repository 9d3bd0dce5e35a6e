"""A benchmark plan on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mtpsim.benchmark.power import EFFECT, Design, Planned, Question
from mtpsim.common.text import counted
from mtpsim.report.tables.terminal import console_on, new_table, plain, say, show_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_plan(planned: Planned) -> None:
    """Print what to run, how sure it is, and what other lengths of requests would take."""
    console = console_on(sys.stdout)
    say(console, heading(planned), "bold")
    console.print()
    show_table(console, _table(planned, console))
    warned = [text for text in map(warning, planned.questions) if text]
    if warned:
        console.print()
    for text in warned:
        say(console, text)
    if planned.by_length:
        console.print()
        _print_lengths(planned, console)
    console.print()
    usual = " (the default of --delta)" if planned.effect == EFFECT else " (--delta)"
    say(
        console,
        f"Requests are those for {100 * planned.effect:g} %{usual}, whatever the difference in the "
        "model is. Independent: each run has requests of its own. Paired: both runs answer the "
        "same prompts greedily, so that the text is the same; compare request by request. "
        "Verified: share of simulated benchmarks of that size that decide right, and whose "
        "interval misses the truth.",
    )


def heading(planned: Planned) -> str:
    """``To find a difference of 1 % with probability 0.9, at 95 % confidence ...``."""
    length = "recorded length"
    for name, value in planned.horizon.items():
        length = counted(value, name.removesuffix("s"))
    return (
        f"To find a difference of {100 * planned.effect:g} % with probability {planned.power:g}, "
        f"or to know a speedup to ±{100 * planned.effect:g} %, at {100 * planned.confidence:g} % "
        f"confidence, with requests of {length}, run at each depth:"
    )


def _table(planned: Planned, console: Console) -> Table:
    table = new_table()
    for name in (
        *("question", "in the\nmodel, %", "requests,\nindependent", "verified\nright/miss"),
        *("requests,\npaired", "verified\nright/miss"),
    ):
        table.add_column(name, justify="right" if name != "question" else "left", no_wrap=True)
    for question in planned.questions:
        cells = [_name(question), f"{100 * question.effect[0]:+.2f}"]
        for design in question.designs:
            cells += [f"{design.requests:,}", _verified(design)]
        table.add_row(*(plain(cell, console) for cell in cells))
    return table


def _name(question: Question) -> str:
    one, two = question.depths
    return f"depth {two} over {one}" if one else f"speedup of {two}"


def _begin(question: Question) -> str:
    return _name(question).capitalize()


def _verified(design: Design) -> str:
    return f"{design.power:.3f}/{design.false:.3f}"


def warning(question: Question) -> str:
    """What becomes of a plan that takes rounds for independent; nothing where it does no harm."""
    naive, right = question.if_rounds, question.designs[0]
    if naive is None or naive.requests >= 0.9 * right.requests:
        return ""
    return (
        f"{_begin(question)}: who takes rounds for independent would run "
        f"{counted(naive.requests, 'request')} instead of {right.requests:,}, and decide right in "
        f"{100 * naive.power:.0f} % of benchmarks."
    )


def _print_lengths(planned: Planned, console: Console) -> None:
    say(console, f"{_begin(planned.questions[0])}, by length of a request:")
    table = new_table()
    for name in (
        *(planned.by_length[0].unit, "requests,\nindependent", "tokens\nof a run"),
        *("requests,\npaired", "tokens\nof a run"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in planned.by_length:
        table.add_row(
            f"{row.length:,}",
            *(f"{row.independent:,}", f"{row.independent * row.tokens:,.0f}"),
            *(f"{row.paired:,}", f"{row.paired * row.tokens:,.0f}"),
        )
    show_table(console, table)
