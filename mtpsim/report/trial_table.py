"""The theory on trial, on a terminal: what each way to measure rates would have cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mtpsim.report.document import (
    MISSING,
    Document,
    best_depth,
    fixed,
    known,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.terminal import new_table, plain, say, widest_that_fits

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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
DIFFERENT = 0.003
"""Relative error by which another weighting must differ to be worth a line."""


def print_trial(point: Document, console: Console) -> None:
    """Print the definitions side by side, and what shows that rounds depend on each other."""
    trial = point.get("trial")
    if not trial:
        return
    depths = [entry["depth"] for entry in trial["rows"][0]["depths"]]
    at = trial["measured_at"]
    say(
        console,
        f"Had you plugged in rates measured at depth {at}, the closed form's speedup would be "
        "off by, in %:",
    )
    rows = worth_showing(trial)
    choices = [_some(depths, best_depth(point), most) for most in (len(depths), 8, 6, 4, 3, 2, 1)]
    console.print(widest_that_fits(console, choices, lambda some: _table(rows, some, console)))
    console.print()


def worth_showing(trial: Document) -> list[Document]:
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


def _plainly(row: Document) -> bool:
    return row["weighting"] in (None, "round-pooled")


def _differ(row: Document, other: Document) -> bool:
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


def row_name(row: Document) -> str:
    """What is plugged in, in words."""
    return NAMES[row["definition"]] + WEIGHTINGS.get(row["weighting"] or "", "")


def _table(rows: list[Document], depths: list[int], console: Console) -> Table:
    table = new_table()
    table.add_column("plugged in", no_wrap=True)
    for depth in depths:
        table.add_column(f"depth {depth}", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
    digits = digits_of(entry["speedup_error"] for row in rows for entry in row["depths"])
    for row in rows:
        mark = "▸ " if row["chosen"] else "  "
        cells = [plain(mark, console) + row_name(row)]
        for entry in row["depths"]:
            if entry["depth"] in depths:
                error = entry["speedup_error"]
                cells += [percent(error, digits), error.get("verdict") or MISSING]
        table.add_row(*cells, style="bold" if row["chosen"] else None)
    return table


def digits_of(errors: Iterable[Document]) -> int:
    """Decimals of percentages that the narrowest interval has earned, 1 or 2 for a whole table."""
    halves = [e["high"] - e["low"] for e in errors if known(e.get("high")) and known(e.get("low"))]
    return 2 if min(halves, default=1) < 0.001 else 1


def percent(error: Document | None, digits: int) -> str:
    """A relative error in percent, with a sign."""
    if not error or not known(error.get("mean")):
        return MISSING
    text = fixed(100 * error["mean"], digits)
    return text if text.startswith("-") or float(text) == 0 else f"+{text}"


def findings(point: Document) -> list[str]:
    """Sentences on how far the rounds of a request are from independent."""
    found = point.get("diagnostics")
    if not found:
        return []
    sentences = [_neighbours(found), _lasting(found), _survivors(found), _moving(found)]
    return [sentence for sentence in sentences if sentence]


def _neighbours(found: Document) -> str:
    lags, narrow = found.get("autocorrelation"), found.get("too_narrow")
    if not lags:
        return ""
    mean, low, high = (lags[field][0] for field in ("mean", "low", "high"))
    if low <= 0 <= high:
        return (
            f"Neighbouring rounds are independent as far as {lags['requests']:,} recorded requests "
            f"can tell (correlation {mean:.3f} [{low:.3f}, {high:.3f}])."
        )
    text = f"Accepted drafts of neighbouring rounds correlate by {mean:.3f} [{low:.3f}, {high:.3f}]"
    if narrow and known(narrow.get("mean")) and narrow["low"] > 1:
        text += f"; intervals that took rounds as independent would be {narrow['mean']:.2g}x too"
        text += " narrow"
    return text + "."


def _lasting(found: Document) -> str:
    share = found.get("lasting_share")
    if not share or not known(share.get("low")) or share["low"] < 0.01:
        return ""
    return (
        f"Requests differ for good: {100 * share['mean']:.0f} % of the variance of accepted drafts "
        "lasts through a request."
    )


def _survivors(found: Document) -> str:
    rise = found.get("survivorship")
    if not rise or not known(rise.get("low")) or rise["low"] < 0.005:
        return ""
    last = found["rates_by_depth"][-1]["depth"]
    return (
        f"Conditional rates rise by {rise['mean']:.3f} from p1 to p{last}: rounds that come so far "
        "are the easy ones."
    )


def _moving(found: Document) -> str:
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


def print_sweep_trial(result: Document, console: Console) -> None:
    """Print, for every point of a sweep, what each definition would have cost at its best depth."""
    points = [point for point in result["points"] if point.get("trial")]
    if not points:
        return
    say(console, "Closed form's speedup off by, in %, where each point is fastest:")
    names = _columns(points)
    choices = [names[:n] for n in range(len(names), 0, -1)]
    console.print(
        widest_that_fits(console, choices, lambda some: _sweep_table(result, points, some))
    )


def _columns(points: list[Document]) -> list[tuple[str, str | None]]:
    """Definition and weighting of every column: what is chosen anywhere comes first."""
    rows = [row for point in points for row in point["trial"]["rows"]]
    keys = [(row["definition"], row["weighting"]) for row in rows if row["chosen"]]
    keys += [(row["definition"], row["weighting"]) for row in rows if _plainly(row)]
    return list(dict.fromkeys(keys))


def _sweep_table(
    result: Document, points: list[Document], columns: list[tuple[str, str | None]]
) -> Table:
    keys = short_names(swept_keys(result))
    table = new_table()
    for name in keys.values():
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("depth", justify="right", no_wrap=True)
    for definition, weighting in columns:
        name = SHORT[definition] + WEIGHTINGS.get(weighting or "", "").replace(", ", "\n")
        table.add_column(name, justify="right", no_wrap=True)
    for point in points:
        values = point.get("set") or {}
        # The closed form has no say at depth 0: where MTP is off, show what it says of depth 1.
        depth = max(best_depth(point) or 1, 1)
        cells = [value_text(values.get(key)) for key in keys]
        errors = [_error_at(point, column, depth) for column in columns]
        table.add_row(*cells, str(depth), *(percent(error, 2) for error in errors))
    return table


def _error_at(point: Document, column: tuple[str, str | None], depth: int) -> Document | None:
    for row in point["trial"]["rows"]:
        if (row["definition"], row["weighting"]) == column:
            found: Document = next(e for e in row["depths"] if e["depth"] == depth)["speedup_error"]
            return found
    return None
