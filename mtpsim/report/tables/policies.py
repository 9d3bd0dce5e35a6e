"""Adaptive policies against the best fixed depth: as a table, and the answer in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mtpsim.formula.closed_form import INDIFFERENCE
from mtpsim.report.document import Adaptive, Interval, PolicyResult, ResultDocument
from mtpsim.report.formatting import (
    MISSING,
    bracketed,
    fixed,
    in_percent,
    indifference,
    known,
    plus_minus,
    shared_decimals,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.tables.diagnostics import policy_request_sentence
from mtpsim.report.tables.terminal import Column, Row, TextTable, print_table, say

if TYPE_CHECKING:
    from rich.console import Console

WIDE = ("speedup", "exact", "gain", "captured", "length", "depths", "harder", "easier")
NARROW = ("speedup", "gain", "captured")
HEADERS = {
    "speedup": "speedup",
    "exact": "exact",
    "gain": "gain over\ndepth {best}, %",
    "captured": "of oracle's\ngain, %",
    "length": "accept\nlength",
    "depths": "rounds at depth\n{depths}, %",
    "harder": "rounds to\nharder",
    "easier": "react\neasier",
}
FULL = {
    "exact": "speedup, exact",
    "harder": "rounds to react to harder text",
    "easier": "rounds to react to easier text",
}


def print_policies(adaptive: Adaptive, console: Console, *, with_requests: bool) -> None:
    """Print the policies of a point.

    Args:
        adaptive: the policies.
        console: where to print.
        with_requests: whether to add quantiles of single requests under the best one.
    """
    console.print()
    print_table(console, policy_table(adaptive), policy_table(adaptive, NARROW))
    console.print()
    say(console, reading(adaptive), "dim")
    if with_requests and (sentence := policy_request_sentence(best_policy(adaptive))):
        say(console, sentence)


def candidates(adaptive: Adaptive) -> list[PolicyResult]:
    """Policies that an engine could run and that do change the depth."""
    return [p for p in adaptive.policies if not p.knows and max(p.depths) < 1]


def _speedup(policy: PolicyResult) -> float:
    return -1.0 if policy.speedup.mean is None else policy.speedup.mean


def best_policy(adaptive: Adaptive) -> PolicyResult | None:
    """The fastest of :func:`candidates`; None where there is none."""
    return max(candidates(adaptive), key=_speedup, default=None)


def bound(adaptive: Adaptive) -> PolicyResult | None:
    """The oracle's entry; None where the state can't be known."""
    return next((p for p in adaptive.policies if p.rule == "oracle"), None)


def fixed_name(adaptive: Adaptive) -> str:
    """The best fixed depth in words."""
    return f"fixed depth {adaptive.best_fixed}" if adaptive.best_fixed else "no drafting"


def verdict(adaptive: Adaptive, limit: float = INDIFFERENCE) -> str:
    """One or two sentences: whether adaptive depth pays, how much, and how much it could.

    Args:
        adaptive (Adaptive): The policies of a point.
        limit (float): Relative gain that does not matter, ``decision.indifference``.
    """
    best, oracle = best_policy(adaptive), bound(adaptive)
    if oracle:
        ends = oracle.gain.mean, oracle.gain.low, oracle.gain.high
        if all(known(end) and abs(end - 1) < 1e-9 for end in ends):
            depth = adaptive.best_fixed
            does = f"always chooses depth {depth}" if depth else "never drafts"
            return f"Adaptive depth cannot help: the oracle {does}."
    text = [_comparison(best, adaptive, limit)] if best else []
    if oracle:
        gain = oracle.gain
        if gain.verdict == "faster" and known(gain.mean):
            text.append(f"Knowing {oracle.knows} would gain {100 * (gain.mean - 1):.2g} %.")
        else:
            text.append(f"Knowing {oracle.knows} has no statistically significant gain.")
    return " ".join(text)


def _comparison(policy: PolicyResult, adaptive: Adaptive, limit: float) -> str:
    """The best policy against the best fixed depth."""
    against, gain = fixed_name(adaptive), policy.gain
    top = max(_speedup(p) for p in adaptive.policies if not p.knows)
    fastest = "the fastest policy" + (" that changes its depth" if top > _speedup(policy) else "")
    needless = known(gain.high) and 0 < gain.high - 1 <= limit
    within = f"{100 * limit:g} %"
    if gain.verdict not in ("faster", "slower") or not known(gain.mean):
        return (
            f"No statistically significant difference between {policy.name}, {fastest}, and "
            f"{against}{f' (within {within}: not worth adapting)' * needless}."
        )
    sign = 1 if gain.verdict == "faster" else -1
    ends = sorted(100 * sign * (end - 1) for end in (gain.low, gain.high) if known(end))
    cell = Interval(mean=100 * sign * (gain.mean - 1), low=ends[0], high=ends[-1])
    size = bracketed(cell, min(shared_decimals([cell]) + 1, 2)).replace(" ", " % ", 1)
    if gain.verdict == "slower":
        return f"Adapting does not pay: {policy.name}, {fastest}, is {size} slower than {against}."
    share = policy.captured.mean if policy.captured else None
    of_oracle = f" ({100 * share:.0f} % of the oracle's gain)" if known(share) else ""
    faster = f"{policy.name} is {size} faster than {against}{of_oracle}"
    if exceeds(policy, limit):
        return f"Adapting pays: {faster}."
    if needless:
        return f"Within {within}, not worth adapting: {faster}."
    return f"Adapting may pay: {faster}, not known to be more than {within}."


def exceeds(policy: PolicyResult, limit: float) -> bool:
    """Whether a policy is certainly faster by more than a relative gain that does not matter."""
    low = policy.gain.low
    return policy.gain.verdict == "faster" and known(low) and low - 1 > limit


def reading(adaptive: Adaptive) -> str:
    """What the intervals of the table mean, and which policies are bounds."""
    text = "Gains use common random numbers; their intervals are simultaneous."
    if adaptive.draws:
        text += f" Intervals include input uncertainty ({adaptive.draws:,} draws)."
    knowing = [f"{p.name} knows {p.knows}" for p in adaptive.policies if p.knows]
    return text + (f" Bounds: {', '.join(knowing)}." if knowing else "")


def policy_table(adaptive: Adaptive, layout: Sequence[str] = WIDE) -> TextTable:
    """A row per policy; the fastest that an engine could run stands out."""
    policies = adaptive.policies
    last = len(policies[0].depths) - 1
    shown = f"0..{last}" if last > 4 else " ".join(map(str, range(last + 1)))
    columns = [Column("policy", left=True)]
    for name in layout:
        header = HEADERS[name].format(best=adaptive.best_fixed, depths=shown)
        columns.append(Column(header, FULL.get(name, "")))
    texts = [_column(policies, name) for name in layout]
    best = best_policy(adaptive)
    rows = []
    for policy, *cells in zip(policies, *texts, strict=True):
        tone = "best" if policy is best else "faint" if policy.knows else ""
        rows.append(Row([policy.name, *cells], tone))
    return TextTable(columns, rows)


def _column(policies: Sequence[PolicyResult], name: str) -> list[str]:
    """Texts of a column, one per policy."""
    if name == "depths":
        return [" ".join(f"{100 * share:.0f}" for share in p.depths) for p in policies]
    if name in ("harder", "easier"):
        return [_reaction(p, name) for p in policies]
    if name == "length":
        return [fixed(p.accept_length.mean, 3) for p in policies]
    if name in ("speedup", "exact"):
        found = [p.over_inputs or p.speedup for p in policies]
        least = 2 * any(p.over_inputs for p in policies)  # as in the table of depths
        decimals = min(max(shared_decimals(found), least), 4)
        if name == "exact":
            return [fixed(p.speedup.exact, decimals) for p in policies]
        return [plus_minus(cell, decimals) for cell in found]
    cells = [
        in_percent(p.gain, zero=1.0) if name == "gain" else in_percent(p.captured) for p in policies
    ]
    decimals = min(shared_decimals(cells), 2)
    return [plus_minus(cell, decimals) for cell in cells]


def _reaction(policy: PolicyResult, direction: str) -> str:
    """Rounds until a policy has moved half of its way after the text has changed."""
    curve = getattr(policy.learning, direction, None)
    return fixed(curve.half, 0) if curve else MISSING


def policies_heading(result: ResultDocument) -> str:
    """At how many points of a sweep adapting pays, and by how much at most."""
    best = [
        (best_policy(point.adaptive), indifference(result, point))
        for point in result.points
        if point.adaptive
    ]
    gains = [in_percent(p.gain, zero=1.0) for p, limit in best if p and exceeds(p, limit)]
    top = max((gain.mean for gain in gains if gain and known(gain.mean)), default=0.0)
    if not gains:
        return f"Adapting pays at none of {len(best)} points"
    return f"Adapting pays at {len(gains)} of {len(best)} points, by up to {top:.2g} %"


def policy_summary_table(result: ResultDocument) -> TextTable:
    """A row per point of a sweep: the fastest policy, its gain, and the oracle's."""
    found = [(point.set, point.adaptive) for point in result.points if point.adaptive]
    names = short_names(swept_keys(result))
    columns = [Column(name, folds=True) for name in names.values()]
    columns += [Column("best\nfixed"), Column("fastest\npolicy", left=True)]
    columns += [Column("its\ngain, %"), Column("oracle's\ngain, %")]
    best = [best_policy(adaptive) for _, adaptive in found]
    gains, bounds = (
        [in_percent(policy.gain, zero=1.0) if policy else None for policy in policies]
        for policies in (best, [bound(adaptive) for _, adaptive in found])
    )
    digits = min(shared_decimals([*gains, *bounds]), 2)
    rows = []
    for (swept, adaptive), policy, *cells in zip(found, best, gains, bounds, strict=True):
        values = [value_text(swept.get(key)) for key in names]
        fastest = [str(adaptive.best_fixed), policy.name if policy else MISSING]
        rows.append(Row([*values, *fastest, *(plus_minus(cell, digits) for cell in cells)]))
    return TextTable(columns, rows)
