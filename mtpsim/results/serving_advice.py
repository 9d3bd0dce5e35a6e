"""The best arm of a server at each load in words, and the loads at which it changes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from mtpsim.report.document import Interval, PointResult
from mtpsim.report.formatting import bracketed, fixed, in_percent, known, set_label, shared_decimals
from mtpsim.report.serving_document import LoadGroup, LoadTurn, ServedArm, ServedPoint
from mtpsim.report.tables.serving import LIMITS, at_load, crossing_text, load_text

NONE = "none"  # the label of a load at which no depth meets the goals
OVERLOAD = "overload"  # of a load that no depth serves
Band = tuple[float, float, float]
"""A margin, and the ends of its interval."""
Lead = Callable[[ServedPoint, str, str], Band]  # point, before, after
Margin = Callable[[ServedPoint], Band]
UNKNOWN = (np.nan, np.nan, np.nan)


def point_sentence(point: ServedPoint) -> str:
    """``At 4 requests/s run depth 3: p99 TPOT 27.1 ms [26.8, 27.4]; off: p99 TPOT 33.0 ms.``."""
    best, off = point.arm(point.best), point.off
    text = f"{at_load(point)} {_choice(point)}: {_facts(point, best)}"
    if off is not None and off is not best:
        text += f"; off: {_facts(point, off, short=True)}"
    others = " or ".join(name for name in point.candidates if name != point.best)
    return f"{text}. May be as good: {others}." if others else f"{text}."


def _choice(point: ServedPoint) -> str:
    name = "with MTP off" if point.best == "off" else point.best
    name = f'the policy "{name}"' if point.arm(point.best).depth is None else name
    if point.overloaded:
        return f"no depth serves the load, most output has {name.removeprefix('with ')}"
    if point.within_goals is False:
        need = f"{100 * point.share:g} %"
        return f"no depth meets the goals for {need} of requests; {point.best} comes closest"
    return f"run {name}"


def _facts(point: ServedPoint, arm: ServedArm, *, short: bool = False) -> str:
    """The numbers that the choice rests on."""
    if point.goals and not point.overloaded:
        goals = {goal: f"p99 {LIMITS.get(goal, goal)} " for goal in point.goals}
        cells = [(name, arm.time(goal).p99, " ms") for goal, name in goals.items()]
        if within := in_percent(arm.good):
            cells.append(("", within, " % of requests within the goals"))
        if point.objective == "goodput" and arm.goodput:
            cells.insert(0, ("goodput ", arm.goodput, " requests/s"))
    else:
        cells = [("mean TPOT ", arm.tpot.mean, " ms"), ("output ", arm.throughput, " tok/s")]
        ratio = arm.throughput_ratio if point.objective == "throughput" else arm.speedup
        if ratio and not short and arm.depth != 0:
            cells.append(("", ratio, " times off"))
    return ", ".join(f"{name}{_cell(cell, short)}{unit}" for name, cell, unit in cells)


def _cell(cell: Interval, short: bool) -> str:
    digits = min(shared_decimals([cell]), 3)
    return fixed(cell.mean, min(digits, 2)) if short else bracketed(cell, digits)


def by_load(points: Sequence[PointResult], lead: Lead) -> list[LoadGroup]:
    """Groups of points that differ in the load alone, and where the best arm changes in each.

    Args:
        points: all points of a run.
        lead: log ratio of the objective of two arms at a point, with its interval.
    """
    served = [(point, point.serving) for point in points if point.serving]
    keys = {f"serving.arrivals.{found.arrivals}" for _, found in served}
    key = keys.pop() if len(keys) == 1 else ""
    groups: dict[str, list[tuple[PointResult, ServedPoint]]] = {}
    for point, found in served:
        if key in point.set and found.load is not None:
            others = {name: value for name, value in point.set.items() if name != key}
            groups.setdefault(repr(others), []).append((point, found))
    return [_group(key, group, lead) for group in groups.values() if len(group) > 1]


def _group(key: str, group: list[tuple[PointResult, ServedPoint]], lead: Lead) -> LoadGroup:
    ordered = sorted((found for _, found in group), key=lambda found: found.load or 0.0)
    others = {name: value for name, value in group[0][0].set.items() if name != key}
    turns = list(_turns(ordered, lead))
    label = f"{set_label(others)}: " if others else ""
    return LoadGroup(set=others, key=key, turns=turns, sentence=label + _by_load(ordered, turns))


def _label(point: ServedPoint) -> str:
    if point.within_goals is False:
        return NONE
    return OVERLOAD if point.overloaded else point.best


def _labels(points: Sequence[ServedPoint]) -> list[str]:
    """The best arm at each load; of rules that share a budget, the first that may be the best.

    Such rules often differ by chance alone.
    """
    found = []
    for point in points:
        label, rules = _label(point), [one.name for one in point.budgets]
        if label in rules:
            label = next((rule for rule in rules if rule in point.candidates), label)
        found.append(label)
    return found


def _turns(points: Sequence[ServedPoint], lead: Lead) -> Iterator[LoadTurn]:
    for at, ((one, two), (before, after)) in enumerate(
        zip(pairwise(points), pairwise(_labels(points)), strict=True)
    ):
        if before == after:
            continue
        turn = partial(_turn, points, at)
        if OVERLOAD in (before, after):
            yield turn((before, after), lambda _: UNKNOWN)
        elif NONE in (before, after):
            yield from _ends(points, at, before, after)
        elif _good(one, before)[0] > 0 > _good(two, before)[0]:
            yield turn((before, after), partial(_good, name=before))
        else:
            yield turn((before, after), partial(_lead, lead, (before, after)))


def _lead(lead: Lead, names: tuple[str, str], point: ServedPoint) -> Band:
    return lead(point, *names)


def _ends(points: Sequence[ServedPoint], at: int, before: str, after: str) -> Iterator[LoadTurn]:
    """From a depth to none that meets the goals, or back; by one that meets them longer.

    Another depth is named only where the simulation tells the two loads apart: the error of the
    interpolation is common to both.
    """
    one, two = points[at : at + 2]
    inner = one if after == NONE else two
    best, sign = (before, 1) if after == NONE else (after, -1)
    found, simulated = {}, {}
    for arm in inner.arms:
        margins = [_good(point, arm.name) for point in (one, two)]
        if margins[0][0] * sign > 0 > margins[1][0] * sign:
            simulated[arm.name] = _crossing(one, two, *margins)
            margin = partial(_good, name=arm.name)
            found[arm.name] = _turn(points, at, (before, after), margin)
    if best not in found:
        yield _turn(points, at, (before, after), lambda _: UNKNOWN)
        return
    last = max(found, key=lambda name: sign * found[name].load)
    ends = sorted(((simulated[name], name) for name in (best, last)), key=lambda one: one[0][0])
    apart = ends[0][0][2] < ends[1][0][1]
    if last == best or not apart:
        yield found[best]
    elif after == NONE:
        yield replace(found[best], after=last)
        yield replace(found[last], before=last)
    else:
        yield replace(found[last], after=last)
        yield replace(found[best], before=last)


def _turn(
    points: Sequence[ServedPoint], at: int, names: tuple[str, str], margin: Margin
) -> LoadTurn:
    """A turn between two loads: interpolated, within the loads at which the better arm is sure.

    No interval of an interpolation is sure of the curve between two loads. So the ends are loads
    of the sweep, the nearest at which the margin has the sign of that side at the experiment's
    confidence; None where the sweep has no such load.
    """
    one, two = points[at : at + 2]
    load, *_ = _crossing(one, two, margin(one), margin(two))
    low, high = one.load, two.load
    if np.isfinite(margin(one)[0] - margin(two)[0]):
        sign = 1 if margin(one)[0] > margin(two)[0] else -1
        below, above = points[at::-1], points[at + 1 :]
        low = next((p.load for p in below if min(sign * e for e in margin(p)[1:]) > 0), None)
        high = next((p.load for p in above if max(sign * e for e in margin(p)[1:]) < 0), None)
    return LoadTurn(before=names[0], after=names[1], load=load, low=low, high=high)


def _good(point: ServedPoint, name: str) -> Band:
    """How far below its limit the share of requests outside the goals is, as a logarithm."""
    good = point.arm(name).good
    if good is None or good.mean is None or good.low is None or good.high is None:
        return UNKNOWN
    least = 0.5 / point.requests
    mean, low, high = (
        float(np.log((1 - point.share) / max(1 - end, least)))
        for end in (good.mean, good.low, good.high)
    )
    return mean, low, high


def _crossing(
    one: ServedPoint, two: ServedPoint, first: Band, second: Band
) -> tuple[float, float, float]:
    """Load at which a margin is 0, linear in the log of the load, and its simulation error."""
    ends = np.log([one.load or 1.0, two.load or 1.0])
    found = []
    for left, right in zip(first, second, strict=True):
        inside = np.isfinite(left - right) and (left > 0) != (right > 0)
        share = left / (left - right) if inside else np.nan
        found.append(float(np.exp(ends[0] + share * (ends[1] - ends[0]))))
    load, *sides = found
    if not np.isfinite(load):  # a change that no single margin shows
        return float(np.exp(ends.mean())), np.nan, np.nan
    low, high = sorted(sides) if np.isfinite(sides).all() else (np.nan, np.nan)
    return load, low, high


def _by_load(points: Sequence[ServedPoint], turns: Sequence[LoadTurn]) -> str:
    """``Run depth 3 up to 5.1 requests/s [5, 6], then off.``."""
    names = [_labels(points)[0], *(turn.after for turn in turns)]
    reach = f"{points[0].load:g} to {load_text(points[-1].load or 0.0, points[-1])}"
    if len(names) == 1:
        every = "any" if names[0] in (NONE, OVERLOAD) else "every"
        text = f"{_run(names[0])} at {every} load of the sweep ({reach})."
        return f"{text[0].upper()}{text[1:]}"
    parts = [f"{_run(turn.before)} up to {_turn_text(turn, points[0])}" for turn in turns]
    text = f"{', '.join(parts)}, then {_run(names[-1])}"
    if any(point.budgets for point in points):  # their sentence follows, with other loads
        reach += "; the best arm at each load, however small its lead"
    return f"{text[0].upper()}{text[1:]} (loads {reach})."


def _run(name: str) -> str:
    words = {
        NONE: "no depth meets the goals",
        OVERLOAD: "no depth serves the load",
        "off": "MTP off",
    }
    return words.get(name, name)


def _turn_text(turn: LoadTurn, point: ServedPoint) -> str:
    load, low, high = (
        crossing_text(end, point) if known(end) else "" for end in (turn.load, turn.low, turn.high)
    )
    if low and high:
        number, _, unit = load.partition(" ")
        return f"{number} [{low.split()[0]}, {high.split()[0]}] {unit}".strip()
    bounds = [f"{side} {end}" for side, end in (("above", low), ("below", high)) if end]
    return f"{load} ({', '.join([*bounds, 'no closer bound from these loads'])})"
