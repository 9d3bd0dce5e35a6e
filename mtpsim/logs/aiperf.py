"""AIPerf: the record of each request, and the summary of a run."""

from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.logs.entry import Entry, EntryError, IncompleteError, optional_count, request_entry
from mtpsim.logs.format import Answers, json_format
from mtpsim.logs.vllm import NAMES

_NAMES = {name: fields for name, fields in NAMES.items() if name != "by_length"}  # those of vLLM
_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3}


def _metric(document: JsonDict, name: str) -> Any:
    """Return a metric in ms, a number or a list; None where it is missing."""
    metrics = document.get("metrics")
    found = metrics.get(name) if isinstance(metrics, dict) else None
    if not isinstance(found, dict) or str(found.get("unit")) not in _MS:
        return None
    scale, value = _MS[str(found["unit"])], found.get("value", 0)
    if isinstance(value, list):
        return [scale * v for v in value if type(v) in (int, float) and v > 0]
    return scale * value if type(value) in (int, float) else None


def _record(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    found = table["spec_decode_acceptance"]
    if not isinstance(found, dict):
        raise IncompleteError("'spec_decode_acceptance' is null: the request ran without drafts")
    latency, first = (_metric(document, n) for n in ("request_latency", "time_to_first_token"))
    chunks = _metric(document, "inter_chunk_latency")
    known = isinstance(latency, float) and isinstance(first, float)
    return request_entry(
        found,
        _NAMES,
        tokens=optional_count(found, "completion_tokens"),
        round_times=chunks if isinstance(chunks, list) else [],
        time=latency - first if known else None,
    )


RECORDS = json_format(
    "aiperf-requests",
    "AIPerf",
    "record with spec_decode_acceptance",
    lambda table: "spec_decode_acceptance" in table,
    _record,
)


def _summary(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    pooled: Any = table["pooled_spec_decode_acceptance_histogram"]
    if isinstance(pooled, dict) and "histogram" in pooled:
        pooled = pooled["histogram"]
    names = {name: (name,) for name in ("histogram", "rounds", "accepted")}
    entry = request_entry({"histogram": pooled}, names, unit="total")
    if not entry.rounds:
        raise EntryError("the pooled histogram has 0 rounds")
    return entry


SUMMARY = json_format(
    "aiperf-summary",
    "AIPerf",
    "summary with a pooled histogram",
    lambda table: "pooled_spec_decode_acceptance_histogram" in table,
    _summary,
)
