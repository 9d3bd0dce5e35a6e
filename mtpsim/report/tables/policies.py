"""Does adapting pay? The policies as a table, and the answer in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.formatting import (
    MISSING,
    bracketed,
    fixed,
    in_percent,
    known,
    plus_minus,
    shared_decimals,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.tables.table_model import Column, Row, Sheet
from mtpsim.report.tables.terminal import drawn, say, show_table, show_widest

if TYPE_CHECKING:
    from rich.console import Console

LAYOUTS: tuple[tuple[str, ...], ...] = (
    ("speedup[]", "exact", "gain[]", "captured[]", "length", "depths", "harder", "easier"),
    ("speedup[]", "exact", "gain[]", "captured", "length", "depths", "harder", "easier"),
    ("speedup±", "exact", "gain±", "captured", "length", "depths", "harder", "easier"),
    ("speedup±", "exact", "gain±", "captured", "depths", "harder", "easier"),
    ("speedup±", "gain±", "captured", "depths"),
    ("speedup±", "gain±", "captured"),
    ("gain±",),
)
HEADERS = {
    "speedup": "\nspeedup",
    "exact": "\nexact",
    "gain": "against\ndepth {best}, %",
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
FIELDS = ("mean", "low", "high")


def print_policies(point: PointResult, console: Console) -> None:
    """The policies of a point, and whether one of them pays."""
    adaptive = point.get("adaptive")
    if not adaptive:
        return
    console.print()
    show_widest(console, LAYOUTS, lambda layout: drawn(policy_sheet(adaptive, layout), console))
    console.print()
    say(console, verdict(adaptive), "bold")
    say(console, reading(adaptive), "dim")


def candidates(adaptive: Any) -> list[Any]:
    """Policies that an engine could run and that do change the depth."""
    return [p for p in adaptive["policies"] if not p["knows"] and max(p["depths"]) < 1]


def best_policy(adaptive: Any) -> Any | None:
    """The fastest of :func:`candidates`; None where there is none."""
    return max(candidates(adaptive), key=lambda p: p["speedup"]["mean"], default=None)


def bound(adaptive: Any) -> Any | None:
    """The oracle's entry; None where the state can't be known."""
    return next((p for p in adaptive["policies"] if p["rule"] == "oracle"), None)


def fixed_name(adaptive: Any) -> str:
    """The best fixed depth in words."""
    best = adaptive["best_fixed"]
    return f"depth {best} held fixed" if best else "no drafting at all"


def verdict(adaptive: Any) -> str:
    """One or two sentences: does adapting pay, how much, and how much could it?"""
    best, oracle = best_policy(adaptive), bound(adaptive)
    if oracle is not None and all(abs(oracle["gain"][e] - 1) < 1e-9 for e in FIELDS):
        return f"There is nothing to adapt to: even an oracle plays {fixed_name(adaptive)}."
    text = []
    if best is not None:
        text.append(_pays(best, adaptive))
    if oracle is not None:
        gain = 100 * (oracle["gain"]["mean"] - 1)
        if oracle["gain"]["verdict"] != "faster":
            pays = best is not None and best["gain"]["verdict"] == "faster"
            who = "Knowing the hidden state alone" if pays else "Even knowing the hidden state"
            text.append(f"{who} gains nothing that can be told from chance.")
        else:
            text.append(f"Knowing the hidden state would gain {gain:.2g} %.")
    return " ".join(text)


def _pays(policy: Any, adaptive: Any) -> str:
    gain, against = policy["gain"], fixed_name(adaptive)
    low, high = (100 * abs(gain[end] - 1) for end in ("low", "high"))
    mean = 100 * abs(gain["mean"] - 1)
    span = f"{mean:.2g} % [{min(low, high):.2g}, {max(low, high):.2g}]"
    if gain["verdict"] == "faster":
        text = f"Adapting pays: {policy['name']} is {span} faster than {against}"
        share: Any = (policy.get("captured") or {}).get("mean")
        return text + (f", {100 * share:.0f} % of the oracle's gain." if known(share) else ".")
    if gain["verdict"] == "slower":
        return (
            f"Adapting does not pay here: even {_fastest(adaptive)}, {policy['name']}, is {span} "
            f"slower than {against}."
        )
    return f"Whether {policy['name']}, {_fastest(adaptive)}, beats {against} is open."


def _fastest(adaptive: Any) -> str:
    """What the best policy is, where one that stays at a depth may be faster."""
    top = max(p["speedup"]["mean"] for p in adaptive["policies"] if not p["knows"])
    best = max(p["speedup"]["mean"] for p in candidates(adaptive))
    return "the fastest policy" + (" that changes its depth" if top > best else "")


def reading(adaptive: Any) -> str:
    """How the table of policies is to be read."""
    text = "Gains are paired, on the same text and noise, and their intervals hold together."
    knowing = [f"{p['name']} knows {p['knows']}" for p in adaptive["policies"] if p["knows"]]
    return text + (f" Bounds: {', '.join(knowing)}." if knowing else "")


def policy_sheet(adaptive: Any, layout: Sequence[str]) -> Sheet:
    """A row a policy; the fastest that an engine could run stands out."""
    policies = adaptive["policies"]
    depths = [k for k, _ in enumerate(policies[0]["depths"])]
    shown = f"0..{depths[-1]}" if len(depths) > 5 else " ".join(map(str, depths))
    columns = [Column("\npolicy", left=True)]
    for name in layout:
        header = HEADERS[name.rstrip("[]±")].format(best=adaptive["best_fixed"], depths=shown)
        columns.append(Column(header, FULL.get(name, "")))
    texts = [_column(policies, name) for name in layout]
    best = best_policy(adaptive)
    rows = []
    for row, policy in enumerate(policies):
        tone = "best" if policy is best else "faint" if policy["knows"] else ""
        rows.append(Row([policy["name"], *(column[row] for column in texts)], tone))
    return Sheet(columns, rows)


def _column(policies: Sequence[Any], name: str) -> list[str]:
    kind = name.rstrip("[]±")
    write = bracketed if name.endswith("[]") else plus_minus
    if kind == "exact":
        decimals = shared_decimals([p["speedup"] for p in policies])
        return [fixed(p["speedup"].get("exact"), decimals) for p in policies]
    if kind == "depths":
        return [" ".join(f"{100 * share:.0f}" for share in p["depths"]) for p in policies]
    if kind in ("harder", "easier"):
        return [_half(p, kind) for p in policies]
    if kind == "length":
        return [fixed(p["accept_length"]["mean"], 3) for p in policies]
    if name == "captured":
        return [fixed(_percent(p.captured, 0).mean if p.captured else None, 0) for p in policies]
    cells = {
        "speedup": [p["speedup"] for p in policies],
        "gain": [_percent(p["gain"], 1) for p in policies],
        "captured": [_percent(p.get("captured"), 0) for p in policies],
    }[kind]
    decimals = min(shared_decimals(cells), 4 if kind == "speedup" else 2)
    return [write(cell, decimals) for cell in cells]


def _percent(cell: Any | None, zero: float) -> Any:
    """An interval less ``zero``, in percent."""
    return in_percent(cell, zero)


def _half(policy: Any, direction: str) -> str:
    curve = (policy.get("learning") or {}).get(direction)
    return fixed(curve["half"], 0) if curve and curve["half"] is not None else MISSING


def print_sweep_policies(result: ResultDocument, console: Console) -> None:
    """One row a point: what the best policy and the oracle gain over the best fixed depth."""
    if not any(point.get("adaptive") for point in result["points"]):
        return
    say(console, "Adapting", "bold")
    show_table(console, drawn(sweep_policy_sheet(result), console))
    console.print()


def sweep_policy_sheet(result: ResultDocument) -> Sheet:
    """A row a point: the fastest policy, what it gains and what the oracle does."""
    points = [point for point in result["points"] if point.get("adaptive")]
    names = short_names(swept_keys(result))
    columns = [Column(f"\n{name}", folds=True) for name in names.values()]
    columns += [Column("best\nfixed"), Column("fastest\npolicy", left=True)]
    columns += [Column("its\ngain, %"), Column("oracle's\ngain, %")]
    best = [best_policy(point["adaptive"]) for point in points]
    oracles = [bound(point["adaptive"]) for point in points]
    gains = [_percent(policy and policy["gain"], 1) for policy in best]
    rooms = [_percent(oracle and oracle["gain"], 1) for oracle in oracles]
    digits = min(shared_decimals([*gains, *rooms]), 2)
    rows = []
    for point, policy, gain, room in zip(points, best, gains, rooms, strict=True):
        values = [value_text((point.get("set") or {}).get(key)) for key in names]
        cells = [str(point["adaptive"]["best_fixed"]), policy["name"] if policy else MISSING]
        rows.append(Row([*values, *cells, bracketed(gain, digits), bracketed(room, digits)]))
    return Sheet(columns, rows)
