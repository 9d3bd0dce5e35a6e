"""A sweep on a terminal: a row per point, and how the best depth moves with the batch size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mtpsim.common.text import span
from mtpsim.report.document import (
    INPUTS,
    SIMULATION,
    BatchGroup,
    Interval,
    PointResult,
    ResultDocument,
    ScheduleStep,
    Turn,
)
from mtpsim.report.formatting import (
    MISSING,
    Quantities,
    advised_depth,
    as_compared,
    cells_of,
    column,
    compared_at,
    known,
    plus_minus,
    preset_note,
    set_label,
    shared_decimals,
    short_names,
    swept_keys,
    times_known,
    value_text,
)
from mtpsim.report.tables import diagnostics
from mtpsim.report.tables.long_sweep import (
    MOST_POINTS,
    folded_warnings,
    places,
    where_sentence,
    where_table,
)
from mtpsim.report.tables.result import HEADERS, error_cells, verdict_text
from mtpsim.report.tables.terminal import Column, Row, TextTable, print_table, print_warnings, say

if TYPE_CHECKING:
    from rich.console import Console

DEFINITIONS = (
    "Closed-form error (%) at the best depth of each point, by definition of the acceptance rate"
)
OFF = "0 (off)"
ALL_POINTS = "report.html and result.csv have every point, as has `mtpsim show RUN --all`"
ERRORS = {
    SIMULATION: "Intervals take the step times as exact.",
    INPUTS: "Intervals include input uncertainty.",
    "": "Too few requests for intervals.",
}
"""What the intervals of batches include, by :attr:`~.document.Turn.over`."""


def print_summary(
    result: ResultDocument, console: Console, *, only_shared: bool, every: bool = False
) -> None:
    """Print the points, the closed form's errors, what policies gain, warnings, and the answer.

    Args:
        result (ResultDocument): The result of a sweep.
        console (Console): Where to print.
        only_shared (bool): Print only warnings of all points.
        every (bool): Print a row per point of a long sweep, too.
    """
    console.print()
    if len(result.points) > MOST_POINTS and not every:
        _print_long(result, console)
    else:
        _print_points(result, console)
    found = [*warnings_of_points(result, only_shared=only_shared), *(result.warnings or [])]
    print_warnings(console, found)
    say(console, judged_together(result), "dim")
    console.print()
    where = where_sentence(result) if times_known_somewhere(result) else ""
    answer = [f"{sweep_heading(result)}.", where, *batch_sentences(result)]
    for sentence in filter(None, answer):
        say(console, sentence, "bold")


def _print_points(result: ResultDocument, console: Console) -> None:
    say(console, f"All {len(result.points)} points", "bold")
    print_table(console, summary_table(result))
    console.print()
    _print_errors(result, console, DEFINITIONS, definitions_table)
    if any(point.adaptive for point in result.points):
        from mtpsim.report.tables.policies import policies_heading, policy_summary_table

        say(console, f"{policies_heading(result)}:", "bold")
        print_table(console, policy_summary_table(result))
        console.print()


def _print_long(result: ResultDocument, console: Console) -> None:
    """Print where each depth is best, and ranges of the closed form's errors."""
    say(console, f"Best depth at {len(result.points):,} points", "bold")
    print_table(console, where_table(result))
    console.print()
    _print_errors(result, console, f"{DEFINITIONS}, least to greatest", error_ranges)
    if any(point.adaptive for point in result.points):
        from mtpsim.report.tables.policies import policies_heading

        say(console, f"{policies_heading(result)}.", "bold")
    say(console, f"{ALL_POINTS}.", "dim")
    console.print()


def _print_errors(
    result: ResultDocument,
    console: Console,
    title: str,
    table: Callable[[ResultDocument, list[tuple[str, str | None]]], TextTable],
) -> None:
    """Print the closed form's errors, with as many definitions as the width allows."""
    if shown := definition_columns(result):
        say(console, f"{title}:")
        print_table(console, *(table(result, shown[:n]) for n in (len(shown), 3, 1)))
        console.print()


def times_known_somewhere(result: ResultDocument) -> bool:
    """Whether any point has times, without which no depth is recommended."""
    return any(map(times_known, result.points))


def sweep_heading(result: ResultDocument) -> str:
    """How the best depth and its speedup move over a sweep."""
    if not times_known_somewhere(result):
        return "No times are known: the speedup is the accept length"
    result = as_compared(result)
    best = [(advised_depth(point), column(point, "speedup")) for point in result.points]
    found = [(depth, speed[depth]) for depth, speed in best if depth is not None]
    if not found:
        return "Too few requests for a best depth" if result.points else "Nothing was simulated"
    depths = sorted({depth for depth, _ in found})
    low, high = min(speed for _, speed in found), max(speed for _, speed in found)
    reach = f"{low:.2f}x to {high:.2f}x" if f"{low:.2f}" != f"{high:.2f}" else f"{low:.2f}x"
    some = "" if len(found) == len(best) else f"{len(found)} of "
    if depths == [0]:
        return f"No depth pays at {some or 'any of the '}{len(best)} points{compared_at(result)}"
    if len(depths) == 1:
        where = f"{some or 'all '}{len(best)} points"
        return f"Depth {depths[0]} is fastest at {where}: {reach}{compared_at(result)}"
    over = " and ".join(key.rpartition(".")[2] for key in swept_keys(result)[:2])
    return (
        f"Best depth {depths[0]} to {depths[-1]}, depending on {over}: {reach}{compared_at(result)}"
    )


def batch_sentences(result: ResultDocument) -> list[str]:
    """The depth to run by batch size, for each group of points that differ in nothing else."""
    note = preset_note(result)
    return [f"{_batch_sentence(group)} {note}".rstrip() for group in result.by_batch]


def group_label(group: BatchGroup) -> str:
    """The swept values that the points of a group share; may be empty."""
    return set_label(group.set, short_names(list(group.set)))


def _batch_sentence(group: BatchGroup) -> str:
    label = group_label(group)
    runs = []
    for entry in group.schedule:
        where = f"{entry.from_:,}"
        where += f" to {entry.to:,}" + _bounds(entry) if entry.to > entry.from_ else _bounds(entry)
        runs.append(f"{where} depth {entry.depth}" if entry.depth else f"{where} off")
    text = f"By batch, {label}: " if label else "By batch: "
    text += (", ".join(runs) or "no whole one") + "."
    for turn in group.turns:
        text += f" {turn_text(turn)}."
    if not group.turns and group.schedule and group.schedule[-1].depth:
        text += " Drafting pays at every batch of the sweep."
    return text + (f" {ERRORS[group.turns[0].over]}" if group.turns else "")


def turn_text(turn: Turn) -> str:
    """``Turn MTP off above a batch of 600 [599, 601]``."""
    text = f"Turn MTP {turn.to} above a batch of {turn.batch:,.0f}{_bounds(turn)}"
    if turn.over and not (known(turn.low) and known(turn.high)):
        return text + " (its interval reaches beyond the sweep)"
    return text


def _bounds(found: Turn | ScheduleStep) -> str:
    """Interval of a whole batch, of one end where the other is beyond the sweep; may be empty."""
    low, high = (f"{end:,.0f}" if known(end) else "" for end in (found.low, found.high))
    if low == high:
        return ""
    if low and high:
        return f" [{low}, {high}]"
    return f" [at least {low}]" if low else f" [at most {high}]"


def judged_together(result: ResultDocument) -> str:
    """How many verdicts on the closed form a sweep gives at once."""
    judged = sum(len(point.depths) - 1 for point in result.points)
    return f"Closed-form verdicts are adjusted for {judged} comparisons (Holm)."


def summary_table(result: ResultDocument) -> TextTable:
    """A row per point of a sweep: its best depth, its speedup, and the closed form's error."""
    result = as_compared(result)
    names = short_names(swept_keys(result))
    headers = "best\ndepth", "speedup", HEADERS["error"], HEADERS["verdict"]
    best = [advised_depth(point) for point in result.points]
    speedups = [_at_best(point, "speedup") for point in result.points]
    errors = [_at_best(point, "theory_error") for point in result.points]
    decimals, percents = shared_decimals(speedups), error_cells(errors)
    rows = []
    for n, (point, entry) in enumerate(zip(result.points, best, strict=True)):
        depth = MISSING if entry is None else str(entry)
        found = [depth, plus_minus(speedups[n], decimals), percents[n], verdict_text(errors[n])]
        rows.append(Row([*(value_text(point.set.get(key)) for key in names), *found]))
    columns = [Column(name, folds=True) for name in names.values()]
    return TextTable([*columns, *map(Column, headers)], rows)


def _at_best(point: PointResult, quantity: Quantities) -> Interval | None:
    cells = zip(point.depths, cells_of(point, quantity), strict=True)
    return next((cell for depth, cell in cells if depth.depth == advised_depth(point)), None)


def warnings_of_points(result: ResultDocument, *, only_shared: bool = False) -> list[str]:
    """Each warning once, with the points that it belongs to; ``only_shared``: those of all."""
    where = {text: places(result, points) for text, points in folded_warnings(result).items()}
    return [
        f"{warning} ({place})"
        for warning, place in where.items()
        if place == "every point" or not only_shared
    ]


def definition_columns(result: ResultDocument) -> list[tuple[str, str | None]]:
    """Definition and weighting of every column: what is chosen anywhere comes first."""
    rows = [row for point in result.points if point.trial for row in point.trial.rows]
    keys = [(row.definition, row.weighting) for row in rows if row.chosen]
    keys += [(row.definition, row.weighting) for row in rows if diagnostics.is_plain(row)]
    return list(dict.fromkeys(keys))


def definitions_table(result: ResultDocument, shown: list[tuple[str, str | None]]) -> TextTable:
    """A row per point: the closed form's error at its best depth, by definition of the rates."""
    keys = short_names(swept_keys(result))
    columns = [Column(name, folds=True) for name in keys.values()] + [Column("depth")]
    columns += _definition_headers(shown)
    rows = []
    for point in result.points:
        if not point.trial:
            continue
        best = advised_depth(point)
        # The closed form has no error at depth 0, where every rate gives a speedup of 1.
        name = str(best) if best else OFF if best == 0 else MISSING
        errors = {
            (row.definition, row.weighting): entry.speedup_error
            for row in point.trial.rows
            for entry in row.depths
            if entry.depth == best
        }
        values = [value_text(point.set.get(key)) for key in keys]
        cells = [diagnostics.signed_percent(errors.get(key), 2) for key in shown]
        rows.append(Row([*values, name, *cells]))
    return TextTable(columns, rows)


def _definition_headers(shown: list[tuple[str, str | None]]) -> list[Column]:
    columns = []
    for definition, weighting in shown:
        more = diagnostics.WEIGHTINGS.get(weighting or "", "")
        header = diagnostics.SHORT[definition] + more.replace(", ", "\n")
        columns.append(Column(header, diagnostics.NAMES[definition] + more))
    return columns


def error_ranges(result: ResultDocument, shown: list[tuple[str, str | None]]) -> TextTable:
    """A row per best depth: least and greatest error of the closed form over its points."""
    errors: dict[int, dict[tuple[str, str | None], list[float]]] = {}
    for point in result.points:
        best = advised_depth(point)
        for row in point.trial.rows if point.trial else ():
            for entry in row.depths:
                if entry.depth == best and known(entry.speedup_error.mean):
                    found = errors.setdefault(best, {})
                    name = row.definition, row.weighting
                    found.setdefault(name, []).append(100 * entry.speedup_error.mean)
    rows = [
        Row([str(depth), *(span(found[key], "+.2f") if key in found else MISSING for key in shown)])
        for depth, found in sorted(errors.items())
    ]
    return TextTable([Column("depth"), *_definition_headers(shown)], rows)
