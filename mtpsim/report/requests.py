"""Single requests and how long they take; and how rounds were saved: sentences and tables."""

from __future__ import annotations

from mtpsim.report.document import MISSING, Document, best_depth, known
from mtpsim.report.sheet import Column, Row, Sheet

TIMES, SPEEDS = ("p50", "p95", "p99"), ("p50", "p5", "p1")


def tail_sentence(point: Document) -> str:
    """How long a request takes at the best depth, in the middle and for the slowest."""
    best = best_depth(point)
    depth: Document = next((d for d in point["depths"] if d["depth"] == best), {})
    time, speed = depth.get("request_time"), depth.get("request_speed")
    if not time or not speed:
        return ""
    texts = [f"p{share} {_duration(time[f'p{share}'])}" for share in (50, 95, 99)]
    middle, slow = (_speed(speed[key]["mean"]) for key in ("p50", "p1"))
    return (
        f"A request at depth {best} takes {', '.join(texts)}; {middle} tokens/s in the middle, "
        f"{slow} for the slowest 1 %."
    )


def _duration(cell: Document) -> str:
    """A time with its interval, in the unit that reads best."""
    scale, unit = (1000.0, "s") if cell["mean"] >= 10_000 else (1.0, "ms")
    digits = 0 if 1000 <= cell["mean"] < 10_000 else 2
    mean, low, high = (
        f"{cell[field] / scale:,.{digits}f}" if known(cell[field]) else "?"
        for field in ("mean", "low", "high")
    )
    return f"{mean} {unit} [{low}, {high}]"


def _speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def variance_sentence(point: Document) -> str:
    """What shared random numbers saved on the step at the best depth, and what controls would."""
    found, best = point.get("variance"), best_depth(point)
    if not found or best is None:
        return ""
    steps = len(found["shared_random_numbers"])
    step = min(best + 1, steps)  # the next step, which decides whether to go deeper
    shared = found["shared_random_numbers"][step - 1]
    controls = found["control_variates"][step - 1]
    if not known(shared):
        return ""
    text = f"Depths {step - 1} and {step} share text and noise: their difference is as sure as "
    text += f"{shared:.3g} times the rounds would make it apart"
    if found["used"] or not known(controls) or controls < 1.2:
        return text + "."
    return text + f"; with control_variates = true, {shared * controls:.3g} times."


def variance_sheet(found: Document) -> Sheet:
    """A row a step of depth: how many times the rounds it would take without each means."""
    headers = "step", "rounds saved by shared text and noise, times"
    columns = [*map(Column, headers), Column("more by control variates, times")]
    pairs = zip(found["shared_random_numbers"], found["control_variates"], strict=True)
    rows = [
        Row([f"{k} to {k + 1}", *(f"{v:.3g}" if known(v) else MISSING for v in pair)])
        for k, pair in enumerate(pairs)
    ]
    return Sheet(columns, rows)


def tail_sheet(point: Document) -> Sheet:
    """A row a depth: quantiles of the time and the speed of single requests."""
    times = [f"{share} of time" for share in TIMES]
    speeds = [f"{share} of tokens/s" for share in SPEEDS]
    best, rows = best_depth(point), []
    for depth in point["depths"]:
        cells = [str(depth["depth"])]
        cells += [_duration(depth["request_time"][share]) for share in TIMES]
        cells += [_speed(depth["request_speed"][share]["mean"]) for share in SPEEDS]
        found = depth["depth"] == best
        rows.append(Row(cells, "best" if found else "", found))
    return Sheet([Column(name) for name in ("depth", *times, *speeds)], rows)
