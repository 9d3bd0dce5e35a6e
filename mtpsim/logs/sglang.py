"""SGLang: requests by the names of every generation, log lines, and step times by batch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    UNTOLD,
    Entry,
    EntryError,
    maybe_number,
    maybe_whole,
    of_request,
    read_error,
)
from mtpsim.logs.format import Answers, json_format, line_format

_NAMES = {
    "rounds": ["spec_verify_ct"],
    "accepted": ["spec_num_correct_drafts", "spec_accepted_drafts", "spec_accept_token_num"],
    "drafted": ["spec_num_proposed_drafts", "spec_proposed_drafts", "spec_draft_token_num"],
    "histogram": ["spec_correct_drafts_histogram", "spec_accept_histogram"],
}
STEPS_A_LINE = 40  # decode steps between two log lines, the engine's default
TREE = "drafts form a tree: the depth is the longest path, and D / N says nothing of it"


def _request(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """A request; here "accept" counts the bonus token in, "correct" does not."""
    tokens = maybe_whole(table, "completion_tokens")
    entry = of_request(table, lambda what: _NAMES.get(what, []), tokens=tokens)
    deepest = len(entry.histogram.get(UNTOLD, [])) - 1
    if entry.drafted and entry.histogram and entry.drafted > deepest * entry.rounds:
        entry = replace(entry, depth=deepest, drafted=None, notes=(TREE,))
    if tokens is None or not entry.rounds:
        return entry
    _check_length(maybe_number(table, "spec_accept_length"), tokens, entry.rounds)
    return _without_bonus(entry, tokens)


def _check_length(stated: float | None, tokens: int, rounds: int) -> None:
    if stated is not None and abs(stated - tokens / rounds) > 0.006:
        raise EntryError(
            f"spec_accept_length is {stated:g}, but {counted(tokens, 'token')} in "
            f"{counted(rounds, 'verification')} "
            f"are {tokens / rounds:.4g}"
        )


def _without_bonus(entry: Entry, tokens: int) -> Entry:
    """The accepted drafts, known by the tokens: all of them but a cut last round are A + N."""
    last = (entry.depth or 16) + 1
    if abs(entry.accepted + entry.rounds - tokens) <= last:
        return entry
    if not entry.histogram and abs(entry.accepted - tokens) <= last:
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
    r"#running-req: (\d+).*?accept len: ([\d.]+)(?:.*?accept rate: ([\d.]+))?"
    r"(?:.*?gen throughput \(token/s\): ([\d.]+))?"
)


def _log_entries(
    marked: Iterator[tuple[int, str]], answers: Answers
) -> Iterator[tuple[int, Entry | EntryError]]:
    for number, line in marked:
        try:
            found = _LINE.search(line)
            if not found:
                raise EntryError("is cut off or of an unknown form")
            yield number, _window(found, answers)
        except ValueError as error:
            yield number, read_error(error)


def _window(found: re.Match[str], answers: Answers) -> Entry:
    running, length, speed = int(found[1]), float(found[2]), float(found[4] or 0)
    if not 1 <= length < 1000:
        raise EntryError(f"accept len is {length:g}; with the bonus it is at least 1")
    rounds = STEPS_A_LINE * running
    return Entry(
        *("window", rounds, round((length - 1) * rounds)),
        depth=answers.depth or _depth_of(length, float(found[3] or 0)),
        time=1000.0 * length * rounds / speed * running if speed else None,
        notes=(
            f"log lines have no counts: each is taken for {STEPS_A_LINE} steps of its running "
            "requests, the engine's default",
        ),
    )


def _depth_of(length: float, rate: float) -> int | None:
    """K from the accept rate: A / (N K), or in engines before 2026-04 (A + N) / (N (K + 1)).

    None where both or neither of them come out whole.
    """
    if not 0 < rate < 1 or length <= 1:
        return None
    ways = ((length - 1) / rate, length / rate - 1)
    room = min(0.006 / rate * (1 + length / rate), 0.49)
    found = {round(k) for k in ways if abs(k - round(k)) <= room}
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
    return Entry("total", 0, 0, step_times=found)


STEPS = json_format(
    "sglang-steps",
    "SGLang",
    "step_time_dict of /server_info",
    lambda table: "step_time_dict" in table,
    _steps,
)
