"""vLLM: log lines of both generations, Prometheus scrapes, requests, and its benchmark's JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    Entry,
    EntryError,
    QuestionError,
    maybe_number,
    maybe_whole,
    of_request,
    read_error,
    whole,
)
from mtpsim.logs.files import Told, lines
from mtpsim.logs.format import Answers, Format, Found, Place, json_format, line_format
from mtpsim.logs.rates import counts_of

_NUMBER = r"([-\d.]+)"
_LINE = re.compile(
    rf"SpecDecoding metrics: Mean acceptance length: {_NUMBER}.*?Accepted: (-?\d+) tokens, "
    r"Drafted: (-?\d+) tokens, Per-position acceptance rate: ([-\d., ]+?), Avg Draft"
)
_OLD = re.compile(
    r"Speculative metrics: Draft acceptance rate: .*?Number of speculative tokens: (\d+), "
    r"Number of accepted tokens: (-?\d+), Number of draft tokens: (-?\d+), "
    r"Number of emitted tokens: (-?\d+)"
)
_MARK = ("SpecDecoding metrics:", "Speculative metrics:")


def _log_entries(
    marked: Iterator[tuple[int, str]], answers: Answers
) -> Iterator[tuple[int, Entry | EntryError]]:
    before: Entry | None = None
    for number, line in marked:
        try:
            if new := _LINE.search(line):
                yield number, _window(new)
            elif old := _OLD.search(line):
                now = _since_start(old)
                yield number, _difference(before, now)
                before = now
            else:
                yield number, EntryError("is cut off or of an unknown form")
        except ValueError as error:
            yield number, read_error(error)


def _window(found: re.Match[str]) -> Entry:
    """A window since the last line; the printed length tells the rounds if drafts fall short."""
    length, accepted, drafted = float(found[1]), int(found[2]), int(found[3])
    rates = [float(rate) for rate in found[4].split(",")]
    depth = len(rates)
    rounds = drafted // depth
    if drafted % depth or (rounds and abs(1 + accepted / rounds - length) > 0.006):
        rounds = round(accepted / (length - 1)) if length > 1 else -(-drafted // depth)
    survived = counts_of(rates, rounds, accepted)
    return Entry(
        *("window", rounds, accepted, drafted),
        depth=depth,
        survived=survived,
        printed=length,
    )


def _since_start(found: re.Match[str]) -> Entry:
    """Counters since the start; its accepted tokens count past a rejection, its emitted do not."""
    depth, _, drafted, emitted = (int(found[n]) for n in range(1, 5))
    if not depth or drafted % depth:
        raise EntryError(
            f"{counted(drafted, 'draft', 'are')} no multiple of "
            f"{counted(depth, 'speculative token')}"
        )
    rounds = drafted // depth
    return Entry("window", rounds, emitted - rounds, drafted, depth, emitted)


def _difference(before: Entry | None, now: Entry) -> Entry:
    if before is None:
        return now
    if now.depth != before.depth:
        raise EntryError(f"speculative tokens change from {before.depth} to {now.depth}")
    fell = [
        name
        for name in ("rounds", "accepted")
        if (getattr(now, name) or 0) < (getattr(before, name) or 0)
    ]
    if fell:
        raise EntryError(
            f"{fell[0]} fall from {getattr(before, fell[0])} to {getattr(now, fell[0])}: the "
            "counters were reset in between; give the logs of one process"
        )
    survived = [b - a for a, b in zip(before.survived, now.survived, strict=True)]
    return Entry(
        *("window", now.rounds - before.rounds, now.accepted - before.accepted),
        (now.drafted or 0) - (before.drafted or 0),
        now.depth,
        survived=survived,
    )


LOG = line_format(
    "vllm-log",
    "vLLM",
    lambda line: any(mark in line for mark in _MARK),
    _log_entries,
)

_METRIC = re.compile(
    r"vllm:spec_decode_num_(drafts|draft_tokens|accepted_tokens|accepted_tokens_per_pos)"
    r"(?:_total)?\{(.*)\}\s+([-+.\deE]+|NaN|[+-]Inf)"
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def _scrape(path: Path, answers: Answers, told: Told) -> Entry:
    """Counters of one scrape, summed over the engines of a model.

    Raises:
        EntryError: counters are missing or contradict each other.
        QuestionError: there are several models.

    """
    totals: dict[str, dict[tuple[str, int], float]] = {}
    for _, line in lines(path, told):
        if found := _METRIC.match(line):
            labels = dict(_LABEL.findall(found[2]))
            key = (found[1], int(labels.get("position", 0)))
            model = totals.setdefault(labels.get("model_name", ""), {})
            model[key] = model.get(key, 0.0) + float(found[3])
    if not totals:
        raise EntryError("has no vllm:spec_decode counters; is speculative decoding on?")
    return _of_counters(_chosen(totals, answers.model))


def _chosen(
    totals: dict[str, dict[tuple[str, int], float]], model: str | None
) -> dict[tuple[str, int], float]:
    if model is None and len(totals) == 1:
        return next(iter(totals.values()))
    if model not in totals:
        known = ", ".join(sorted(totals))
        raise QuestionError(f"has counters of the models {known}: say which with --model")
    return totals[model]


def _of_counters(found: dict[tuple[str, int], float]) -> Entry:
    values: JsonDict = {name: value for (name, position), value in found.items() if not position}
    rounds, accepted = whole(values, "drafts"), whole(values, "accepted_tokens")
    at = "accepted_tokens_per_pos"
    places = sorted(position for name, position in found if name == at)
    survived = [whole({at: found[at, position]}, at) for position in places]
    depth = len(places) or None
    if places != list(range(len(places))):
        raise EntryError(f"counters have the positions {places}; some are missing")
    return Entry(
        *("total", rounds, accepted, whole(values, "draft_tokens"), depth), survived=survived
    )


def _read_scrapes(paths: Sequence[Path], answers: Answers, told: Told) -> Found:
    scrapes: list[tuple[Place, Entry]] = []
    for path in paths:
        try:
            scrapes.append((Place(path, None), _scrape(path, answers, told)))
        except QuestionError:
            raise
        except ValueError as error:
            yield Place(path, None), read_error(error)
    if len(scrapes) == 1:
        yield scrapes[0]
    for (_, before), (place, now) in pairwise(scrapes):
        try:
            yield place, _difference(before, now)
        except EntryError as broken:
            yield place, broken


METRICS = Format(
    "vllm-metrics",
    "vLLM",
    lambda start: (
        "vllm:spec_decode_num_" in start.text or start.text.startswith(("# HELP", "# TYPE"))
    ),
    _read_scrapes,
)

NAMES = {
    "rounds": ["num_spec_steps"],
    "accepted": ["num_accepted_draft_tokens"],
    "drafted": ["num_draft_tokens"],
    "depth": ["num_spec_tokens"],
    "histogram": ["acceptance_histogram"],
    "by_length": ["acceptance_histogram_by_draft_length"],
    "steps_accepted": ["per_step_accepted"],
    "steps_drafted": ["per_step_drafted"],
    "length": ["mean_acceptance_length"],
}


def _request(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    usage = document.get("usage")
    tokens = maybe_whole(usage, "completion_tokens") if isinstance(usage, dict) else None
    return of_request(table, NAMES.__getitem__, tokens=tokens)


REQUESTS = json_format(
    "vllm-requests",
    "vLLM",
    "metrics of a request's speculative decoding",
    lambda table: "num_accepted_draft_tokens" in table and "mean_acceptance_length" in table,
    _request,
)


def _bench(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    rounds, accepted = (
        whole(table, f"spec_decode_{name}") for name in ("num_drafts", "accepted_tokens")
    )
    drafted = whole(table, "spec_decode_draft_tokens")
    rates = table.get("spec_decode_per_position_acceptance_rates") or []
    if not isinstance(rates, list) or not all(type(rate) in (int, float) for rate in rates):
        raise EntryError(
            f"spec_decode_per_position_acceptance_rates is {rates!r}, no list of rates"
        )
    chunks = table.get("itls")
    each = maybe_number(table, "mean_tpot_ms")
    return Entry(
        *("total", rounds, accepted, drafted),
        depth=len(rates) or None,
        survived=counts_of(rates, rounds, accepted) if rates else [],
        printed=maybe_number(table, "spec_decode_acceptance_length"),
        round_times=_chunk_times(chunks) if isinstance(chunks, list) else [],
        time=each and each * (rounds + accepted),
    )


def _chunk_times(chunks: list[object]) -> list[float]:
    """Ms between the chunks of a streamed answer: a chunk is a round."""
    times = [t for request in chunks if isinstance(request, list) for t in request]
    return [1000.0 * t for t in times if type(t) is float and t > 0]


BENCH = json_format(
    "vllm-bench",
    "vLLM",
    "result of vllm bench with speculative decoding",
    lambda table: "spec_decode_num_drafts" in table,
    _bench,
)
