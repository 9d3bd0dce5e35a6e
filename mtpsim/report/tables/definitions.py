"""The theory on trial, on a terminal: what each way to measure rates would have cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.formatting import (
    MISSING,
    best_depth,
    fixed,
    known,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.tables.table_model import Column, Row, Sheet
from mtpsim.report.tables.terminal import drawn, say, show_widest

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {
    "stated": "as the file states",
    "conditional": "conditional",
    "survival": "survival as if conditional",
    "pooled": "pooled A / D",
    "first": "p1 alone",
}
WEIGHTINGS = {
    "request-mean": ", mean of requests",
    "every-position": ", every position",
}
SHORT = {**NAMES, "stated": "stated", "survival": "survival", "pooled": "pooled", "first": "p1"}
FIRST = ("stated", "conditional")
SWEEP_SENTENCE = "Closed form's speedup off by, in %, where each point is fastest"
OFF = "0 (off)"
DIFFERENT = 0.003
"""Relative error by which another weighting must differ to be worth a line."""


def print_trial(point: PointResult, console: Console) -> None:
    """Print the definitions side by side, and what shows that rounds depend on each other."""
    trial = point.get("trial")
    if not trial:
        return
    depths = depths_of(trial)
    say(console, trial_sentence(trial))
    choices = [_some(depths, best_depth(point), most) for most in (len(depths), 8, 6, 4, 3, 2, 1)]
    show_widest(console, choices, lambda some: drawn(trial_sheet(trial, some), console))
    console.print()


def depths_of(trial: Any) -> list[int]:
    """The depths that the closed form was asked about."""
    return [entry["depth"] for entry in trial["rows"][0]["depths"]]


def trial_sentence(trial: Any) -> str:
    """What the table of definitions shows."""
    return (
        f"Had you plugged in rates measured at depth {trial['measured_at']}, the closed form's "
        "speedup would be off by, in %:"
    )


def worth_showing(trial: Any) -> list[Any]:
    """Rows of all definitions, and of those weightings that make a difference.

    Measured at depth 1 all definitions are one: then one of them is shown.
    """
    same = trial["measured_at"] == 1
    rows = [r for r in trial["rows"] if not same or r["chosen"] or r["definition"] in FIRST]
    pooled = {row["definition"]: row for row in rows if _plainly(row)}
    return [
        row
        for row in rows
        if _plainly(row) or row["chosen"] or _differ(row, pooled[row["definition"]])
    ]


def _plainly(row: Any) -> bool:
    return row["weighting"] in (None, "round-pooled")


def _differ(row: Any, other: Any) -> bool:
    pairs = zip(row["depths"], other["depths"], strict=True)
    return any(
        known(a["speedup_error"]["mean"])
        and known(b["speedup_error"]["mean"])
        and abs(a["speedup_error"]["mean"] - b["speedup_error"]["mean"]) > DIFFERENT
        for a, b in pairs
    )


def _some(depths: list[int], best: int | None, most: int) -> list[int]:
    """At most so many depths: the best one, the ends, and others evenly between."""
    if len(depths) <= most:
        return depths
    first = [best or depths[-1], depths[-1], depths[0]]
    wanted = dict.fromkeys([*first, *depths[:: -(-len(depths) // most)]])
    return sorted(list(wanted)[:most])


def row_name(row: Any) -> str:
    """What is plugged in, in words."""
    return NAMES[row["definition"]] + WEIGHTINGS.get(row["weighting"] or "", "")


def trial_sheet(trial: Any, depths: Sequence[int]) -> Sheet:
    """A row a definition: its error and verdict at some depths."""
    columns = [Column("plugged in", left=True)]
    for depth in depths:
        columns += [Column(f"depth {depth}"), Column("", left=True, joins=True)]
    shown = worth_showing(trial)
    digits = digits_of(entry["speedup_error"] for row in shown for entry in row["depths"])
    rows = []
    for row in shown:
        cells = [row_name(row)]
        for entry in row["depths"]:
            if entry["depth"] in depths:
                error = entry["speedup_error"]
                cells += [percent(error, digits), error.get("verdict") or MISSING]
        rows.append(Row(cells, "chosen" if row["chosen"] else "", row["chosen"]))
    return Sheet(columns, rows)


def digits_of(errors: Iterable[Any]) -> int:
    """Decimals of percentages that the narrowest interval has earned, 1 or 2 for a whole table."""
    halves = [e["high"] - e["low"] for e in errors if known(e.get("high")) and known(e.get("low"))]
    return 2 if min(halves, default=1) < 0.001 else 1


def percent(error: Any | None, digits: int) -> str:
    """A relative error in percent, with a sign."""
    if not error or not known(error.get("mean")):
        return MISSING
    text = fixed(100 * error["mean"], digits)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def findings(point: PointResult) -> list[str]:
    """Sentences on how far the rounds of a request are from independent."""
    found = point.get("diagnostics")
    if not found:
        return []
    sentences = [_neighbours(found), _lasting(found), _survivors(found), _moving(found)]
    return [sentence for sentence in sentences if sentence]


def _neighbours(found: Any) -> str:
    lags, narrow = found.get("autocorrelation"), found.get("too_narrow")
    if not lags:
        return ""
    mean, low, high = (lags[field][0] for field in ("mean", "low", "high"))
    if low <= 0 <= high:
        return (
            f"Neighbouring rounds are independent as far as {lags['requests']:,} simulated "
            f"requests can tell (correlation {mean:.3f} [{low:.3f}, {high:.3f}])."
        )
    text = f"Accepted drafts of neighbouring rounds correlate by {mean:.3f} [{low:.3f}, {high:.3f}]"
    if narrow and known(narrow.get("mean")) and narrow["low"] > 1:
        text += f"; intervals that took rounds as independent would be {narrow['mean']:.2g}x too"
        text += " narrow"
    return text + "."


def _lasting(found: Any) -> str:
    share = found.get("lasting_share")
    if not share or not known(share.get("low")) or share["low"] < 0.01:
        return ""
    return (
        f"Requests differ for good: {100 * share['mean']:.0f} % of the variance of accepted drafts "
        "lasts through a request."
    )


def _survivors(found: Any) -> str:
    rise = found.get("survivorship")
    if not rise or not known(rise.get("low")) or rise["low"] < 0.005:
        return ""
    last = found["rates_by_depth"][-1]["depth"]
    return (
        f"Conditional rates rise by {rise['mean']:.3f} from p1 to p{last}, as they do where the "
        "rounds that come so far are the easy ones."
    )


def _moving(found: Any) -> str:
    rates = found["rates_by_depth"]
    first, last = rates[0], rates[-1]
    if not all(known(part["mean"][0]) for part in (first, last)):
        return ""
    apart = first["low"][0] > last["high"][0] or first["high"][0] < last["low"][0]
    if not apart or abs(first["mean"][0] - last["mean"][0]) < 0.003:
        return ""
    moves = "falls" if first["mean"][0] > last["mean"][0] else "rises"
    return (
        f"p1 {moves} from {first['mean'][0]:.3f} at depth {first['depth']} to "
        f"{last['mean'][0]:.3f} at depth {last['depth']}: rates measured at one depth don't carry "
        "to another."
    )


def print_sweep_trial(result: ResultDocument, console: Console) -> None:
    """Print, for every point of a sweep, what each definition would have cost at its best depth."""
    names = definitions(result)
    if not names:
        return
    say(console, f"{SWEEP_SENTENCE}:")
    choices = [names[:n] for n in range(len(names), 0, -1)]
    show_widest(console, choices, lambda some: drawn(sweep_trial_sheet(result, some), console))


def definitions(result: ResultDocument) -> list[tuple[str, str | None]]:
    """Definition and weighting of every column: what is chosen anywhere comes first."""
    rows = [row for point in _tried(result) for row in point["trial"]["rows"]]
    keys = [(row["definition"], row["weighting"]) for row in rows if row["chosen"]]
    keys += [(row["definition"], row["weighting"]) for row in rows if _plainly(row)]
    return list(dict.fromkeys(keys))


def _tried(result: ResultDocument) -> list[Any]:
    return [point for point in result["points"] if point.get("trial")]


def sweep_trial_sheet(result: ResultDocument, shown: Sequence[tuple[str, str | None]]) -> Sheet:
    """A row a point: what some definitions would have cost where it is fastest."""
    keys = short_names(swept_keys(result))
    columns = [Column(name, folds=True) for name in keys.values()] + [Column("depth")]
    for definition, weighting in shown:
        more = WEIGHTINGS.get(weighting or "", "")
        full = NAMES[definition] + more
        columns.append(Column(SHORT[definition] + more.replace(", ", "\n"), full))
    rows = []
    for point in _tried(result):
        values = point.get("set") or {}
        best = best_depth(point)
        # The closed form can't be off at depth 0, where every rate gives a speedup of 1.
        depth, name = (best, str(best)) if best else (None, OFF if best == 0 else MISSING)
        cells = [value_text(values.get(key)) for key in keys]
        errors = [_error_at(point, column, depth) for column in shown]
        rows.append(Row([*cells, name, *(percent(error, 2) for error in errors)]))
    return Sheet(columns, rows)


def _error_at(point: PointResult, column: tuple[str, str | None], depth: int | None) -> Any | None:
    """The error of a definition at a depth; None where there is none."""
    if depth is None:
        return None
    for row in point["trial"]["rows"]:
        if (row["definition"], row["weighting"]) == column:
            found: Any = next(e for e in row["depths"] if e["depth"] == depth)["speedup_error"]
            return found
    return None
