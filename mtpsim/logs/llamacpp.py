"""llama.cpp and its forks: timings of a response, and lines of the server's log."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    PRINTED_DIGITS,
    Counts,
    Entry,
    EntryError,
    IncompleteError,
    malformed,
    optional_count,
    optional_number,
    required_count,
    whole_depth,
)
from mtpsim.logs.files import Batch
from mtpsim.logs.format import Answers, LineEntries, json_format, line_format
from mtpsim.logs.prometheus import counter_format
from mtpsim.logs.rates import counts_from_rates
from mtpsim.logs.text_lines import container, marked_lines


def _timings(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a response.

    Each round emits a token besides its accepted drafts, and the prompt emits the first one.
    """
    tokens, accepted = (
        required_count(table, "predicted_n"),
        required_count(table, "draft_n_accepted"),
    )
    rounds = optional_count(table, "draft_rounds")  # only mlx-vlm states it
    if rounds is None and accepted > tokens:
        raise EntryError(
            f"{counted(accepted, 'draft', 'are')} accepted, but only "
            f"{counted(tokens, 'token', 'were')} generated"
        )
    drafted = optional_count(table, "draft_n")
    return Entry(
        unit="request",
        rounds=max(tokens - accepted - 1, 0) if rounds is None else rounds,
        accepted=accepted,
        drafted=drafted,
        depth=whole_depth(drafted, rounds) or answers.depth,
        tokens=tokens,
        time=optional_number(table, "predicted_ms"),
    )


TIMINGS = json_format(
    "llamacpp-timings",
    "llama.cpp",
    "timings with draft_n_accepted",
    lambda table: (
        table.get("draft_n_accepted") is not None and table.get("predicted_n") is not None
    ),
    _timings,
)

_NUMBER = r"(\d[\d.]*)"
_TASK = re.compile(r"\bid\s{1,9}(\d{1,9}) \| task (-?\d{1,12}) \|")
_EVAL = re.compile(rf"(?<!prompt )\beval time\s{{0,99}}=\s{{0,99}}{_NUMBER} ms /\s{{0,99}}(\d+) ")
_ACCEPTANCE = re.compile(
    r"draft acceptance\s{0,99}(?:rate\s{0,99})?=\s{0,99}[\d.]{1,99}\s{0,99}"
    r"\(\s{0,99}(\d{1,15}) accepted\s{0,99}/\s{0,99}(\d{1,15}) generated\)"
)
_LENGTH = re.compile(rf"mean (?:acceptance length|len)\s{{0,99}}=\s{{0,99}}{_NUMBER}")
_BY_POSITION = re.compile(r"acceptance rate per position\s{0,99}=\s{0,99}\(([\d., ]*)\)")
_ROUND = re.compile(r"\baccepted\s{1,9}(\d{1,4})\s{0,9}/\s{0,9}(\d{1,4}) draft tokens(.{0,30})")
_STATISTICS = re.compile(r"statistics\s{1,99}([\w-]{1,99}):\s")
_COUNTER = re.compile(r"#(gen drafts|gen tokens|acc tokens|mean acc len) =\s{0,99}([\d.]{1,20})")
_CALLS = re.compile(r"#calls(?:\(b,g,a\))? =\s{0,99}(\d{1,15})")
_DURATION = re.compile(r"dur\(b,g,a\)\s{0,9}=\s{0,9}[\d.]{1,20},\s{0,9}([\d.]{1,20}),")
_RATES = re.compile(r"#acc rate/pos =\s{0,9}\(([\d., ]*)\)")
UNPRINTED = 0.1  # steps without drafts, per round, from which a note says so
MARKS = (
    "draft acceptance", "eval time", "draft tokens", "dur(b,g,a)", "#gen drafts", "print_timing",
)  # fmt: skip


@dataclass(frozen=True)
class _Drafter:
    """Counters of a drafter since the start of the server."""

    drafts: int = 0
    drafted: int = 0
    accepted: int = 0
    duration: float = 0.0
    calls: int = 0
    rates: tuple[float, ...] = ()

    @property
    def accept_length(self) -> float:
        return 1 + self.accepted / max(self.drafts, 1)


@dataclass
class _Task:
    """What the lines so far state of a request."""

    line: int = 0
    time: float | None = None
    tokens: int | None = None
    shown: list[tuple[int, int]] = field(default_factory=list)  # before they were committed
    rounds: list[tuple[int, int]] = field(default_factory=list)
    replay: int = -1  # drafts of the round that repeats one whose state was restored

    def add_round(self, accepted: int, drafted: int, rest: str) -> None:
        """Add a round; newer releases print it twice, and repeat one that they restore."""
        if "new n_" in rest:
            self.rounds.append((accepted, drafted))
        elif drafted == self.replay:
            self.replay = -1
        else:
            self.shown.append((accepted, drafted))
            self.replay = accepted if "restore" in rest else -1

    def per_round(self) -> tuple[Counts, Counts] | None:
        """Return accepted and proposed drafts by round, if they were printed."""
        found = self.shown or self.rounds
        return ([a for a, _ in found], [d for _, d in found]) if found else None


@dataclass
class _Server:
    """State of a server between two lines of its log."""

    tasks: dict[tuple[str, ...], _Task] = field(default_factory=dict)
    current: tuple[str, ...] = ()
    drafters: dict[str, _Drafter] = field(default_factory=dict)
    finished: list[tuple[_Task, re.Match[str], str]] = field(default_factory=list)
    changed: dict[str, tuple[_Drafter, _Drafter]] = field(default_factory=dict)

    def task(self, line: str, number: int) -> _Task:
        """Return the request that a line belongs to; the one before if the line names none."""
        found = _TASK.search(line)
        if found:
            self.current = found.groups()
        task = self.tasks.setdefault(self.current, _Task())
        task.line = task.line or number
        return task

    def statistics(self, name: str, line: str) -> None:
        """Read the counters of a drafter."""
        found = dict(_COUNTER.findall(line))
        calls, duration, rates = (p.search(line) for p in (_CALLS, _DURATION, _RATES))
        now = _Drafter(
            drafts=int(found.get("gen drafts", 0)),
            drafted=int(found.get("gen tokens", 0)),
            accepted=int(found.get("acc tokens", 0)),
            duration=float(duration[1]) if duration else 0.0,
            calls=int(calls[1]) if calls else 0,
            rates=tuple(float(r) for r in rates[1].split(",") if r.strip()) if rates else (),
        )
        before = self.drafters.get(name, _Drafter())
        if now.drafts < before.drafts:  # a restarted server counts from 0 again
            before = _Drafter()
        self.changed[name] = before, now
        self.drafters[name] = now


def _log_entries(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield an entry per request; with ``answers.model``, one of the counters of that drafter."""
    servers: dict[str, _Server] = {}
    for number, line in marked_lines(batches, MARKS):
        server = servers.setdefault(container(line), _Server())
        try:
            found = _STATISTICS.search(line)
            if found:
                server.statistics(found[1], line)
            else:
                if server.finished and server.changed:
                    yield from _finished(server, answers)
                _read_line(server, number, line)
        except ValueError as error:
            yield number, malformed(error)
    for server in servers.values():
        yield from _finished(server, answers)
        yield from _unfinished(server, answers)
        yield from _drafters(server, answers)


def _read_line(server: _Server, number: int, line: str) -> None:
    """Read a line of timings, of a round, or of the acceptance of a request.

    Raises:
        IncompleteError: it is cut off.
    """
    if found := _EVAL.search(line):
        task = server.task(line, number)
        task.time, task.tokens = float(found[1]), int(found[2])
    elif found := _ROUND.search(line):
        server.task(line, number).add_round(int(found[1]), int(found[2]), found[3])
    elif found := _ACCEPTANCE.search(line):
        task = server.task(line, number)
        task.line = number
        server.finished.append((task, found, line))
        del server.tasks[server.current]
    elif "draft acceptance" in line:
        raise IncompleteError("truncated line or unknown layout")
    elif found := _TASK.search(line):  # older releases name the request in a line of its own
        server.current = found.groups()


def _finished(server: _Server, answers: Answers) -> LineEntries:
    """Yield the requests that ended, and divide what the counters rose by among them."""
    ended, changed = server.finished, server.changed
    server.finished, server.changed = [], {}
    if answers.model is not None:
        return
    rises = [(now, before) for before, now in changed.values()]
    from_start = all(before.drafts or now.calls <= len(ended) for now, before in rises)
    drafts = sum(now.drafts - before.drafts for now, before in rises)
    accepted = sum(now.accepted - before.accepted for now, before in rises)
    duration = sum(now.duration - before.duration for now, before in rises)
    for task, found, line in ended:
        single = len(ended) == 1 and from_start
        known = drafts if rises and single and accepted == int(found[1]) else None
        try:
            entry = _request(task, found, line, known)
            if single and duration and drafts:
                entry = replace(entry, draft_time=duration / drafts * entry.rounds)
            yield task.line, entry if entry.depth else replace(entry, depth=answers.depth)
        except ValueError as error:
            yield task.line, malformed(error)


def _request(task: _Task, found: re.Match[str], line: str, known: int | None) -> Entry:
    """Return the entry of a request.

    Args:
        task: its other lines.
        found: accepted and generated drafts.
        line: the line that states them.
        known: rounds by the counters of the drafters; None where they belong to several requests.

    Raises:
        EntryError: the number of rounds is unknown.
    """
    accepted, drafted = int(found[1]), int(found[2])
    length, positions = _LENGTH.search(line), _BY_POSITION.search(line)
    rates = [float(r) for r in (positions[1] if positions else "").split(",") if r.strip()]
    printed = float(length[1]) if length else None
    per_round = task.per_round()
    if per_round and (sum(per_round[0]), sum(per_round[1])) != (accepted, drafted):
        per_round = None  # some rounds are before the beginning of the log
    rounds = len(per_round[0]) if per_round else _rounds(task, accepted, drafted, printed, known)
    survived: Counts = []
    if rates and not per_round:
        survived = counts_from_rates(rates, rounds, accepted)
    return Entry(
        unit="request",
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=(max(per_round[1]) if per_round else len(rates)) or None,
        tokens=task.tokens,
        survived=survived,
        per_round=per_round,
        time=task.time,
        printed=printed,
        notes=_plain_steps(task, accepted, rounds),
    )


def _plain_steps(task: _Task, accepted: int, rounds: int) -> tuple[str, ...]:
    """Return a note where many steps proposed no drafts: llama.cpp prints no line of them."""
    steps = 0 if task.tokens is None else task.tokens - accepted - 1
    if steps <= (1 + UNPRINTED) * rounds + 1:
        return ()
    return (
        "more tokens than the rounds emit: steps without drafts are not logged, so accept lengths "
        "and rates are of rounds with drafts, and round times too long; [draft] lengths lacks them",
    )


def _rounds(
    task: _Task, accepted: int, drafted: int, printed: float | None, known: int | None
) -> int:
    """Return the number of rounds: a whole number that fits the printed length.

    Each round emits a token besides its accepted drafts, and the prompt emits the first one.
    """
    emitted = None if task.tokens is None else task.tokens - accepted - 1
    if printed is None or printed <= 1:
        found = known if known is not None else emitted
        if found is None or found < (drafted > 0):
            raise EntryError(
                "neither a mean length above 1, nor `eval time`, nor `#gen drafts`: the number of "
                "rounds is unknown"
            )
        return found
    error = min(PRINTED_DIGITS, (printed - 1) / 2)
    low, high = accepted / (printed - 1 + error), accepted / (printed - 1 - error)
    for candidate in (known, emitted):
        if candidate is not None and low <= candidate <= high:
            return candidate
    return max(round(accepted / (printed - 1)), 1)


def _unfinished(server: _Server, answers: Answers) -> LineEntries:
    """Yield the requests of which only rounds were printed."""
    for task in server.tasks.values():
        per_round = task.per_round()
        if per_round is None or answers.model is not None:
            continue
        accepted, drafted = per_round
        yield (
            task.line,
            Entry(
                unit="request",
                rounds=len(accepted),
                accepted=sum(accepted),
                drafted=sum(drafted),
                depth=max(drafted),
                per_round=per_round,
                time=task.time,
            ),
        )


def _drafters(server: _Server, answers: Answers) -> LineEntries:
    """Yield the counters of the drafter that was asked for; without one, refuse several."""
    used = {name: found for name, found in server.drafters.items() if found.drafts}
    if answers.model is not None:
        if answers.model not in used:
            yield 0, EntryError(f"no drafter {answers.model!r}; there are {', '.join(used)}")
            return
        one = used[answers.model]
        rates = list(one.rates)
        yield (
            0,
            Entry(
                unit="total",
                rounds=one.drafts,
                accepted=one.accepted,
                drafted=one.drafted,
                depth=len(rates) or answers.depth or -(-one.drafted // one.drafts),
                survived=counts_from_rates(rates, one.drafts, one.accepted),
                draft_time=one.duration or None,
            ),
        )
    elif len(used) > 1:
        each = ", ".join(
            f"{name} ({counted(one.drafts, 'draft')}, accept length {one.accept_length:.2f})"
            for name, one in used.items()
        )
        note = (
            f"{len(used)} drafters are mixed in this log: {each}. Its positions and depth are of "
            "no single one: --model NAME reads one of them"
        )
        yield 0, Entry(unit="request", rounds=0, accepted=0, notes=(note,))


LOG = line_format(
    "llamacpp-log", "llama.cpp", ("draft acceptance", "update_slots", "#gen drafts"), _log_entries
)
METRICS = counter_format("llamacpp-metrics", "llama.cpp", "llamacpp")
