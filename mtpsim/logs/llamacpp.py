"""llama.cpp: timings of a response, and lines of the server's log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    Entry,
    EntryError,
    malformed,
    optional_count,
    optional_number,
    required_count,
)
from mtpsim.logs.files import Line
from mtpsim.logs.format import Answers, LineEntries, json_format, line_format
from mtpsim.logs.rates import counts_from_rates


def _timings(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a response: each round emits one token besides its accepted drafts."""
    tokens, accepted = (
        required_count(table, "predicted_n"),
        required_count(table, "draft_n_accepted"),
    )
    if accepted > tokens:
        raise EntryError(
            f"{counted(accepted, 'draft', 'are')} accepted, but only "
            f"{counted(tokens, 'token', 'were')} generated"
        )
    return Entry(
        unit="request",
        rounds=tokens - accepted,
        accepted=accepted,
        drafted=optional_count(table, "draft_n"),
        depth=answers.depth,
        tokens=tokens,
        time=optional_number(table, "predicted_ms"),
    )


TIMINGS = json_format(
    "llamacpp-timings",
    "llama.cpp",
    "timings with draft_n_accepted",
    lambda table: "draft_n_accepted" in table and "predicted_n" in table,
    _timings,
)

_LINE = re.compile(
    r"draft acceptance\s*+(?:rate\s*)?=\s*[\d.]+\s*\(\s*(\d+) accepted\s*/\s*(\d+) generated\)"
    r"(?:.*?mean acceptance length\s*=\s*([\d.]+))?"
    r"(?:.*?acceptance rate per position\s*=\s*\(([\d., ]*)\))?"
)
_TIMES = re.compile(r"dur\(b,g,a\)\s*=\s*[\d.]+,\s*([\d.]+),\s*[\d.]+ ms")


def _log_entries(lines: Iterator[Line], answers: Answers) -> LineEntries:
    """Yield a request per line; a line of drafting times belongs to the request before it."""
    pending: tuple[int, Entry] | None = None
    for number, line in lines:
        times = _TIMES.search(line)
        found = _LINE.search(line)
        if found:
            if pending:
                yield pending
                pending = None
            try:
                pending = number, _request(found, answers)
            except ValueError as error:
                yield number, malformed(error)
        elif not times:
            yield number, EntryError("truncated line or unknown layout")
        if times and pending:
            pending = pending[0], replace(pending[1], draft_time=float(times[1]))
    if pending:
        yield pending


def _request(found: re.Match[str], answers: Answers) -> Entry:
    accepted = int(found[1])
    rates = [float(rate) for rate in (found[4] or "").split(",") if rate.strip()]
    length = float(found[3] or 0)
    if length <= 1:
        raise EntryError("no mean acceptance length above 1: the number of rounds is unknown")
    rounds = round(accepted / (length - 1))
    return Entry(
        unit="request",
        rounds=rounds,
        accepted=accepted,
        drafted=int(found[2]),
        depth=answers.depth or len(rates) or None,
        survived=counts_from_rates(rates, rounds, accepted) if rates else [],
        printed=length,
    )


LOG = line_format(
    "llamacpp-log",
    "llama.cpp",
    lambda line: "draft acceptance" in line or "dur(b,g,a)" in line,
    _log_entries,
)
