"""How far each step of depth is from paying, or from paying no more, in words."""

from __future__ import annotations

from mtpsim.report.document import Document, best_depth, known


def margins(point: Document) -> list[str]:
    """A sentence on the step that leads to the best depth, and one on the step beyond it."""
    best = best_depth(point)
    steps = {depth["depth"]: depth.get("break_even") for depth in point["depths"]}
    if best is None:
        return []
    here, beyond = steps.get(best), steps.get(best + 1)
    sentences = []
    if best and here:
        limits = _limits(best, here, paying=True)
        sentences.append(f"Depth {best} beats depth {best - 1} while {limits}.")
    if beyond:
        limits = _limits(best + 1, beyond, paying=False)
        if limits:
            sentences.append(f"Depth {best + 1} would beat depth {best} with {limits}.")
    return sentences


def _limits(depth: int, steps: Document, *, paying: bool) -> str:
    """``p2 is above 0.459 (now 0.74), its verify under 116 ms (now 104) and ...``."""
    rate, verify, draft = (steps[name] for name in ("rate", "verify", "draft"))
    verb = "is " if paying else ""
    parts = []
    if known(rate["at"]) and rate["at"] <= 1:
        parts.append(f"p{depth} {verb}above {rate['at']:.3g} (now {rate['now']:.3g})")
    for name, times in (("verify", verify), ("draft", draft)):
        if known(times["at"]) and times["at"] > 0:
            parts.append(f"its {name} under {times['at']:.4g} ms (now {times['now']:.4g})")
    *most, last = parts or [""]
    return f"{', '.join(most)} {'and' if paying else 'or'} {last}" if most else last
