"""A benchmark plan on a terminal."""

import sys
from collections.abc import Sequence

from mtpsim.benchmark.power import DEFAULT_EFFECT, BenchmarkPlan, Comparison
from mtpsim.common.text import counted
from mtpsim.report.tables.terminal import (
    Column,
    Row,
    TextTable,
    console_on,
    print_table,
    print_warnings,
    say,
)


def print_plan(plan: BenchmarkPlan, warnings: Sequence[str] = ()) -> None:
    """Print the sizes of the plan, how often they decide correctly, and other request lengths.

    Args:
        plan: the plan.
        warnings: on the experiment, a sentence each; printed last.
    """
    console = console_on(sys.stdout)
    say(console, heading(plan), "bold")
    console.print()
    print_table(console, _table(plan))
    warned = [*plan.shortfalls(), *filter(None, map(warning, plan.questions))]
    if warned:
        console.print()
    for text in warned:
        say(console, text)
    if plan.by_length:
        console.print()
        say(console, f"{plan.questions[0].name.capitalize()}, by length of a request:")
        print_table(console, _lengths(plan))
    console.print()
    source = "the default of --delta" if plan.effect == DEFAULT_EFFECT else "--delta"
    say(
        console,
        f"Sizes are for a difference of {100 * plan.effect:g} % ({source}), not for the difference "
        "in the model. Independent: each run has its own requests. Paired: both runs answer the "
        "same prompts greedily; compare request by request. Verified: share of simulated "
        "benchmarks of that size that decide correctly, and share whose interval misses the true "
        "value.",
    )
    if plan.recorded:
        console.print()
        say(console, recorded_sentence(plan))
    if not plan.rates_vary:
        console.print()
        say(
            console,
            "All requests of this model have the same acceptance rates. Real requests differ, and "
            "then several times as many may be needed: fit a log that counts each request.",
        )
    print_warnings(console, warnings)


def recorded_sentence(plan: BenchmarkPlan) -> str:
    """Return what the intervals of recorded requests include, and what they can't show."""
    text = (
        f"Resampled from {counted(plan.recorded, 'recorded request')}: the intervals of the gain "
        "include this sample, and what a replay does not show"
    )
    most = max(design.requests for one in plan.questions for design in one.designs)
    if most <= plan.recorded:
        return f"{text}."
    return (
        f"{text}. A plan of {most:,} requests repeats them: rarer ones, which the log has not met, "
        "are not in it."
    )


def heading(plan: BenchmarkPlan) -> str:
    """``Requests per depth to detect a difference of 1 % with probability 0.9 ...``."""
    length = "their own lengths"
    for unit, number in plan.horizon.items():
        length = counted(number, unit.removesuffix("s"))
    return (
        f"Requests per depth to detect a difference of {100 * plan.effect:g} % with probability "
        f"{plan.power:g}, or to measure a speedup to ±{100 * plan.effect:g} %, at "
        f"{100 * plan.confidence:g} % confidence, with requests of {length}:"
    )


def _table(plan: BenchmarkPlan) -> TextTable:
    names = "in the\nmodel, %", "requests,\nindependent", "requests,\npaired"
    effect, independent, paired = map(Column, names)
    verified = Column("verified\nright/miss")
    columns = [Column("comparison", left=True), effect, independent, verified, paired, verified]
    rows = []
    for comparison in plan.questions:
        gain, half = comparison.effect
        interval = f" ±{100 * half:.2f}" * bool(plan.recorded)
        cells = [comparison.name, f"{100 * gain:+.2f}{interval}"]
        for design in comparison.designs:
            cells += [f"{design.requests:,}", f"{design.power:.3f}/{design.false:.3f}"]
        rows.append(Row(cells))
    return TextTable(columns, rows)


def warning(comparison: Comparison) -> str:
    """The size and power of a plan with independent rounds; empty if it is no smaller."""
    naive, right = comparison.if_rounds, comparison.designs[0]
    if naive is None or naive.requests >= 0.9 * right.requests:
        return ""
    return (
        f"{comparison.name.capitalize()}: treating rounds as independent gives n = "
        f"{naive.requests:,} and only {100 * naive.power:.0f} % power ({right.requests:,} needed)."
    )


def _lengths(plan: BenchmarkPlan) -> TextTable:
    tokens = "tokens\nper run"
    names = plan.by_length[0].unit, "requests,\nindependent", tokens, "requests,\npaired", tokens
    rows = []
    for row in plan.by_length:
        cells = [f"{row.length:,}"]
        for requests in (row.independent, row.paired):
            cells += [f"{requests:,}", f"{requests * row.tokens:,.0f}"]
        rows.append(cells)
    return TextTable.of(names, rows)
