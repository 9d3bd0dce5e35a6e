"""TensorRT-LLM: speculative decoding of each choice of a response, and of each iteration."""

from mtpsim.common.arrays import JsonDict
from mtpsim.common.text import counted
from mtpsim.logs.entry import (
    PRINTED_DIGITS,
    Entry,
    EntryError,
    IncompleteError,
    optional_count,
    optional_number,
    request_entry,
    required_count,
    whole_depth,
)
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


def _iteration(table: JsonDict, document: JsonDict, answers: Answers) -> Entry:
    """Return the rounds of one iteration; each of its requests with drafts has one."""
    found = table["specDecodingStats"]
    if not isinstance(found, dict):
        raise IncompleteError("'specDecodingStats' is null: the iteration ran without drafts")
    rounds = required_count(found, "numRequestsWithDraftTokens")
    if not rounds:
        raise IncompleteError("no request had drafts")
    drafted = required_count(found, "numDraftTokens")
    each, drafting = (optional_number(t, "iterLatencyMS") for t in (table, found))
    batching = table.get("inflightBatchingStats")
    prompts = optional_count(batching, "numContextRequests") if isinstance(batching, dict) else 0
    return Entry(
        unit="window",
        rounds=rounds,
        accepted=required_count(found, "numAcceptedTokens"),
        drafted=drafted,
        depth=whole_depth(drafted, rounds) or answers.depth,
        time=None if prompts else each and each * rounds,
        draft_time=drafting and drafting * rounds,
        batch=rounds,
    )


STATS = json_format(
    "trtllm-stats",
    "TensorRT-LLM",
    "iteration with specDecodingStats",
    lambda table: "specDecodingStats" in table,
    _iteration,
)
