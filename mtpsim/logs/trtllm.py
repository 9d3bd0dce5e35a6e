"""TensorRT-LLM: speculative decoding of each choice of a response."""

from __future__ import annotations

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import PRINTED_DIGITS, Entry, EntryError, optional_number, request_entry
from mtpsim.logs.format import Answers, json_format

_NAMES = {
    "rounds": ("num_spec_steps",),
    "accepted": ("total_accepted_draft_tokens",),
    "drafted": ("total_draft_tokens",),
    "depth": ("num_spec_tokens",),
    "histogram": ("acceptance_histogram",),
    "length": ("mean_acceptance_length",),
}


def _choice(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return a choice's entry; its tokens per iteration, which count plain steps, are not used."""
    inner = table.get("speculative_decoding", table)
    if not isinstance(inner, dict):
        raise EntryError(f"'speculative_decoding' is {inner!r}; it must be an object")
    entry = request_entry(inner, _NAMES)
    rate = optional_number(inner, "acceptance_rate")
    if rate is not None and entry.drafted:
        counted_rate = entry.accepted / entry.drafted
        if abs(rate - counted_rate) > PRINTED_DIGITS:
            raise EntryError(
                f"acceptance_rate is {rate:g}, but {entry.accepted} accepted of "
                f"{counted(entry.drafted, 'draft')} are {counted_rate:.4g}"
            )
    return entry


def _is_choice(table: JsonDict) -> bool:
    inner = table.get("speculative_decoding")
    return "total_accepted_draft_tokens" in (inner if isinstance(inner, dict) else table)


REQUESTS = json_format(
    "trtllm-requests",
    "TensorRT-LLM",
    "choice with total_accepted_draft_tokens",
    _is_choice,
    _choice,
)
