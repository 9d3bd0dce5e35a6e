"""Write logs as engines do, given the rounds of requests: samples to test readers with.

A writer takes requests and yields text, which the format of the same name reads; names with a
suffix (``-older``, ``-summary``) are variants of one.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.logs import write_text as text
from mtpsim.logs.logged import LoggedRequest, Requests, pooled, windows
from mtpsim.logs.write_text import Writer, per_window


def _line(document: JsonDict) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"


def _per_request(record: Callable[[LoggedRequest], JsonDict]) -> Writer:
    """Return a writer of a JSON line per request."""
    return lambda requests: (_line(record(request)) for request in requests)


def _vllm_metrics_of(request: LoggedRequest) -> JsonDict:
    return {
        "mean_acceptance_length": round(request.accept_length, 4),
        "draft_acceptance_rate": round(request.accept_rate, 4),
        "acceptance_histogram": request.histogram,
        "acceptance_histogram_by_draft_length": request.histogram_by_drafts,
        "num_spec_steps": request.rounds,
        "num_accepted_draft_tokens": request.hits,
        "num_draft_tokens": request.drafted,
        "num_spec_tokens": request.depth,
    }


def _vllm_requests(per_round: bool) -> Writer:
    def write(requests: Requests) -> Iterator[str]:
        for number, request in enumerate(requests):
            found = _vllm_metrics_of(request)
            if per_round:
                found["per_step_accepted"] = request.accepted
                found["per_step_drafted"] = request.drafts
            usage = {"completion_tokens": request.tokens}
            metrics = {"speculative_decoding": found}
            yield _line({"id": f"cmpl-{number}", "usage": usage, "metrics": metrics})

    return write


def _scrape(prefix: str, label: str) -> Writer:
    def write(requests: Requests) -> Iterator[str]:
        found = pooled(requests)
        totals = {
            "drafts": found.rounds,
            "draft_tokens": found.drafted,
            "accepted_tokens": found.hits,
        }
        for name, value in totals.items():
            metric = f"{prefix}:spec_decode_num_{name}_total"
            braces = f"{{{label}}}" if label else ""
            yield f"# TYPE {metric} counter\n{metric}{braces} {float(value)}\n"
        for position in range(found.depth):
            survived = sum(a > position for a in found.accepted)
            labels = ",".join([label] * bool(label) + [f'position="{position}"'])
            metric = f"{prefix}:spec_decode_num_accepted_tokens_per_pos_total"
            yield f"{metric}{{{labels}}} {float(survived)}\n"

    return write


def _vllm_bench(requests: Requests) -> Iterator[str]:
    known = list(requests)
    whole = pooled(known)
    found = {
        "completed": len(known),
        "total_output_tokens": whole.tokens,
        "mean_tpot_ms": sum(whole.times) / (whole.rounds + whole.hits),
        "itls": [[time / 1000 for time in request.times] for request in known],
        "spec_decode_acceptance_rate": 100 * whole.accept_rate,
        "spec_decode_acceptance_length": whole.accept_length,
        "spec_decode_num_drafts": whole.rounds,
        "spec_decode_draft_tokens": whole.drafted,
        "spec_decode_accepted_tokens": whole.hits,
        "spec_decode_per_position_acceptance_rates": whole.survival(12),
    }
    yield json.dumps(found, indent=2) + "\n"


def _sglang_requests(accepted: str, proposed: str, histogram: str | None) -> Writer:
    def record(request: LoggedRequest) -> JsonDict:
        found: JsonDict = {
            "completion_tokens": request.tokens,
            "spec_accept_rate": request.accept_rate,
            "spec_accept_length": request.tokens / request.rounds,
            accepted: request.hits,
            proposed: request.drafted,
            "spec_verify_ct": request.rounds,
        }
        if histogram:
            found[histogram] = request.histogram
        return {"text": "", "meta_info": found}

    return _per_request(record)


def _sglang_steps(requests: Requests) -> Iterator[str]:
    seconds = [time / 1000 for time in pooled(requests).times]
    yield json.dumps({"internal_states": [{"step_time_dict": {"1": seconds}}]}, indent=1) + "\n"


def _trtllm(request: LoggedRequest) -> JsonDict:
    found = {
        "acceptance_rate": request.accept_rate,
        "total_accepted_draft_tokens": request.hits,
        "total_draft_tokens": request.drafted,
        "num_spec_steps": request.rounds,
        "acceptance_histogram": request.histogram,
        "num_spec_tokens": request.depth,
    }
    choice: JsonDict = {
        "index": 0,
        "text": "",
        "avg_decoded_tokens_per_iter": request.accept_length,
    }
    return {"choices": [{**choice, "speculative_decoding": found}]}


def _aiperf(request: LoggedRequest) -> JsonDict:
    found = {
        "engine": "vllm",
        "mean_acceptance_length": request.accept_length,
        "draft_acceptance_rate": request.accept_rate,
        "acceptance_histogram": request.sparse_histogram,
        "num_accepted_draft_tokens": request.hits,
        "num_draft_tokens": request.drafted,
        "num_spec_steps": request.rounds,
        "num_spec_tokens": request.depth,
        "completion_tokens": request.tokens,
        "per_step_accepted": None,
        "per_step_drafted": None,
    }
    values: dict[str, Any] = {
        "time_to_first_token": 50.0,
        "request_latency": 50.0 + sum(request.times),
        "inter_chunk_latency": request.times,
    }
    metrics = {name: {"value": value, "unit": "ms"} for name, value in values.items()}
    return {"metadata": {}, "metrics": metrics, "spec_decode_acceptance": found}


def _aiperf_summary(requests: Requests) -> Iterator[str]:
    found = {"pooled_spec_decode_acceptance_histogram": pooled(requests).sparse_histogram}
    yield json.dumps(found, indent=2) + "\n"


def _llamacpp_timings(request: LoggedRequest) -> JsonDict:
    found = {
        "predicted_n": 1 + request.rounds + request.hits,  # the prompt emits the first one
        "predicted_ms": sum(request.times),
        "draft_n": request.drafted,
        "draft_n_accepted": request.hits,
    }
    return {"content": "", "timings": found}


def _rounds(request: LoggedRequest) -> JsonDict:
    return {
        "accepted": request.accepted,
        "drafted": request.drafts,
        "seconds": [round(time / 1000, 9) for time in request.times],
    }


def _csv(requests: Requests) -> Iterator[str]:
    yield "request,accepted,drafted,seconds\n"
    for number, request in enumerate(requests, 1):
        rows = zip(request.accepted, request.drafts, request.times, strict=True)
        for accepted, drafted, time in rows:
            yield f"{number},{accepted},{drafted},{time / 1000:.9g}\n"


def _rates(requests: Requests) -> Iterator[str]:
    found = pooled(requests)
    yield _line({"rates": found.survival(9), "rates_are": "survival", "rounds": found.rounds})


def _sglang_bench(requests: Requests) -> Iterator[str]:
    found = pooled(requests)
    tokens = found.rounds + found.hits
    document = {
        "total_output_tokens": tokens,
        "accept_length": found.accept_length,
        "mean_tpot_ms": sum(found.times) / tokens,
    }
    yield _line(document)


def _sglang_sweep(requests: Requests) -> Iterator[str]:
    found = pooled(requests)
    document = {
        "batch_size": 1,
        "steps": found.depth,
        "topk": 1,
        "num_draft_tokens": found.depth + 1,
        "acc_length": found.accept_length,
        "step_time": sum(found.times) / found.rounds / 1000,
        "completion_tokens": found.rounds + found.hits,
    }
    yield _line(document)


def _specforge(requests: Requests) -> Iterator[str]:
    found = pooled(requests)
    seconds = sum(found.times) / 1000
    metrics = {
        "latency": seconds,
        "output_throughput": (found.rounds + found.hits) / seconds,
        "accept_length": found.accept_length,
    }
    setting = {"batch_size": 1, "steps": found.depth, "topk": 1, "metrics": [metrics]}
    yield _line({"mtbench": [setting]})


def _trtllm_stats(requests: Requests) -> Iterator[str]:
    for number, window in enumerate(windows(requests)):
        spec = {
            "numDraftTokens": window.drafted,
            "numAcceptedTokens": window.hits,
            "numRequestsWithDraftTokens": window.rounds,
            "iterLatencyMS": 2.0,
        }
        latency = sum(window.times) / window.rounds
        yield _line({"iter": number, "iterLatencyMS": latency, "specDecodingStats": spec})


def _lmstudio(request: LoggedRequest) -> JsonDict:
    tokens = request.rounds + request.hits
    stats = {
        "tokens_per_second": 1000 * tokens / sum(request.times),
        "total_draft_tokens_count": request.drafted,
        "accepted_draft_tokens_count": request.hits,
    }
    return {"usage": {"completion_tokens": tokens}, "stats": stats}


def _counts(requests: Requests) -> Iterator[str]:
    found = pooled(requests)
    yield _line({"rounds": found.rounds, "drafted": found.drafted, "accepted": found.hits})


def _histogram(requests: Requests) -> Iterator[str]:
    yield _line({"accepted_counts": pooled(requests).histogram})


def _table(requests: Requests) -> Iterator[str]:
    yield "| K | rounds | draft tokens | accepted tokens | round ms |\n|---|---|---|---|---|\n"
    run = pooled(requests)
    each = sum(run.times) / run.rounds
    yield f"| {run.depth} | {run.rounds} | {run.drafted} | {run.hits} | {each:.6g} |\n"


def _one_number(requests: Requests) -> Iterator[str]:
    found = pooled(requests)
    document = {"accept_length": found.accept_length, "depth": found.depth, "rounds": found.rounds}
    yield _line(document)


WRITERS: dict[str, Writer] = {
    "vllm-requests": _vllm_requests(per_round=True),
    "vllm-requests-summary": _vllm_requests(per_round=False),
    "vllm-log": per_window(text.vllm_log),
    "vllm-log-2025": per_window(text.vllm_log_2025),
    "vllm-log-old": text.vllm_log_old,
    "vllm-metrics": _scrape("vllm", 'engine="0",model_name="sample"'),
    "vllm-bench": _vllm_bench,
    "vllm-console": text.vllm_console,
    "vllm-offline": text.vllm_offline,
    "sglang-requests": _sglang_requests(
        "spec_num_correct_drafts", "spec_num_proposed_drafts", "spec_correct_drafts_histogram"
    ),
    "sglang-requests-older": _sglang_requests(
        "spec_accepted_drafts", "spec_proposed_drafts", "spec_accept_histogram"
    ),
    "sglang-requests-oldest": _sglang_requests(
        "spec_accept_token_num", "spec_draft_token_num", None
    ),
    "sglang-finish": text.sglang_finish,
    "sglang-log": per_window(text.sglang_log),
    "sglang-steps": _sglang_steps,
    "sglang-bench": _sglang_bench,
    "sglang-console": text.sglang_console,
    "sglang-sweep": _sglang_sweep,
    "specforge": _specforge,
    "trtllm-requests": _per_request(_trtllm),
    "trtllm-stats": _trtllm_stats,
    "aiperf-requests": _per_request(_aiperf),
    "aiperf-summary": _aiperf_summary,
    "llamacpp-timings": _per_request(_llamacpp_timings),
    "llamacpp-log": text.llamacpp_log(current=False, debug=False),
    "llamacpp-log-current": text.llamacpp_log(current=True, debug=False),
    "llamacpp-log-debug": text.llamacpp_log(current=True, debug=True),
    "llamacpp-log-may": text.llamacpp_log_may,
    "llamacpp-metrics": _scrape("llamacpp", ""),
    "llamacpp-example": text.llamacpp_example,
    "mtp-bench": text.mtp_bench,
    "spec-bench": text.spec_bench,
    "lmstudio": _per_request(_lmstudio),
    "atom-log": text.atom_log,
    "omlx-log": text.omlx_log,
    "rounds": _per_request(_rounds),
    "csv": _csv,
    "rates": _rates,
    "counts": _counts,
    "histogram": _histogram,
    "one-number": _one_number,
    "table": _table,
}
