"""What a point shows beside its depths, as sentences and tables.

The closed form's errors by definition of the rates, dependence between rounds, quantiles of single
requests, and what common random numbers save.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from typing import TYPE_CHECKING

from mtpsim.common.text import counted
from mtpsim.report.document import (
    Adaptive,
    DefinitionRow,
    Definitions,
    DepthResult,
    Diagnostics,
    Interval,
    PointResult,
    PolicyResult,
    Variance,
)
from mtpsim.report.formatting import (
    MISSING,
    advised_depth,
    best_depth,
    bracketed,
    decimals_for,
    fixed,
    half_width,
    known,
    plus_minus,
    shared_decimals,
    speed_text,
)
from mtpsim.report.tables.terminal import (
    MARK,
    Column,
    Row,
    TextTable,
    VerdictText,
    print_table,
    say,
)

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {
    "stated": "input rates",
    "conditional": "conditional",
    "survival": "survival used as conditional",
    "pooled": "pooled A / D",
    "first": "p1 at every position",
}
WEIGHTINGS = {"request-mean": ", request mean", "every-position": ", all of the text"}
SHORT = {**NAMES, "stated": "input", "survival": "survival", "pooled": "pooled", "first": "p1"}
DIFFERENT = 0.003
"""Least difference of relative errors at which another weighting gets a row of its own."""
DEPENDENCE = {
    "design_effect": "design effect: variance of the accept length over that of independent rounds",
    "too_narrow": "factor by which intervals for independent rounds are too narrow",
    "lasting_share": "share of the variance of accepted drafts that lies between requests",
    "survivorship": "rise of the conditional rates from the first position to the last",
}
TIMES, SPEEDS = ("p50", "p95", "p99"), ("p50", "p5", "p1")
APART = 0.005
"""Least relative difference of two definitions of the speedup at which both are stated."""


def print_definitions(trial: Definitions, best: int | None, console: Console) -> None:
    """Print the closed form's error by definition of the rates: a row per definition or per depth.

    Where neither fits, fewer depths are shown, and a line says which are not.
    """
    depths = [entry.depth for entry in trial.rows[0].depths]
    ends = {best or depths[-1], depths[-1]}
    measured = {*ends, trial.measured_at}
    choices = ({*measured, *depths[:: -(-len(depths) // 6)]}, measured, ends)
    few = [definitions_table(trial, shown) for shown in choices]
    wide = [definitions_table(trial)] if len(depths) <= 8 else []
    say(console, f"{definitions_title(trial)}:")
    printed = print_table(console, *wide, definitions_by_depth(trial), *few)
    for table, shown in zip(few, choices, strict=True):
        if printed is table and len(shown) < len(depths):
            text = f"{len(shown)} of {len(depths)} depths are shown; result.json has all."
            say(console, text, "dim")
    console.print()


def definitions_title(trial: Definitions) -> str:
    """Caption of the table of definitions."""
    return (
        "Closed-form error (%) by definition of the acceptance rate "
        f"(measured at depth {trial.measured_at})"
    )


def worth_showing(trial: Definitions) -> list[DefinitionRow]:
    """Rows of all definitions, and of those weightings that make a difference.

    At depth 1 all definitions are the same: then one of them is shown.
    """
    same = trial.measured_at == 1
    rows = [
        row
        for row in trial.rows
        if not same or row.chosen or row.definition in ("stated", "conditional")
    ]
    plain = {row.definition: row for row in rows if is_plain(row)}
    return [
        row for row in rows if is_plain(row) or row.chosen or _differ(row, plain[row.definition])
    ]


def is_plain(row: DefinitionRow) -> bool:
    """Whether the rates are weighted by rounds, as a log of rounds is."""
    return row.weighting in (None, "round-pooled")


def _differ(row: DefinitionRow, other: DefinitionRow) -> bool:
    means = (
        (a.speedup_error.mean, b.speedup_error.mean)
        for a, b in zip(row.depths, other.depths, strict=True)
    )
    return any(known(a) and known(b) and abs(a - b) > DIFFERENT for a, b in means)


def row_name(row: DefinitionRow) -> str:
    """The definition and weighting of the rates, in words."""
    return NAMES[row.definition] + WEIGHTINGS.get(row.weighting or "", "")


def definitions_table(trial: Definitions, depths: Iterable[int] | None = None) -> TextTable:
    """A row per definition: error of the predicted speedup and verdict at each depth.

    Args:
        trial: the definitions.
        depths: depths to show; all by default.
    """
    shown = worth_showing(trial)
    columns = [Column("definition", left=True)]
    wanted = {entry.depth for entry in shown[0].depths} if depths is None else set(depths)
    for depth in sorted(wanted):
        columns += [Column(f"depth {depth}"), Column("", left=True, joins=True)]
    cells, rows = _errors(shown), []
    for row in shown:
        texts = [cell for k, pair in cells[row_name(row)].items() if k in wanted for cell in pair]
        rows.append(Row([row_name(row), *texts], "chosen" if row.chosen else "", row.chosen))
    return TextTable(columns, rows)


def definitions_by_depth(trial: Definitions) -> TextTable:
    """The same with a row per depth, for many depths."""
    shown = worth_showing(trial)
    cells, columns = _errors(shown), [Column("depth")]
    for row in shown:
        more = WEIGHTINGS.get(row.weighting or "", "").replace(", ", "\n")
        header = f"{MARK} " * row.chosen + SHORT[row.definition] + more
        columns += [Column(header, row_name(row)), Column("", left=True, joins=True)]
    depths = [entry.depth for entry in shown[0].depths]
    by_depth = [[cell for pairs in cells.values() for cell in pairs[k]] for k in depths]
    return TextTable(columns, [Row([str(k), *c]) for k, c in zip(depths, by_depth, strict=True)])


def _errors(shown: Sequence[DefinitionRow]) -> dict[str, dict[int, tuple[str, VerdictText]]]:
    """Error of the predicted speedup and its verdict, by name of the row and depth."""
    errors = [entry.speedup_error for row in shown for entry in row.depths]
    narrowest = min((2 * half for e in errors if (half := half_width(e)) >= 0), default=1)
    decimals = 2 if narrowest < 0.001 else 1
    return {
        row_name(row): {
            entry.depth: (
                signed_percent(entry.speedup_error, decimals),
                VerdictText(entry.speedup_error.verdict),
            )
            for entry in row.depths
        }
        for row in shown
    }


def signed_percent(error: Interval | None, decimals: int) -> str:
    """A relative error in percent, with its sign."""
    if not error or not known(error.mean):
        return MISSING
    text = fixed(100 * error.mean, decimals)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def dependence_sentences(point: PointResult) -> list[str]:
    """How far the rounds of a request are from independent."""
    found = point.diagnostics
    if not found:
        return []
    sentences = [_recorded(found), _lag_1(found), _between_requests(found), _survivorship(found)]
    sentences.append(_moving_rate(found))
    return [sentence for sentence in sentences if sentence]


def _recorded(found: Diagnostics) -> str:
    one = found.recorded
    if not one:
        return ""
    text = f"At the recorded depth {one.depth} the accept length is {one.accept_length:.6f}"
    if isclose(one.accept_length, one.log, rel_tol=1e-12):
        return f"{text}, exactly that of the log."
    why = "" if one.once else "; not every recorded request was played equally often"
    return f"{text}, that of the log {one.log:.6f}{why}."


def _lag_1(found: Diagnostics) -> str:
    lag = _first_lag(found)
    if not lag or not known(lag.low) or not known(lag.high):
        return ""
    text = f"Lag-1 correlation {bracketed(lag, 3)}"
    if lag.low <= 0 <= lag.high:
        return f"{text}: no dependence detected."
    narrow = found.too_narrow
    if narrow and known(narrow.mean) and known(narrow.low) and narrow.low > 1:
        text += f": intervals for independent rounds would be {narrow.mean:.2g}x too narrow"
    return text + "."


def _first_lag(found: Diagnostics) -> Interval | None:
    """Correlation of accepted drafts between neighbouring rounds."""
    return found.autocorrelation.intervals()[0] if found.autocorrelation else None


def _between_requests(found: Diagnostics) -> str:
    share = found.lasting_share
    if not share or not known(share.mean) or not known(share.low) or share.low < 0.01:
        return ""
    return f"{100 * share.mean:.0f} % of the variance of accepted drafts lies between requests."


def _survivorship(found: Diagnostics) -> str:
    rise = found.survivorship
    if not rise or not known(rise.low) or rise.low < 0.005:
        return ""
    last = found.rates_by_depth[-1].depth
    return (
        f"Conditional rates rise by {fixed(rise.mean, 3)} from p1 to p{last}: rounds that reach "
        "later positions are easier ones (survivorship)."
    )


def _moving_rate(found: Diagnostics) -> str:
    rates = found.rates_by_depth[0], found.rates_by_depth[-1]
    first, last = (by_position.intervals()[0] for by_position in rates)
    one, other = sorted((first, last), key=lambda cell: cell.mean or 0)
    if not (known(first.mean) and known(last.mean) and known(one.high) and known(other.low)):
        return ""
    if one.high >= other.low or abs(first.mean - last.mean) < 0.003:
        return ""
    moves = "falls" if first.mean > last.mean else "rises"
    return (
        f"p1 {moves} from {first.mean:.3f} at depth {rates[0].depth} to {last.mean:.3f} at depth "
        f"{rates[1].depth}: rates measured at one depth do not hold at another."
    )


def dependence_table(found: Diagnostics) -> TextTable:
    """A row per measure of dependence, with its interval; empty where nothing varies."""
    cells = {name: getattr(found, key) for key, name in DEPENDENCE.items()}
    cells["lag-1 correlation of accepted drafts"] = _first_lag(found)
    rows = [
        Row([name, bracketed(cell, shared_decimals([cell]))])
        for name, cell in cells.items()
        if cell
    ]
    return TextTable([Column("measure", left=True, folds=True), Column("estimate")], rows)


def rates_table(found: Diagnostics) -> TextTable:
    """A row per depth: the conditional rates measured there, by position."""
    last = found.rates_by_depth[-1].depth
    by_depth = [entry.intervals() for entry in found.rates_by_depth]
    decimals = min(shared_decimals([cell for cells in by_depth for cell in cells]), 4)
    rows = []
    for entry, cells in zip(found.rates_by_depth, by_depth, strict=True):
        texts = [plus_minus(cell, decimals) for cell in cells]
        rows.append([str(entry.depth), *texts, *[""] * (last - len(texts))])
    return TextTable.of(["depth", *(f"p{j}" for j in range(1, last + 1))], rows)


def request_sentence(point: PointResult) -> str:
    """Time and speed of single requests at the best depth; empty where they are not known."""
    best, rounds = advised_depth(point), point.horizon.rounds
    length = f" of {counted(rounds, 'round')}" if rounds else ""
    given = ", inputs as given" if point.uncertainty else ""
    depth = next((d for d in point.depths if d.depth == best), None)
    return _quantiles(f"Requests{length} at depth {best}{given}", depth, rough=bool(given))


def policy_request_sentence(policy: PolicyResult | None) -> str:
    """The same under a policy."""
    if policy is None:
        return ""
    given = ", inputs as given" if policy.over_inputs else ""
    return _quantiles(f"Requests under {policy.name}{given}", policy, rough=bool(given))


def _quantiles(
    subject: str, found: DepthResult | PolicyResult | None, *, rough: bool = False
) -> str:
    """Quantiles of requests; ``rough``: in three digits, as the inputs are uncertain."""
    if not found or not found.request_time or not found.request_speed:
        return ""
    times = [f"{share} {_duration(found.request_time[share], rough=rough)}" for share in TIMES]
    speeds = [
        f"{share} {speed_text(found.request_speed[share].mean)} tok/s" for share in ("p50", "p1")
    ]
    return f"{subject}: {', '.join(times)}; {', '.join(speeds)}."


def mean_sentence(point: PointResult) -> str:
    """The mean over requests, as benchmarks publish it, where it differs from the ratio of sums."""
    depth = next((d for d in point.depths if d.depth == advised_depth(point)), None)
    speed = depth and depth.mean_request_speed
    ratio = depth and depth.mean_request_speedup
    if not depth or not speed or not ratio or not known(ratio.mean):
        return ""
    sums = depth.speedup.mean
    if not known(sums) or not known(ratio.low) or not known(ratio.high):
        return ""
    if abs(ratio.mean / sums - 1) < APART or ratio.low <= sums <= ratio.high:
        return ""
    given = ", inputs as given" if point.uncertainty else ""
    return (
        f"Mean over requests at depth {depth.depth}{given}, each with equal weight as in published "
        f"benchmarks: {speed_text(speed.mean)} tok/s, speedup {bracketed(ratio, 3)}; all tokens "
        f"over all time: {sums:.3f}."
    )


def length_sentence(point: PointResult) -> str:
    """A note where requests are a number of rounds, so that depths make texts of other lengths."""
    rounds = point.horizon.rounds
    if not rounds:
        return ""
    return (
        f"Each request is {counted(rounds, 'round')} long, which is more text at greater depths: "
        "compare speeds, not times, or set `tokens`."
    )


def _duration(cell: Interval, *, rough: bool = False) -> str:
    """A time in ms or s, with its interval where that shows within six digits."""
    long = known(cell.mean) and cell.mean >= 10_000
    scale, unit = (1000.0, "s") if long else (1.0, "ms")
    cell = cell.map(lambda end: end / scale)
    mean, low, high = cell.mean, cell.low, cell.high
    if not known(mean) or not known(low) or not known(high):
        return f"{fixed(mean, 2)} {unit} [?, ?]"
    whole = len(f"{mean:.0f}")
    if rough:
        return f"{fixed(mean, max(3 - whole, 0))} {unit}"
    least, most = 2 if whole < 4 else 0, max(6 - whole, 0)
    decimals = min(max(decimals_for((high - low) / 2), least), most) if high > low else least
    text = f"{fixed(mean, decimals)} {unit}"
    ends = fixed(low, decimals), fixed(high, decimals)
    return text if ends[0] == ends[1] else f"{text} [{', '.join(ends)}]"


def requests_table(point: PointResult) -> TextTable:
    """A row per depth: quantiles of the time and the speed of single requests."""
    best, rows = advised_depth(point), []
    for depth in point.depths:
        found = depth.depth == best
        rows.append(Row([str(depth.depth), *_request_cells(depth)], "best" if found else "", found))
    return TextTable([Column("depth"), *_request_columns()], rows)


def policy_requests_table(adaptive: Adaptive, best: PolicyResult | None) -> TextTable:
    """A row per policy: the same; the ``best`` stands out, bounds are faint."""
    rows = []
    for policy in adaptive.policies:
        tone = "best" if policy is best else "faint" if policy.knows else ""
        rows.append(Row([policy.name, *_request_cells(policy)], tone))
    return TextTable([Column("policy", left=True), *_request_columns()], rows)


def _request_columns() -> list[Column]:
    names = [*(f"time, {share}" for share in TIMES), *(f"tok/s, {share}" for share in SPEEDS)]
    return [Column(name) for name in (*names, "tok/s, mean of requests")]


def _request_cells(found: DepthResult | PolicyResult) -> list[str]:
    times: Mapping[str, Interval] = found.request_time or {}
    speeds: Mapping[str, Interval] = found.request_speed or {}
    return [
        *(_duration(times[share]) for share in TIMES),
        *(speed_text(speeds[share].mean) for share in SPEEDS),
        speed_text(mean.mean) if (mean := found.mean_request_speed) else MISSING,
    ]


def variance_sentence(point: PointResult) -> str:
    """How far common random numbers reduce the variance of the step after the best depth."""
    found, best = point.variance, best_depth(point)
    if not found or best is None:
        return ""
    step = min(best + 1, len(found.shared_random_numbers))
    shared, controls = found.shared_random_numbers[step - 1], found.control_variates[step - 1]
    if not known(shared):
        return ""
    text = (
        f"Common random numbers: variance of the difference of depths {step - 1} and {step} "
        f"reduced {shared:.3g}-fold"
    )
    if found.used or not known(controls) or controls < 1.2:
        return text + "."
    return text + f", with control_variates = true {shared * controls:.3g}-fold."


def variance_table(found: Variance) -> TextTable:
    """A row per step of depth: the factors by which the variance is reduced."""
    headers = "step", "reduction by common random numbers", "further by control variates"
    pairs = zip(found.shared_random_numbers, found.control_variates, strict=True)
    rows = [
        [f"{k} to {k + 1}", *(f"{v:.3g}" if known(v) else MISSING for v in pair)]
        for k, pair in enumerate(pairs)
    ]
    return TextTable.of(headers, rows)
