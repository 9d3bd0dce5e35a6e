"""The cost model ``steps``: times by hand, files of engines, and the keys of all cost models."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

import mtpsim
from mtpsim.config.experiment import parse
from mtpsim.config.hashing import content_hash, to_toml
from mtpsim.latency import AnyLatency
from mtpsim.latency.experts import experts_hit
from tests.support.examples import independent, problem_of

TOKENS, MS = [1, 8, 64, 256, 1024], [5.11, 5.35, 7.9, 11.3, 20.63]
VERIFY = {"tokens": TOKENS, "ms": MS, "limit": 1024, "beyond": 104}
DRAFT = {"requests": [1, 16, 64], "ms": [0.9, 1.3, 2.3]}
SGLANG = (
    "[2026-09-01 10:00:00 TP0] DSpark SPS table derived from 3 verify tiers and 2 draft batch "
    "sizes in 5.56 s; the verify budget is now scheduled. Verify cost (tokens: ms) 8: 8.71, "
    "16: 8.77, 1024: 42.34. Draft cost (requests: ms) 1: 1.74, 128: 7.37. Unset "
    "SGLANG_DSPARK_ENABLE_CAPTURE_DERIVED_SPS to restore verify-all.\n"
)
PROFILE = json.dumps(
    {
        "draft_curve": [[1, 0.883], [8, 1.071]],
        "factors": {"profile": {"capture_sizes": [1, 8, 1024], "context_len": 8192}},
        "verify_curve": [[1, 5.11], [8, 5.35], [1024, 20.63], [1537, 104.5]],
    }
)
ARRAYS = (
    "DEBUG 08-20 10:00:00 [adaptive_verification.py:237] DSpark cost tables: (array([0.9, 0.9, "
    "1.1]), array([5.1, 5.1, 5.3,\n       5.4]))\n"
)


def steps(**keys):
    given = {"model": "steps", "verify": VERIFY, "draft": DRAFT, **keys}
    return TypeAdapter(AnyLatency).validate_python(given)


def verify_times(verify, batch, depth):
    return steps(verify=verify, batch=batch).times(depth)[0].tolist()


def test_times_are_those_of_as_many_tokens():
    found = steps(batch=8).compile(7)
    assert found.verify[0] == 5.35
    assert found.verify[7] == 7.9
    assert found.verify[3] == pytest.approx(5.35 + (32 - 8) / (64 - 8) * (7.9 - 5.35))
    assert found.draft[1:] == pytest.approx([0.9 + 7 / 15 * 0.4] * 7)


def test_graphs_end_at_the_limit_and_nothing_is_interpolated_across_it():
    slope = (20.63 - 11.3) / 768
    assert verify_times(VERIFY, 128, 8)[7:] == [20.63, 104]
    larger = verify_times(VERIFY, 2048, 4)
    assert larger[4] == pytest.approx(20.63 + slope * (10240 - 1024))  # above the 104 ms
    measured = {"tokens": [*TOKENS, 1537, 4097], "ms": [*MS, 104.5, 133.5], "limit": 1024}
    assert verify_times(measured, 128, 8)[8] == 104.5
    assert verify_times(measured, 1537, 1)[1] == pytest.approx(104.5 + 29 * 1537 / 2560)


def test_without_a_limit_the_last_slope_continues():
    table = {"tokens": [1, 10, 20], "ms": [4, 5, 7]}
    assert verify_times(table, 10, 3) == pytest.approx([5, 7, 9, 11])
    falling = {"tokens": [1, 10, 20], "ms": [4, 7, 6]}
    assert verify_times(falling, 10, 2) == [7, 6, 6]


def test_padded_passes_take_the_time_of_the_next_measured_tokens():
    padded = {**VERIFY, "padded": True}
    assert verify_times(padded, 3, 3) == [5.35, 5.35, 7.9, 7.9]
    assert verify_times(padded, 1024, 0) == [20.63]


def test_times_that_never_fall():
    table = {"tokens": [1, 2, 3, 4], "ms": [5, 9, 7, 10]}
    assert verify_times(table, 1, 3) == [5, 9, 7, 10]
    assert verify_times({**table, "monotone": True}, 1, 3) == [5, 9, 9, 10]


def test_rows_by_requests_are_interpolated():
    table = {"tokens": [4, 64], "requests": [1, 5], "ms": [[5, 6], [7, 12]]}
    assert verify_times(table, 1, 3)[3] == 5
    assert verify_times(table, 5, 0)[0] == pytest.approx(7 + 5 / 60)
    assert verify_times(table, 3, 0)[0] == 6
    assert verify_times(table, 16, 3)[3] == 12
    each = {**VERIFY, "per_request": 0.075}
    assert verify_times(each, 64, 0)[0] == pytest.approx(7.9 + 64 * 0.075)


def test_context_is_read_once_or_by_each_token():
    once = {**VERIFY, "per_cached": 4e-5}
    plain, read = steps(batch=8), steps(batch=8, cached=5000, verify=once)
    assert read.times(7)[0] - plain.times(7)[0] == pytest.approx(8 * 5000 * 4e-5)
    each = steps(batch=8, cached=5000, verify={**VERIFY, "per_cached_token": 4e-5})
    assert each.times(7)[0] - plain.times(7)[0] == pytest.approx(1.6 * np.arange(1, 9))


@pytest.mark.parametrize(
    ("draft", "times"),
    [
        ({"requests": [1, 9], "ms": [1, 5]}, [3, 3]),
        ({"requests": [1, 9], "ms": [1, 5], "per_token": True}, [3, 6]),
        ({"requests": [1, 9], "ms": [[1, 5], [2, 10]]}, [3, 6]),
        ([0.5, 0.8], [0.5, 0.8]),
        ({"base": 1, "per_token": 2}, [3, 5]),
        (2.5, [2.5, 2.5]),
    ],
)
def test_drafting_by_requests_and_depth(draft, times):
    assert steps(draft=draft, batch=5).times(2)[1].tolist() == [0, *times]


@pytest.mark.parametrize(
    ("text", "tokens", "ms", "requests", "draft"),
    [
        (SGLANG, [8, 16, 1024], [8.71, 8.77, 42.34], [1, 128], [1.74, 7.37]),
        ("an earlier start\n" + SGLANG.replace("8.71", "9.99") + SGLANG,
         [8, 16, 1024], [8.71, 8.77, 42.34], [1, 128], [1.74, 7.37]),
        (PROFILE, [1, 8, 1024, 1537], [5.11, 5.35, 20.63, 104.5], [1, 8], [0.883, 1.071]),
        (ARRAYS, [1, 2, 3], [5.1, 5.3, 5.4], [1, 2], [0.9, 1.1]),
    ],
)  # fmt: skip
def test_tables_of_engines(text, tokens, ms, requests, draft, tmp_path):
    (tmp_path / "start.log").write_text(text)
    file = str(tmp_path / "start.log")
    found = steps(verify={"file": file}, draft={"file": file})
    given = steps(
        verify={"tokens": tokens, "ms": ms}, draft={"requests": requests, "ms": draft}, batch=1
    )
    for batch in (1.0, 5.0, 90.0):
        assert np.array_equal(found.at_batch(batch, 7), given.at_batch(batch, 7))


def test_tables_of_csv_files(tmp_path):
    (tmp_path / "verify.csv").write_text("tokens;requests;ms\n4;1;5\n64;1;6\n5;5;7\n65;5;12\n")
    (tmp_path / "draft.csv").write_text("num_reqs,k,draft_ms\n1,1,1\n9,1,5\n1,2,2\n9,2,10\n\n")
    files = {"verify": {"file": str(tmp_path / "verify.csv")}}
    files["draft"] = {"file": str(tmp_path / "draft.csv")}
    verify, draft = steps(**files, batch=5).times(2)
    assert verify[0] == 7
    assert draft.tolist() == [0, 3, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has neither the columns tokens and ms nor an engine's table of tokens"),
        ("a,b\n1,2\n", "has neither the columns tokens and ms"),
        ("tokens,ms\n", "has a header but no times"),
        ("tokens,ms\n1,2\n3,x\n", "f:3: 2 numbers are needed"),
        ("tokens,ms\n1,2\n1,3\n", "f:3: tokens 1 is given twice"),
        ("tokens,ms\n1.5,2\n", "f:2: 2 numbers are needed"),
        ("tokens,ms\n1,0\n", "counts must be at least 1, and times positive and finite"),
        ("DSpark cost tables: (array([1., 2.]), array([0.1, 0.2, ..., 3.]))",
         "vLLM shortened the table of tokens to '...'"),
    ],
)  # fmt: skip
def test_files_without_times(text, message, tmp_path):
    (tmp_path / "f").write_text(text)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        steps(verify={"file": str(tmp_path / "f")})


def toml(latency):
    body = "\n".join(f"{key} = {value}" for key, value in latency.items())
    return f'{independent(0.8, 0.7, 0.6)}[latency]\nmodel = "steps"\n{body}\n'


GIVEN = {"verify": "{ tokens = [1, 9], ms = [5, 6] }", "draft": 1}


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"verify": "{ tokens = [1, 9] }"}, "latency.verify.ms", "is missing"),
        ({"verify": "{ ms = [1, 9] }"}, "latency.verify.tokens", "is missing"),
        ({"verify": "{ tokens = [9, 1], ms = [5, 6] }"}, "latency.verify.tokens", "ascend"),
        ({"verify": "{ tokens = [1, 9], ms = [5] }"}, "latency.verify.ms", "1 time is given for 2"),
        ({"verify": "{ tokens = [1, 9], ms = [[5, 6]] }"}, "latency.verify.requests", "missing"),
        ({"verify": "{ tokens = [1], requests = [1, 2], ms = [[5]] }"}, "latency.verify.ms",
         "1 rows for 2 requests"),
        ({"verify": "{ tokens = [1], requests = [1], ms = [5] }"}, "latency.verify.ms",
         "one list is given"),
        ({"verify": "{ tokens = [1, 9], ms = [5, 6], beyond = 9 }"}, "latency.verify.beyond",
         "needs `limit`"),
        ({"verify": "{ tokens = [1, 9], ms = [5, 6], limit = 9 }"}, "latency.verify.limit",
         "give `beyond`"),
        ({"verify": "{ tokens = [5, 9], ms = [5, 6], limit = 2 }"}, "latency.verify.limit",
         "only 5"),
        ({"verify": "{ tokens = [1, 9], ms = [5, 6], limit = 2, beyond = 9 }"},
         "latency.verify.beyond", "give one of both"),
        ({"verify": '{ file = "a.csv", ms = [5, 6] }'}, "latency.verify", "give only one of file"),
        ({"draft": "{ requests = [1], ms = [[5], [6]] }"}, "latency.draft", "depths 1 to 2"),
        ({"draft": "[1, 2]"}, "latency.draft", "2 times are given"),
        ({"verify": "{ token = [1, 9], ms = [5, 6] }"}, "latency.verify.token",
         "did you mean 'tokens'?"),
        ({"draft": "{ requests = [1], ms = [5], base = 3 }"}, "latency.draft.base",
         "unknown key; allowed: ms, file, requests, per_token"),
        ({"draft": "{ requests = [1], ms = ['a'] }"}, "latency.draft.ms[0]", "must be a number"),
        ({"verify": '{ file = "absent.csv" }'}, "latency.verify", "can't read absent.csv"),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused(change, key, message):
    problem = problem_of(toml(GIVEN | change))
    assert key in problem
    assert message in problem


def test_times_that_a_pass_hardly_takes_are_warned_of():
    falling = {"tokens": [1, 8, 16], "ms": [5.0, 3.0, 2.0]}
    (warning,) = steps(verify=falling).warnings()
    assert warning.startswith("latency.verify: 8 tokens take 3 ms, fewer (1) take 5 ms; monotone")
    assert steps(verify=falling | {"monotone": True}).warnings() == []
    rising = {"tokens": [1, 8, 16], "ms": [5.0, 7.0, 6.99], "limit": 16}
    (warning,) = steps(verify=rising | {"beyond": 1.0}).warnings()
    assert warning == (
        "latency.verify.beyond: 1 ms is less than the 6.99 ms of 16 tokens, so it has no effect"
    )
    assert steps(verify=rising | {"beyond": 9.0}).warnings() == []


def test_an_experiment_of_a_file_is_hashed_by_its_contents(tmp_path):
    (tmp_path / "v.csv").write_text("tokens,ms\n1,5\n9,6\n")
    path = tmp_path / "e.toml"
    path.write_text(toml(GIVEN | {"verify": '{ file = "v.csv" }', "batch": 3}))
    found = mtpsim.load(path)
    assert found == mtpsim.load(path)
    assert parse(to_toml(found)).latency.times(3)[0].tolist() == found.latency.times(3)[0].tolist()
    before = content_hash(found)
    (tmp_path / "v.csv").write_text("tokens,ms\n1,5\n9,7\n")
    assert content_hash(mtpsim.load(path)) != before


def test_depths_beyond_the_graphs_and_the_table_are_warned_of():
    limit = "{ tokens = [1, 16, 40], ms = [5, 6, 30], limit = 16 }"
    (warning,) = parse(toml(GIVEN | {"verify": limit, "batch": 6})).time_warnings()
    assert "verifies 24 tokens, and graphs end at 16: depth 1 is the last" in warning
    (warning, *_) = parse(toml(GIVEN | {"verify": limit, "batch": 20})).time_warnings()
    assert "graphs end at 16: none does" in warning
    (warning,) = parse(toml(GIVEN | {"batch": 4})).time_warnings()
    assert "of up to 9 tokens were measured" in warning
    assert parse(toml(GIVEN | {"batch": 2})).time_warnings() == []
    jump = "{ tokens = [1, 16, 40], ms = [5, 6, 60], limit = 16 }"  # no slip of units
    (warning,) = parse(toml(GIVEN | {"verify": jump, "batch": 6})).time_warnings()
    assert "graphs end" in warning


def test_passes_of_a_server_beyond_the_graphs_are_warned_of():
    serving = "[serving]\narrivals = { rate = 1.0 }\nprompt = 9\noutput = 9\nmax_tokens = "
    limit = "{ tokens = [1, 16, 40], ms = [5, 6, 8], limit = 16 }"
    for most, said in ((16, []), (40, ["graphs end at 16"]), (41, ["graphs end", "of up to 40"])):
        text = toml(GIVEN | {"verify": limit}) + f"{serving}{most}\nmax_requests = 8\n"
        found = parse(text).time_warnings()
        assert len(found) == len(said)
        assert all(part in warning for part, warning in zip(said, found, strict=True))


def test_check_states_the_table():
    text = "\n".join(steps(batch=64, cached=100, draft_overlap=True, ranks=2).describe())
    assert "batch of 64 over 2 ranks" in text
    assert "measured at 1 to 1,024 tokens, linear between; graphs end at 1,024 tokens" in text
    assert "beyond it 104 ms or more" in text
    assert "measured at 1 to 64 requests, during the verify" in text


def test_drafting_during_the_verify_takes_the_longer_of_both():
    together, apart = steps(batch=8, draft_overlap=True), steps(batch=8)
    assert together.compile(3).round_time.tolist() == apart.times(3)[0].tolist()
    slow = steps(draft=50, batch=8, draft_overlap=True).compile(3)
    assert slow.round_time == pytest.approx([5.35, 50, 50, 50])


def test_the_fullest_rank_sets_the_times():
    assert np.array_equal(steps(batch=9, ranks=4).times(3), steps(batch=3).times(3))
    assert np.array_equal(steps(batch=8.5, ranks=1).times(3), steps(batch=8.5).times(3))


def test_neighbouring_tokens_share_experts():
    """Measured: two tokens read 1.74 times the experts of one, not 1.94."""
    one, two = experts_hit(64, 4, np.array([1.0, 2.0]), 1.0, 0.257)
    assert (one, two / one) == pytest.approx((4, 2 - 0.257))
    by_chance = experts_hit(64, 4, np.array([2.0]))
    assert by_chance == pytest.approx(4 * (2 - 4 / 64))
    assert experts_hit(64, 4, np.array([6.0]), 2.0, 4 / 64) == pytest.approx(
        experts_hit(64, 4, np.array([6.0]))
    )
    rng = np.random.default_rng(5)
    hit = [len(_chosen(rng, tokens=6)) for _ in range(4000)]
    error = np.std(hit) / np.sqrt(len(hit))
    assert np.mean(hit) == pytest.approx(experts_hit(64, 4, np.array([6.0]), 1.0, 0.257)[0],
                                         abs=4 * error)  # fmt: skip


def _chosen(rng, tokens, experts=64, active=4, overlap=0.257):
    """Experts of a request whose tokens choose each expert by a two-state chain."""
    share, chosen = active / experts, set()
    now = rng.random(experts) < share
    for _ in range(tokens):
        chosen |= set(np.flatnonzero(now))
        enter = share * (1 - overlap) / (1 - share)
        now = rng.random(experts) < np.where(now, overlap, enter)
    return chosen


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"expert_overlap": 0.3, "active": 40},
            "40 of 64 experts share at least 0.4",
        ),
        ({"expert_overlap": 1.5}, "less than or equal"),
    ],
)
def test_an_impossible_overlap_is_refused(keys, message):
    moe = {"model": "moe", "base": 1, "per_expert": 0.1, "experts": 64, "active": 4}
    with pytest.raises(ValueError, match=message):
        TypeAdapter(AnyLatency).validate_python({**moe, "per_token": 0, "draft": 1, **keys})
