"""SGLang: requests of all generations, log lines, and step times by batch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    PRINTED_DIGITS,
    UNKNOWN_LENGTH,
    Entry,
    EntryError,
    IncompleteError,
    MissingInformationError,
    malformed,
    optional_count,
    optional_number,
    request_entry,
    required_count,
)
from mtpsim.logs.files import Batch
from mtpsim.logs.format import (
    Answers,
    LineEntries,
    attempt,
    json_format,
    line_format,
    objects_within,
)
from mtpsim.logs.text_lines import container, marked_lines, whole_lines

_NAMES = {
    "rounds": ("spec_verify_ct",),
    "accepted": ("spec_num_correct_drafts", "spec_accepted_drafts", "spec_accept_token_num"),
    "drafted": ("spec_num_proposed_drafts", "spec_proposed_drafts", "spec_draft_token_num"),
    "histogram": ("spec_correct_drafts_histogram", "spec_accept_histogram"),
}
_COUNTED = (*_NAMES["accepted"], *_NAMES["histogram"])
ASSUMED_ROUNDS = 1000
ASSUMED = f"the number of tokens is not stated: {ASSUMED_ROUNDS:,} rounds are assumed per run"
STEPS_PER_LINE = 40  # decode steps between two log lines, the engine's default
TREE_NOTE = "tree drafts: the depth is the longest path, and D / N does not give it"


def _request(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return a request's entry; here "accept" includes the bonus token, "correct" does not."""
    usage = document.get("usage")
    tokens = optional_count(table, "completion_tokens")
    if tokens is None and isinstance(usage, dict):
        tokens = optional_count(usage, "completion_tokens")
    if tokens is not None and not any(table.get(name) is not None for name in _COUNTED):
        rounds = required_count(table, "spec_verify_ct")  # a chunk, or the oldest releases
        table = {**table, "spec_accepted_drafts": max(tokens - rounds, 0)}
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

# Texts are without white space. Which fields there are, and their order, depends on the release.
_FIELDS = re.compile(r"(#running-req|acceptlen|acceptrate|genthroughput\(token/s\)):(\d[\d.]*)")
_DATE = re.compile(r"\b(20\d\d-\d\d-\d\d)\b")
_MARK, _NEW_SINCE = "Decode batch", "2026-04-15"  # the accept rate leaves out bonus tokens since
MAX_STATED_DEPTH = 32  # shown by a rate of two digits


@dataclass(frozen=True)
class _Line:
    """A line of a decode batch."""

    number: int
    source: str
    length: float
    rate: float
    running: int | None
    speed: float
    date: str  # as 2026-05-01, or empty

    def depths(self, old: bool) -> set[int]:
        """Return the depths that the printed rate allows.

        Args:
            old: whether the rate is (A + N) / (N (K + 1)), as before 2026-04, or A / (N K).
        """
        if not 0 < self.rate <= 1 or self.length <= 1:
            return set()
        found = set()
        for depth in range(1, MAX_STATED_DEPTH + 1):
            exact, digits = (self.length - 1) / depth, 0.0051 + 0.005 / depth
            if old:
                exact, digits = self.length / (depth + 1), 0.0051 + 0.005 / (depth + 1)
            if abs(exact - self.rate) <= digits and self.length <= depth + 1.005:
                found.add(depth)
        return found


def _log_entries(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield a window per line; its depth follows from all lines together."""
    found: list[_Line] = []
    for number, line, text in whole_lines(batches, (_MARK,), _is_whole):
        values = {name: value.rstrip(".") for name, value in _FIELDS.findall(text)}
        if "acceptlen" not in values:
            if "accept" in text:
                yield number, IncompleteError("truncated line or unknown layout")
            continue
        try:
            found.append(_line(number, line, values))
        except ValueError as error:
            yield number, malformed(error)
    depths = _depths(found, answers)
    seen: set[str] = set()
    for one, depth in zip(found, depths, strict=True):
        yield one.number, _window(one, depth, is_first=one.source not in seen)
        seen.add(one.source)


def _is_whole(text: str) -> bool:
    return "acceptlen:" not in text or "genthroughput(token/s):" in text


def _line(number: int, line: str, values: dict[str, str]) -> _Line:
    """Return a line.

    Raises:
        IncompleteError: no request was running.
        EntryError: the length is impossible.
    """
    length = float(values["acceptlen"])
    running = values.get("#running-req")
    if running == "0" or length == 0:
        raise IncompleteError("idle: no request was running")
    if not 1 <= length < 1000:
        raise EntryError(f"accept len is {length:g}; with the bonus token it is at least 1")
    return _Line(
        number=number,
        source=container(line),
        length=length,
        rate=float(values.get("acceptrate", 0)),
        running=None if running is None else int(running),
        speed=float(values.get("genthroughput(token/s)", 0)),
        date=date[1] if (date := _DATE.search(line)) else "",
    )


@dataclass(frozen=True)
class _Release:
    """What lines say if all are of one release.

    Attributes:
        rank: number of lines whose rate a whole depth gives, and that of the most frequent depth.
        depth: the most frequent depth; 0 without any.
        best: depth of each line, None where no whole depth gives its rate.
        allowed: depths that give the rate of each line.
    """

    rank: tuple[int, int]
    depth: int
    best: list[int | None]
    allowed: list[set[int]]

    @classmethod
    def of(cls, lines: list[_Line], old: bool) -> _Release:
        """Find the depths of lines; where a rate fits several, the most frequent one."""
        allowed = [line.depths(old) for line in lines]
        votes = Counter(depth for depths in allowed for depth in depths)
        order = sorted(votes, key=lambda depth: (-votes[depth], depth))
        best = [next((k for k in order if k in depths), None) for depths in allowed]
        depth = order[0] if order else 0
        return cls((sum(map(bool, allowed)), votes[depth]), depth, best, allowed)


def _depths(lines: list[_Line], answers: Answers) -> list[int | None]:
    """Return the depth of each line; None where its rate fits no whole depth.

    All lines are of one release, and most have the same depth.

    Raises:
        MissingInformationError: releases of both definitions are possible, with different depths.
    """
    new, old = (_Release.of(lines, is_old) for is_old in (False, True))
    chosen = max(new, old, key=lambda release: release.rank)
    if answers.depth is not None:
        allowed = [n | o for n, o in zip(new.allowed, old.allowed, strict=True)]
        return [
            answers.depth if answers.depth in depths or not depths else best
            for depths, best in zip(allowed, chosen.best, strict=True)
        ]
    date = max(line.date for line in lines) if lines else ""
    if date and new.rank == old.rank:
        return (new if date >= _NEW_SINCE else old).best
    if new.rank == old.rank and new.depth != old.depth:
        raise MissingInformationError(
            f"the accept rate fits a depth of {new.depth} (releases since April 2026) and of "
            f"{old.depth} (before)",
            option="--depth",
        )
    return chosen.best


def _window(line: _Line, depth: int | None, *, is_first: bool) -> Entry:
    """Return the entry of a line; the first one of a server may count the time before it."""
    running = line.running or 1
    rounds = STEPS_PER_LINE * running
    weights = "of its running requests" if line.running else "of one request: no more is stated"
    known = line.speed and line.running
    return Entry(
        unit="window",
        rounds=rounds,
        accepted=round((line.length - 1) * rounds),
        depth=depth,
        time=1000.0 * line.length * rounds / line.speed * running if known else None,
        rough_time=is_first,
        batch=line.running,
        notes=(
            f"log lines have no counts: each is weighted as {STEPS_PER_LINE} steps (the engine's "
            f"default) {weights}",
        ),
    )


LOG = line_format("sglang-log", "SGLang", (_MARK,), _log_entries)

_FINISH = ("'spec_verify_ct'",)
_FINISHED = re.compile(r"'(completion_tokens|spec_\w{1,60}+)': ([\d.]+|\[[\d, ]*\])")


def _finished(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield the requests of lines ``Finish: obj=.., out={'meta_info': {..}}``."""
    for number, line in marked_lines(batches, _FINISH):
        yield number, attempt(_of_line, line, answers)


def _of_line(line: str, answers: Answers) -> Entry:
    table = {name: json.loads(value) for name, value in _FINISHED.findall(line)}
    return _request(table, {}, answers)


FINISHED = line_format("sglang-finish", "SGLang", _FINISH, _finished)


def _sweep(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return a run of bench_speculative.py: an accept length and the time of a step."""
    length, step = optional_number(table, "acc_length"), optional_number(table, "step_time")
    tokens = optional_count(table, "completion_tokens")
    if not length or not step or length < 1:
        raise EntryError(f"acc_length is {length} and step_time {step}; both must be above 0")
    rounds = max(round((tokens or answers.rounds or ASSUMED_ROUNDS) / length), 1)
    return _of_length(table, length, rounds, 1000.0 * step, () if tokens else (ASSUMED,))


def _of_length(
    table: JsonDict, length: float, rounds: int, step: float | None, notes: tuple[str, ...]
) -> Entry:
    """Return a run at the depth, batch size and tree of a table.

    Args:
        table: has ``steps``, ``topk`` and ``batch_size``.
        length: accept length.
        rounds: number of rounds.
        step: ms of a round; None if unknown.
        notes: remarks on the source.
    """
    steps = optional_count(table, "steps", "num_steps", "speculative_num_steps")
    if not steps:
        raise IncompleteError("ran without drafts: no round to count")
    tree = (optional_count(table, "topk") or 1) > 1
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=round((length - 1) * rounds),
        depth=steps,
        time=step and step * rounds,
        batch=optional_count(table, "batch_size"),
        notes=(*notes, *((TREE_NOTE,) if tree else ())),
    )


SWEEP = json_format(
    "sglang-sweep",
    "SGLang",
    "run of bench_speculative.py with acc_length",
    lambda table: "acc_length" in table and "step_time" in table,
    _sweep,
)


def _bench(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return a result of bench_serving: the accept length, and the time of a token."""
    length = optional_number(table, "accept_length")
    tokens = optional_count(table, "total_output_tokens", "total_output")
    if length is None or not length >= 1 or not tokens:
        raise IncompleteError(f"accept_length is {length}, total_output_tokens {tokens}")
    each = optional_number(table, "mean_tpot_ms")
    return Entry(
        unit="total",
        rounds=max(round(tokens / length), 1),
        accepted=tokens - max(round(tokens / length), 1),
        depth=_steps_of(document) or answers.depth,
        tokens=tokens,
        time=each and each * tokens,
        batch=optional_number(table, "concurrency"),
    )


def _steps_of(document: JsonDict) -> int | None:
    """Return the depth in a copy of the server's options, if there is one."""
    name = "speculative_num_steps"
    servers = objects_within(document, lambda table: type(table.get(name)) is int)
    return next((table[name] for table in servers if table[name] > 0), None)


BENCH = json_format(
    "sglang-bench",
    "SGLang",
    "result of bench_serving with accept_length",
    lambda table: "accept_length" in table and "total_output_tokens" in table,
    _bench,
)


def _specforge(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the runs of one setting, pooled; a round takes the accept length over the speed."""
    runs = [run for run in table["metrics"] if isinstance(run, dict)]
    batch = optional_count(table, "batch_size") or 1
    rounds, time, tokens = 0, 0.0, 0.0
    for run in runs:
        length, speed, seconds = (
            optional_number(run, name) for name in ("accept_length", "output_throughput", "latency")
        )
        if not length or not speed or not seconds:
            raise IncompleteError("a run has no accept_length, output_throughput or latency")
        found = max(round(speed * seconds / length), 1)
        rounds, tokens = rounds + found, tokens + found * length
        time += 1000.0 * seconds * batch
    if not rounds:
        raise IncompleteError("no run has an accept length")
    return _of_length(table, tokens / rounds, rounds, time / rounds, ())


SPECFORGE = json_format(
    "specforge",
    "SGLang",
    "setting with its metrics",
    lambda table: (
        isinstance(table.get("metrics"), list)
        and any(isinstance(run, dict) and "accept_length" in run for run in table["metrics"])
    ),
    _specforge,
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
