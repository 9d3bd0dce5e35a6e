"""vLLM: log lines of both generations, Prometheus scrapes, requests, and benchmark results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    PRINTED_DIGITS,
    Entry,
    EntryError,
    MissingInformationError,
    malformed,
    optional_count,
    optional_number,
    request_entry,
    required_count,
)
from mtpsim.logs.files import FileProgress, Line, lines
from mtpsim.logs.format import (
    Answers,
    Entries,
    Format,
    LineEntries,
    Place,
    json_format,
    line_format,
)
from mtpsim.logs.rates import counts_from_rates

# Gaps are bounded and labels begin at a word's beginning, so that the time grows with the length
# of a line, not with its square.
_NUMBER = r"([-\d.]++)"
_GAP = ".{0,1000}?"
_LINE = re.compile(
    rf"SpecDecoding metrics: Mean acceptance length: {_NUMBER}{_GAP}Accepted: (-?\d+) tokens, "
    r"Drafted: (-?\d+) tokens, Per-position acceptance rate: ([-\d., ]+?), Avg Draft"
)
_OLD = re.compile(
    rf"Speculative metrics: Draft acceptance rate: {_GAP}Number of speculative tokens: (\d+), "
    r"Number of accepted tokens: (-?\d+), Number of draft tokens: (-?\d+), "
    r"Number of emitted tokens: (-?\d+)"
)


def _log_entries(lines: Iterator[Line], answers: Answers) -> LineEntries:
    before: Entry | None = None
    for number, line in lines:
        try:
            if new := _LINE.search(line):
                yield number, _window(new)
            elif old := _OLD.search(line):
                now = _since_start(old)
                yield number, _difference(before, now)
                before = now
            else:
                yield number, EntryError("truncated line or unknown layout")
        except ValueError as error:
            yield number, malformed(error)


def _window(found: re.Match[str]) -> Entry:
    """Return the entry of a window; rounds follow from the printed length if drafts are short."""
    length, accepted, drafted = float(found[1]), int(found[2]), int(found[3])
    rates = [float(rate) for rate in found[4].split(",")]
    depth = len(rates)
    rounds = drafted // depth
    if drafted % depth or (rounds and abs(1 + accepted / rounds - length) > PRINTED_DIGITS):
        rounds = round(accepted / (length - 1)) if length > 1 else -(-drafted // depth)
    return Entry(
        unit="window",
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=depth,
        survived=counts_from_rates(rates, rounds, accepted),
        printed=length,
    )


def _since_start(found: re.Match[str]) -> Entry:
    """Return the counts since the start.

    Emitted tokens are used: the accepted ones of this generation include those past a rejection.
    """
    depth, _, drafted, emitted = (int(found[n]) for n in range(1, 5))
    if not depth or drafted % depth:
        raise EntryError(
            f"{counted(drafted, 'draft', 'are')} not a multiple of "
            f"{counted(depth, 'speculative token')}"
        )
    rounds = drafted // depth
    return Entry(
        unit="window",
        rounds=rounds,
        accepted=emitted - rounds,
        drafted=drafted,
        depth=depth,
        tokens=emitted,
    )


def _difference(before: Entry | None, now: Entry) -> Entry:
    if before is None:
        return now
    if now.depth != before.depth:
        raise EntryError(f"speculative tokens change from {before.depth} to {now.depth}")
    for name in ("rounds", "accepted"):
        earlier, later = getattr(before, name), getattr(now, name)
        if later < earlier:
            raise EntryError(
                f"{name} fall from {earlier} to {later}: the counters were reset in between; give "
                "the logs of one process"
            )
    return Entry(
        unit="window",
        rounds=now.rounds - before.rounds,
        accepted=now.accepted - before.accepted,
        drafted=(now.drafted or 0) - (before.drafted or 0),
        depth=now.depth,
        survived=[b - a for a, b in zip(before.survived, now.survived, strict=True)],
    )


LOG = line_format(
    "vllm-log",
    "vLLM",
    lambda line: "SpecDecoding metrics:" in line or "Speculative metrics:" in line,
    _log_entries,
)

_METRIC = re.compile(
    r"vllm:spec_decode_num_(drafts|draft_tokens|accepted_tokens|accepted_tokens_per_pos)"
    r"(?:_total)?\{(.*)\}\s+([-+.\deE]+|NaN|[+-]Inf)"
)
_LABEL = re.compile(r'\b(\w+)="((?:[^"\\]|\\.)*)"')


Counters = dict[tuple[str, int], float]  # by name and position


def _scrape(path: Path, answers: Answers, on_progress: FileProgress) -> Entry:
    """Return the counters of one scrape, summed over the engines of a model.

    Raises:
        EntryError: counters are missing or inconsistent.
        MissingInformationError: there are several models and none is selected.
    """
    totals: dict[str, Counters] = {}
    for _, line in lines(path, on_progress):
        if found := _METRIC.match(line):
            labels = dict(_LABEL.findall(found[2]))
            key = (found[1], int(labels.get("position", 0)))
            model = totals.setdefault(labels.get("model_name", ""), {})
            model[key] = model.get(key, 0.0) + float(found[3])
    if not totals:
        raise EntryError("has no vllm:spec_decode counters; is speculative decoding on?")
    if answers.model is None and len(totals) == 1:
        return _of_counters(*totals.values())
    if answers.model not in totals:
        known = ", ".join(sorted(totals))
        raise MissingInformationError(f"counters are of the models {known}", option="--model")
    return _of_counters(totals[answers.model])


def _of_counters(found: Counters) -> Entry:
    values: JsonDict = {name: value for (name, position), value in found.items() if not position}
    name = "accepted_tokens_per_pos"
    positions = sorted(position for key, position in found if key == name)
    entry = Entry(
        unit="total",
        rounds=required_count(values, "drafts"),
        accepted=required_count(values, "accepted_tokens"),
        drafted=required_count(values, "draft_tokens"),
        depth=len(positions) or None,
        survived=[required_count({name: found[name, position]}, name) for position in positions],
    )
    if positions != list(range(len(positions))):
        raise EntryError(f"counters have the positions {positions}; some are missing")
    return entry


def _read_scrapes(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
    scrapes: list[tuple[Place, Entry]] = []
    for path in paths:
        try:
            scrapes.append((Place(path, None), _scrape(path, answers, on_progress)))
        except MissingInformationError:
            raise
        except ValueError as error:
            yield Place(path, None), malformed(error)
    if len(scrapes) == 1:
        yield scrapes[0]
    for (_, before), (place, now) in pairwise(scrapes):
        try:
            yield place, _difference(before, now)
        except EntryError as error:
            yield place, error


METRICS = Format(
    "vllm-metrics",
    "vLLM",
    lambda start: (
        "vllm:spec_decode_num_" in start.text or start.text.startswith(("# HELP", "# TYPE"))
    ),
    _read_scrapes,
)

NAMES = {
    "rounds": ("num_spec_steps",),
    "accepted": ("num_accepted_draft_tokens",),
    "drafted": ("num_draft_tokens",),
    "depth": ("num_spec_tokens",),
    "histogram": ("acceptance_histogram",),
    "by_length": ("acceptance_histogram_by_draft_length",),
    "steps_accepted": ("per_step_accepted",),
    "steps_drafted": ("per_step_drafted",),
    "length": ("mean_acceptance_length",),
}


def _request(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    usage = document.get("usage")
    tokens = optional_count(usage, "completion_tokens") if isinstance(usage, dict) else None
    return request_entry(table, NAMES, tokens=tokens)


REQUESTS = json_format(
    "vllm-requests",
    "vLLM",
    "metrics of a request's speculative decoding",
    lambda table: "num_accepted_draft_tokens" in table and "mean_acceptance_length" in table,
    _request,
)


def _bench(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    rounds = required_count(table, "spec_decode_num_drafts")
    accepted = required_count(table, "spec_decode_accepted_tokens")
    rates = table.get("spec_decode_per_position_acceptance_rates") or []
    if not isinstance(rates, list) or not all(type(rate) in (int, float) for rate in rates):
        raise EntryError(
            f"spec_decode_per_position_acceptance_rates is {rates!r}; it must be a list of rates"
        )
    chunks = table.get("itls")
    each = optional_number(table, "mean_tpot_ms")
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=accepted,
        drafted=required_count(table, "spec_decode_draft_tokens"),
        depth=len(rates) or None,
        survived=counts_from_rates(rates, rounds, accepted) if rates else [],
        printed=optional_number(table, "spec_decode_acceptance_length"),
        round_times=_chunk_times(chunks) if isinstance(chunks, list) else [],
        time=each and each * (rounds + accepted),
    )


def _chunk_times(chunks: list[object]) -> list[float]:
    """Return ms between the chunks of streamed responses; a round emits one chunk."""
    times = [t for request in chunks if isinstance(request, list) for t in request]
    return [1000.0 * t for t in times if type(t) is float and t > 0]


BENCH = json_format(
    "vllm-bench",
    "vLLM",
    "result of vllm bench with speculative decoding",
    lambda table: "spec_decode_num_drafts" in table,
    _bench,
)
