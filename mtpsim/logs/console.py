"""What benchmarks print on a console: fields ``name: value``, and tables."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from mtpsim.logs.entry import (
    Entry,
    EntryError,
    IncompleteError,
    MissingInformationError,
    whole_depth,
)
from mtpsim.logs.files import Batch, Line, numbered
from mtpsim.logs.format import Answers, Format, LineEntries, attempt, line_format
from mtpsim.logs.rates import counts_from_rates
from mtpsim.logs.text_lines import marked_lines

_NUMBER = r"\s*([-+]?\d[\d,]{0,20}\.?\d{0,20})"
Fields = dict[str, float]


def console_format(
    name: str,
    engine: str,
    *,
    marks: tuple[str, ...],
    names: str,
    begins: str,
    to_entry: Callable[[Fields, Answers], Entry],
) -> Format:
    """Return a format of fields ``name: value`` or ``name = value`` on lines of their own.

    Args:
        name: value of ``--format``.
        engine: engine whose tool prints them.
        marks: words that identify the format.
        names: regular expression of the names of fields.
        begins: words in the first line of a result.
        to_entry: makes an entry of the fields by name and the facts given by the user.
    """
    field = re.compile(rf"[\s>|]*({names})\s*[:=]?{_NUMBER}")

    def entries(batches: Iterator[Batch], answers: Answers) -> LineEntries:
        first, fields = 0, Fields()
        for number, line in numbered(batches):
            found = field.match(line)
            if fields and (begins in line or (found and found[1] in fields)):
                yield first, attempt(to_entry, fields, answers)
                fields = {}
            if found:
                first = first if fields else number
                fields[found[1]] = float(found[2].replace(",", ""))
        if fields:
            yield first, attempt(to_entry, fields, answers)

    return line_format(name, engine, marks, entries)


def required(fields: Mapping[str, float], name: str) -> float:
    """Return a field.

    Raises:
        IncompleteError: it is missing.
    """
    if name not in fields:
        raise IncompleteError(f"{name!r} is missing: the output is truncated")
    return fields[name]


def total(
    fields: Fields, names: tuple[str, str, str], position: str, *, scale: float, first: int = 0
) -> Entry:
    """Return the entry of a run.

    Args:
        fields: values by name.
        names: names of the number of rounds, of accepted and of proposed drafts.
        position: name of the rate at a position, with the number left out.
        scale: unit of these rates.
        first: number of the first position.

    Raises:
        EntryError: a field is missing, or they contradict each other.
    """
    rounds, accepted, drafted = (round(required(fields, name)) for name in names)
    rates: list[float] = []
    while (name := f"{position}{len(rates) + first}") in fields:
        rates.append(scale * fields[name])
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=len(rates) or whole_depth(drafted, rounds),
        survived=counts_from_rates(rates, rounds, accepted),
    )


_CELL = re.compile(r"\s*\|\s*")


def table_rows(
    lines: Iterator[Line], columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of Markdown tables that have these columns, by name of the column."""
    header: list[str] = []
    for number, line in lines:
        if "|" not in line:
            header = []
            continue
        cells = _CELL.split(line.strip().lstrip("> ").strip("|").strip())
        if set(columns) <= set(cells):
            header = cells
        elif header and len(cells) == len(header) and set("".join(cells)) - set("-: "):
            yield number, dict(zip(header, cells, strict=True))


_BENCH_ROW = re.compile(
    r"\s*(\S{1,80})\s+pred=\s*(\d+)\s+draft=\s*(\d+)\s+acc=\s*(\d+)(?:.{0,40}?tok/s=\s*([\d.]+))?"
)


def _mtp_bench(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield the requests of mtp-bench.py; a round emits a token besides its accepted drafts."""
    for number, line in marked_lines(batches, ("pred=",)):
        found = _BENCH_ROW.match(line)
        if not found:
            yield number, IncompleteError("truncated line or unknown layout")
            continue
        tokens, drafted, accepted = (int(found[n]) for n in (2, 3, 4))
        speed = float(found[5] or 0)
        yield (
            number,
            Entry(
                unit="request",
                rounds=tokens - accepted,
                accepted=accepted,
                drafted=drafted,
                depth=answers.depth,
                tokens=tokens,
                time=1000.0 * tokens / speed if speed else None,
            ),
        )


MTP_BENCH = line_format("mtp-bench", "llama.cpp", ("pred=",), _mtp_bench)


def _spec_bench(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield the requests of the table of llama-spec-bench."""
    for number, row in table_rows(numbered(batches), ("rounds", "accepted", "pos accept")):
        if row["rounds"].isdecimal() and row["accepted"].partition("/")[2]:
            yield number, attempt(_spec_row, row, answers)  # else a total, or without drafts


def _spec_row(row: dict[str, str], answers: Answers) -> Entry:
    accepted, rounds = (int(row[name].partition("/")[0]) for name in ("accepted", "rounds"))
    rates = [float(rate.rstrip("%")) / 100 for rate in row["pos accept"].split()]
    return Entry(
        unit="request",
        rounds=rounds,
        accepted=accepted,
        drafted=int(row["accepted"].partition("/")[2]),
        depth=len(rates) or answers.depth,
        tokens=int(row["tokens"]) if row.get("tokens", "").isdecimal() else None,
        survived=counts_from_rates(rates, rounds, accepted),
        time=1000.0 * float(row.get("time(s)", 0)) or None,
    )


SPEC_BENCH = line_format("spec-bench", "llama.cpp", ("pos accept",), _spec_bench)


def _example(fields: Fields, answers: Answers) -> Entry:
    """Return a run of llama.cpp's example ``speculative``."""
    tokens, accepted, drafted = (
        round(required(fields, name)) for name in ("n_predict", "n_accept", "n_drafted")
    )
    seconds = next((value for name, value in fields.items() if name.startswith("decoded")), 0.0)
    return Entry(
        unit="total",
        rounds=tokens - accepted,
        accepted=accepted,
        drafted=drafted,
        depth=round(fields["n_draft"]) if fields.get("n_draft") else answers.depth,
        tokens=tokens,
        time=1000.0 * seconds or None,
    )


EXAMPLE = console_format(
    "llamacpp-example",
    "llama.cpp",
    marks=("n_drafted",),
    names=r"n_draft|n_predict|n_drafted|n_accept|decoded +\d{1,9} tokens in",
    begins="decoded ",
    to_entry=_example,
)


def _vllm_bench(fields: Fields, answers: Answers) -> Entry:
    """Return a result that ``vllm bench serve`` prints."""
    entry = total(fields, ("Drafts", "Accepted tokens", "Draft tokens"), "Position ", scale=0.01)
    each = fields.get("Mean TPOT (ms)")
    return replace(
        entry,
        depth=entry.depth or answers.depth,
        printed=fields.get("Acceptance length"),
        time=each and each * (entry.rounds + entry.accepted),
    )


VLLM_BENCH = console_format(
    "vllm-console",
    "vLLM",
    marks=("Draft tokens:", "Per-position acceptance (%)"),
    names=(
        r"Drafts|Draft tokens|Accepted tokens|Acceptance length|Mean TPOT \(ms\)|Position \d{1,2}"
    ),
    begins="Serving Benchmark Result",
    to_entry=_vllm_bench,
)


def _vllm_offline(fields: Fields, answers: Answers) -> Entry:
    """Return a run of vLLM's offline example, or of its oldest release without counts."""
    if "num_drafts" in fields:
        names = ("num_drafts", "num_accepted_tokens", "num_draft_tokens")
        entry = total(fields, names, "acceptance at token ", scale=1.0)
        return entry if entry.depth else replace(entry, depth=answers.depth)
    if answers.rounds is None:
        raise MissingInformationError(
            "the output does not state the number of rounds", option="--rounds"
        )
    rates = [value for name, value in sorted(fields.items()) if name.startswith("acceptance at")]
    rates = rates[rates[:1] == [1.0] :]  # the oldest release counts the token of the prompt
    accepted = round(sum(rates) * answers.rounds)
    return Entry(
        unit="total",
        rounds=answers.rounds,
        accepted=accepted,
        depth=len(rates),
        survived=counts_from_rates(rates, answers.rounds, accepted),
    )


VLLM_OFFLINE = console_format(
    "vllm-offline",
    "vLLM",
    marks=("acceptance at token",),
    names=r"num_drafts|num_draft_tokens|num_accepted_tokens|acceptance at token \d{1,2}",
    begins="total_num_output_tokens",
    to_entry=_vllm_offline,
)


def _sglang_bench(fields: Fields, answers: Answers) -> Entry:
    """Return a result that SGLang's bench_serving prints."""
    length, tokens = (
        required(fields, "Accept length"),
        round(required(fields, "Total generated tokens")),
    )
    if length < 1:
        raise EntryError(f"the accept length is {length:g}; with the bonus token it is at least 1")
    rounds, each = max(round(tokens / length), 1), fields.get("Mean TPOT (ms)")
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=tokens - rounds,
        depth=answers.depth,
        tokens=tokens,
        time=each and each * tokens,
        batch=fields.get("Concurrency"),
    )


SGLANG_BENCH = console_format(
    "sglang-console",
    "SGLang",
    marks=("Accept length:",),
    names=r"Accept length|Total generated tokens|Mean TPOT \(ms\)|Concurrency",
    begins="Serving Benchmark Result",
    to_entry=_sglang_bench,
)
