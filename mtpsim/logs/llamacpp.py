"""llama.cpp: timings of a response, and lines of the server's log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import Entry, EntryError, maybe_number, maybe_whole, read_error, whole
from mtpsim.logs.format import Answers, json_format, line_format
from mtpsim.logs.rates import counts_of


def _timings(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """A response: what is not an accepted draft came one a round."""
    tokens, accepted = whole(table, "predicted_n"), whole(table, "draft_n_accepted")
    if accepted > tokens:
        raise EntryError(
            f"{counted(accepted, 'draft', 'are')} accepted, but only "
            f"{counted(tokens, 'token', 'were')} generated"
        )
    return Entry(
        *("request", tokens - accepted, accepted, maybe_whole(table, "draft_n"), answers.depth),
        tokens,
        time=maybe_number(table, "predicted_ms"),
    )


TIMINGS = json_format(
    "llamacpp-timings",
    "llama.cpp",
    "timings with draft_n_accepted",
    lambda table: "draft_n_accepted" in table and "predicted_n" in table,
    _timings,
)

_LINE = re.compile(
    r"draft acceptance\s*(?:rate)?\s*=\s*[\d.]+\s*\(\s*(\d+) accepted\s*/\s*(\d+) generated\)"
    r"(?:.*?mean acceptance length\s*=\s*([\d.]+))?"
    r"(?:.*?acceptance rate per position\s*=\s*\(([\d., ]*)\))?"
)
_TIMES = re.compile(r"dur\(b,g,a\)\s*=\s*[\d.]+,\s*([\d.]+),\s*[\d.]+ ms")


def _log_entries(
    marked: Iterator[tuple[int, str]], answers: Answers
) -> Iterator[tuple[int, Entry | EntryError]]:
    """A request a line; the line of times that follows belongs to it."""
    waiting: tuple[int, Entry] | None = None
    for number, line in marked:
        times = _TIMES.search(line)
        found = _LINE.search(line)
        if found:
            if waiting:
                yield waiting
                waiting = None
            try:
                waiting = number, _request(found, answers)
            except ValueError as error:
                yield number, read_error(error)
        elif not times:
            yield number, EntryError("is cut off or of an unknown form")
        if times and waiting:
            waiting = waiting[0], replace(waiting[1], draft_time=float(times[1]))
    if waiting:
        yield waiting


def _request(found: re.Match[str], answers: Answers) -> Entry:
    accepted, drafted = int(found[1]), int(found[2])
    rates = [float(rate) for rate in (found[4] or "").split(",") if rate.strip()]
    length = float(found[3] or 0)
    if length <= 1:
        raise EntryError("has no mean acceptance length above 1, so that its rounds are not known")
    rounds = round(accepted / (length - 1))
    return Entry(
        *("request", rounds, accepted, drafted),
        depth=answers.depth or len(rates) or None,
        survived=counts_of(rates, rounds, accepted) if rates else [],
        printed=length,
    )


LOG = line_format(
    "llamacpp-log",
    "llama.cpp",
    lambda line: "draft acceptance" in line or "dur(b,g,a)" in line,
    _log_entries,
)
