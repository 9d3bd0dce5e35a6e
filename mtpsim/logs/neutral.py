"""Engine-neutral formats: rounds as JSON lines or CSV, and bare rates by position."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import nearest
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    Entry,
    EntryError,
    MissingInformationError,
    counts,
    optional_count,
    optional_number,
    request_entry,
    required_count,
    whole_depth,
)
from mtpsim.logs.files import FileProgress, csv_delimiter, csv_number, header_of, lines
from mtpsim.logs.format import Answers, Entries, Format, Place, attempt, json_format, objects_within
from mtpsim.logs.rates import counts_from_rates, rate_definition, survival_rates

REQUIRED_COLUMNS = ("request", "accepted")
OTHER_NAMES = {
    "request_id": "request", "req": "request", "id": "request", "prompt": "request",
    "accepted_tokens": "accepted", "num_accepted": "accepted", "n_accepted": "accepted",
    "num_accepted_tokens": "accepted",
    "draft": "drafted", "drafts": "drafted", "num_drafted": "drafted", "n_drafted": "drafted",
    "draft_tokens": "drafted", "num_draft_tokens": "drafted",
    "time": "seconds", "time_s": "seconds", "round_s": "seconds",
    "confidences": "confidence", "draft_confidence": "confidence", "draft_probs": "confidence",
    "ms": "ms", "time_ms": "ms", "round_ms": "ms", "latency_ms": "ms",
}  # fmt: skip
"""Other names of the columns of a table with one row per round."""


def _named(header: list[str]) -> list[str]:
    """Return the names of columns as this format has them."""
    lower = [name.lower() for name in header]
    other = [OTHER_NAMES.get(name, name) for name in lower]
    return [new if new not in lower else old for old, new in zip(lower, other, strict=True)]


@dataclass
class _Request:
    """Rounds of a request; in a CSV file those of several requests may alternate."""

    accepted: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    confidences: list[list[float]] = field(default_factory=list)
    line: int | None = None

    def entry(
        self, answers: Answers, *, depth: int | None = None, time: float | None = None
    ) -> Entry:
        """Return the entry of the request.

        Raises:
            EntryError: lists differ in length, or a time is not above 0.
        """
        if self.confidences and not self.drafted:
            self.drafted = [len(row) for row in self.confidences]
        for name, found in (("drafted", self.drafted), ("seconds", self.seconds)):
            if found and len(found) != len(self.accepted):
                rounds = counted(len(self.accepted), "round")
                raise EntryError(f"{name!r} has {len(found)} entries for {rounds}")
        known = set(map(type, self.seconds)) <= {int, float}
        if self.seconds and not (known and 0 < min(self.seconds) <= sum(self.seconds) < inf):
            raise EntryError("'seconds' must be above 0 for each round")
        return Entry(
            unit="request",
            rounds=len(self.accepted),
            accepted=sum(self.accepted),
            drafted=sum(self.drafted) if self.drafted else None,
            depth=max(self.drafted) if self.drafted else depth or answers.depth,
            per_round=(self.accepted, self.drafted),
            confidences=self.confidences,
            round_times=[1000.0 * s for s in self.seconds],
            time=time,
        )


def _rounds(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    request = _Request(counts(table, "accepted"), counts(table, "drafted"))
    if not request.accepted:
        raise EntryError("'accepted' is empty; at least one round is needed")
    depth = optional_count(table, "depth", "num_spec_tokens")
    if (rows := table.get("confidence")) is not None:
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise EntryError("'confidence' must be a list with a list of numbers per round")
        request.confidences = rows
    if isinstance(table.get("seconds"), list):
        request.seconds = table["seconds"]
        return request.entry(answers, depth=depth)
    time = optional_number(table, "seconds")
    return request.entry(answers, depth=depth, time=time and 1000.0 * time)


ROUNDS = json_format(
    "rounds",
    "neutral form",
    'request with a list "accepted"',
    lambda table: isinstance(table.get("accepted"), list),
    _rounds,
)


def _read_csv(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
    for path in paths:
        requests: dict[str, _Request] = {}
        numbered = lines(path, on_progress)
        first = next((line for _, line in numbered if line.strip()), "")
        delimiter = csv_delimiter(first)
        try:
            given = _cells(first, delimiter)
            header = _named(given)
            for name in REQUIRED_COLUMNS:
                if name not in header:
                    raise EntryError(f"column {name!r} is missing{nearest(name, given)}")
        except EntryError as error:
            yield Place(path, 1), error
            continue
        for number, line in numbered:
            try:
                if line.strip():
                    _add_row(requests, number, header, _cells(line, delimiter), delimiter)
            except EntryError as error:
                yield Place(path, number), error
        for request in requests.values():
            yield Place(path, request.line), attempt(request.entry, answers)


_UNIT = {"seconds": 1.0, "ms": 0.001}


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:  # as a cell of more than 131,072 characters
        raise EntryError(f"is not a CSV line: {error}") from None


def _add_row(
    requests: dict[str, _Request], number: int, header: list[str], cells: list[str], delimiter: str
) -> None:
    if len(cells) != len(header):
        raise EntryError(f"has {counted(len(cells), 'cell')}, but the header has {len(header)}")
    row = dict(zip(header, cells, strict=True))
    accepted = _count("accepted", row["accepted"])
    drafted = [_count("drafted", row["drafted"])] if "drafted" in row else []
    name = next((name for name in ("seconds", "ms") if name in row), None)
    try:
        seconds = [csv_number(name, row[name], delimiter) * _UNIT[name]] if name else []
    except ValueError as error:
        raise EntryError(str(error)) from None
    try:
        confidences = [
            csv_number("confidence", part, delimiter) for part in row.get("confidence", "").split()
        ]
    except ValueError as error:
        raise EntryError(str(error)) from None
    if drafted and accepted > drafted[0]:
        raise EntryError(f"accepted {accepted} of {counted(drafted[0], 'draft')}")
    request = requests.setdefault(row["request"], _Request(line=number))
    request.accepted.append(accepted)
    request.drafted += drafted
    request.seconds += seconds
    if "confidence" in row:
        request.confidences.append(confidences)


def _count(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise EntryError(f"{text!r} is given for {name!r}; it must be a whole number, 0 or more")
    return int(text)


CSV = Format("csv", "neutral form", _read_csv)

DEFINITIONS = {
    "synthetic_acceptance_rates": "survival",
    "nextn_accept_rates": "conditional",
    "aic_nextn_accept_rates": "conditional",
    "rates": None,
    "acceptance_rates": None,
    "per_position_acceptance_rates": None,
}
"""Keys of bare rates, and the definition that they follow if the key implies one."""


def bare_rates(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a run of which only rates by position are known."""
    name = next(name for name in DEFINITIONS if name in table)
    rates = table[name]
    if not isinstance(rates, list) or not rates:
        raise EntryError(f"{name!r} is {rates!r}; it must be a list of rates")
    if not all(type(rate) in (int, float) and 0 <= rate <= 1 for rate in rates):
        raise EntryError(f"{name!r} is {rates}; each rate must be from 0 to 1")
    length = optional_number(table, "accept_length", "acceptance_length", "mean_acceptance_length")
    stated = table.get("rates_are", DEFINITIONS[name] or answers.rates_are)
    definition = rate_definition(rates, length, stated)
    rounds = optional_count(table, "rounds") or answers.rounds
    if not rounds:
        raise MissingInformationError(
            "the log does not state the number of rounds over which its rates were measured",
            option="--rounds",
        )
    survival = rates if definition == "survival" else survival_rates(rates)
    accepted = round(sum(survival) * rounds)
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=accepted,
        depth=len(rates),
        survived=counts_from_rates(survival, rounds, accepted),
        notes=(f"rates by position are read as {definition} rates",),
    )


BARE = json_format(
    "rates",
    "neutral form",
    "object with rates by position",
    lambda table: any(isinstance(table.get(name), list) for name in DEFINITIONS),
    bare_rates,
)


HISTOGRAMS = (
    "accepted_counts", "accepted_histogram", "acceptance_histogram", "histogram",
    "spec_correct_drafts_histogram", "spec_accept_histogram",
)  # fmt: skip
"""Keys of rounds by accepted drafts 0, 1, ..: a list, or an object with these numbers as keys."""


def histogram_of_run(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a run of which the rounds by accepted drafts are known."""
    name = next(name for name in HISTOGRAMS if name in table)
    depth = optional_count(table, *_DEPTHS) or answers.depth
    names = {"histogram": (name,), "rounds": ("rounds",), "accepted": ("accepted",)}
    note = "the histogram is read as rounds by number of accepted drafts, from 0"
    found = request_entry(table, names, unit="total", notes=(note,))
    if not found.rounds:
        raise EntryError(f"{name!r} has 0 rounds")
    return replace(found, depth=depth)


HISTOGRAM = json_format(
    "histogram",
    "neutral form",
    "object with rounds by accepted drafts",
    lambda table: any(isinstance(table.get(name), list | dict) for name in HISTOGRAMS),
    histogram_of_run,
)

_LENGTHS = (
    "accept_length", "acceptance_length", "mean_acceptance_length", "mean_accept_length",
    "avg_spec_accept_length",
)  # fmt: skip
_DEPTHS = ("depth", "num_speculative_tokens", "speculative_num_steps")
_POOLED = ("pooled_rate", "acceptance_rate", "accept_rate", "draft_acceptance_rate")
_SHARES = ("draft_share", "share_of_tokens_from_drafts")


def counts_of_run(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a run of which rounds, accepted and proposed drafts are known."""
    rounds, accepted = required_count(table, "rounds"), required_count(table, "accepted")
    drafted, depth = optional_count(table, "drafted"), optional_count(table, "depth")
    used = depth or whole_depth(drafted, rounds) or answers.depth
    for what, found in (("accepted", accepted), ("proposed", drafted or 0)):
        if used and rounds and found > used * rounds:
            raise EntryError(
                f"{counted(found, 'draft', 'are')} {what} in {counted(rounds, 'round')} of depth "
                f"{used}: at most {used * rounds} are possible"
            )
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=used,
        states_depth=bool(depth),
        time=_time(table, rounds, accepted),
    )


def _time(table: JsonDict, rounds: int, accepted: int) -> float | None:
    """Return ms of all rounds: stated as a whole, per round, or per token of a request."""
    seconds, each, per_token = (
        optional_number(table, name) for name in ("seconds", "round_ms", "tpot_ms")
    )
    if seconds is not None:
        return 1000.0 * seconds
    if each is not None:
        return each * rounds
    return None if per_token is None else per_token * (rounds + accepted)


COUNTS = json_format(
    "counts",
    "neutral form",
    "object with rounds and accepted drafts",
    lambda table: type(table.get("rounds")) is int and type(table.get("accepted")) is int,
    counts_of_run,
)


def one_number(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a run of which one number is known.

    It is the accept length, the share of drafts that were accepted (A / D, with its depth), or the
    share of the generated tokens that came from drafts, A / (A + N).
    """
    depth = optional_count(table, *_DEPTHS) or answers.depth
    rounds = optional_count(table, "rounds") or answers.rounds
    length = optional_number(table, *_LENGTHS)
    rate, share = optional_number(table, *_POOLED), optional_number(table, *_SHARES)
    if depth is None:
        raise MissingInformationError(
            "one number does not state the number of drafts per round", option="--depth"
        )
    if rounds is None:
        raise MissingInformationError(
            "one number does not state the number of rounds behind it", option="--rounds"
        )
    if length is None and share is not None:
        length = 1 / (1 - share) if 0 <= share < 1 else None
    elif length is None and rate is not None:
        length = 1 + rate * depth if 0 <= rate <= 1 else None
    if length is None or not 1 <= length <= depth + 1:
        raise EntryError(
            f"the accept length is {'unknown' if length is None else f'{length:g}'}; at depth "
            f"{depth} it is from 1 to {depth + 1}, and a rate or share is from 0 to 1"
        )
    accepted = round((length - 1) * rounds)
    time = _time(table, rounds, accepted)
    return Entry(unit="total", rounds=rounds, accepted=accepted, depth=depth, time=time)


ONE_NUMBER = json_format(
    "one-number",
    "neutral form",
    "object with an accept length, a rate A / D or a share of tokens from drafts",
    lambda table: any(type(table.get(n)) in (int, float) for n in (*_LENGTHS, *_POOLED, *_SHARES)),
    one_number,
)


COPY = (
    '{"rates": [0.8, 0.6, 0.4], "rates_are": "survival", "rounds": 1000}, '
    '{"rounds": 1000, "drafted": 3000, "accepted": 1800} or '
    '{"accepted_counts": [200, 300, 100, 400]} (rounds by accepted drafts, from 0)'
)
"""Lines that describe the log of any engine."""


def similar(document: Any) -> str:
    """Return what a JSON document lacks to be one of these formats, or an empty string."""
    if any(objects_within(document, lambda table: "predicted_n" in table)):
        return ": timings without draft_n_accepted: the server ran without speculative decoding"
    names = list(document) if isinstance(document, dict) else []
    found = nearest("accepted", names) if "accepted" not in names else ""
    return f': "accepted" is missing{found}' if found else ""


def is_csv(path: Path) -> bool:
    """Return whether a file is a table with one row per round."""
    return set(REQUIRED_COLUMNS) <= set(_named(header_of(path)))


def csv_hint(path: Path) -> str:
    """Return what a table lacks to have one row per round, or an empty string."""
    header = header_of(path)
    missing = [name for name in REQUIRED_COLUMNS if name not in _named(header)]
    if len(header) < 2 or len(missing) == len(REQUIRED_COLUMNS):
        return ""
    return f": column {missing[0]!r} is missing{nearest(missing[0], header)}"
