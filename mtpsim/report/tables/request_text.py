"""Single requests and how long they take; and how rounds were saved: sentences and tables."""

from __future__ import annotations

from typing import Any

from mtpsim.common.text import counted
from mtpsim.report.document import PointResult
from mtpsim.report.formatting import MISSING, best_depth, known
from mtpsim.report.tables.policies import best_policy
from mtpsim.report.tables.table_model import Column, Row, Sheet

TIMES, SPEEDS = ("p50", "p95", "p99"), ("p50", "p5", "p1")


def tail_sentence(point: PointResult) -> str:
    """How long a request takes at the best depth, in the middle and for the slowest."""
    best, rounds = best_depth(point), _rounds(point)
    depth: Any = next((d for d in point["depths"] if d["depth"] == best), {})
    if rounds:
        text = f"A request of one round at depth {best} takes"
        many = f"{counted(rounds, 'round')} of a request at depth {best} take"
        return _takes(many if rounds > 1 else text, depth)
    return _takes(f"A request at depth {best} takes", depth)


def _rounds(point: PointResult) -> int | None:
    """Rounds that each request has, where these are stated and not its tokens."""
    found: int | None = (point.get("horizon") or {}).get("rounds")
    return found


def length_sentence(point: PointResult) -> str:
    """What to mind where depths have made texts of other lengths; else empty."""
    rounds = _rounds(point)
    if not rounds:
        return ""
    return (
        f"Each request is {counted(rounds, 'round')} long, which makes more text at some depths "
        "than at others: compare speeds, not times; or state `tokens`."
    )


def policy_tail_sentence(point: PointResult) -> str:
    """The same under the fastest policy that an engine could run."""
    policy = best_policy(point["adaptive"]) if point.get("adaptive") else None
    subject = "they take" if _rounds(point) else "it takes"
    return _takes(f"Under {policy['name']} {subject}", policy) if policy else ""


def _takes(subject: str, found: Any) -> str:
    """How long a request takes at a depth or under a policy; empty where that is not known."""
    time, speed = found.get("request_time"), found.get("request_speed")
    if not time or not speed:
        return ""
    texts = [f"{share} {_duration(time[share])}" for share in TIMES]
    middle, slow = (_speed(speed[share]["mean"]) for share in ("p50", "p1"))
    return (
        f"{subject} {', '.join(texts)}; {middle} tokens/s in the middle, "
        f"{slow} for the slowest 1 %."
    )


def _duration(cell: Any) -> str:
    """A time with its interval, in the unit that reads best."""
    scale, unit = (1000.0, "s") if cell["mean"] >= 10_000 else (1.0, "ms")
    digits = 0 if 1000 <= cell["mean"] < 10_000 else 2
    mean, low, high = (
        f"{cell[field] / scale:,.{digits}f}" if known(cell[field]) else "?"
        for field in ("mean", "low", "high")
    )
    return f"{mean} {unit} [{low}, {high}]"


def _speed(value: float) -> str:
    """Three digits, zeros among them, so that a column is of one kind."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def variance_sentence(point: PointResult) -> str:
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


def variance_sheet(found: Any) -> Sheet:
    """A row a step of depth: how many times the rounds it would take without each means."""
    headers = "step", "rounds saved by shared text and noise, times"
    columns = [*map(Column, headers), Column("more by control variates, times")]
    pairs = zip(found["shared_random_numbers"], found["control_variates"], strict=True)
    rows = [
        Row([f"{k} to {k + 1}", *(f"{v:.3g}" if known(v) else MISSING for v in pair)])
        for k, pair in enumerate(pairs)
    ]
    return Sheet(columns, rows)


def tail_sheet(point: PointResult) -> Sheet:
    """A row a depth: quantiles of the time and the speed of single requests."""
    best, rows = best_depth(point), []
    for depth in point["depths"]:
        found = depth["depth"] == best
        rows.append(Row([str(depth["depth"]), *_cells(depth)], "best" if found else "", found))
    return Sheet([Column("depth"), *_columns()], rows)


def policy_tail_sheet(adaptive: Any) -> Sheet:
    """The same, a row a policy; tones as in the table of what they gain."""
    best, rows = best_policy(adaptive), []
    for policy in adaptive["policies"]:
        tone = "best" if policy is best else "faint" if policy["knows"] else ""
        rows.append(Row([policy["name"], *_cells(policy)], tone))
    return Sheet([Column("policy", left=True), *_columns()], rows)


def _columns() -> list[Column]:
    times = [f"{share} of time" for share in TIMES]
    return [Column(name) for name in (*times, *(f"{share} of tokens/s" for share in SPEEDS))]


def _cells(found: Any) -> list[str]:
    """Of a depth or a policy."""
    times = [_duration(found["request_time"][share]) for share in TIMES]
    return times + [_speed(found["request_speed"][share]["mean"]) for share in SPEEDS]
