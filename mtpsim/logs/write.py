"""Write logs as engines do, given the rounds of requests: samples to test readers with.

A writer takes requests and yields text, which the format of the same name reads; names with a
suffix (``-older``, ``-summary``) are variants of one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mtpsim.common.arrays import JsonDict

REQUESTS_PER_WINDOW = 8  # between two lines of a log


@dataclass(frozen=True)
class LoggedRequest:
    """A request to log.

    Attributes:
        accepted: number of accepted drafts of each round.
        depth: number of proposed drafts per round.
        times: ms of each round.
        tokens: number of generated tokens; fewer than the rounds emit if the last one is cut.
    """

    accepted: list[int]
    depth: int
    times: list[float]
    tokens: int

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.accepted)

    @property
    def hits(self) -> int:
        """Number of accepted drafts."""
        return sum(self.accepted)

    @property
    def drafted(self) -> int:
        """Number of proposed drafts."""
        return self.depth * self.rounds

    @property
    def accept_length(self) -> float:
        """Mean tokens per round."""
        return 1 + self.hits / self.rounds

    @property
    def histogram(self) -> list[int]:
        """Number of rounds by accepted drafts, 0 to the depth."""
        found = Counter(self.accepted)
        return [found[j] for j in range(self.depth + 1)]

    @property
    def sparse_histogram(self) -> dict[str, int]:
        """The histogram without zeros, with strings as keys."""
        return {str(j): n for j, n in enumerate(self.histogram) if n}

    def survival(self, digits: int) -> list[float]:
        """Return the share of rounds that accept at least 1, 2, .. drafts."""
        return [
            round(sum(a >= j for a in self.accepted) / self.rounds, digits)
            for j in range(1, self.depth + 1)
        ]


Requests = Iterable[LoggedRequest]
Writer = Callable[[Requests], Iterator[str]]


def _line(document: JsonDict) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"


def _per_request(record: Callable[[LoggedRequest], JsonDict]) -> Writer:
    """Return a writer of a JSON line per request."""
    return lambda requests: (_line(record(request)) for request in requests)


def _per_window(line: Callable[[LoggedRequest], str]) -> Writer:
    """Return a writer of a text line per window."""
    return lambda requests: (line(window) for window in _windows(requests))


def _pooled(requests: Requests) -> LoggedRequest:
    """Return all requests as one.

    Raises:
        ValueError: their depths differ.
    """
    known = list(requests)
    deepest = max(r.depth for r in known)
    if min(r.depth for r in known) != deepest:
        raise ValueError("this format can't hold several depths; select one with --depth")
    return LoggedRequest(
        accepted=[a for r in known for a in r.accepted],
        depth=deepest,
        times=[t for r in known for t in r.times],
        tokens=sum(r.tokens for r in known),
    )


def _windows(requests: Requests) -> Iterator[LoggedRequest]:
    stream = iter(requests)
    while window := list(islice(stream, REQUESTS_PER_WINDOW)):
        yield _pooled(window)


def _vllm_metrics_of(request: LoggedRequest) -> JsonDict:
    return {
        "mean_acceptance_length": round(request.accept_length, 4),
        "draft_acceptance_rate": round(request.hits / request.drafted, 4),
        "acceptance_histogram": request.histogram,
        "acceptance_histogram_by_draft_length": {str(request.depth): request.histogram},
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
                found["per_step_drafted"] = [request.depth] * request.rounds
            usage = {"completion_tokens": request.tokens}
            metrics = {"speculative_decoding": found}
            yield _line({"id": f"cmpl-{number}", "usage": usage, "metrics": metrics})

    return write


def _vllm_log(window: LoggedRequest) -> str:
    seconds = sum(window.times) / 1000
    rates = ", ".join(f"{rate:.3f}" for rate in window.survival(6))
    return (
        "INFO [metrics.py:96] SpecDecoding metrics: "
        f"Mean acceptance length: {window.accept_length:.2f}, "
        f"Accepted throughput: {window.hits / seconds:.2f} tokens/s, "
        f"Drafted throughput: {window.drafted / seconds:.2f} tokens/s, "
        f"Accepted: {window.hits} tokens, Drafted: {window.drafted} tokens, "
        f"Per-position acceptance rate: {rates}, "
        f"Avg Draft acceptance rate: {100 * window.hits / window.drafted:.1f}%\n"
    )


def _vllm_log_old(requests: Requests) -> Iterator[str]:
    rounds, hits = 0, 0
    for window in _windows(requests):
        rounds, hits, depth = rounds + window.rounds, hits + window.hits, window.depth
        emitted, drafted = hits + rounds, depth * rounds
        yield (
            f"INFO Speculative metrics: Draft acceptance rate: {hits / drafted:.3f}, "
            f"System efficiency: {emitted / (drafted + rounds):.3f}, "
            f"Number of speculative tokens: {depth}, Number of accepted tokens: {hits}, "
            f"Number of draft tokens: {drafted}, Number of emitted tokens: {emitted}.\n"
        )


def _vllm_scrape(requests: Requests) -> Iterator[str]:
    pooled = _pooled(requests)
    labels = 'engine="0",model_name="sample"'
    totals = {
        "drafts": pooled.rounds,
        "draft_tokens": pooled.drafted,
        "accepted_tokens": pooled.hits,
    }
    for name, value in totals.items():
        metric = f"vllm:spec_decode_num_{name}_total"
        yield f"# TYPE {metric} counter\n{metric}{{{labels}}} {float(value)}\n"
    for position in range(pooled.depth):
        survived = sum(a > position for a in pooled.accepted)
        yield (
            f"vllm:spec_decode_num_accepted_tokens_per_pos_total{{{labels},"
            f'position="{position}"}} {float(survived)}\n'
        )


def _vllm_bench(requests: Requests) -> Iterator[str]:
    known = list(requests)
    pooled = _pooled(known)
    found = {
        "completed": len(known),
        "total_output_tokens": pooled.tokens,
        "mean_tpot_ms": sum(pooled.times) / (pooled.rounds + pooled.hits),
        "itls": [[time / 1000 for time in request.times] for request in known],
        "spec_decode_acceptance_rate": 100 * pooled.hits / pooled.drafted,
        "spec_decode_acceptance_length": pooled.accept_length,
        "spec_decode_num_drafts": pooled.rounds,
        "spec_decode_draft_tokens": pooled.drafted,
        "spec_decode_accepted_tokens": pooled.hits,
        "spec_decode_per_position_acceptance_rates": pooled.survival(12),
    }
    yield json.dumps(found, indent=2) + "\n"


def _sglang_requests(accepted: str, proposed: str, histogram: str | None) -> Writer:
    def record(request: LoggedRequest) -> JsonDict:
        found: JsonDict = {
            "completion_tokens": request.tokens,
            "spec_accept_rate": request.hits / request.drafted,
            "spec_accept_length": request.tokens / request.rounds,
            accepted: request.hits,
            proposed: request.drafted,
            "spec_verify_ct": request.rounds,
        }
        if histogram:
            found[histogram] = request.histogram
        return {"text": "", "meta_info": found}

    return _per_request(record)


def _sglang_log(window: LoggedRequest) -> str:
    speed = 1000 * (window.rounds + window.hits) * REQUESTS_PER_WINDOW / sum(window.times)
    return (
        f"[2026-05-01 12:00:00 TP0] Decode batch, #running-req: {REQUESTS_PER_WINDOW}, "
        f"#token: 12345, token usage: 0.12, accept len: {window.accept_length:.2f}, "
        f"accept rate: {window.hits / window.drafted:.2f}, cuda graph: True, "
        f"gen throughput (token/s): {speed:.2f}, #queue-req: 0\n"
    )


def _sglang_steps(requests: Requests) -> Iterator[str]:
    seconds = [time / 1000 for time in _pooled(requests).times]
    yield json.dumps({"internal_states": [{"step_time_dict": {"1": seconds}}]}, indent=1) + "\n"


def _trtllm(request: LoggedRequest) -> JsonDict:
    found = {
        "acceptance_rate": request.hits / request.drafted,
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
        "draft_acceptance_rate": request.hits / request.drafted,
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
    found = {"pooled_spec_decode_acceptance_histogram": _pooled(requests).sparse_histogram}
    yield json.dumps(found, indent=2) + "\n"


def _llamacpp_timings(request: LoggedRequest) -> JsonDict:
    found = {
        "predicted_n": request.rounds + request.hits,
        "predicted_ms": sum(request.times),
        "draft_n": request.drafted,
        "draft_n_accepted": request.hits,
    }
    return {"content": "", "timings": found}


def _llamacpp_log(requests: Requests) -> Iterator[str]:
    for request in requests:
        rates = ", ".join(f"{rate:.3f}" for rate in request.survival(6))
        yield (
            f"slot print_timing: id 0 | draft acceptance = {request.hits / request.drafted:.5f} "
            f"( {request.hits:4d} accepted / {request.drafted:5d} generated), "
            f"mean acceptance length = {request.accept_length:5.2f}, "
            f"acceptance rate per position = ({rates})\n"
        )


def _rounds(request: LoggedRequest) -> JsonDict:
    return {
        "accepted": request.accepted,
        "drafted": [request.depth] * request.rounds,
        "seconds": [round(time / 1000, 9) for time in request.times],
    }


def _csv(requests: Requests) -> Iterator[str]:
    yield "request,accepted,drafted,seconds\n"
    for number, request in enumerate(requests, 1):
        for accepted, time in zip(request.accepted, request.times, strict=True):
            yield f"{number},{accepted},{request.depth},{time / 1000:.9g}\n"


def _rates(requests: Requests) -> Iterator[str]:
    pooled = _pooled(requests)
    yield _line({"rates": pooled.survival(9), "rates_are": "survival", "rounds": pooled.rounds})


WRITERS: dict[str, Writer] = {
    "vllm-requests": _vllm_requests(per_round=True),
    "vllm-requests-summary": _vllm_requests(per_round=False),
    "vllm-log": _per_window(_vllm_log),
    "vllm-log-old": _vllm_log_old,
    "vllm-metrics": _vllm_scrape,
    "vllm-bench": _vllm_bench,
    "sglang-requests": _sglang_requests(
        "spec_num_correct_drafts", "spec_num_proposed_drafts", "spec_correct_drafts_histogram"
    ),
    "sglang-requests-older": _sglang_requests(
        "spec_accepted_drafts", "spec_proposed_drafts", "spec_accept_histogram"
    ),
    "sglang-requests-oldest": _sglang_requests(
        "spec_accept_token_num", "spec_draft_token_num", None
    ),
    "sglang-log": _per_window(_sglang_log),
    "sglang-steps": _sglang_steps,
    "trtllm-requests": _per_request(_trtllm),
    "aiperf-requests": _per_request(_aiperf),
    "aiperf-summary": _aiperf_summary,
    "llamacpp-timings": _per_request(_llamacpp_timings),
    "llamacpp-log": _llamacpp_log,
    "rounds": _per_request(_rounds),
    "csv": _csv,
    "rates": _rates,
}
