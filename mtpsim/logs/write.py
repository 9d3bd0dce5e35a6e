"""Logs as engines write them, from rounds that are known: samples to try readers on.

Each writer takes requests and yields text. What it writes is read back by the format of
``READ_BY``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

WINDOW = 8  # requests between two lines of a log


@dataclass(frozen=True)
class Told:
    """A request as it went.

    Attributes:
        accepted: drafts of each round.
        depth: drafts proposed in each round.
        times: ms of each round.
        tokens: generated; the last round may be cut.

    """

    accepted: list[int]
    depth: int
    times: list[float]
    tokens: int

    @property
    def rounds(self) -> int:
        """Verifications."""
        return len(self.accepted)

    @property
    def hits(self) -> int:
        """Accepted drafts."""
        return sum(self.accepted)

    @property
    def drafted(self) -> int:
        """Proposed drafts."""
        return self.depth * self.rounds

    @property
    def histogram(self) -> list[int]:
        """Rounds by accepted drafts, 0 to the depth."""
        found = Counter(self.accepted)
        return [found[j] for j in range(self.depth + 1)]


Requests = Iterable[Told]
Writer = Callable[[Requests], Iterator[str]]


def _line(document: Any) -> str:
    return json.dumps(document, separators=(",", ":")) + "\n"


def _together(requests: Requests) -> Told:
    """All requests as if they were one."""
    known = list(requests)
    deepest = max(r.depth for r in known)
    if min(r.depth for r in known) != deepest:
        raise ValueError("this format has no room for several depths; choose one with --depth")
    return Told(
        [a for r in known for a in r.accepted],
        deepest,
        [t for r in known for t in r.times],
        sum(r.tokens for r in known),
    )


def _windows(requests: Requests) -> Iterator[Told]:
    stream = iter(requests)
    while some := list(islice(stream, WINDOW)):
        yield _together(some)


def _survival(request: Told, digits: int) -> list[float]:
    return [
        round(sum(a >= j for a in request.accepted) / request.rounds, digits)
        for j in range(1, request.depth + 1)
    ]


def _vllm_metrics_of(request: Told, detailed: bool) -> dict[str, Any]:
    found = {
        "mean_acceptance_length": round(1 + request.hits / request.rounds, 4),
        "draft_acceptance_rate": round(request.hits / request.drafted, 4),
        "acceptance_histogram": request.histogram,
        "acceptance_histogram_by_draft_length": {str(request.depth): request.histogram},
        "num_spec_steps": request.rounds,
        "num_accepted_draft_tokens": request.hits,
        "num_draft_tokens": request.drafted,
        "num_spec_tokens": request.depth,
    }
    if detailed:
        found["per_step_accepted"] = request.accepted
        found["per_step_drafted"] = [request.depth] * request.rounds
    return found


def _vllm_requests(requests: Requests, detailed: bool = True) -> Iterator[str]:
    for number, request in enumerate(requests):
        yield _line(
            {
                "id": f"cmpl-{number}",
                "usage": {"completion_tokens": request.tokens},
                "metrics": {"speculative_decoding": _vllm_metrics_of(request, detailed)},
            }
        )


def _vllm_summary(requests: Requests) -> Iterator[str]:
    return _vllm_requests(requests, detailed=False)


def _vllm_log(requests: Requests) -> Iterator[str]:
    for window in _windows(requests):
        seconds = sum(window.times) / 1000
        rates = ", ".join(f"{rate:.3f}" for rate in _survival(window, 6))
        yield (
            "INFO [metrics.py:96] SpecDecoding metrics: "
            f"Mean acceptance length: {1 + window.hits / window.rounds:.2f}, "
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
    whole = _together(requests)
    labels = 'engine="0",model_name="sample"'
    totals = {
        "drafts": whole.rounds,
        "draft_tokens": whole.drafted,
        "accepted_tokens": whole.hits,
    }
    for name, value in totals.items():
        metric = f"vllm:spec_decode_num_{name}_total"
        yield f"# TYPE {metric} counter\n{metric}{{{labels}}} {float(value)}\n"
    for position in range(whole.depth):
        survived = sum(a > position for a in whole.accepted)
        yield (
            f"vllm:spec_decode_num_accepted_tokens_per_pos_total{{{labels},"
            f'position="{position}"}} {float(survived)}\n'
        )


def _vllm_bench(requests: Requests) -> Iterator[str]:
    known = list(requests)
    whole = _together(known)
    made = whole.rounds + whole.hits
    found = {
        "completed": len(known),
        "total_output_tokens": whole.tokens,
        "mean_tpot_ms": sum(whole.times) / made,
        "itls": [[time / 1000 for time in request.times] for request in known],
        "spec_decode_acceptance_rate": 100 * whole.hits / whole.drafted,
        "spec_decode_acceptance_length": 1 + whole.hits / whole.rounds,
        "spec_decode_num_drafts": whole.rounds,
        "spec_decode_draft_tokens": whole.drafted,
        "spec_decode_accepted_tokens": whole.hits,
        "spec_decode_per_position_acceptance_rates": _survival(whole, 12),
    }
    yield json.dumps(found, indent=2) + "\n"


_SGLANG_NAMES = (
    ("spec_num_correct_drafts", "spec_num_proposed_drafts", "spec_correct_drafts_histogram"),
    ("spec_accepted_drafts", "spec_proposed_drafts", "spec_accept_histogram"),
    ("spec_accept_token_num", "spec_draft_token_num", None),
)


def _sglang_requests(generation: int) -> Writer:
    accepted, proposed, histogram = _SGLANG_NAMES[generation]

    def write(requests: Requests) -> Iterator[str]:
        for request in requests:
            found: dict[str, Any] = {
                "completion_tokens": request.tokens,
                "spec_accept_rate": request.hits / request.drafted,
                "spec_accept_length": request.tokens / request.rounds,
                accepted: request.hits,
                proposed: request.drafted,
                "spec_verify_ct": request.rounds,
            }
            if histogram:
                found[histogram] = request.histogram
            yield _line({"text": "", "meta_info": found})

    return write


def _sglang_log(requests: Requests) -> Iterator[str]:
    for window in _windows(requests):
        length = 1 + window.hits / window.rounds
        speed = 1000 * (window.rounds + window.hits) * WINDOW / sum(window.times)
        yield (
            f"[2026-05-01 12:00:00 TP0] Decode batch, #running-req: {WINDOW}, #token: 12345, "
            f"token usage: 0.12, accept len: {length:.2f}, "
            f"accept rate: {window.hits / window.drafted:.2f}, cuda graph: True, "
            f"gen throughput (token/s): {speed:.2f}, #queue-req: 0\n"
        )


def _sglang_steps(requests: Requests) -> Iterator[str]:
    whole = _together(requests)
    seconds = [time / 1000 for time in whole.times]
    yield json.dumps({"internal_states": [{"step_time_dict": {"1": seconds}}]}, indent=1) + "\n"


def _trtllm(requests: Requests) -> Iterator[str]:
    for request in requests:
        found = {
            "acceptance_rate": request.hits / request.drafted,
            "total_accepted_draft_tokens": request.hits,
            "total_draft_tokens": request.drafted,
            "num_spec_steps": request.rounds,
            "acceptance_histogram": request.histogram,
            "num_spec_tokens": request.depth,
        }
        length = 1 + request.hits / request.rounds
        choice = {"avg_decoded_tokens_per_iter": length, "speculative_decoding": found}
        yield _line({"choices": [{"index": 0, "text": "", **choice}]})


def _sparse(histogram: list[int]) -> dict[str, int]:
    return {str(j): n for j, n in enumerate(histogram) if n}


def _aiperf(requests: Requests) -> Iterator[str]:
    for request in requests:
        found = {
            "engine": "vllm",
            "mean_acceptance_length": 1 + request.hits / request.rounds,
            "draft_acceptance_rate": request.hits / request.drafted,
            "acceptance_histogram": _sparse(request.histogram),
            "num_accepted_draft_tokens": request.hits,
            "num_draft_tokens": request.drafted,
            "num_spec_steps": request.rounds,
            "num_spec_tokens": request.depth,
            "completion_tokens": request.tokens,
            "per_step_accepted": None,
            "per_step_drafted": None,
        }
        metrics = {
            "time_to_first_token": {"value": 50.0, "unit": "ms"},
            "request_latency": {"value": 50.0 + sum(request.times), "unit": "ms"},
            "inter_chunk_latency": {"value": request.times, "unit": "ms"},
        }
        yield _line({"metadata": {}, "metrics": metrics, "spec_decode_acceptance": found})


def _aiperf_summary(requests: Requests) -> Iterator[str]:
    whole = _together(requests)
    found = {"pooled_spec_decode_acceptance_histogram": _sparse(whole.histogram)}
    yield json.dumps(found, indent=2) + "\n"


def _llamacpp_timings(requests: Requests) -> Iterator[str]:
    for request in requests:
        found = {
            "predicted_n": request.rounds + request.hits,
            "predicted_ms": sum(request.times),
            "draft_n": request.drafted,
            "draft_n_accepted": request.hits,
        }
        yield _line({"content": "", "timings": found})


def _llamacpp_log(requests: Requests) -> Iterator[str]:
    for request in requests:
        rates = ", ".join(f"{rate:.3f}" for rate in _survival(request, 6))
        yield (
            f"slot print_timing: id 0 | draft acceptance = {request.hits / request.drafted:.5f} "
            f"( {request.hits:4d} accepted / {request.drafted:5d} generated), "
            f"mean acceptance length = {1 + request.hits / request.rounds:5.2f}, "
            f"acceptance rate per position = ({rates})\n"
        )


def _rounds(requests: Requests) -> Iterator[str]:
    for request in requests:
        yield _line(
            {
                "accepted": request.accepted,
                "drafted": [request.depth] * request.rounds,
                "seconds": [round(time / 1000, 9) for time in request.times],
            }
        )


def _csv(requests: Requests) -> Iterator[str]:
    yield "request,accepted,drafted,seconds\n"
    for number, request in enumerate(requests, 1):
        for accepted, time in zip(request.accepted, request.times, strict=True):
            yield f"{number},{accepted},{request.depth},{time / 1000:.9g}\n"


def _rates(requests: Requests) -> Iterator[str]:
    whole = _together(requests)
    survival = _survival(whole, 9)
    yield _line({"rates": survival, "rates_are": "survival", "rounds": whole.rounds})


WRITERS: dict[str, Writer] = {
    "vllm-requests": _vllm_requests,
    "vllm-requests-summary": _vllm_summary,
    "vllm-log": _vllm_log,
    "vllm-log-old": _vllm_log_old,
    "vllm-metrics": _vllm_scrape,
    "vllm-bench": _vllm_bench,
    "sglang-requests": _sglang_requests(0),
    "sglang-requests-older": _sglang_requests(1),
    "sglang-requests-oldest": _sglang_requests(2),
    "sglang-log": _sglang_log,
    "sglang-steps": _sglang_steps,
    "trtllm-requests": _trtllm,
    "aiperf-requests": _aiperf,
    "aiperf-summary": _aiperf_summary,
    "llamacpp-timings": _llamacpp_timings,
    "llamacpp-log": _llamacpp_log,
    "rounds": _rounds,
    "csv": _csv,
    "rates": _rates,
}
