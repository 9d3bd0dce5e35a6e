"""Malformed, truncated, mixed or incomplete logs are refused with a message."""

import json

import numpy as np
import pytest

from mtpsim.common.errors import InputError
from mtpsim.logs import Answers, read_logs
from mtpsim.logs.write import WRITERS
from tests.support.engine_logs import GOOD, refused, written


def test_definition_of_rates_is_inferred_or_required(tmp_path):
    bare = {"rates": [0.8, 0.7], "rounds": 1000}
    message = refused(tmp_path, json.dumps(bare))
    assert "--rates-are: " in message
    assert "survival rates (accept length 2.5) or conditional rates (2.36)" in message
    path = tmp_path / "log"
    for stated, hits in (
        ({"rates_are": "survival"}, [800, 700]),
        ({"rates_are": "conditional"}, [800, 560]),
        ({"accept_length": 2.5}, [800, 700]),
        ({"accept_length": 2.36}, [800, 560]),
    ):
        path.write_text(json.dumps({**bare, **stated}))
        assert read_logs([path]).hit.tolist() == [hits]
    path.write_text(json.dumps({"rates": [0.7, 0.8], "rounds": 1000}))  # survival never rises
    assert read_logs([path]).hit.tolist() == [[700, 560]]
    path.write_text(json.dumps({"nextn_accept_rates": [0.8, 0.7]}))
    assert "--rounds" in refused(tmp_path, None)
    assert read_logs([path], Answers(rounds=100)).hit.tolist() == [[80, 56]]
    assert "2.2 is stated" in refused(tmp_path, json.dumps({**bare, "accept_length": 2.2}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec_verify_ct": 44}, "sum(histogram) is 43, but rounds is 44"),
        ({"spec_num_correct_drafts": 62}, "sum(j x histogram[j]) is 63, but accepted drafts is 62"),
        ({"spec_num_proposed_drafts": 60}, "60"),
        ({"spec_verify_ct": -43}, "'spec_verify_ct' is -43; a count can't be negative"),
        ({"spec_verify_ct": "43"}, "'spec_verify_ct' is '43'; it must be a whole number"),
        ({"spec_correct_drafts_histogram": [54, -11]}, "has the negative count -11"),
        ({"completion_tokens": 400}, "make 106 tokens, but completion_tokens is 400"),
        ({"spec_accept_length": 3.0}, "spec_accept_length is 3, but 106 tokens in 43"),
    ],
)
def test_inconsistent_entries_are_reported_with_their_line(tmp_path, changes, message):
    text = json.dumps(GOOD) + "\n" + json.dumps({**GOOD, **changes}) + "\n"
    found = refused(tmp_path, text, "log.jsonl")
    assert "log.jsonl:2: " in found
    assert message in found
    log = read_logs([tmp_path / "log.jsonl"], skip_bad=True)
    assert (log.files[0].entries, log.files[0].skipped) == (1, 1)


def test_flags_are_no_counts(tmp_path):
    rounds = {"accepted": [True, False] * 200, "drafted": [1] * 400}
    assert "'accepted' has True; counts must be whole" in refused(tmp_path, json.dumps(rounds))


def test_a_damaged_histogram_in_a_finish_line_is_reported_with_its_line(tmp_path):
    line = (
        "Finish: obj=GenerateReqInput(), out={'meta_info': {'completion_tokens': 60, "
        "'spec_verify_ct': 17, 'spec_correct_drafts_histogram': [2, 3, 2, 10]}}\n"
    )
    message = refused(tmp_path, line + line.replace("3, 2", "3,, 2"), "server.log")
    assert "server.log:2: malformed number" in message


def test_truncated_last_line(requests, tmp_path):
    text = "".join(WRITERS["vllm-requests"](requests))[:-100]
    (tmp_path / "log").write_text(text)
    log = read_logs([tmp_path / "log"])
    assert (log.count, log.files[0].skipped) == (39, 1)
    assert "1 entry was set aside: log, line 40: is truncated" in log.notes


def test_reading_stops_at_the_tenth_problem(tmp_path):
    bad = json.dumps({**GOOD, "spec_verify_ct": 44})
    found = refused(tmp_path, "\n".join([bad] * 30))
    assert len(found.splitlines()) == 10
    assert "--skip-bad" in found
    assert "no entry has a round" in refused(tmp_path, None, skip_bad=True)


def test_engines_can_not_be_mixed(requests, tmp_path):
    one = written(tmp_path, "vllm-requests", requests, "one")
    two = written(tmp_path, "sglang-requests", requests, "two")
    with pytest.raises(InputError, match=r"one is of vLLM, .*two is of SGLang"):
        read_logs([one, two])
    mixed = one.read_text() + two.read_text().splitlines()[0]
    message = refused(tmp_path, mixed)
    assert "log:41: no metrics of a request's speculative decoding found" in message
    assert "it is of SGLang" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("hello\n", "unknown log format; --format NAME selects one of"),
        ("hello\n", '{"rates": [0.8, 0.6, 0.4], "rates_are": "survival", "rounds": 1000},'),
        ('{"timings": {"predicted_n": 9}}', "the server ran without speculative decoding"),
        ("# TYPE other:tokens counter\nother:tokens 3\n", "Prometheus text, first metric other:"),
        ("requests,accepted\na,1\n", "column 'request' is missing; did you mean 'requests'?"),
        ("request;accepts\na;1\n", "column 'accepted' is missing; did you mean 'accepts'?"),
        ("request;accepted;seconds\na;1;x\n", "'x' is given for 'seconds'; it must be a number"),
        ("Engine 000: Avg generation throughput: 50.1 tokens/s", "runs with --speculative-config"),
        ('vllm:num_requests_running{engine="0"} 3', "`vllm:spec_decode_num_drafts` if"),
        ("Decode batch. #running-req: 1", "looks like a SGLang log without speculative decoding"),
        ("request,accepted,drafted\na,4,3\n", "log:2: accepted 4 of 3 drafts"),
        ("request,accepted\na,x\n", "log:2: 'x' is given for 'accepted'"),
        ("request,accepted\na\n", "log:2: has 1 cell, but the header has 2"),
        (
            '{"accepted": [1, 2]}',
            "log: --depth: the log does not state the number of drafts per round",
        ),
        ('{"accepted": [1], "seconds": [-1]}', "'seconds' must be above 0"),
        (
            '{"timings": {"predicted_n": 20, "draft_n_accepted": 5}}',
            "log: --depth: the log does not",
        ),
        ('{"timings": {"predicted_n": 2, "draft_n_accepted": 5}}', "only 2 tokens were generated"),
        (
            '{"rounds": 10, "accepted": 21, "depth": 2}',
            "21 drafts are accepted in 10 rounds of depth 2: at most 20 are possible",
        ),
        (
            '{"rounds": 10, "accepted": 5, "drafted": 30, "depth": 2}',
            "30 drafts are proposed in 10 rounds of depth 2: at most 20 are possible",
        ),
        ('{"rounds": 10, "accepted": 9, "drafted": 8, "depth": 2}', "9 drafts are accepted of 8"),
        ('{"rounds": 10, "accepted": 9, "drafted": 8}', "9 drafts are accepted of 8"),
        ("SpecDecoding metrics: Mean acc", "no entry has a round (log, line 1: truncated line"),
        ("[" * 50_000, "unknown log format"),
    ],
)
def test_bad_logs(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_problems_are_data(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"accepted": [1, 2]}')
    with pytest.raises(InputError) as caught:
        read_logs([path])
    (problem,) = caught.value.problems
    assert (problem.kind, problem.key, problem.file) == ("missing", "--depth", str(path))


def test_files_that_can_not_be_read(tmp_path):
    (tmp_path / "log.jsonl").write_text("{}")
    assert "No such file or directory; did you mean 'log.jsonl'?" in refused(
        tmp_path, None, "logs.jsonl"
    )
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00a" * 9)
    assert "unknown log format" in refused(tmp_path, None, "bytes")
    assert "--format: unknown format 'vllm-request'" in refused(
        tmp_path, "{}", format="vllm-request"
    )
    assert "did you mean 'vllm-requests'?" in refused(tmp_path, "{}", format="vllm-request")


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_damaged_logs_are_refused_or_plausible(form, requests, tmp_path):
    """Text deleted, repeated and replaced: no traceback, and no impossible counts."""
    rng = np.random.default_rng(len(form))
    whole = "".join(WRITERS[form](requests[:6]))
    path = tmp_path / "log"
    alphabet = list('0123456789-.,:"{}[]enul \n')
    for _ in range(60):
        text = list(whole)
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(len(text)))
            kind = rng.integers(4)
            if kind == 0:
                text[at] = str(rng.choice(alphabet))
            elif kind == 1:
                del text[at : at + int(rng.integers(1, 40))]
            elif kind == 2:
                text[at:at] = text[: int(rng.integers(1, 60))]
            else:
                text[at:at] = [str(rng.choice(["-1", "null", "1e999", "NaN", "[]", "{}"]))]
            text = text or ["x"]
        path.write_text("".join(text))
        for skip in (False, True):
            try:
                log = read_logs([path], Answers(depth=3, rounds=5), skip_bad=skip)
            except InputError:
                continue
            assert np.isfinite(log.accept_length)
            assert (log.hit <= log.reached).all()
            assert (log.reached >= 0).all()


def test_hint_is_given_with_a_selected_format_too(tmp_path):
    found = refused(tmp_path, "Avg generation throughput: 50.1 tokens/s", format="vllm-log")
    assert "no entry has a round: it looks like a vLLM log without speculative decoding" in found
