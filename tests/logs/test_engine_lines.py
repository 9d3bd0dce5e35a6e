"""Lines as engines, terminals and people write them, with counts worked out by hand."""

import io
import json
import os
import threading

import pytest

from mtpsim.common.errors import InputError
from mtpsim.fit.round_times import round_times_of
from mtpsim.logs import Answers, files, read_logs

# 1,000 rounds of 3 drafts in 10 s of 4 requests: 900 + 700 + 500 accepted, 3,100 tokens.
ENGINE = (
    "INFO 03-01 09:00:00 [loggers.py:271] Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg "
    "generation throughput: 310.0 tokens/s, Running: 4 reqs, Waiting: 0 reqs\n"
)
WINDOW = (
    "INFO 03-01 09:00:00 [metrics.py:101] SpecDecoding metrics: Mean acceptance length: 3.10, "
    "Accepted throughput: 210.00 tokens/s, Drafted throughput: 300.00 tokens/s, Accepted: 2100 "
    "tokens, Drafted: 3000 tokens, Per-position acceptance rate: 0.900, 0.700, 0.500, Avg Draft "
    "acceptance rate: 70.0%\n"
)
VLLM = (ENGINE + WINDOW) * 2
IN_VLLM = {"rounds": 2000, "accepted": 4200, "depth": 3, "rows": 2, "round_ms": 40.0}
DECODE = (
    "[2026-08-01 10:00:0{n} TP0] Decode batch, #running-req: 2, #token: 9, accept len: 2.80, "
    "accept rate: 0.60, cuda graph: True, gen throughput (token/s): {speed}, #queue-req: 0\n"
)
SGLANG = DECODE.format(n=0, speed="0.70") + "".join(
    DECODE.format(n=n, speed="280.00") for n in range(1, 6)
)
ANSWER = {
    "id": "a",
    "metrics": {
        "speculative_decoding": {
            "mean_acceptance_length": 2.5,
            "acceptance_histogram": [3, 2, 2, 3],
            "num_spec_steps": 10,
            "num_accepted_draft_tokens": 15,
            "num_draft_tokens": 30,
            "num_spec_tokens": 3,
        }
    },
}
ANSWERS = [{**ANSWER, "id": name} for name in "abc"]
TIMING = "slot print_timing: id  0 | task {task} |"


def timing(task, ms, tokens):
    return (
        f"{TIMING.format(task=task)} prompt eval time =  50.00 ms /  20 tokens (2.50 ms per token)\n"  # noqa: E501
        f"{TIMING.format(task=task)}        eval time = {ms:.2f} ms / {tokens} tokens (1 ms)\n"
    )


# 50 rounds of 2 drafts, 60 accepted: 111 tokens with that of the prompt.
MEAN_LEN = timing(4, 2000, 111) + (
    TIMING.format(task=4) + " draft acceptance = 0.60000 (   60 accepted /   100 generated), "
    "mean len =  2.20\n"
)
MAY = (
    timing(1, 1000, 31)
    + "draft acceptance rate = 0.25000 (   10 accepted /    40 generated)\n"
    + "statistics draft-mtp: #calls(b,g,a) = 1 20 20, #gen drafts = 20, #acc drafts = 9, #gen "
    "tokens = 40, #acc tokens = 10, dur(b,g,a) = 0.010, 80.000, 0.100 ms\n"
    + timing(2, 3000, 81)
    + "draft acceptance rate = 0.50000 (   30 accepted /    60 generated)\n"
    + "statistics draft-mtp: #calls(b,g,a) = 2 50 50, #gen drafts = 50, #acc drafts = 9, #gen "
    "tokens = 100, #acc tokens = 40, dur(b,g,a) = 0.010, 200.000, 0.100 ms\n"
)
NOTHING = timing(1, 800, 21) + (
    TIMING.format(task=1) + " draft acceptance = 0.00000 (    0 accepted /    40 generated), "
    "mean len =  1.00\n"
)
ROUND = "slot update_slots: id  0 | task {task} | accepted  {a}/ {d} draft tokens"
DEBUG = "".join(
    ROUND.format(task=task, a=a, d=d) + ", new n_tokens = 9\n"
    for a, d in ((1, 3), (3, 3), (0, 2))
    for task in (5, 6)
)
RESTORED = (
    ROUND.format(task=5, a=1, d=3) + " (restore checkpoint)\n"
    + ROUND.format(task=5, a=1, d=1) + "\n" + ROUND.format(task=5, a=3, d=3) + "\n"
)  # fmt: skip
COUNTERS = {"drafts": 100, "draft_tokens": 300, "accepted_tokens": 150}
POSITIONS = [80, 50, 20]


def scrape(times, prefix="vllm:", end="_total", labels='{model_name="m"}', space=" "):
    lines = [
        f"{prefix}spec_decode_num_{name}{end}{labels}{space}{float(n * times)}"
        for name, n in COUNTERS.items()
    ]
    inside = labels[1:-1] + "," * bool(labels)
    lines += [
        f"{prefix}spec_decode_num_accepted_tokens_per_pos{end}"
        f'{{{inside}position="{j}"}}{space}{float(n * times)}'
        for j, n in enumerate(POSITIONS)
    ]
    return "# TYPE x counter\n" + "\n".join(lines) + "\n"


IN_SCRAPE = {"rounds": 100, "accepted": 150, "depth": 3, "hit": [80, 50, 20]}
API = {
    "status": "success",
    "data": {
        "result": [
            {"metric": {"__name__": f"vllm:spec_decode_num_{name}_total"}, "value": [1.0, str(n)]}
            for name, n in COUNTERS.items()
        ]
    },
}
CHUNKS = [
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "timings": {
            "predicted_n": n * 3 + 1,
            "predicted_ms": n * 50.0,
            "draft_n": n * 3,
            "draft_n_accepted": n * 2,
        },
    }
    for n in range(1, 11)
]
IN_CHUNKS = {"rows": 1, "rounds": 10, "accepted": 20, "depth": 3, "round_ms": 50.0}
IN_ANSWERS = {"rows": 3, "rounds": 30, "accepted": 45, "depth": 3}


def wrapped(text, width):
    return "\n".join(
        line[at : at + width] for line in text.split("\n") for at in range(0, len(line), width)
    )


def events(documents):
    return "".join(f"data: {json.dumps(d)}\n\n" for d in documents) + "data: [DONE]\n"


CASES = {
    "vLLM": (VLLM, IN_VLLM),
    "vLLM in a terminal of 90 columns": (wrapped(VLLM, 90), IN_VLLM),
    "vLLM, quoted": ("".join(f"> {line}\n" for line in wrapped(VLLM, 120).split("\n")), IN_VLLM),
    "vLLM of docker compose, coloured": (
        "".join(f"web-1  | \x1b[36m(pid=1)\x1b[0m {line}\n" for line in VLLM.splitlines()),
        IN_VLLM,
    ),
    "vLLM through grep": (VLLM.replace("acceptance", "\x1b[01;31m\x1b[Kacceptance\x1b[m\x1b[K"), IN_VLLM),  # noqa: E501
    "vLLM, escapes without their first character": (VLLM.replace("INFO", "[1;36mINFO[0;0m"), IN_VLLM),  # noqa: E501
    "vLLM of a browser": (VLLM.replace(" ", "\u00a0"), IN_VLLM),
    "vLLM after a long start": ("Loading weights {x}\n" * 9000 + VLLM, IN_VLLM),
    "vLLM in JSON of docker": (
        "".join(json.dumps({"log": line}) + "\n" for line in VLLM.splitlines()), IN_VLLM
    ),
    "vLLM, cut": (VLLM + WINDOW[:150], {**IN_VLLM, "note": "1 entry was set aside: log, line 5"}),
    "vLLM, idle": (
        VLLM + WINDOW.replace("3.10", "nan").replace("2100", "0").replace("3000", "0"),
        {**IN_VLLM, "note": "idle: nothing was drafted"},
    ),
    "vLLM that began idle": (
        ENGINE + WINDOW + ENGINE.replace("Running: 4", "Running: 0")
        + ENGINE.replace("310.0", "3.1") + WINDOW + ENGINE + WINDOW,
        {"rounds": 3000, "round_ms": 40.0},
    ),
    "vLLM of several depths": (
        VLLM + WINDOW.replace(", 0.500", "").replace("2100", "1600").replace("3.10", "2.60")
        .replace("Drafted: 3000", "Drafted: 2000"),
        {"rounds": 3000, "accepted": 5800, "depth": 3, "depths": [2, 3]},
    ),
    "SGLang among vLLM": (
        VLLM + DECODE.format(n=1, speed=1), {**IN_VLLM, "note": "1 line of SGLang (sglang-log) not read"}  # noqa: E501
    ),
    "SGLang, first window idle": (SGLANG, {"depth": 3, "rows": 6, "round_ms": 20.0}),
    "SGLang, trimmed": (
        "[DP0] Decode batch, accept len: 2.80, accept rate: 0.60\n"
        "[DP1] Decode batch, accept len: 2.20, accept rate: 0.40\n",
        {"depth": 3, "rows": 2, "length": 2.5},
    ),
    "SGLang, idle": (
        DECODE.replace("req: 2", "req: 0").format(n=0, speed=0) + SGLANG, {"depth": 3, "rows": 6}
    ),
    "SGLang, adaptive": (
        SGLANG + DECODE.replace("0.60", "0.36").format(n=8, speed=280), {"depths": [3, 5]}
    ),
    "llama.cpp, mean len": (
        MEAN_LEN, {"rows": 1, "rounds": 50, "accepted": 60, "depth": 2, "round_ms": 40.0}
    ),
    "llama.cpp of May": (
        MAY,
        {"rows": 2, "rounds": 50, "accepted": 40, "depth": 2, "round_ms": 80.0, "draft_ms": 4.0},
    ),
    "llama.cpp, nothing accepted": (
        NOTHING, {"rounds": 20, "accepted": 0, "depth": 2, "round_ms": 40.0}
    ),
    "llama.cpp -v": (DEBUG, {"rows": 2, "rounds": 6, "accepted": 8, "depth": 3, "level": "rounds"}),
    "llama.cpp -v, restored": (RESTORED, {"rounds": 2, "accepted": 4, "depth": 3}),
    "llama.cpp with two drafters": (
        MEAN_LEN
        + "statistics ngram-mod: #calls(b,g,a) = 1 50 5, #gen drafts = 5, #gen tokens = 20, #acc "
        "tokens = 15, dur(b,g,a) = 0.1, 0.5, 0.1 ms\n"
        "statistics draft-mtp: #calls(b,g,a) = 1 45 45, #gen drafts = 45, #gen tokens = 80, #acc "
        "tokens = 45, dur(b,g,a) = 0.1, 180, 0.1 ms\n",
        {"rounds": 50, "note": "ngram-mod (5 drafts, accept length 4.00), draft-mtp (45 drafts"},
    ),
    "counters": (scrape(1), IN_SCRAPE),
    "counters without labels": (scrape(1, labels=""), IN_SCRAPE),
    "counters of a collector": (scrape(1, prefix="vllm_", end=""), IN_SCRAPE),
    "counters of a page": (scrape(1, space=" | "), IN_SCRAPE),
    "counters of llama.cpp": (scrape(1, prefix="llamacpp:"), IN_SCRAPE),
    "counters of the API": (json.dumps(API, indent=1), {"rounds": 100, "accepted": 150, "depth": 3}),  # noqa: E501
    "appended scrapes": (
        scrape(1) + scrape(2) + scrape(4), {"rounds": 300, "accepted": 450, "rows": 2}
    ),
    "scrapes of which one has no positions": (
        scrape(1).partition("vllm:spec_decode_num_accepted_tokens_per_pos")[0] + scrape(2),
        {"rounds": 100, "accepted": 150, "depth": 3, "note": "no counts by position"},
    ),
    "scrapes with a restart": (scrape(3) + scrape(4) + scrape(1), {"rounds": 200, "rows": 2}),
    "pretty JSON": ("\n".join(json.dumps(a, indent=2) for a in ANSWERS), IN_ANSWERS),
    "JSON without line ends": ("".join(map(json.dumps, ANSWERS)), IN_ANSWERS),
    "an array, an element per line": (
        "[\n" + ",\n".join(map(json.dumps, ANSWERS)) + "\n]\n", IN_ANSWERS
    ),
    "JSON behind a prefix": (
        "".join(f"app-1  | 10:00 reply {json.dumps(a)}\n" for a in ANSWERS), IN_ANSWERS
    ),
    "an answer without metrics": (
        "\n".join(map(json.dumps, [*ANSWERS, {"id": "d", "metrics": None}])),
        {**IN_ANSWERS, "note": "1 entry was set aside"},
    ),
    "server-sent events": (events(ANSWERS), IN_ANSWERS),
    "streamed chunks": (events(CHUNKS), IN_CHUNKS),
    "streamed chunks as lines": ("\n".join(map(json.dumps, CHUNKS)), IN_CHUNKS),
    "ATOM, shares": (
        "[MTP Stats] acceptance: 50.00%  avg toks/fwd: 2.50  dist 0/1/2/3: 30.0/20.0/20.0/30.0%\n",
        {"rounds": 1000, "hit": [700, 500, 300], "depth": 3, "note": "weighted as 1,000 rounds"},
    ),
    "oMLX, parked": (
        "MTP[3] finish=parked tokens=40 cycles=20 tok/cycle=1.45 accept=9/16 (56.2%) "
        "depth[d1=5/9,d2=3/5,d3=1/2] d0=11 timing[backbone=700.0ms mtp=80.0ms cache=20.0ms]\n",
        {"rounds": 20, "accepted": 9, "hit": [5, 3, 1], "round_ms": 40.0, "draft_ms": 4.0},
    ),
    "oMLX, another drafter": (
        "vlm_mtp stats: request=a-1 finish=stop rounds=100 accepted=120/200 (60.0%) emitted=220\n",
        {"rounds": 100, "accepted": 120, "depth": 2},
    ),
    "LM Studio": (
        json.dumps(
            {
                "stats": {
                    "predictedTokensCount": 90,
                    "tokensPerSecond": 60.0,
                    "totalDraftTokensCount": 80,
                    "acceptedDraftTokensCount": 50,
                }
            }
        ),
        {"rounds": 40, "accepted": 50, "depth": 2, "round_ms": 37.5},
    ),
    "Python dictionaries": ("\n".join(map(repr, ANSWERS)), IN_ANSWERS),
    "AIPerf, a request without drafts": (
        "".join(
            json.dumps({"spec_decode_acceptance": found}) + "\n"
            for found in (None, ANSWER["metrics"]["speculative_decoding"])
        ),
        {"rounds": 10, "accepted": 15, "note": "the request ran without drafts"},
    ),
    "SGLang, all accepted": (
        DECODE.replace("2.80", "4.00").replace("0.60", "1.00").format(n=1, speed=200),
        {"depth": 3, "length": 4.0},
    ),
    "SGLang's benchmark with the server's options": (
        json.dumps(
            {
                "accept_length": 2.8,
                "total_output_tokens": 2800,
                "mean_tpot_ms": 10.0,
                "server_info": {"internal_states": [{"speculative_num_steps": 3}]},
            }
        ),
        {"rounds": 1000, "depth": 3, "length": 2.8, "round_ms": 28.0},
    ),
    "a share of tokens": (
        '{"draft_share": 0.6, "depth": 3, "rounds": 100}', {"length": 2.5, "depth": 3}
    ),
    "a pooled rate": (
        '{"pooled_rate": 0.5, "depth": 3, "rounds": 100}', {"length": 2.5, "depth": 3}
    ),
    "a table with other names": (
        "request_id;num_accepted;num_draft_tokens;time_ms\n1;2;3;20,5\n1;0;3;19,5\n",
        {"rounds": 2, "accepted": 2, "depth": 3, "round_ms": 20.0},
    ),
}  # fmt: skip


def found_in(path, answers=None):
    log = read_logs([path], answers)
    times = round_times_of(log)
    return {
        "rows": log.count,
        "rounds": log.rounds.sum(),
        "accepted": log.accepted.sum(),
        "depth": log.depth,
        "depths": sorted(set(log.depths.tolist())),
        "hit": log.hit.sum(0).tolist(),
        "level": log.level,
        "length": pytest.approx(log.accept_length),
        "round_ms": pytest.approx(times.by_depth.get(log.depth, 0.0), rel=1e-3),
        "draft_ms": pytest.approx(times.draft or 0.0),
        "notes": log.notes,
    }


@pytest.mark.parametrize("case", CASES)
def test_lines(case, tmp_path):
    text, expected = CASES[case]
    (tmp_path / "log").write_text(text)
    found = found_in(tmp_path / "log")
    note = dict(expected).pop("note", "")
    assert any(note in known for known in found["notes"]) or not note
    assert {name: found[name] for name in expected if name != "note"} == {
        name: value for name, value in expected.items() if name != "note"
    }


@pytest.mark.parametrize("case", CASES)
def test_lines_in_small_batches(case, tmp_path, monkeypatch):
    """Lines, marks and documents end anywhere in a batch."""
    monkeypatch.setattr(files, "BATCH_CHARACTERS", 1)
    test_lines(case, tmp_path)


@pytest.mark.parametrize("width", range(60, 90))
def test_marks_cut_in_two_by_a_terminal(width, tmp_path):
    (tmp_path / "log").write_text(wrapped(VLLM, width))
    assert found_in(tmp_path / "log")["round_ms"] == 40.0


def test_counters_of_old_releases_need_a_depth(tmp_path):
    """Without the number of drafts, and with accepted tokens past a rejection."""
    lines = [
        f'vllm:spec_decode_num_{name}_tokens_total{{model_name="m"}} {n}.0\n'
        for name, n in (("accepted", 190), ("draft", 300), ("emitted", 250))
    ]
    (tmp_path / "log").write_text("".join(lines))
    with pytest.raises(InputError, match="--depth: counters without num_drafts do not state"):
        read_logs([tmp_path / "log"])
    found = found_in(tmp_path / "log", Answers(depth=3))
    assert (found["rounds"], found["accepted"]) == (100, 150)


@pytest.mark.parametrize(
    "text",
    [
        '{"speculative_decoding": {"total_accepted_draft_tokens": 30, "num_spec_steps": 20, '
        '"total_draft_tokens": 60, "num_spec_tokens": 3}}',
        "Speculative metrics: Number of speculative tokens: 3, Number of accepted tokens: 30, "
        "Number of draft tokens: 60, Number of emitted tokens: 50.",
    ],
)
def test_another_depth_than_the_stated_one_is_refused(text, tmp_path):
    (tmp_path / "log").write_text(text)
    assert found_in(tmp_path / "log", Answers(depth=3))["accepted"] == 30
    with pytest.raises(InputError, match="no entry has depth 5; 1 entry has depth 3"):
        read_logs([tmp_path / "log"], Answers(depth=5))


@pytest.mark.parametrize(
    "data",
    [
        VLLM.encode("utf-16"),
        VLLM.encode("utf-16-le"),
        "模型加载完成\n".encode("gbk") + VLLM.encode(),
        b"token: \xe6\x88\n" + VLLM.encode(),
        VLLM.encode() + WINDOW.encode("utf-16-le"),
    ],
    ids=["utf-16", "without a mark", "gbk", "half a character", "appended by a shell"],
)
def test_encodings(data, tmp_path):
    (tmp_path / "log").write_bytes(data)
    assert found_in(tmp_path / "log")["rounds"] in (2000, 3000)


def test_a_depth_of_several_is_selected(tmp_path):
    (tmp_path / "log").write_text(CASES["vLLM of several depths"][0])
    assert found_in(tmp_path / "log", Answers(depth=2))["accepted"] == 1600
    assert found_in(tmp_path / "log", Answers(depth=3))["accepted"] == 4200


def test_a_drafter_of_two_is_selected(tmp_path):
    (tmp_path / "log").write_text(CASES["llama.cpp with two drafters"][0])
    found = found_in(tmp_path / "log", Answers(model="draft-mtp"))
    assert (found["rounds"], found["accepted"], found["draft_ms"]) == (45, 45, 4.0)
    with pytest.raises(InputError, match=r"no drafter 'mtp'; there are ngram-mod, draft-mtp"):
        read_logs([tmp_path / "log"], Answers(model="mtp"))


def test_lines_of_april_2025_need_a_depth(tmp_path):
    line = "SpecDecoding metrics: Draft acceptance rate: 60.0%, Accepted: 18 tokens, Drafted: 30 tokens"  # noqa: E501
    (tmp_path / "log").write_text(line)
    with pytest.raises(InputError, match="--depth: the log does not state"):
        read_logs([tmp_path / "log"])
    assert found_in(tmp_path / "log", Answers(depth=3))["rounds"] == 10


def test_a_rate_of_two_definitions_is_asked_for(tmp_path):
    """1.5 / 3 and 2.5 / 5 are both 0.50: depth 3 since April 2026, 4 before."""
    line = "Decode batch, #running-req: 1, accept len: 2.50, accept rate: 0.50"
    (tmp_path / "log").write_text(line)
    with pytest.raises(InputError, match=r"depth of 3 \(releases since April 2026\) and of 4"):
        read_logs([tmp_path / "log"])
    for date, depth in (("2026-05-02", 3), ("2025-05-02", 4)):
        (tmp_path / "log").write_text(f"[{date} 10:00:00] {line}")
        assert found_in(tmp_path / "log")["depth"] == depth


def test_a_pipe_and_stdin(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(VLLM,))
    writer.start()
    assert found_in(pipe)["rounds"] == 2000
    writer.join()
    stdin = io.TextIOWrapper(io.BytesIO(VLLM.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert read_logs([files.STDIN]).rounds.sum() == 2000
