"""Our own neutral forms: rounds as JSON lines or CSV, and bare rates by position."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import nearest
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    Entry,
    EntryError,
    QuestionError,
    counts,
    maybe_number,
    maybe_whole,
)
from mtpsim.logs.files import Start, Told, lines
from mtpsim.logs.format import Answers, Format, Found, Place, json_format
from mtpsim.logs.rates import counts_of, definition_of, products

COLUMNS = ("request", "accepted", "drafted", "seconds")
CSV_NEEDS = ("request", "accepted")


def _rounds(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    accepted, drafted = counts(table, "accepted"), counts(table, "drafted")
    seconds = table.get("seconds")
    if not accepted:
        raise EntryError("'accepted' is empty; at least one round is needed")
    depth = maybe_whole(table, "depth", "num_spec_tokens")
    if isinstance(seconds, list):
        return _entry(accepted, drafted, seconds, depth, answers)
    time = maybe_number(table, "seconds")
    return _entry(accepted, drafted, [], depth, answers, time and 1000.0 * time)


def _entry(
    accepted: list[int],
    drafted: list[int],
    seconds: list[float],
    depth: int | None,
    answers: Answers,
    time: float | None = None,
) -> Entry:
    for name, found in (("drafted", drafted), ("seconds", seconds)):
        if found and len(found) != len(accepted):
            raise EntryError(
                f"{counted(len(accepted), 'round', 'are')} accepted but {len(found)} are {name}"
            )
    if any(type(s) not in (int, float) or not 0 < s < float("inf") for s in seconds):
        raise EntryError("'seconds' must be above 0, for each round")
    return Entry(
        *("request", len(accepted), sum(accepted)),
        sum(drafted) if drafted else None,
        max(drafted) if drafted else depth or answers.depth,
        per_round=(accepted, drafted),
        round_times=[1000.0 * s for s in seconds],
        time=time,
    )


ROUNDS = json_format(
    "rounds",
    "neutral form",
    'request with "accepted" by round',
    lambda table: isinstance(table.get("accepted"), list),
    _rounds,
)


def _claims_csv(start: Start) -> bool:
    header = [name.strip() for name in start.text.splitlines()[0].split(",")]
    return set(CSV_NEEDS) <= set(header)


@dataclass
class _Request:
    """Rows of a request so far; its rows may stand among those of others."""

    line: int
    accepted: list[int] = field(default_factory=list)
    drafted: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def _read_csv(paths: Sequence[Path], answers: Answers, told: Told) -> Found:
    for path in paths:
        requests: dict[str, _Request] = {}
        numbered = lines(path, told)
        try:
            header = _header(next(numbered, (1, ""))[1])
        except EntryError as broken:
            yield Place(path, 1), broken
            continue
        for number, line in numbered:
            try:
                if line.strip():
                    _add_row(requests, number, header, _cells(line))
            except EntryError as broken:
                yield Place(path, number), broken
        for request in requests.values():
            place = Place(path, request.line)
            try:
                found = (request.accepted, request.drafted, request.seconds)
                yield place, _entry(*found, None, answers)
            except EntryError as broken:
                yield place, broken


def _header(line: str) -> list[str]:
    header = _cells(line)
    missing = [name for name in CSV_NEEDS if name not in header]
    if missing:
        told = _parted(line) or f"has no column {missing[0]!r}{nearest(missing[0], header)}"
        raise EntryError(told)
    return header


def _cells(line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error as error:  # as a cell of more than 131072 characters
        raise EntryError(f"is no line of a CSV file: {error}") from None


def _add_row(
    requests: dict[str, _Request], number: int, header: list[str], cells: list[str]
) -> None:
    if len(cells) != len(header):
        raise EntryError(f"has {counted(len(cells), 'cell')}, but the header has {len(header)}")
    row = dict(zip(header, cells, strict=True))
    accepted = _count("accepted", row["accepted"])
    drafted = [_count("drafted", row["drafted"])] if "drafted" in row else []
    seconds = [_number(row["seconds"])] if "seconds" in row else []
    if drafted and accepted > drafted[0]:
        raise EntryError(f"accepted {accepted} of {counted(drafted[0], 'draft')}")
    request = requests.setdefault(row["request"], _Request(number))
    request.accepted.append(accepted)
    request.drafted += drafted
    request.seconds += seconds


def _count(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise EntryError(f"{text!r} is given for {name!r}; a count must be whole, 0 up")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EntryError(f"{text!r} is given for 'seconds'; it must be a number") from None


CSV = Format("csv", "neutral form", _claims_csv, _read_csv)

_SURVIVAL = ("synthetic_acceptance_rates",)
_CONDITIONAL = ("nextn_accept_rates", "aic_nextn_accept_rates")
_EITHER = ("rates", "acceptance_rates", "per_position_acceptance_rates")
_LENGTH = ("accept_length", "acceptance_length", "mean_acceptance_length")
RATES = (*_SURVIVAL, *_CONDITIONAL, *_EITHER)


def _bare(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Rates by position of a run; their definition by their name, by identities, or by asking."""
    name = next(name for name in RATES if name in table)
    rates = table[name]
    if not isinstance(rates, list) or not rates:
        raise EntryError(f"{name!r} is {rates!r}; it must be a list of rates")
    if not all(type(rate) in (int, float) and 0 <= rate <= 1 for rate in rates):
        raise EntryError(f"{name!r} is {rates}; each rate must lie within 0 and 1")
    said = "survival" if name in _SURVIVAL else "conditional" if name in _CONDITIONAL else None
    stated = table.get("rates_are", said or answers.rates_are)
    definition = definition_of(rates, maybe_number(table, *_LENGTH), stated)
    rounds = maybe_whole(table, "rounds") or answers.rounds
    if not rounds:
        raise QuestionError(
            "does not tell on how many rounds its rates were measured: say --rounds N"
        )
    survival = rates if definition == "survival" else products(rates)
    accepted = round(sum(survival) * rounds)
    return Entry(
        *("total", rounds, accepted),
        depth=len(rates),
        survived=counts_of(survival, rounds, accepted),
        notes=(f"rates were taken for {definition} ones",),
    )


BARE = json_format(
    "rates",
    "neutral form",
    "table with rates by position",
    lambda table: any(isinstance(table.get(name), list) for name in RATES),
    _bare,
)


def hint(start: Start) -> str:
    """What a file that begins so may miss to be one of ours, or nothing."""
    document = start.document
    if start.text.lstrip().startswith(("{", "[")):
        if isinstance(document, EntryError):
            return f": its JSON {document}" if str(document) else ""
        names = list(document) if isinstance(document, dict) else []
        return nearest("accepted", names).replace("did you mean", '"accepted" is not there, but')
    first = start.text.splitlines()[0]
    if parted := _parted(first):
        return f": {parted}"
    header = [name.strip() for name in first.split(",")]
    missing = [name for name in CSV_NEEDS if name not in header]
    if len(header) < 2 or len(missing) == len(CSV_NEEDS):
        return ""
    return f": no column {missing[0]!r}{nearest(missing[0], header)}"


def _parted(header: str) -> str:
    """By what else than commas the columns of a CSV file are parted; else nothing."""
    for sign, called in ((";", "';'"), ("\t", "tabs")):
        names = [name.strip() for name in header.split(sign)]
        if len(names) > 1 and all(re.fullmatch(r'"?\w+"?', name) for name in names):
            return (
                f"its columns are parted by {called}, csv has ',' (and a point in its numbers: "
                "0.25, not 0,25)"
            )
    return ""
