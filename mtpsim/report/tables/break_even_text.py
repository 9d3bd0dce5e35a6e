"""How far each step of depth is from paying, or from paying no more, in words."""

from __future__ import annotations

from typing import Any

from mtpsim.report.document import PointResult
from mtpsim.report.formatting import best_depth, known


def margins(point: PointResult) -> list[str]:
    """A sentence on the step that leads to the best depth, and one on the step beyond it."""
    best = best_depth(point)
    steps = {depth["depth"]: depth.get("break_even") for depth in point["depths"]}
    if best is None:
        return []
    here, beyond = steps.get(best), steps.get(best + 1)
    sentences = []
    if best and here:
        limits, alone = _limits(best, here, paying=True), ", each with the rest as it is"
        sentences.append(f"Depth {best} beats depth {best - 1} until {limits}{alone}.")
    if beyond:
        limits = _limits(best + 1, beyond, paying=False)
        if limits:
            sentences.append(f"Depth {best + 1} would beat depth {best} with {limits}.")
    return sentences


def _limits(depth: int, steps: Any, *, paying: bool) -> str:
    """``p2 falls to 0.459 (now 0.74), its verify grows to 116 ms (now 104) or ...``."""
    rate, verify, draft = (steps[name] for name in ("rate", "verify", "draft"))
    less, more = ("falls to", "grows to") if paying else ("above", "under")
    parts = []
    any_pays = paying and rate["at"] == 0  # its rate can't fall so far that it would not
    if known(rate["at"]) and rate["at"] <= 1 and not any_pays:
        parts.append(f"p{depth} {less} {rate['at']:.3g} (now {rate['now']:.3g})")
    for name, times in (("verify", verify), ("draft", draft)):
        if known(times["at"]) and times["at"] > 0:
            parts.append(f"its {name} {more} {times['at']:.4g} ms (now {times['now']:.4g})")
    *most, last = parts or [""]
    return f"{', '.join(most)} or {last}" if most else last
