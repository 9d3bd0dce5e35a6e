"""TensorRT-LLM: speculative decoding of each choice of a response."""

from __future__ import annotations

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import Entry, EntryError, maybe_number, of_request
from mtpsim.logs.format import Answers, json_format

_NAMES = {
    "rounds": ["num_spec_steps"],
    "accepted": ["total_accepted_draft_tokens"],
    "drafted": ["total_draft_tokens"],
    "depth": ["num_spec_tokens"],
    "histogram": ["acceptance_histogram"],
    "length": ["mean_acceptance_length"],
}


def _choice(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """A choice; its tokens an iteration count iterations without drafts, too."""
    inner = table.get("speculative_decoding", table)
    if not isinstance(inner, dict):
        raise EntryError(f"'speculative_decoding' is {inner!r}; it must be a table")
    entry = of_request(inner, lambda what: _NAMES.get(what, []))
    rate = maybe_number(inner, "acceptance_rate")
    if rate is not None and entry.drafted and abs(rate - entry.accepted / entry.drafted) > 0.006:
        raise EntryError(
            f"acceptance_rate is {rate:g}, but {entry.accepted} accepted of "
            f"{counted(entry.drafted, 'draft')} "
            f"are {entry.accepted / entry.drafted:.4g}"
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
