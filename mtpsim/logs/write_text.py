"""Writers of text: log lines, and what benchmarks print on a console."""

from collections.abc import Callable, Iterator

from mtpsim.logs.logged import REQUESTS_PER_WINDOW, LoggedRequest, Requests, pooled, windows

Writer = Callable[[Requests], Iterator[str]]


def per_window(line: Callable[[LoggedRequest], str]) -> Writer:
    """Return a writer of a text per window."""
    return lambda requests: (line(window) for window in windows(requests))


def _seconds(window: LoggedRequest) -> float:
    """Return the duration of a window, whose requests run together."""
    return sum(window.times) / REQUESTS_PER_WINDOW / 1000


def _throughput(window: LoggedRequest) -> float:
    """Return tokens per second of all requests of a window."""
    return (window.rounds + window.hits) / _seconds(window)


def _shares(request: LoggedRequest, digits: int) -> str:
    return ", ".join(f"{rate:.{digits}f}" for rate in request.survival(6))


def _vllm_engine(window: LoggedRequest) -> str:
    return (
        "INFO [loggers.py:271] Engine 000: Avg prompt throughput: 0.0 tokens/s, "
        f"Avg generation throughput: {_throughput(window):.1f} tokens/s, "
        f"Running: {REQUESTS_PER_WINDOW} reqs, Waiting: 0 reqs, GPU KV cache usage: 9.5%\n"
    )


def vllm_log(window: LoggedRequest) -> str:
    """Return the two lines of vLLM for a window."""
    seconds = _seconds(window)
    return _vllm_engine(window) + (
        "INFO [metrics.py:96] SpecDecoding metrics: "
        f"Mean acceptance length: {window.accept_length:.2f}, "
        f"Accepted throughput: {window.hits / seconds:.2f} tokens/s, "
        f"Drafted throughput: {window.drafted / seconds:.2f} tokens/s, "
        f"Accepted: {window.hits} tokens, Drafted: {window.drafted} tokens, "
        f"Per-position acceptance rate: {_shares(window, 3)}, "
        f"Avg Draft acceptance rate: {100 * window.accept_rate:.1f}%\n"
    )


def vllm_log_2025(window: LoggedRequest) -> str:
    """Return the line of vLLM in the middle of 2025."""
    return (
        "INFO [metrics.py:86] SpecDecoding metrics: "
        f"Draft acceptance rate: {100 * window.accept_rate:.1f}%, "
        f"Mean acceptance length: {window.accept_length:.2f}, "
        f"Accepted: {window.hits} tokens, Drafted: {window.drafted} tokens, "
        f"Per-position acceptance rate: {_shares(window, 3)}\n"
    )


def vllm_log_old(requests: Requests) -> Iterator[str]:
    """Yield the lines of vLLM in 2024, which count since the start."""
    rounds, hits = 0, 0
    for window in windows(requests):
        rounds, hits, depth = rounds + window.rounds, hits + window.hits, window.depth
        emitted, drafted = hits + rounds, depth * rounds
        yield (
            f"INFO Speculative metrics: Draft acceptance rate: {hits / drafted:.3f}, "
            f"System efficiency: {emitted / (drafted + rounds):.3f}, "
            f"Number of speculative tokens: {depth}, Number of accepted tokens: {hits}, "
            f"Number of draft tokens: {drafted}, Number of emitted tokens: {emitted}.\n"
        )


def vllm_console(requests: Requests) -> Iterator[str]:
    """Yield what ``vllm bench serve`` prints."""
    found = pooled(requests)
    yield (
        "============ Serving Benchmark Result ============\n"
        f"Total generated tokens: {found.tokens:>26}\n"
        f"Mean TPOT (ms): {sum(found.times) / (found.rounds + found.hits):>34.2f}\n"
        "---------------Speculative Decoding---------------\n"
        f"Acceptance rate (%): {100 * found.accept_rate:>29.2f}\n"
        f"Acceptance length: {found.accept_length:>31.2f}\n"
        f"Drafts: {found.rounds:>42}\nDraft tokens: {found.drafted:>36}\n"
        f"Accepted tokens: {found.hits:>33}\nPer-position acceptance (%):\n"
    )
    for position, share in enumerate(found.survival(6)):
        yield f"  Position {position}: {100 * share:>36.2f}\n"


def vllm_offline(requests: Requests) -> Iterator[str]:
    """Yield what vLLM's offline example prints."""
    found = pooled(requests)
    yield (
        f"total_num_output_tokens: {found.tokens}\nnum_drafts: {found.rounds}\n"
        f"num_draft_tokens: {found.drafted}\nnum_accepted_tokens: {found.hits}\n"
        f"mean acceptance length: {found.accept_length:.2f}\n{'-' * 50}\n"
    )
    for position, share in enumerate(found.survival(6)):
        yield f"acceptance at token {position}: {share:.2f}\n"


def sglang_log(window: LoggedRequest) -> str:
    """Return the line of SGLang for a decode batch."""
    return (
        f"[2026-05-01 12:00:00 TP0] Decode batch, #running-req: {REQUESTS_PER_WINDOW}, "
        f"#token: 12345, token usage: 0.12, accept len: {window.accept_length:.2f}, "
        f"accept rate: {window.accept_rate:.2f}, cuda graph: True, "
        f"gen throughput (token/s): {_throughput(window):.2f}, #queue-req: 0\n"
    )


def sglang_finish(requests: Requests) -> Iterator[str]:
    """Yield the lines of SGLang with ``--log-requests``."""
    for number, request in enumerate(requests):
        meta = {
            "id": str(number),
            "completion_tokens": request.tokens,
            "spec_verify_ct": request.rounds,
            "spec_num_correct_drafts": request.hits,
            "spec_num_proposed_drafts": request.drafted,
            "spec_correct_drafts_histogram": request.histogram,
        }
        out = {"text": "", "meta_info": meta}
        yield f"[2026-05-01 12:00:00] Finish: obj=GenerateReqInput(rid='{number}'), out={out}\n"


def sglang_console(requests: Requests) -> Iterator[str]:
    """Yield what SGLang's bench_serving prints."""
    found = pooled(requests)
    tokens = found.rounds + found.hits
    yield (
        "============ Serving Benchmark Result ============\n"
        f"Total generated tokens: {tokens:>26}\nAccept length: {found.accept_length:>35.4f}\n"
        f"Mean TPOT (ms): {sum(found.times) / tokens:>34.4f}\n"
    )


def _llamacpp_times(request: LoggedRequest, task: int) -> str:
    time, tokens = sum(request.times), request.rounds + request.hits + 1
    head = f"slot print_timing: id  0 | task {task} |"
    return (
        f"{head} prompt eval time =     100.00 ms /    20 tokens (    5.00 ms per token)\n"
        f"{head}        eval time = {time:10.2f} ms / {tokens:5d} tokens "
        f"({time / tokens:8.2f} ms per token, {1000 * tokens / time:8.2f} tokens per second)\n"
    )


def llamacpp_log(*, current: bool, debug: bool) -> Writer:
    """Return a writer of the log of llama.cpp's server.

    Args:
        current: whether to write the line of August 2026, without positions; else that of June.
        debug: whether to write a line per round.
    """

    def write(requests: Requests) -> Iterator[str]:
        for task, request in enumerate(requests):
            head = f"id  0 | task {task} |"
            rounds = zip(request.accepted, request.drafts, strict=True)
            drafting = [(accepted, drafted) for accepted, drafted in rounds if drafted]
            for accepted, drafted in drafting if debug else ():
                yield (
                    f"slot update_slots: {head} accepted {accepted:2d}/{drafted:2d} draft "
                    "tokens, new n_tokens = 100\n"
                )
            mean = 1 + request.hits / max(len(drafting), 1)
            length = (
                f"mean len = {mean:5.2f}"
                if current
                else f"mean acceptance length = {mean:5.2f}, "
                f"acceptance rate per position = ({_shares(request, 3)})"
            )
            yield _llamacpp_times(request, task) + (
                f"slot print_timing: {head} draft acceptance = "
                f"{request.accept_rate:.5f} ( {request.hits:4d} accepted / "
                f"{request.drafted:5d} generated), {length}\n"
            )

    return write


def llamacpp_log_may(requests: Requests) -> Iterator[str]:
    """Yield the log of llama.cpp's server in May 2026, with counters since the start."""
    drafts, drafted, hits = 0, 0, 0
    for task, request in enumerate(requests):
        drafts, drafted = drafts + request.rounds, drafted + request.drafted
        hits += request.hits
        yield _llamacpp_times(request, task) + (
            f"draft acceptance rate = {request.accept_rate:.5f} "
            f"( {request.hits:4d} accepted / {request.drafted:5d} generated)\n"
            f"statistics draft-mtp: #calls(b,g,a) = {task + 1} {drafts} {drafts}, "
            f"#gen drafts = {drafts}, #acc drafts = {drafts}, #gen tokens = {drafted}, "
            f"#acc tokens = {hits}, dur(b,g,a) = 0.010, {5.0 * drafts:.3f}, 0.100 ms\n"
        )


def llamacpp_example(requests: Requests) -> Iterator[str]:
    """Yield what llama.cpp's example ``speculative`` prints."""
    found = pooled(requests)
    tokens, seconds = found.rounds + found.hits, sum(found.times) / 1000
    yield (
        f"decoded {tokens:4d} tokens in {seconds:8.3f} seconds\n"
        f"\nn_draft   = {found.depth}\nn_predict = {tokens}\nn_drafted = {found.drafted}\n"
        f"n_accept  = {found.hits}\naccept    = {100 * found.accept_rate:.3f}%\n"
    )


def mtp_bench(requests: Requests) -> Iterator[str]:
    """Yield the table of mtp-bench.py."""
    for number, request in enumerate(requests):
        tokens = request.rounds + request.hits
        yield (
            f"  prompt_{number:<12} pred={tokens:4d} draft={request.drafted:4d} "
            f"acc={request.hits:4d} rate={request.accept_rate:.3f} "
            f"tok/s={1000 * tokens / sum(request.times):.4f}\n"
        )


def spec_bench(requests: Requests) -> Iterator[str]:
    """Yield the table of llama-spec-bench."""
    yield "| task | run | tokens | time(s) | rounds | accepted | pos accept |\n"
    yield "|---|---|---|---|---|---|---|\n"
    for number, request in enumerate(requests):
        shares = " ".join(f"{100 * share:.1f}%" for share in request.survival(6))
        yield (
            f"| {number} | 1 | {request.tokens} | {sum(request.times) / 1000:.4f} | "
            f"{request.rounds} | {request.hits}/{request.drafted} | {shares} |\n"
        )


def atom_log(requests: Requests) -> Iterator[str]:
    """Yield ATOM's line since the start."""
    found = pooled(requests)
    shares = {j: f"{100 * n / found.rounds:.2f}%" for j, n in enumerate(found.histogram)}
    yield (
        f"[MTP Stats         ] Average toks/fwd: {found.accept_length:.2f}, "
        f"Accepted/Total Draft tokens: {found.hits}/{found.drafted}, Acceptance rate: "
        f"{100 * found.accept_rate:.2f}%, Accepted tokens distribution: {shares}\n"
    )


def omlx_log(requests: Requests) -> Iterator[str]:
    """Yield the lines of oMLX."""
    for number, request in enumerate(requests):
        hits = [sum(a >= j for a in request.accepted) for j in range(1, request.depth + 1)]
        depths = ",".join(f"d{j}={n}/{request.rounds}" for j, n in enumerate(hits, 1))
        yield (
            f"MTP[{number}] finish=stop tokens={request.tokens} cycles={request.rounds} "
            f"tok/cycle={request.accept_length:.2f} accept={request.hits}/{request.drafted} "
            f"({100 * request.accept_rate:.1f}%) depth[{depths}] "
            f"timing[backbone={sum(request.times) - 50:.1f}ms mtp=50.0ms]\n"
        )
