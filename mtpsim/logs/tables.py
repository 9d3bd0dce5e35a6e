"""Tables as CSV or Markdown: a row per run, per draft position, or per number of accepted drafts.

Columns are found by their usual names, in any order, among others.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from mtpsim.common.arrays import JsonDict
from mtpsim.logs.entry import Entry, EntryError, IncompleteError
from mtpsim.logs.files import FileProgress, Line, csv_cells, csv_delimiter, lines
from mtpsim.logs.format import Answers, Entries, Format, Place, attempt
from mtpsim.logs.neutral import bare_rates, counts_of_run, histogram_of_run, one_number

NAMES = {
    "depth": "depth k n_max draft_max spec_tokens num_spec_tokens num_speculative_tokens "
    "speculative_num_steps spec_draft_n_max draft_depth",
    "accept_length": "accept_length acceptance_length mean_acceptance_length mean_accept_length "
    "accept_len mean_len acc_length al",
    "rounds": "rounds num_drafts verifications spec_verify_ct",
    "count": "count counts frequency",
    "drafted": "drafted draft_tokens num_draft_tokens n_drafted",
    "accepted": "accepted accepted_tokens num_accepted_tokens n_accepted",
    "round_ms": "round_ms ms_per_round step_ms",
    "tpot_ms": "tpot_ms mean_tpot_ms tpot itl_ms mean_itl_ms ms_per_token",
    "position": "position pos draft_position",
    "rate": "rate acceptance_rate accept_rate survival",
}
"""Names of each column, in lower case and with ``_`` for other characters."""
_COUNTED = [{"rounds", "accepted"}, {"count", "accepted"}, {"count", "accept_length"}]
_COLUMN = {name: column for column, names in NAMES.items() for name in names.split()}
_ENOUGH = (
    {"depth", "accept_length"},
    {"rounds", "accepted"},
    {"position", "rate"},
    *({name, "count"} for name in ("accepted", "accept_length")),
)
_NUMBER = re.compile(r"[-+]?\d[\d.,]*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
MAX_DEPTH = 64  # accepted drafts of a row of a histogram
MAX_HEAD = 1000  # lines in which a header is looked for
Row = tuple[int, JsonDict]


def _delimiter(line: str) -> str:
    return "|" if "|" in line else csv_delimiter(line)


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == "|":
        return [cell.strip() for cell in line.strip("> \t\n").strip("|").split("|")]
    return csv_cells(line, delimiter)


def _header(line: str) -> dict[int, str]:
    """Return the known columns of a header by their index; empty if they do not suffice."""
    found: dict[int, str] = {}
    for index, cell in enumerate(_cells(line, _delimiter(line))):
        name = _COLUMN.get(re.sub(r"\W+", "_", cell.lower()).strip("_"))
        if name and name not in found.values():
            found[index] = name
    return found if any(enough <= set(found.values()) for enough in _ENOUGH) else {}


def is_table(path: Path) -> bool:
    """Return whether a file has a table of runs near its beginning."""
    return any(_header(line) for _, line in islice(lines(path), MAX_HEAD))


def _rows(numbered: Iterator[Line]) -> Iterator[Row | tuple[int, EntryError]]:
    """Yield the numbers of each row by column; a line with too few cells ends a table."""
    header, delimiter = dict[int, str](), ","
    for number, line in numbered:
        if found := _header(line):
            header, delimiter = found, _delimiter(line)
            continue
        cells = _cells(line, delimiter)
        if not set("".join(cells)) - set("-:= "):
            continue
        if len(cells) <= max(header, default=0):
            header = {}
        if not header:
            continue
        try:
            yield number, {name: _number(name, cells[i], delimiter) for i, name in header.items()}
        except ValueError:
            yield number, IncompleteError("has a cell that is no number")


def _number(name: str, text: str, delimiter: str) -> float | int:
    found = _NUMBER.search(text)
    if found is None:
        raise ValueError(text)
    digits = found[0].rstrip(".,")
    if name in ("rounds", "count", "drafted", "accepted") and _THOUSANDS.fullmatch(digits):
        digits = digits.replace(",", "")
    value = float(digits if delimiter == "," else digits.replace(",", "."))
    if name == "rate" and "%" in text:
        value /= 100
    return int(value) if value.is_integer() and name not in ("accept_length", "rate") else value


def _entry(row: JsonDict, answers: Answers) -> Entry:
    """Return the entry of a run.

    Raises:
        EntryError: its numbers contradict each other, or it ran without drafts.
        MissingInformationError: the number of rounds is unknown.
    """
    if row.get("depth") == 0:
        time = row.get("round_ms", row.get("tpot_ms"))
        hint = "" if time is None else f"; its time of a step is given as --target {time:g}"
        raise IncompleteError(f"depth 0 is plain decoding{hint}")
    if "rounds" in row and "accepted" in row:
        return counts_of_run(row, {}, answers)
    return one_number(row, {}, answers)


def _histogram(rows: list[Row], answers: Answers) -> Entry | None:
    """Return the entry of rows of accepted drafts (or accept length) and rounds; None for runs.

    A column "count" has rounds. Under "rounds" and "accepted", runs have their totals: only rows of
    0, 1, 2, .. accepted drafts are a histogram.

    Raises:
        EntryError: the rows may be either, or are no histogram.
    """
    rounds = "rounds" if "rounds" in rows[0][1] else "count"
    accepted = [
        row["accepted"] if "accepted" in row else row["accept_length"] - 1 for _, row in rows
    ]
    known, distinct = sorted(accepted), len(set(accepted)) == len(accepted)
    rises = known == list(range(int(known[0]), int(known[0]) + len(known)))
    if rounds == "rounds":
        small = len(rows) > 1 and distinct and known[-1] <= MAX_DEPTH
        if not small or not (rises or known[0] == 0):
            return None
    whole = all(float(value).is_integer() for value in known)
    valid = distinct and whole and 0 <= known[0] <= known[-1] <= MAX_DEPTH
    if not valid or (rounds == "rounds" and (known[0] or not rises)):
        raise EntryError(
            "is a table of rounds by accepted drafts, or of totals of runs: a histogram has the "
            "columns accepted,count and one row for each number of accepted drafts; a run has the "
            "columns depth,rounds,accepted"
        )
    counts = {str(int(a)): row[rounds] for a, (_, row) in zip(accepted, rows, strict=True)}
    return histogram_of_run({"histogram": counts}, {}, answers)


def _read(paths: Sequence[Path], answers: Answers, on_progress: FileProgress) -> Entries:
    for path in paths:
        by_position: dict[int, float] = {}
        counted: list[Row] = []
        for number, row in _rows(lines(path, on_progress)):
            if isinstance(row, EntryError):
                yield Place(path, number), row
            elif "position" in row:
                by_position[int(row["position"])] = row["rate"]
            elif set(row) in _COUNTED:
                counted.append((number, row))
            else:
                yield Place(path, number), attempt(_entry, row, answers)
        if counted:
            found = attempt(_histogram, counted, answers)
            if found:
                yield Place(path, counted[0][0]), found
            else:
                for number, row in counted:
                    yield Place(path, number), attempt(_entry, row, answers)
        if by_position:
            rates = [rate for _, rate in sorted(by_position.items())]
            yield Place(path, None), attempt(_rates, rates, answers)


def _rates(rates: list[float], answers: Answers) -> Entry:
    return bare_rates({"rates": rates}, {}, answers)


TABLE = Format("table", "neutral form", _read)
