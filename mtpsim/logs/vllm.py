"""vLLM: log lines of all generations, counters, requests, and benchmark results."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    PRINTED_DIGITS,
    Entry,
    EntryError,
    IncompleteError,
    MissingInformationError,
    optional_count,
    optional_number,
    request_entry,
    required_count,
    whole_depth,
)
from mtpsim.logs.files import Batch
from mtpsim.logs.format import Answers, LineEntries, attempt, json_format, line_format
from mtpsim.logs.prometheus import counter_format, difference
from mtpsim.logs.rates import counts_from_rates
from mtpsim.logs.text_lines import container, whole_lines

# Texts are without white space. Their order differs between releases.
_ENGINE = re.compile(r"Avggenerationthroughput:([\d.]+)tokens/s,Running:(\d+)reqs")
_ENGINE_NUMBER = re.compile(r"Engine(\d{1,6}):Avg")
_COUNTS = re.compile(r"Accepted:(-?\d+)tokens,Drafted:(-?\d+)tokens")
_LENGTH = re.compile(r"Meanacceptancelength:(nan|-?[\d.]+),")
_RATES = re.compile(r"Per-positionacceptancerate:([-\d.,na]*)")
_OLD = re.compile(
    r"Numberofspeculativetokens:(\d+),Numberofacceptedtokens:(-?\d+),"
    r"Numberofdrafttokens:(-?\d+),Numberofemittedtokens:(-?\d+)"
)
_ENGINE_MARK = "Avg generation throughput"
MARKS = ("SpecDecoding metrics:", "Speculative metrics:")
_OLDER = "SpecDecodingmetrics:Draftacceptancerate:"  # of 2025, without an average at its end


@dataclass
class _Engine:
    """State of an engine between two lines of its log.

    Attributes:
        running: requests that ran at the line before; None before the first one.
        shown: throughput in tokens/s and running requests at this line; None where not shown.
        totals: counters since the start, of the oldest generation.
    """

    running: int | None = None
    shown: tuple[float, int] | None = None
    totals: Entry | None = None


@dataclass
class _Source:
    """The engines of a container, and the one that wrote the last line."""

    engines: dict[str, _Engine] = field(default_factory=dict)
    last: str = ""

    def engine(self) -> _Engine:
        """Return the engine that wrote the last line of throughput."""
        return self.engines.setdefault(self.last, _Engine())

    def read(self, text: str) -> None:
        """Read a line of throughput."""
        found = _ENGINE.search(text)
        if found is None:
            return
        number = _ENGINE_NUMBER.search(text, 0, found.start() + 3)
        self.last = number[1] if number else ""
        engine = self.engine()
        if engine.shown is not None:
            engine.running = engine.shown[1]
        engine.shown = float(found[1]), int(found[2])


def _is_whole(text: str) -> bool:
    """Whether a text without white space has all fields of its line."""
    if "Speculativemetrics:" in text:
        return bool(_OLD.search(text))
    if "SpecDecodingmetrics:" not in text:
        return bool(_ENGINE.search(text))
    return bool(_COUNTS.search(text)) and (
        _OLDER in text or bool(_RATES.search(text) and "AvgDraft" in text)
    )


def _log_entries(batches: Iterator[Batch], answers: Answers) -> LineEntries:
    """Yield windows; the time of one is that of the requests that ran when it was printed."""
    sources: dict[str, _Source] = {}
    for number, line, text in whole_lines(batches, (*MARKS, _ENGINE_MARK), _is_whole):
        source = sources.setdefault(container(line), _Source())
        if "metrics:" not in text or "Avggeneration" in text:
            source.read(text)
            continue
        yield number, attempt(_entry, text, source.engine(), answers)


def _entry(text: str, engine: _Engine, answers: Answers) -> Entry:
    """Return the window that ends at a line.

    Raises:
        IncompleteError: the line is cut off, or says nothing.
        MissingInformationError: it states neither a depth nor a length.
    """
    if old := _OLD.search(text):
        now = _since_start(old)
        entry = difference(engine.totals, now)
        engine.totals = now
    elif counts := _COUNTS.search(text):
        entry = _window(text, int(counts[1]), int(counts[2]), answers)
    else:
        raise IncompleteError("truncated line or unknown layout")
    shown, before = engine.shown, engine.running
    if shown is None:
        return entry
    engine.running, engine.shown = shown[1], None
    speed, running = shown
    if not speed or not running or before == 0:
        return entry
    entry.time = 1000.0 * running * (entry.accepted + entry.rounds) / speed
    entry.rough_time, entry.batch = before is None, running
    return entry


def _window(text: str, accepted: int, drafted: int, answers: Answers) -> Entry:
    """Return the entry of a window; rounds follow from the printed length if drafts are short."""
    printed, shown = _LENGTH.search(text), _RATES.search(text)
    rates = [float(rate) for rate in (shown[1] if shown else "").split(",") if rate]
    if not drafted and not accepted:
        raise IncompleteError("idle: nothing was drafted")
    if "Meanacceptancelength" not in text and _OLDER in text:
        return _of_totals(accepted, drafted, answers)
    if printed is None or shown is None or not rates:
        raise IncompleteError("truncated line or unknown layout")
    length, depth = float(printed[1]), len(rates)
    rounds = drafted // depth
    if drafted % depth or (rounds and abs(1 + accepted / rounds - length) > PRINTED_DIGITS):
        rounds = round(accepted / (length - 1)) if length > 1 else -(-drafted // depth)
    try:
        survived = counts_from_rates(rates, rounds, accepted)
    except EntryError:
        if shown.end() == len(text):
            raise IncompleteError("truncated line") from None
        raise
    return Entry(
        unit="window",
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=depth,
        survived=survived,
        printed=length,
    )


def _of_totals(accepted: int, drafted: int, answers: Answers) -> Entry:
    """Return the window of a line without positions, as of April 2025."""
    if answers.depth is None:
        raise MissingInformationError(
            "the log does not state the number of drafts per round", option="--depth"
        )
    rounds = -(-drafted // answers.depth)
    return Entry("window", rounds, accepted, drafted, answers.depth)


def _since_start(found: re.Match[str]) -> Entry:
    """Return the counts since the start.

    Emitted tokens are used: the accepted ones of this generation include those past a rejection.
    """
    depth, _, drafted, emitted = (int(found[n]) for n in range(1, 5))
    if not depth or drafted % depth:
        raise EntryError(
            f"{counted(drafted, 'draft', 'are')} not a multiple of "
            f"{counted(depth, 'speculative token')}"
        )
    rounds = drafted // depth
    return Entry(
        unit="window",
        rounds=rounds,
        accepted=emitted - rounds,
        drafted=drafted,
        depth=depth,
        states_depth=True,
        tokens=emitted,
    )


LOG = line_format("vllm-log", "vLLM", MARKS, _log_entries)
METRICS = counter_format("vllm-metrics", "vLLM", "vllm")

NAMES = {
    "rounds": ("num_spec_steps",),
    "accepted": ("num_accepted_draft_tokens",),
    "drafted": ("num_draft_tokens",),
    "depth": ("num_spec_tokens",),
    "histogram": ("acceptance_histogram",),
    "by_length": ("acceptance_histogram_by_draft_length",),
    "steps_accepted": ("per_step_accepted",),
    "steps_drafted": ("per_step_drafted",),
    "length": ("mean_acceptance_length",),
}


def _request(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    usage = document.get("usage")
    tokens = optional_count(usage, "completion_tokens") if isinstance(usage, dict) else None
    return request_entry(table, NAMES, tokens=tokens)


REQUESTS = json_format(
    "vllm-requests",
    "vLLM",
    "metrics of a request's speculative decoding",
    lambda table: "num_accepted_draft_tokens" in table and "mean_acceptance_length" in table,
    _request,
)


def _bench(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    rounds = required_count(table, "spec_decode_num_drafts")
    accepted = required_count(table, "spec_decode_accepted_tokens")
    rates = table.get("spec_decode_per_position_acceptance_rates") or []
    if not isinstance(rates, list) or not all(type(rate) in (int, float) for rate in rates):
        raise EntryError(
            f"spec_decode_per_position_acceptance_rates is {rates!r}; it must be a list of rates"
        )
    chunks = table.get("itls")
    each = optional_number(table, "mean_tpot_ms")
    drafted = required_count(table, "spec_decode_draft_tokens")
    return Entry(
        unit="total",
        rounds=rounds,
        accepted=accepted,
        drafted=drafted,
        depth=len(rates) or whole_depth(drafted, rounds) or answers.depth,
        survived=counts_from_rates(rates, rounds, accepted),
        printed=optional_number(table, "spec_decode_acceptance_length"),
        round_times=_chunk_times(chunks) if isinstance(chunks, list) else [],
        time=each and each * (rounds + accepted),
    )


def _chunk_times(chunks: list[object]) -> list[float]:
    """Return ms between the chunks of streamed responses; a round emits one chunk."""
    times = [t for request in chunks if isinstance(request, list) for t in request]
    return [1000.0 * t for t in times if type(t) is float and t > 0]


BENCH = json_format(
    "vllm-bench",
    "vLLM",
    "result of vllm bench with speculative decoding",
    lambda table: "spec_decode_num_drafts" in table,
    _bench,
)
