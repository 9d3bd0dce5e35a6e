"""SGLang: requests of all generations, log lines, and step times by batch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    PRINTED_DIGITS,
    UNKNOWN_LENGTH,
    Entry,
    EntryError,
    malformed,
    optional_count,
    optional_number,
    request_entry,
)
from mtpsim.logs.files import Line
from mtpsim.logs.format import Answers, LineEntries, json_format, line_format

_NAMES = {
    "rounds": ("spec_verify_ct",),
    "accepted": ("spec_num_correct_drafts", "spec_accepted_drafts", "spec_accept_token_num"),
    "drafted": ("spec_num_proposed_drafts", "spec_proposed_drafts", "spec_draft_token_num"),
    "histogram": ("spec_correct_drafts_histogram", "spec_accept_histogram"),
}
STEPS_PER_LINE = 40  # decode steps between two log lines, the engine's default
TREE_NOTE = "tree drafts: the depth is the longest path, and D / N does not give it"


def _request(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return a request's entry; here "accept" includes the bonus token, "correct" does not."""
    tokens = optional_count(table, "completion_tokens")
    entry = request_entry(table, _NAMES, tokens=tokens)
    deepest = len(entry.histogram.get(UNKNOWN_LENGTH, [])) - 1
    if entry.drafted and entry.histogram and entry.drafted > deepest * entry.rounds:
        entry = replace(entry, depth=deepest, drafted=None, notes=(TREE_NOTE,))
    if tokens is None or not entry.rounds:
        return entry
    stated, length = optional_number(table, "spec_accept_length"), tokens / entry.rounds
    if stated is not None and abs(stated - length) > PRINTED_DIGITS:
        raise EntryError(
            f"spec_accept_length is {stated:g}, but {counted(tokens, 'token')} in "
            f"{counted(entry.rounds, 'verification')} are {length:.4g}"
        )
    return _without_bonus(entry, tokens)


def _without_bonus(entry: Entry, tokens: int) -> Entry:
    """Remove bonus tokens from the accepted ones; tokens are A + N but for a cut last round."""
    last_round = (entry.depth or 16) + 1
    if abs(entry.accepted + entry.rounds - tokens) <= last_round:
        return entry
    if not entry.histogram and abs(entry.accepted - tokens) <= last_round:
        return replace(entry, accepted=entry.accepted - entry.rounds)
    raise EntryError(
        f"{counted(entry.accepted, 'accepted draft')} in {counted(entry.rounds, 'round')} make "
        f"{counted(entry.accepted + entry.rounds, 'token')}, but completion_tokens is {tokens}"
    )


REQUESTS = json_format(
    "sglang-requests",
    "SGLang",
    "meta_info of a request with spec_verify_ct",
    lambda table: "spec_verify_ct" in table,
    _request,
)

_LINE = re.compile(
    r"#running-req: (\d+).{0,1000}?accept len: ([\d.]+)(?:.{0,1000}?accept rate: ([\d.]+))?"
    r"(?:.{0,1000}?gen throughput \(token/s\): ([\d.]+))?"
)


def _log_entries(lines: Iterator[Line], answers: Answers) -> LineEntries:
    for number, line in lines:
        try:
            yield number, _window(line, answers)
        except ValueError as error:
            yield number, malformed(error)


def _window(line: str, answers: Answers) -> Entry:
    found = _LINE.search(line)
    if not found:
        raise EntryError("truncated line or unknown layout")
    running, length, speed = int(found[1]), float(found[2]), float(found[4] or 0)
    if not 1 <= length < 1000:
        raise EntryError(f"accept len is {length:g}; with the bonus token it is at least 1")
    rounds = STEPS_PER_LINE * running
    return Entry(
        unit="window",
        rounds=rounds,
        accepted=round((length - 1) * rounds),
        depth=answers.depth or _depth_of(length, float(found[3] or 0)),
        time=1000.0 * length * rounds / speed * running if speed else None,
        notes=(
            f"log lines have no counts: each is weighted as {STEPS_PER_LINE} steps (the engine's "
            "default) of its running requests",
        ),
    )


def _depth_of(length: float, rate: float) -> int | None:
    """Return K from the accept rate: A / (N K), or before 2026-04 (A + N) / (N (K + 1)).

    None if both or neither of them give a whole number.
    """
    if not 0 < rate < 1 or length <= 1:
        return None
    candidates = ((length - 1) / rate, length / rate - 1)
    tolerance = min(PRINTED_DIGITS / rate * (1 + length / rate), 0.49)
    found = {round(k) for k in candidates if abs(k - round(k)) <= tolerance}
    return found.pop() if len(found) == 1 else None


LOG = line_format(
    "sglang-log",
    "SGLang",
    lambda line: "Decode batch" in line and "accept len" in line,
    _log_entries,
)


def _steps(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    times = table["step_time_dict"]
    if not isinstance(times, dict) or not times:
        raise EntryError("step_time_dict has no step times")
    found: dict[int, list[float]] = {}
    for batch, seconds in times.items():
        if not str(batch).isdecimal() or not isinstance(seconds, list):
            raise EntryError(
                f"step_time_dict has {batch!r}: {seconds!r}; a list of seconds is needed"
            )
        if not all(type(s) in (int, float) and 0 < s < float("inf") for s in seconds):
            raise EntryError(f"step_time_dict has a time at batch {batch} that is not above 0")
        found[int(batch)] = [1000.0 * s for s in seconds]
    return Entry(unit="total", rounds=0, accepted=0, step_times=found)


STEPS = json_format(
    "sglang-steps",
    "SGLang",
    "step_time_dict of /server_info",
    lambda table: "step_time_dict" in table,
    _steps,
)
