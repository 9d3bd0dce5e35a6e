"""Runs of a server: workers, precision, resumption, parts and sweeps as of single requests."""

import json

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.runs import block_run
from mtpsim.runs.directory import Tallies
from tests.support.examples import independent, linear_costs, noise

HEAD = independent(0.8, 0.7) + linear_costs() + noise(0.1)
SERVING = """[serving]
arrivals = { rate = 20 }
prompt = { mean = 90 }
output = { mean = 20 }
max_requests = 8
goals = { ttft = 30, tpot = 6 }
requests = 40
policies = [{ rule = "ema", ladder = [0, 2], every = 1, warm_up = 0 }]
"""
TEXT = HEAD + SERVING


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "serve.toml"
    path.write_text(TEXT)
    return path


def points_of(folder):
    return json.loads((folder / "result.json").read_text())["points"]


def test_processes_give_the_numbers_of_threads():
    experiment = mtpsim.parse(TEXT)
    threads = mtpsim.run(experiment, executor="threads:2")
    assert threads.points == mtpsim.run(experiment, executor="processes:2").points
    assert threads.points[0]["serving"]["replications"] == 40
    assert [arm["name"] for arm in threads.points[0]["serving"]["arms"]] == [
        *("off", "depth 1", "depth 2", "ema")
    ]


def test_an_interrupted_run_resumes_with_the_same_numbers(file, tmp_path, monkeypatch):
    experiment = mtpsim.load(file)
    whole = mtpsim.run(experiment).points
    inner = block_run.BlockRun._block_done

    def interrupt(self, blocks, store):
        inner(self, blocks, store)
        if blocks.end == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(block_run.BlockRun, "_block_done", interrupt)
    saved = tmp_path / "tallies.jsonl"
    cut = mtpsim.run(experiment, saved=Tallies(saved))
    assert cut.points[0]["interrupted"]
    assert 2 <= cut.points[0]["serving"]["replications"] < 40
    monkeypatch.setattr(block_run.BlockRun, "_block_done", inner)
    counts = []
    again = mtpsim.run(
        experiment,
        saved=Tallies(saved),
        on_progress=lambda progress: counts.append(progress.requests),
    )
    assert again.points == whole
    assert counts[0] > 2  # it begins where it was interrupted


def test_merged_parts_give_the_numbers_of_the_whole(file, tmp_path):
    for part in "12":
        out = str(tmp_path / part)
        assert main(["run", str(file), "--out", out, "--part", f"{part}/2", "--quiet"]) == 0
    merged = tmp_path / "merged"
    runs = [str(tmp_path / part) for part in "12"]
    assert main(["merge", *runs, "--out", str(merged), "--quiet"]) == 0
    assert main(["run", str(file), "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    (one,), (other,) = points_of(merged), points_of(tmp_path / "whole")
    assert one == other  # to the last bit


def test_a_precision_decides_the_number_of_replications():
    serving = {"serving.precision=0.03", "serving.precision_of=tpot_p99"}
    few = mtpsim.run(mtpsim.parse(TEXT, overrides=sorted(serving))).points[0]
    assert few["precision_reached"] is True
    assert few["serving"]["replications"] >= 30
    widths = [
        (arm["tpot"]["p99"]["high"] - arm["tpot"]["p99"]["low"]) / arm["tpot"]["p99"]["mean"] / 2
        for arm in few["serving"]["arms"]
    ]
    assert max(widths) <= 0.03  # what is printed decides
    cut = [*serving, "serving.max_replications=32", "serving.precision=0.001"]
    short = mtpsim.run(mtpsim.parse(TEXT, overrides=sorted(cut))).points[0]
    assert short["precision_reached"] is False
    assert short["serving"]["replications"] == 32


def test_the_load_is_swept_and_points_do_not_depend_on_each_other():
    both = mtpsim.parse(TEXT + '[sweep]\n"serving.arrivals.rate" = [20, 60]\n')
    points = mtpsim.run(both).points
    alone = mtpsim.run(mtpsim.parse(TEXT)).points[0]
    assert points[0]["serving"] == alone["serving"]
    off = [point["serving"]["arms"][0] for point in points]
    assert off[0]["running"]["high"] < off[1]["running"]["low"]


def test_more_replications_keep_the_first_ones(file, tmp_path):
    out = str(tmp_path / "run")
    assert main(["run", str(file), "--out", out, "--quiet"]) == 0
    more = ["--set", "serving.replications=50", "--quiet"]
    assert main(["run", str(file), "--out", out, *more]) == 0
    lines = (tmp_path / "run/tallies.jsonl").read_text().splitlines()
    counts = [json.loads(line)["count"] for line in lines]
    assert max(counts) == 50
    assert np.diff(counts).min() > 0


def test_the_schedule_that_a_policy_used_is_exported(tmp_path, capsys):
    table = '{ rule = "schedule", by_batch = [[1, 2, 2], [3, 4, 1]], name = "table" }'
    text = TEXT.replace("policies = [", f"policies = [{table}, ").replace("rate = 20", "rate = 80")
    (tmp_path / "serve.toml").write_text(text)
    run = str(tmp_path / "run")
    assert main(["run", str(tmp_path / "serve.toml"), "--out", run, "--quiet"]) == 0
    capsys.readouterr()
    arms = {arm["name"]: arm for arm in points_of(tmp_path / "run")[0]["serving"]["arms"]}
    used = {entry["running"]: entry["depth"] for entry in arms["table"]["depths"]}
    assert all(depth == (n <= 2) + (n <= 4) for n, depth in used.items())
    assert {1, 2, 3} <= used.keys()
    assert sum(entry["share"] for entry in arms["table"]["depths"]) == pytest.approx(1)
    assert arms["depth 2"]["depths"] == []

    def exported(to, *chosen):
        code = main(["export", run, "--to", to, *(f"--set={one}" for one in chosen)])
        return code, capsys.readouterr()

    code, shown = exported("vllm-schedule", "policy=table")
    ranges = json.loads(shown.out)["speculative_config"]["num_speculative_tokens_per_batch_size"]
    assert code == 0
    assert ranges[:2] == [[1, 2, 2], [3, 4, 1]]
    assert exported("vllm", "policy=depth 2")[0] == 0
    for to, chosen, message in (
        ("vllm", "policy=table", "table has several depths, and this format takes one"),
        ("vllm", "policy=off", "the best depth is 0 (MTP off): there is nothing to set"),
        (
            "vllm",
            "policy=tabel",
            "'tabel' is given; it must be one of off, depth 1, depth 2",
        ),
        ("vllm-synthetic", "policy=depth 1", "has no acceptance rates by position"),
    ):
        code, shown = exported(to, chosen)
        assert code == 2
        assert message in shown.err


def test_adaptive_verification_is_exported_to_the_engine_that_has_it(file, tmp_path, capsys):
    rules = '[{rule="budget"},{rule="budget",search="early",name="early"},{rule="oracle_budget"}]'
    run = str(tmp_path / "run")
    settings = [f"--set=serving.policies={rules}", "--set=serving.depths=[0]"]
    assert main(["run", str(file), *settings, "--out", run, "--quiet"]) == 0
    capsys.readouterr()
    assert main(["export", run, "--to", "vllm", "--set", "policy=budget"]) == 0
    config = json.loads(capsys.readouterr().out)["speculative_config"]
    assert config == {
        "method": "mtp",
        "num_speculative_tokens": 2,
        "enable_adaptive_verification": True,
    }
    for to, name, message in (
        ("vllm", "early", "early (search early, stale 1, smoothing 0.0) is given; vLLM's"),
        ("vllm", "oracle_budget", "vLLM's adaptive verification is the rule budget with"),
        ("sglang", "budget", "budget shares a budget of drafts between requests"),
    ):
        assert main(["export", run, "--to", to, "--set", f"policy={name}"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("goal", [0.1, 1e6])
def test_exports_warn_where_no_depth_meets_the_goals(goal, file, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert (
        main(["run", str(file), f"--set=serving.goals={{tpot={goal}}}", "--out", run, "--quiet"])
        == 0
    )
    capsys.readouterr()
    assert main(["export", run, "--to", "vllm", "--set", "policy=depth 2"]) == 0
    assert ("warning: At 20 requests/s no depth" in capsys.readouterr().err) == (goal < 1)


def test_progress_counts_replications():
    found = []
    mtpsim.run(mtpsim.parse(TEXT), on_progress=found.append)
    assert "replications" in found[-1].status


@pytest.mark.parametrize("command", [["plan"], ["sample", "--as", "csv"]])
def test_commands_about_single_requests_refuse_a_server(command, file, capsys):
    assert main([*command, str(file)]) == 2
    assert "about single requests: add --set serving=none" in capsys.readouterr().err
    assert main(["check", str(file), "--set", "serving=none"]) == 0


def test_limits_of_a_server_are_named(file, tmp_path, capsys):
    more = ["--out", str(tmp_path / "run"), "--quiet"]
    assert main(["run", str(file), "--part", "1/40", *more]) == 2
    shown = capsys.readouterr().err
    assert "for 40 replications per point there are at most" in shown
    assert "replications or more (serving.replications)" in shown
