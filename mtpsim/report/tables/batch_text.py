"""The fastest depth over a sweep, and by batch, in words."""

from __future__ import annotations

from typing import Any

from mtpsim.report.document import ResultDocument
from mtpsim.report.formatting import (
    best_depth,
    column,
    fixed,
    known,
    short_names,
    swept_keys,
    value_text,
)


def sweep_heading(result: ResultDocument) -> str:
    """State how the best depth and its speedup move over a sweep."""
    best = [(best_depth(point), column(point, "speedup")) for point in result["points"]]
    found = [(depth, speed[depth]) for depth, speed in best if depth is not None]
    if not found:
        return "Nothing was simulated"
    depths = sorted({depth for depth, _ in found})
    low, high = min(speed for _, speed in found), max(speed for _, speed in found)
    reach = f"{low:.2f}x to {high:.2f}x" if f"{low:.2f}" != f"{high:.2f}" else f"{low:.2f}x"
    if depths == [0]:
        return f"No depth pays at any of the {len(found)} points"
    if len(depths) == 1:
        return f"Depth {depths[0]} is fastest at all {len(found)} points: {reach}"
    over = " and ".join(key.rpartition(".")[2] for key in swept_keys(result)[:2])
    return f"Best depth {depths[0]} to {depths[-1]}, depending on {over}: {reach}"


def batch_sentences(result: ResultDocument) -> list[str]:
    """For each group of points that differ in the batch: which depth when, and when MTP is off."""
    return [_sentence(group) for group in result.get("by_batch") or []]


def group_label(group: Any) -> str:
    """What the points of a group have in common, or nothing."""
    names = short_names(list(group["set"]))
    return ", ".join(f"{names[key]} = {value_text(v)}" for key, v in group["set"].items())


def _sentence(group: Any) -> str:
    label = group_label(group)
    text = f"By batch, {label}: " if label else "By batch: "
    text += (", ".join(_run(entry) for entry in group["schedule"]) or "no whole one") + "."
    for turn in group["turns"]:
        text += f" {turn_text(turn)}."
    if not group["turns"] and group["schedule"] and group["schedule"][-1]["depth"]:
        text += " Drafting pays at every batch of the sweep."
    return text


def _run(entry: Any) -> str:
    first, last = entry["from"], entry["to"]
    where = f"{first:,} to {last:,}" if last > first else f"{first:,}"
    return f"{where} " + (f"depth {entry['depth']}" if entry["depth"] else "off")


def turn_text(turn: Any) -> str:
    """``Turn MTP off above a batch of 600.7 [599.9, 601.4]``."""
    digits = 1 if turn["batch"] < 1000 else 0
    text = f"Turn MTP {turn['to']} above a batch of {fixed(turn['batch'], digits)}"
    if known(turn["low"]) and known(turn["high"]):
        return text + f" [{fixed(turn['low'], digits)}, {fixed(turn['high'], digits)}]"
    return text + " (one end of its interval is beyond the sweep)"
