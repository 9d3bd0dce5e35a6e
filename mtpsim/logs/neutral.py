"""Engine-neutral formats: rounds as JSON lines or CSV, and bare rates by position."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
)
from mtpsim.logs.files import FileProgress, Start, csv_delimiter, csv_number, lines
from mtpsim.logs.format import Answers, Entries, Format, Place, json_format
from mtpsim.logs.rates import counts_from_rates, rate_definition, survival_rates

REQUIRED_COLUMNS = ("request", "accepted")


@dataclass
class _Request:
    """Rounds of a request; in a CSV file those of several requests may alternate."""

    accepted: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    line: int | None = None

    def entry(
        self, answers: Answers, *, depth: int | None = None, time: float | None = None
    ) -> Entry:
        """Return the entry of the request.

        Raises:
            EntryError: lists differ in length, or a time is not above 0.
        """
        for name, found in (("drafted", self.drafted), ("seconds", self.seconds)):
            if found and len(found) != len(self.accepted):
                rounds = counted(len(self.accepted), "round")
                raise EntryError(f"{name!r} has {len(found)} entries for {rounds}")
        if any(type(s) not in (int, float) or not 0 < s < float("inf") for s in self.seconds):
            raise EntryError("'seconds' must be above 0 for each round")
        return Entry(
            unit="request",
            rounds=len(self.accepted),
            accepted=sum(self.accepted),
            drafted=sum(self.drafted) if self.drafted else None,
            depth=max(self.drafted) if self.drafted else depth or answers.depth,
            per_round=(self.accepted, self.drafted),
            round_times=[1000.0 * s for s in self.seconds],
            time=time,
        )


def _rounds(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    request = _Request(counts(table, "accepted"), counts(table, "drafted"))
    if not request.accepted:
        raise EntryError("'accepted' is empty; at least one round is needed")
    depth = optional_count(table, "depth", "num_spec_tokens")
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
        first = next(numbered, (1, ""))[1]
        delimiter = csv_delimiter(first)
        try:
            header = _cells(first, delimiter)
            for name in REQUIRED_COLUMNS:
                if name not in header:
                    raise EntryError(f"column {name!r} is missing{nearest(name, header)}")
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
            place = Place(path, request.line)
            try:
                yield place, request.entry(answers)
            except EntryError as error:
                yield place, error


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
    try:
        seconds = [csv_number("seconds", row["seconds"], delimiter)] if "seconds" in row else []
    except ValueError as error:
        raise EntryError(str(error)) from None
    if drafted and accepted > drafted[0]:
        raise EntryError(f"accepted {accepted} of {counted(drafted[0], 'draft')}")
    request = requests.setdefault(row["request"], _Request(line=number))
    request.accepted.append(accepted)
    request.drafted += drafted
    request.seconds += seconds


def _count(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise EntryError(f"{text!r} is given for {name!r}; it must be a whole number, 0 or more")
    return int(text)


CSV = Format(
    "csv", "neutral form", lambda start: set(REQUIRED_COLUMNS) <= set(start.header), _read_csv
)

DEFINITIONS = {
    "synthetic_acceptance_rates": "survival",
    "nextn_accept_rates": "conditional",
    "aic_nextn_accept_rates": "conditional",
    "rates": None,
    "acceptance_rates": None,
    "per_position_acceptance_rates": None,
}
"""Keys of bare rates, and the definition that they follow if the key implies one."""


def _bare(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
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
    _bare,
)


def hint(start: Start) -> str:
    """Return what a file of unknown format lacks to be one of these formats, or nothing."""
    document = start.document
    if start.text.lstrip().startswith(("{", "[")):
        if isinstance(document, EntryError):
            return f": its JSON {document}"
        names = list(document) if isinstance(document, dict) else []
        similar = nearest("accepted", names)
        return f': "accepted" is missing{similar}' if similar else ""
    missing = [name for name in REQUIRED_COLUMNS if name not in start.header]
    if len(start.header) < 2 or len(missing) == len(REQUIRED_COLUMNS):
        return ""
    return f": column {missing[0]!r} is missing{nearest(missing[0], start.header)}"
