"""Prometheus counters of speculative decoding: scrapes, answers of its API, pasted tables.

vLLM and llama.cpp count the same quantities, under the names ``vllm:spec_decode_num_drafts_total``
and ``llamacpp:spec_decode_num_drafts_total``. Collectors replace the colon.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.logs.entry import (
    Entry,
    EntryError,
    MissingInformationError,
    malformed,
    optional_count,
    required_count,
    whole_depth,
)
from mtpsim.logs.files import FileProgress, lines
from mtpsim.logs.format import Answers, Entries, Format, Place, objects_within
from mtpsim.logs.json_text import documents_in

_NAME = re.compile(
    r"([A-Za-z]\w{0,63})[:_]spec_decode_num_"
    r"(drafts|draft_tokens|emitted_tokens|accepted_tokens|accepted_tokens_per_pos)(?:_total)?(?![\w:])"
)
_VALUE = re.compile(r"\s*(?:\{(.*)\})?[\s|,:=]*([-+]?[\d.]+(?:[eE][-+]?\d+)?|NaN|[+-]Inf)")
_LABEL = re.compile(r'\b(\w{1,99}+)\s*=\s*"((?:[^"\\]|\\.)*)"')
MARK = "spec_decode_num_"
RESTART = "counters fall within the file: the server was restarted and counts from 0 again"
NO_POSITIONS = "one of two readings has no counts by position: only their totals are compared"

Series = tuple[str, tuple[tuple[str, str], ...]]  # name, sorted labels
Scrape = dict[Series, float]


def difference(before: Entry | None, now: Entry) -> Entry:
    """Return the counts between two readings of counters.

    Raises:
        EntryError: the depth changes, or a counter falls.
    """
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
    both = len(before.survived) == len(now.survived)
    return Entry(
        unit="window",
        rounds=now.rounds - before.rounds,
        accepted=now.accepted - before.accepted,
        drafted=(now.drafted or 0) - (before.drafted or 0),
        depth=now.depth,
        states_depth=now.states_depth,
        survived=[b - a for a, b in zip(before.survived, now.survived, strict=True)]
        if both
        else [],
        notes=() if both else (NO_POSITIONS,),
    )


def _series(text: Iterator[tuple[int, str]], prefix: str) -> Iterator[tuple[Series, float]]:
    """Yield the series in lines of text, or in JSON of the API."""

    def of_text(line: str) -> tuple[Series, float] | None:
        name = _NAME.search(line)
        value = _VALUE.match(line, name.end()) if name else None
        if not name or not value or name[1] != prefix:
            return None
        labels = tuple(sorted(_LABEL.findall(value[1] or "")))
        return (name[2], labels), float(value[2])

    api: list[str] = []
    for _, line in text:
        if api or line.lstrip().startswith("{"):
            api.append(line)
        elif MARK in line and not line.lstrip().startswith("#") and (found := of_text(line)):
            yield found
    answers = [document for _, document in documents_in([(1, "".join(api))])]
    results = list(objects_within(answers, lambda table: "metric" in table))
    for which in (0, -1):  # of a range of times, the first and the last value
        for result in results:
            if which == 0 or len(result.get("values") or ()) > 1:
                yield from _of_api(result, prefix, which)


def _of_api(result: JsonDict, prefix: str, which: int) -> Iterator[tuple[Series, float]]:
    labels, values = result["metric"], result.get("values") or [result.get("value")]
    if isinstance(labels, dict) and isinstance(values, list):
        name, pair = _NAME.search(str(labels.get("__name__"))), values[which]
        rest = tuple(sorted((k, str(v)) for k, v in labels.items() if k != "__name__"))
        if name and name[1] == prefix and isinstance(pair, list) and len(pair) == 2:
            yield (name[2], rest), float(str(pair[1]))


def _scrapes(found: Iterator[tuple[Series, float]]) -> list[Scrape]:
    """Return the scrapes in a file: a series that comes again begins the next one."""
    scrapes: list[Scrape] = []
    for series, value in found:
        if not scrapes or series in scrapes[-1]:
            scrapes.append({})
        scrapes[-1][series] = value
    return scrapes


def _of_scrape(scrape: Scrape, answers: Answers) -> Entry:
    """Return the counters of one scrape, summed over the engines of a model.

    Raises:
        EntryError: counters are missing or inconsistent.
        MissingInformationError: there are several models and none is selected.
    """
    totals: dict[str, dict[tuple[str, int], float]] = {}
    for (counter, pairs), value in scrape.items():
        labels = dict(pairs)
        position = labels.get("position", "0")
        key = counter, int(position) if position.isdecimal() else 0
        model = totals.setdefault(labels.get("model_name", labels.get("model", "")), {})
        model[key] = model.get(key, 0.0) + value
    name = answers.model if answers.model is not None or len(totals) > 1 else next(iter(totals))
    if name not in totals:
        known = ", ".join(sorted(totals))
        raise MissingInformationError(f"counters are of the models {known}", option="--model")
    return _of_counters(totals[name], answers.depth)


def _of_counters(found: dict[tuple[str, int], float], depth: int | None) -> Entry:
    values: JsonDict = {name: value for (name, position), value in found.items() if not position}
    if "drafts" not in values and "emitted_tokens" in values:
        return _of_emitted(values, depth)
    name = "accepted_tokens_per_pos"
    positions = sorted(position for key, position in found if key == name)
    rounds = required_count(values, "drafts")
    drafted = optional_count(values, "draft_tokens")
    entry = Entry(
        unit="total",
        rounds=rounds,
        accepted=required_count(values, "accepted_tokens"),
        drafted=drafted,
        depth=len(positions) or whole_depth(drafted, rounds),
        survived=[required_count({name: found[name, position]}, name) for position in positions],
    )
    if positions != list(range(len(positions))):
        raise EntryError(f"counters have the positions {positions}; some are missing")
    return entry


def _of_emitted(values: JsonDict, depth: int | None) -> Entry:
    """Return the counts of old vLLM releases, which does not count drafts.

    Emitted tokens are used: its accepted ones include those past a rejection.
    """
    if depth is None:
        raise MissingInformationError(
            "counters without num_drafts do not state the number of drafts per round",
            option="--depth",
        )
    drafted, emitted = (required_count(values, f"{name}_tokens") for name in ("draft", "emitted"))
    rounds = drafted // depth
    return Entry("total", rounds, emitted - rounds, drafted, depth, tokens=emitted)


def counter_format(name: str, engine: str, prefix: str) -> Format:
    """Return the format of an engine's counters.

    Args:
        name: value of ``--format``.
        engine: engine that writes them.
        prefix: word before the names of its counters.
    """

    def read(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
        entries: list[tuple[Place, Entry]] = []
        for path in paths:
            place = Place(path, None)
            try:
                scrapes = _scrapes(_series(lines(path, on_progress), prefix))
                if not scrapes:
                    raise EntryError(
                        f"has no {prefix}:spec_decode counters; is speculative decoding on?"
                    )
                entries += [(place, _of_scrape(scrape, answers)) for scrape in scrapes]
            except MissingInformationError:
                raise
            except ValueError as error:
                yield place, malformed(error)
        if len(entries) == 1:
            yield entries[0]
        for (earlier, before), (place, now) in pairwise(entries):
            try:
                yield place, difference(before, now)
            except EntryError as error:
                restarted = earlier == place and now.depth == before.depth
                yield place, replace(now, unit="window", notes=(RESTART,)) if restarted else error

    return Format(name, engine, read, marks=(f"{prefix}:{MARK}", f"{prefix}_{MARK}"))
