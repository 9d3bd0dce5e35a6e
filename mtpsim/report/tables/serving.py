"""A simulated server as tables: speed and goals by load and arm, latencies, capacity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mtpsim.common.text import counted, listed
from mtpsim.report.document import Interval, PointResult, ResultDocument
from mtpsim.report.formatting import (
    LOAD_UNITS,
    fixed,
    in_percent,
    in_units,
    known,
    level,
    plus_minus,
    set_label,
    shared_decimals,
    short_names,
    swept_keys,
    value_text,
)
from mtpsim.report.serving_document import QUANTILES, TIMES, UNSTABLE, ServedArm, ServedPoint
from mtpsim.report.tables.terminal import Column, Row, TextTable, print_table, print_warnings, say

if TYPE_CHECKING:
    from rich.console import Console

NAMES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E"}
LIMITS = {"tpot": "TPOT", "ttft": "TTFT", "itl": "ITL", "e2e": "end-to-end time"}
RATE = "serving.arrivals.rate"
PLACES = {"rate": "At", "closed": "With", "burst": "For a burst of"}
READING = (
    "TPOT: (last - first token time) / (tokens - 1) of a request. ITL: time between two bursts of "
    "tokens of a request. E2E: from arrival to the last token. TPOT speedup: mean TPOT without "
    "drafts over that of the depth."
)
PERCENTAGE = re.compile(r"\d+(?:\.\d+)?(?= %)")
Cell = Callable[[ServedArm], Interval | None]
MAIN: dict[str, Cell] = {
    "output\ntok/s": lambda arm: arm.throughput,
    "output\nx off": lambda arm: arm.throughput_ratio,
    "TPOT\nspeedup": lambda arm: arm.speedup,
    "TPOT\np99, ms": lambda arm: arm.tpot.p99,
    "TTFT\np99, ms": lambda arm: arm.ttft.p99,
    "within\ngoals, %": lambda arm: in_percent(arm.good),
    "goodput,\nper s": lambda arm: arm.goodput,
}
NARROW = ("output\ntok/s", "TPOT\nspeedup", "TPOT\np99, ms", "TTFT\np99, ms", "within\ngoals, %")
DRAFTS: dict[str, Cell] = {
    "drafts per\nround": lambda arm: arm.drafts,
    "verified\nper round": lambda arm: arm.verified,
    "rejected\nper round": lambda arm: arm.rejected,
    "missed\nper round": lambda arm: arm.missed,
    "accept\nlength": lambda arm: arm.accept_length,
}
DRAFTS_READING = (
    "Per decoding request and step. Drafts that are not verified, or rejected, are wasted; missed "
    "are those not verified that would have been accepted. Gain: of the rule over each row, paired."
)
STATE: dict[str, Cell] = {
    "running": lambda arm: arm.running,
    "waiting": lambda arm: arm.waiting,
    "KV in\nuse, %": lambda arm: in_percent(arm.kv_use),
    "preempted\nper 1,000": lambda arm: arm.preemptions,
    "accept\nlength": lambda arm: arm.accept_length,
    "drafts per\nround": lambda arm: arm.drafts,
    "step\ntime, ms": lambda arm: arm.step_time,
}


def served(result: ResultDocument) -> list[tuple[PointResult, ServedPoint]]:
    """The points of a server; empty where single requests were simulated."""
    return [(point, point.serving) for point in result.points if point.serving]


def print_served(result: ResultDocument, console: Console) -> None:
    """Print every point of a server, and the answer."""
    say(console, sample_sentence(result), "dim")
    wide = MAIN | STATE
    layouts = [list(wide), list(MAIN), list(NARROW)]
    print_table(console, *(arm_table(result, {n: wide[n] for n in names}) for names in layouts))
    console.print()
    print_table(console, latency_table(result), latency_table(result, TIMES[:2]))
    say(console, READING, "dim")
    console.print()
    if has_budgets(result):
        say(console, "Adaptive verification:")
        print_table(console, drafts_table(result), drafts_table(result, 1))
        say(console, DRAFTS_READING, "dim")
        console.print()
    for sentence in sentences(result):
        say(console, sentence, "bold")
    if (table := capacity_table(result)).rows:
        console.print()
        say(console, f"{capacity_title(result)}:")
        print_table(console, table)
    print_warnings(console, warnings_of(result))


def sample_sentence(result: ResultDocument) -> str:
    """``30 replications, 60,000 requests per depth and load, 95 % intervals``."""
    found = [point for _, point in served(result)]
    numbers = sorted({point.requests for point in found})
    requests = " to ".join(f"{n:,}" for n in dict.fromkeys([numbers[0], numbers[-1]]))
    least = min(point.replications for point in found)
    runs = counted(least, "replication")
    text = f"{runs}, {requests} requests per depth and load, {level(result)} intervals"
    if all(point.arrivals == "trace" for point in found):
        text += " of drafts and noise: the arrivals of the trace are the same in each replication"
    return text


def load_text(load: float, point: ServedPoint) -> str:
    """``5.1 requests/s``, ``1 client``, ``2,048 requests``."""
    return in_units(load, point.arrivals)


def crossing_text(load: float, point: ServedPoint) -> str:
    """A load between two of the sweep in three digits; clients and requests are whole numbers."""
    load = float(f"{load:.3g}")
    return load_text(load if point.arrivals == "rate" else max(load // 1, 1.0), point)


def at_load(point: ServedPoint) -> str:
    """``At 5.1 requests/s``, ``With 64 clients``, ``For a burst of 2,048 requests``."""
    if point.load is None:
        return "On this trace"
    return f"{PLACES.get(point.arrivals, 'At')} {load_text(point.load, point)}"


def sentences(result: ResultDocument) -> list[str]:
    """The advice: by load over a sweep of loads, else of each point; each sentence once."""
    if result.by_load:
        texts = [(one.sentence, one.budget_sentence) for one in result.by_load]
        return [text for pair in texts for text in pair if text] + _shape_sentences(result)
    where: dict[str, list[str]] = {}
    for point, found in served(result):
        for text in filter(None, (found.sentence, found.budget_sentence)):
            where.setdefault(text, []).append(_place(result, point))
    return [
        text if len(labels) == len(served(result)) else f"{'; '.join(labels)}: {text}"
        for text, labels in where.items()
    ] + _shape_sentences(result)


def _shape_sentences(result: ResultDocument) -> list[str]:
    """The fastest of the swept shapes of drafts at each load, or those whose intervals overlap."""
    loads: dict[str, list[tuple[float, float, str]]] = {}
    for point, found in served(result):
        others = [key for key in point.set if not key.startswith("serving.arrivals.")]
        if others != ["draft"]:
            return []
        best, more = found.arm(found.best), found.arrivals in ("closed", "burst")
        cell, sign = (best.throughput, -1) if more else (best.tpot.mean, 1)
        if found.served and cell.low is not None and cell.high is not None:
            low, high = sorted((sign * cell.low, sign * cell.high))
            text = f"{value_text(point.set['draft'])} ({best.name})"
            loads.setdefault(at_load(found), []).append((high, low, text))
    texts = []
    for place, shapes in loads.items():
        least = min(shapes)
        names = [text for _, low, text in sorted(shapes) if low <= least[0]]
        tie = ", whose intervals overlap" if len(names) > 1 else ""
        texts.append(f"{place} the fastest shape of drafts is {' or '.join(names)}{tie}.")
    return texts if any(len(shapes) > 1 for shapes in loads.values()) else []


def _place(result: ResultDocument, point: PointResult) -> str:
    """The swept values of a point; that of the load without its name: ``20, resumed = 0``."""
    names = short_names(swept_keys(result))
    loads = [f"serving.arrivals.{kind}" for kind in LOAD_UNITS]
    texts = [value_text(point.set[key]) for key in loads if key in point.set]
    others = {key: value for key, value in point.set.items() if key not in loads}
    return ", ".join(filter(None, [*texts, set_label(others, names)]))


def warnings_of(result: ResultDocument) -> list[str]:
    """Each warning once, with the loads and arms that it belongs to."""
    where: dict[str, list[str]] = {}
    names = {
        key: name.removeprefix("arrivals.") for key, name in short_names(swept_keys(result)).items()
    }
    for point, found in served(result):
        label = _place(result, point)
        for text in point.warnings:
            where.setdefault(text, []).append(set_label(point.set, names))
        at = f" at {label}" if label else ""
        over = [arm for arm in found.arms if _queue_grows(arm)]
        if len(over) > 1:
            text = overload_text([(arm.queue[0], arm.queue[1]) for arm in over])
            where.setdefault(text, []).append(listed([arm.name for arm in over]) + at)
        for arm in found.arms:
            for text in arm.warnings:
                if len(over) < 2 or arm not in over or not text.startswith(UNSTABLE):
                    where.setdefault(text, []).append(arm.name + at)
    texts = []
    for text, places in _joined(where).items():
        named = "; ".join(filter(None, places[:4])) + "; ..." * (len(places) > 4)
        texts.append(f"{named}: {text}" if named else text)
    return [*(result.warnings or []), *texts]


def _joined(where: dict[str, list[str]]) -> dict[str, list[str]]:
    """Warnings that differ in a percentage alone as one, with the least and the greatest."""
    similar: dict[str, list[str]] = {}
    for text in where:
        similar.setdefault(PERCENTAGE.sub("#", text), []).append(text)
    found = {}
    for texts in similar.values():
        shares = {share for text in texts for share in PERCENTAGE.findall(text)}
        if len(shares) == len(texts) > 1:
            ends = min(shares, key=float), max(shares, key=float)
            found[PERCENTAGE.sub(" to ".join(ends), texts[0])] = [
                place for text in texts for place in where[text]
            ]
        else:
            found |= {text: where[text] for text in texts}
    return found


def _queue_grows(arm: ServedArm) -> bool:
    """Whether the arm is overloaded by a queue, not by a batch that still fills."""
    queue = tuple(arm.queue)
    return len(queue) == 2 and overload_text([(queue[0], queue[1])]) in arm.warnings


def overload_text(queues: Sequence[tuple[float, float]]) -> str:
    """The warning on arms whose queues grow.

    Args:
        queues (Sequence[tuple[float, float]]): Waiting requests at the beginning and at the end of
            the window, of each arm.
    """
    first, last = ([f"{max(ends[side], 0.0):,.0f}" for ends in queues] for side in (0, 1))
    if len(queues) == 1:
        text = (
            f"{UNSTABLE}: {first[0]} requests wait at the beginning of the window and {last[0]} at "
            "its end"
        )
    else:
        text = (
            f"the load is more than they serve: {listed(first)} requests wait at the beginning of "
            f"the window and {listed(last)} at its end"
        )
    return (
        f"{text}; latencies grow with the length of the run, and throughput and its ratio to off "
        "depend on it"
    )


def _rows(result: ResultDocument) -> Iterator[tuple[list[str], ServedPoint, ServedArm]]:
    """Every arm at every load, with the texts of the swept values."""
    keys = swept_keys(result)
    for point, found in served(result):
        for arm in found.arms:
            yield [value_text(point.set.get(key)) for key in keys], found, arm


def _lead_columns(keys: Sequence[str]) -> list[Column]:
    names = [
        name.removeprefix("arrivals.").replace("closed", "clients")
        for name in short_names(keys).values()
    ]
    return [*(Column(name, folds=True) for name in names), Column("depth", left=True)]


def arm_table(result: ResultDocument, cells: dict[str, Cell]) -> TextTable:
    """A row per load and arm; columns without any number are left out.

    Args:
        result: the result document.
        cells: header and interval of each column.
    """
    return _by_arm(result, _columns(result, cells))


def _columns(result: ResultDocument, cells: dict[str, Cell]) -> dict[str, list[str]]:
    """Headers and the texts below them; columns without any number are left out."""
    shown = {}
    for header, cell in cells.items():
        found = [cell(arm) for *_, arm in _rows(result)]
        if any(one is not None for one in found):
            digits = min(shared_decimals(found), 3)
            shown[header] = [plus_minus(one, digits) for one in found]
    return shown


def _by_arm(result: ResultDocument, texts: dict[str, list[str]]) -> TextTable:
    """A row per load and arm of texts by header; the best arm of each load stands out."""
    rows = []
    for (values, point, arm), *cells in zip(_rows(result), *texts.values(), strict=True):
        best = arm.name == point.best
        rows.append(Row([*values, arm.name, *cells], "best" if best else "", marked=best))
    return TextTable([*_lead_columns(swept_keys(result)), *map(Column, texts)], rows)


def has_budgets(result: ResultDocument) -> bool:
    """Whether a rule shares a budget of drafts between requests."""
    return any(point.budgets for _, point in served(result))


def drafts_table(result: ResultDocument, most: int = 4) -> TextTable:
    """What became of the drafts by load and arm, and what rules gain over each arm in %.

    Args:
        result: The result document.
        most: Rules with a column of gains, those that are no bounds first.
    """
    texts, arms = _columns(result, DRAFTS), list(_rows(result))
    rules = [
        (point.arm(one.name).bound, one.name) for *_, point, _ in arms for one in point.budgets
    ]
    names = [name for _, name in sorted(dict.fromkeys(rules), key=lambda rule: rule[0])][:most]
    for name in names:
        found = [in_percent(gain_over(point, name, arm.name)) for _, point, arm in arms]
        digits = min(shared_decimals(found), 2)
        texts[f"gain of\n{name}, %"] = [plus_minus(cell, digits) for cell in found]
    return _by_arm(result, texts)


def gain_over(point: ServedPoint, name: str, over: str) -> Interval | None:
    """What a rule that shares a budget gains over an arm; None where it is not known."""
    own = next((one for one in point.budgets if one.name == name), None)
    return next((gain for gain in own.gains if gain.over == over), None) if own else None


def latency_table(result: ResultDocument, names: Sequence[str] = TIMES) -> TextTable:
    """Quantiles of the times in ms, a row per load and arm; the half-width at p99 alone."""
    texts = {}
    for name in names:
        for quantile in QUANTILES:
            found = [getattr(arm.time(name), quantile) for *_, arm in _rows(result)]
            digits, whole = min(shared_decimals(found), 2), quantile == "p99"
            texts[f"{NAMES[name]}\n{quantile}, ms"] = [
                plus_minus(one, digits) if whole else fixed(one.mean, digits) for one in found
            ]
    return _by_arm(result, texts)


def goals_text(goals: dict[str, float]) -> str:
    """``TTFT at most 500 ms, TPOT at most 30 ms``."""
    return ", ".join(f"{LIMITS.get(name, name)} at most {ms:g} ms" for name, ms in goals.items())


def capacity_title(result: ResultDocument) -> str:
    """What the capacity is the greatest load of."""
    found = next((point for _, point in served(result) if point.capacity), None)
    if found is None:
        return "Capacity"
    goals = goals_text(found.goals)
    return f"Greatest load, requests/s, at which {100 * found.share:g} % of requests meet {goals}"


def capacity_table(result: ResultDocument) -> TextTable:
    """A row per arm: the greatest load at which it meets the goals."""
    keys = [key for key in swept_keys(result) if key != RATE]
    rows = []
    for point, found in served(result):
        digits = min(shared_decimals([one.rate for one in found.capacity]), 3)
        top = max((one.rate.mean or 0 for one in found.capacity), default=0)
        for one in found.capacity:
            values = [value_text(point.set.get(key)) for key in keys]
            text = plus_minus(one.rate, digits) if known(one.rate.mean) else one.limit
            best = bool(top) and one.rate.mean == top
            rows.append(Row([*values, one.name, text], "best" if best else "", marked=best))
    return TextTable([*_lead_columns(keys), Column("capacity,\nper s")], rows)
