"""Logs of every engine: readers recover what writers wrote."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import zstandard

import mtpsim
from mtpsim.cli.main import main
from mtpsim.cli.sample import sample_requests
from mtpsim.common.errors import InputError
from mtpsim.fit.round_times import round_times_of
from mtpsim.logs import FORMATS, Answers, detect, read_logs
from mtpsim.logs.reservoir import Reservoir
from mtpsim.logs.write import WRITERS
from tests.support.engine_logs import EXPERIMENT, GOOD, refused, windows, written

READ_BY = {
    "vllm-requests-summary": "vllm-requests",
    **dict.fromkeys(("vllm-log-old", "vllm-log-2025"), "vllm-log"),
    **dict.fromkeys(
        ("llamacpp-log-current", "llamacpp-log-debug", "llamacpp-log-may"), "llamacpp-log"
    ),
    "sglang-requests-older": "sglang-requests",
    "sglang-requests-oldest": "sglang-requests",
}
LEVEL = {
    **dict.fromkeys(("vllm-requests", "rounds", "csv", "llamacpp-log-debug"), "rounds"),
    "vllm-requests-summary": "histogram by draft length",
    **dict.fromkeys(
        (
            "sglang-requests",
            "sglang-requests-older",
            "sglang-finish",
            "trtllm-requests",
            "aiperf-requests",
            "aiperf-summary",
            "histogram",
        ),
        "histogram",
    ),
    **dict.fromkeys(
        (
            *("vllm-log", "vllm-log-2025", "vllm-metrics", "vllm-bench", "vllm-console"),
            *(
                "vllm-offline",
                "llamacpp-log",
                "llamacpp-metrics",
                "spec-bench",
                "atom-log",
                "omlx-log",
            ),
            "rates",
        ),
        "positions",
    ),
}
ROUND_TIMES = {
    *("vllm-log", "vllm-bench", "vllm-console", "sglang-bench", "sglang-console", "sglang-sweep"),
    *("specforge", "trtllm-stats", "llamacpp-timings", "llamacpp-log", "llamacpp-log-current"),
    *("llamacpp-log-debug", "llamacpp-log-may", "llamacpp-example", "mtp-bench", "spec-bench"),
    *("lmstudio", "omlx-log", "table"),
}
DEPTH_GIVEN = ("sglang-bench", "sglang-console")


@pytest.mark.parametrize("form", [f for f in WRITERS if f != "sglang-steps"])
def test_round_trip(form, requests, tmp_path):
    path = written(tmp_path, form, requests)
    assert detect(path).name == READ_BY.get(form, form)
    log = read_logs([path], Answers(depth=3 if form in DEPTH_GIVEN else None))
    assert log.level == LEVEL.get(form, "totals")
    assert log.depth == 3
    rounds, hits = sum(r.rounds for r in requests), sum(r.hits for r in requests)
    if form == "sglang-log":  # no counts: windows have equal weight
        assert log.accept_length == pytest.approx(1 + hits / rounds, abs=0.02)
        return
    assert (log.rounds.sum(), log.accepted.sum()) == (rounds, hits)
    if form in ROUND_TIMES:
        times = round_times_of(log).by_depth
        assert times[3] == pytest.approx(np.mean([t for r in requests for t in r.times]), rel=0.01)
    if form == "vllm-offline":  # two digits by position
        assert log.hit.sum(0) == pytest.approx(
            [sum(a >= j for r in requests for a in r.accepted) for j in (1, 2, 3)], rel=0.02
        )
        return
    if log.level == "totals":
        return
    survived = [sum(a >= j for r in requests for a in r.accepted) for j in (1, 2, 3)]
    assert log.hit.sum(0).tolist() == survived
    assert log.reached.sum(0).tolist() == [rounds, *survived[:2]]
    if log.unit == "request":
        assert log.rounds.tolist() == [r.rounds for r in requests]
        assert log.hit[:, 0].tolist() == [sum(a >= 1 for a in r.accepted) for r in requests]


@pytest.mark.parametrize("form", ["vllm-requests", "rounds", "csv"])
def test_rounds_in_order(form, requests, tmp_path):
    log = read_logs([written(tmp_path, form, requests)])
    found = np.split(log.sequence.accepted, log.sequence.offsets[1:-1])
    assert [part.tolist() for part in found] == [r.accepted for r in requests]
    assert set(log.sequence.drafted) == {3}
    assert log.sequence.subset(np.array([2, 0])).accepted.tolist() == (
        requests[2].accepted + requests[0].accepted
    )


@pytest.mark.parametrize("form", ["rounds", "csv", "vllm-bench", "aiperf-requests"])
def test_times_of_rounds(form, requests, tmp_path):
    log = read_logs([written(tmp_path, form, requests)])
    (times,) = log.times.by_depth.values()
    assert times == pytest.approx([t for r in requests for t in r.times], rel=1e-6)


def test_times_of_unknown_depth_are_of_the_depth_of_the_log(tmp_path):
    """Seven drafts in four rounds."""
    found = {"num_accepted_draft_tokens": 3, "num_draft_tokens": 7, "num_spec_steps": 4}
    record = {**found, "acceptance_histogram": {"0": 2, "1": 1, "2": 1}}
    chunks = {"inter_chunk_latency": {"value": [9.0, 10.0, 11.0, 12.0], "unit": "ms"}}
    (tmp_path / "log").write_text(json.dumps({"metrics": chunks, "spec_decode_acceptance": record}))
    log = read_logs([tmp_path / "log"])
    assert log.depth == 2
    assert {k: v.tolist() for k, v in log.times.by_depth.items()} == {2: [9.0, 10.0, 11.0, 12.0]}


def test_throughputs_of_a_written_line_are_in_the_ratio_of_its_tokens(requests, tmp_path):
    text = written(tmp_path, "vllm-log", requests).read_text()
    generated, length, accepted, drafted, hits, drafts = (
        np.array(re.findall(name + r": ([\d.]+)", text), float)
        for name in (
            "generation throughput",
            "acceptance length",
            "Accepted throughput",
            "Drafted throughput",
            "Accepted",
            "Drafted",
        )
    )
    assert accepted == pytest.approx(generated * (length - 1) / length, rel=0.01)
    assert drafted / accepted == pytest.approx(drafts / hits, rel=1e-3)


def test_one_path_or_several_as_text_or_path(requests, tmp_path):
    path = written(tmp_path, "csv", requests)
    counts = [read_logs(given).count for given in (path, str(path), [path], [str(path)])]
    assert counts == [len(requests)] * 4


def test_times_of_steps_by_batch(requests, tmp_path):
    log = read_logs([written(tmp_path, "sglang-steps", requests)])
    assert log.times.by_batch[1] == pytest.approx([t for r in requests for t in r.times])
    assert log.count == 0


@pytest.mark.parametrize("form", ["llamacpp-timings", "aiperf-requests"])
def test_times_of_requests(form, requests, tmp_path):
    log = read_logs([written(tmp_path, form, requests)], Answers(depth=3))
    assert log.times.by_row == pytest.approx([sum(r.times) for r in requests])


def test_published_samples_satisfy_their_identities(tmp_path):
    """Examples of the engines' documentation, with counts by hand."""
    samples = {
        "vllm-log": (
            "SpecDecoding metrics: Mean acceptance length: 2.91, Accepted throughput: 0.72 "
            "tokens/s, Drafted throughput: 2.64 tokens/s, Accepted: 44 tokens, Drafted: 161 "
            "tokens, Per-position acceptance rate: 0.739, 0.478, 0.261, 0.174, 0.130, 0.087, "
            "0.043, Avg Draft acceptance rate: 27.3%",
            (23, [17, 11, 6, 4, 3, 2, 1]),
        ),
        "vllm-bench": (
            json.dumps(
                {
                    "spec_decode_acceptance_rate": 57.796,
                    "spec_decode_acceptance_length": 2.7339,
                    "spec_decode_num_drafts": 23975,
                    "spec_decode_draft_tokens": 71925,
                    "spec_decode_accepted_tokens": 41570,
                    "spec_decode_per_position_acceptance_rates": [0.77343, 0.55921, 0.40125],
                }
            ),
            (23975, [18543, 13407, 9620]),
        ),
        "sglang-requests": (
            '{"completion_tokens":106,"spec_accept_rate":0.2930,"spec_accept_length":2.4651,'
            '"spec_num_correct_drafts":63,"spec_num_proposed_drafts":215,"spec_verify_ct":43,'
            '"spec_correct_drafts_histogram":[11,14,11,4,0,3]}',
            (43, [32, 18, 7, 3, 3]),
        ),
        "llamacpp-log": (
            "draft acceptance = 0.64479 (  167 accepted /   259 generated), mean acceptance "
            "length =  2.92, acceptance rate per position = (0.805, 0.632, 0.483)\n"
            "statistics draft-eagle3: #calls(b,g,a) = 1 87 87, #gen drafts = 87, #acc drafts = 70, "
            "#gen tokens = 259, #acc tokens = 167, dur(b,g,a) = 0.005, 325.555, 0.114 ms\n",
            (87, [70, 55, 42]),
        ),
    }
    for form, (text, (rounds, hits)) in samples.items():
        path = tmp_path / form
        path.write_text(text)
        assert detect(path).name == form
        log = read_logs([path])
        assert (log.rounds.tolist(), log.hit.tolist()) == ([rounds], [hits])
    assert log.times.draft == pytest.approx(325.555 / 87)


def test_oldest_vllm_line_counts_emitted_tokens(tmp_path):
    """Its accepted tokens include those after a rejection: 32594, but 20815 in prefixes."""
    (tmp_path / "log").write_text(
        "Speculative metrics: Draft acceptance rate: 0.607, System efficiency: 0.510, Number of "
        "speculative tokens: 4, Number of accepted tokens: 32594, Number of draft tokens: 53716, "
        "Number of emitted tokens: 34244."
    )
    log = read_logs([tmp_path / "log"])
    assert log.accept_length == pytest.approx(34244 / 13429)
    assert log.accepted.tolist() == [20815]


def test_oldest_sglang_accepted_tokens_include_the_bonus_token(tmp_path):
    entry = {"completion_tokens": 106, "spec_accept_token_num": 106, "spec_verify_ct": 43}
    (tmp_path / "log").write_text(json.dumps({**entry, "spec_draft_token_num": 215}))
    log = read_logs([tmp_path / "log"])
    assert (log.accepted.tolist(), log.depth) == ([63], 5)


@pytest.mark.parametrize(("rate", "depth"), [(0.29, 5), (0.41, 5)])
def test_depth_of_sglang_lines_of_both_generations(tmp_path, rate, depth):
    """(2.46 - 1) / 5 is 0.29; before 2026-04 the engine printed 2.46 / 6."""
    text = "Decode batch, #running-req: 8, accept len: 2.46, accept rate: {:.2f}, cuda graph: True"
    (tmp_path / "log").write_text(text.format(rate))
    assert read_logs([tmp_path / "log"]).depth == depth


def test_counts_are_differences_of_scrapes(requests, tmp_path):
    early = written(tmp_path, "vllm-metrics", requests[:15], "early.txt")
    late = written(tmp_path, "vllm-metrics", requests, "late.txt")
    log = read_logs([early, late])
    assert log.rounds.tolist() == [sum(r.rounds for r in requests[15:])]
    assert log.hit.sum() == sum(r.hits for r in requests[15:])
    with pytest.raises(InputError, match=r"early\.txt: rounds fall from .* counters were reset"):
        read_logs([late, early])


def test_scrape_of_several_models(requests, tmp_path):
    path = written(tmp_path, "vllm-metrics", requests)
    text = path.read_text()
    path.write_text(text + text.replace('"sample"', '"other"').replace('engine="0"', 'engine="1"'))
    assert "--model: counters are of the models other, sample" in refused(tmp_path, None, "sample")
    log = read_logs([path], Answers(model="other"))
    assert log.rounds.sum() == sum(r.rounds for r in requests)
    path.write_text(text + text.replace('engine="0"', 'engine="1"'))
    assert read_logs([path]).rounds.sum() == 2 * sum(r.rounds for r in requests)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_compressed_files(pack, requests, tmp_path):
    plain = written(tmp_path, "vllm-requests", requests)
    packed = tmp_path / "packed"
    packed.write_bytes(pack(plain.read_bytes()))
    assert read_logs([packed]).hit.tolist() == read_logs([plain]).hit.tolist()
    packed.write_bytes(pack(plain.read_bytes())[:-200])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_logs([packed])


@pytest.mark.parametrize(("delimiter", "point"), [(";", "."), (";", ","), ("\t", ".")])
def test_csv_with_other_delimiters_and_decimal_commas(delimiter, point, requests, tmp_path):
    plain = written(tmp_path, "csv", requests)
    other = tmp_path / "other"
    other.write_text(plain.read_text().replace(",", delimiter).replace(".", point))
    one, two = read_logs([plain]), read_logs([other])
    assert detect(other).name == "csv"
    assert one.hit.tolist() == two.hit.tolist()
    assert one.times.by_depth[3].tolist() == two.times.by_depth[3].tolist()


def test_several_files_are_one_log(requests, tmp_path):
    one = written(tmp_path, "vllm-requests", requests[:10], "one")
    two = written(tmp_path, "vllm-requests", requests[10:], "two")
    log = read_logs([one, two])
    assert log.rounds.tolist() == [r.rounds for r in requests]
    assert [file.entries for file in log.files] == [10, 30]


def test_short_rounds_do_not_reach_positions_that_they_did_not_draft(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"accepted": [1, 3, 1], "drafted": [1, 3, 3]}')
    log = read_logs([path])
    assert log.has_short_drafts
    assert log.reached.tolist() == [[3, 2, 1]]
    assert log.hit.tolist() == [[3, 1, 1]]


def test_a_drafter_that_may_draft_nothing_sets_the_length(tmp_path):
    """Then all rounds reach position 1: what is not drafted is not accepted."""
    path = tmp_path / "log"
    path.write_text('{"accepted": [1, 3, 1, 0], "drafted": [1, 3, 3, 0]}')
    log = read_logs([path])
    assert (log.undrafted, log.mean_drafts) == (1, 1.75)
    assert log.reached.tolist() == [[4, 3, 1]]
    assert log.hit.tolist() == [[3, 1, 1]]


def test_rows_of_several_depths(tmp_path):
    """Each row counts up to its own depth; `--depth` keeps those of one."""
    path = tmp_path / "log"
    path.write_text(windows((100, [80, 50, 30]), (200, [170, 90]), (50, [40, 20])))
    log = read_logs([path])
    assert (log.depth, log.depths.tolist()) == (3, [3, 2, 2])
    assert not log.has_short_drafts
    assert log.reached.tolist() == [[100, 80, 50], [200, 170, 0], [50, 40, 0]]
    assert log.hit.tolist() == [[80, 50, 30], [170, 90, 0], [40, 20, 0]]
    shallow = read_logs([path], Answers(depth=2))
    assert shallow.hit.tolist() == [[170, 90], [40, 20]]
    assert shallow.notes == ["left out, as depth 2 is asked for: 1 entry has depth 3"]
    with pytest.raises(InputError, match="no entry has depth 4; 1 entry has depth 3, 2 entries"):
        read_logs([path], Answers(depth=4))


@pytest.mark.parametrize("form", ["counts", "rounds"])
def test_depth_selects_entries_that_state_theirs(form, tmp_path):
    """Also where the number of proposed drafts is stated, or listed by round."""
    path = tmp_path / "log"
    if form == "counts":
        lines = [
            {"rounds": 20, "drafted": 20 * k, "accepted": 20, "depth": k, "round_ms": 60 + k}
            for k in (1, 2, 4)
        ]
    else:
        lines = [{"accepted": [1] * 20, "drafted": [k] * 20} for k in (1, 2, 4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = read_logs([path], Answers(depth=2))
    assert (log.depths.tolist(), log.drafted.tolist(), log.depth) == ([2], [40], 2)
    with pytest.raises(InputError, match="no entry has depth 3; 1 entry has depth 1"):
        read_logs([path], Answers(depth=3))


def test_short_drafts_do_not_state_a_depth(tmp_path):
    """Few rounds, or rounds without drafts, may be of a drafter that stops early."""
    path = tmp_path / "log"
    lines = [
        {"accepted": [1, 1], "drafted": [2, 2]},
        {"accepted": [1, 0] * 10, "drafted": [2, 0] * 10},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_logs([path], Answers(depth=4)).depths.tolist() == [4, 4]


@pytest.mark.parametrize("rounds", [1, 6])
def test_first_token_of_a_llamacpp_response_is_of_the_prompt(rounds, tmp_path):
    """The server's log of the same request counts the same rounds."""
    timings = {"predicted_n": 2 * rounds + 1, "draft_n": 3 * rounds, "draft_n_accepted": rounds}
    (tmp_path / "a").write_text(json.dumps({"timings": timings}))
    (tmp_path / "b").write_text(
        f"slot print_timing: id 0 | task 1 | eval time = 90.00 ms / {2 * rounds + 1} tokens\n"
        f"slot print_timing: id 0 | task 1 | draft acceptance rate = 0.33333 ( {rounds} accepted / "
        f"{3 * rounds} generated)\n"
    )
    for name in "ab":
        log = read_logs([tmp_path / name], Answers(depth=3))
        assert log.rounds.tolist() == [rounds]


def test_requests_of_several_depths(tmp_path):
    """Rounds of a request that mostly draft 2 tokens, and of one that mostly drafts 3."""
    path = tmp_path / "log"
    two = {"accepted": [1] * 20, "drafted": [2] * 19 + [1]}
    three = {"accepted": [2] * 10, "drafted": [3] * 10}
    mixed = {"accepted": [1, 1], "drafted": [1, 2]}
    path.write_text("".join(json.dumps(row) + "\n" for row in (two, three, mixed)))
    assert read_logs([path]).depths.tolist() == [2, 3, 3]


def test_json_document_of_several_lines_and_array(tmp_path):
    for text in (
        json.dumps(GOOD, indent=2),
        json.dumps([GOOD, GOOD]),
        json.dumps([GOOD], indent=1),
    ):
        (tmp_path / "log").write_text(text)
        assert read_logs([tmp_path / "log"]).rounds[0] == 43


def test_rounds_of_a_uniform_sample_of_requests_are_kept(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f'{{"accepted": [{n % 3}], "drafted": [3]}}\n' for n in range(500)))
    log = read_logs([path], keep=50)
    assert (log.count, log.sequence.requests) == (500, 50)
    assert "50 of 500 requests" in log.notes[0]
    assert [n % 3 for n in log.sequence_rows] == log.sequence.accepted.tolist()
    places = Reservoir(10)
    kept = [None] * 10
    for item in range(1000):
        at = places.place()
        if at is not None:
            kept[at] = item
    assert 200 < np.mean(kept) < 800


def test_progress_is_reported(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"accepted": [1], "drafted": [3]}\n' * 10_000)
    calls = []
    read_logs([path], on_progress=lambda *call: calls.append(call))
    labels, shares, entries = zip(*calls, strict=True)
    assert set(labels) == {"reading log"}
    assert 0 < shares[0] < shares[-1] <= 1
    assert list(shares) == sorted(shares)
    assert entries[0] < entries[-1] <= 10_000


def test_every_format_has_a_writer():
    assert {READ_BY.get(form, form) for form in WRITERS} == set(FORMATS)


def test_sample_command(tmp_path, capsys):
    experiment = tmp_path / "e.toml"
    experiment.write_text(EXPERIMENT)
    out = tmp_path / "log.jsonl"
    assert main(["sample", str(experiment), "--as", "vllm-requests", "-o", str(out)]) == 0
    assert read_logs([out]).count == 200
    command = ["sample", str(experiment), "--as", "rounds", "--depth", "1,3", "--requests", "4"]
    capsys.readouterr()
    assert main(command) == 0
    drafted = [json.loads(line)["drafted"][0] for line in capsys.readouterr().out.splitlines()]
    assert drafted == [1, 3, 1, 3]
    for wrong, message in (
        (["--as", "vllm"], "'vllm' is none of vllm-requests"),
        (["--as", "rounds", "--depth", "4"], "depths are 1 to 3"),
        (["--as", "rounds", "--requests", "0"], "at least 1"),
        (["--as", "rates", "--depth", "1,2"], "can't hold several depths"),
        (["--as", "rates", "--out", "/nowhere/x"], "can't be written"),
    ):
        assert main(["sample", str(experiment), *wrong]) == 2
        assert message in capsys.readouterr().err


WINDOWS = ("trtllm-stats",)
SAMPLES = sorted(Path("experiments/logs/samples").iterdir())


def test_every_writer_has_a_shipped_sample():
    assert {path.stem for path in SAMPLES} == set(WRITERS)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_shipped_samples_are_up_to_date(path, tmp_path):
    truth = mtpsim.load("experiments/logs/truth.toml", ["simulation.tokens=60"])
    count = 24 if path.suffix == ".log" or path.stem in WINDOWS else 6
    again = written(tmp_path, path.stem, list(sample_requests(truth, [4], count)))
    assert detect(path).name == READ_BY.get(path.stem, path.stem)
    one, two = (read_logs([p], Answers(depth=4)) for p in (path, again))
    assert one.rounds.tolist() == two.rounds.tolist()
    assert one.hit.tolist() == two.hit.tolist()
    for batch, times in one.times.by_batch.items():
        assert times == pytest.approx(two.times.by_batch[batch])
