"""Posterior replay in ``fit``: the log's requests at other depths, as a table and an experiment."""

import io
import json
import tomllib
from functools import cache

import numpy as np
import pytest
import tomli_w
from rich.console import Console

import mtpsim
from mtpsim.cli.main import main
from mtpsim.exact.chain_solver import solve
from mtpsim.report.formatting import cells_of
from mtpsim.report.tables.result import render
from tests.support.fitting import json_lines
from tests.support.token_worlds import WORLDS, log_at, text_of

FAST = ["--candidates", "independent"]
TIMES = ("--target", "20", "--verify", "22", "--draft", "1")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    rounds, _ = log_at(text_of(WORLDS["trained"], 60, np.random.default_rng(2)), 2)
    path = tmp_path_factory.mktemp("logs") / "log.jsonl"
    path.write_text(json_lines(rounds))
    return path, 1 + float(rounds.accepted.mean())


@pytest.fixture(scope="module")
def short_log(log, tmp_path_factory):
    path = tmp_path_factory.mktemp("short") / "log.jsonl"
    path.write_text("".join(log[0].read_text().splitlines(keepends=True)[:8]))
    return path


@pytest.fixture(scope="module")
def replayed(log, tmp_path_factory):
    """A function that fits the log with some times, once, and returns the folder of the files."""

    @cache
    def fit(times):
        folder = tmp_path_factory.mktemp("fitted")
        command = ["fit", str(log[0]), "-o", str(folder / "f.toml"), "--quiet"]
        assert main([*command, *times, *FAST]) == 0
        return folder

    return fit


@pytest.mark.parametrize("depth", [6, 2])
def test_replay_reproduces_the_log_at_its_depth(depth, log, replayed, tmp_path):
    """As deep as times are known; the exact solution of a run is the log's accept length."""
    length, like = log[1], tmp_path / "like.toml"
    like.write_text("[latency]\ntarget = 20\nverify = [22, 24]\ndraft = [1, 2]\n")
    folder = replayed(TIMES if depth == 6 else ("--like", str(like)))
    replay = json.loads((folder / "f.json").read_text())["replay"]
    assert [entry["depth"] for entry in replay["depths"]] == [1, 2, 3, 4, 5, 6]
    at = replay["depths"][1]
    assert at["these_requests"]["low"] == at["measured"]["mean"] == pytest.approx(length)
    assert [entry["extrapolated"] for entry in replay["depths"]] == [False] * 2 + [True] * 4
    found = mtpsim.load(folder / "f.replay.toml")
    recording = found.acceptance.chain()
    assert recording.depth == depth
    assert found.simulation.as_recorded
    for k, entry in enumerate(replay["depths"][:depth], 1):
        exact = 1 + solve(recording, k).accepted @ np.arange(k + 1)
        assert exact == pytest.approx(entry["predicted"]["mean"], rel=1e-9 if k == 2 else 0.01)
    (point,) = mtpsim.run(found).data.points
    assert point.diagnostics.recorded.once
    assert point.depths[2].accept_length.mean == pytest.approx(length, rel=1e-12)
    assert point.depths[2].theory_error.mean == pytest.approx(0, abs=1e-12)  # rates of the log
    for k, entry in enumerate(replay["depths"][:depth], 1):
        wide, length = point.uncertainty.depths[k].accept_length, entry["predicted"]
        half, expected = wide.high - wide.low, length["high"] - length["low"]
        assert half == pytest.approx(expected, rel=0.2)


def test_a_run_of_a_replay_has_the_lengths_of_the_table(tmp_path, capsys):
    """Requests of few rounds: one cut at the end of its text would favor the recorded depth."""
    random = np.random.default_rng(5)
    accepted = (random.random((200, 4, 3)) < 0.7).cumprod(-1).sum(-1)
    lines = [json.dumps({"accepted": row.tolist(), "depth": 3}) for row in accepted]
    path, out = tmp_path / "short.jsonl", tmp_path / "short.toml"
    path.write_text("\n".join(lines) + "\n")
    assert main(["fit", str(path), "-o", str(out), *TIMES, *FAST, "--quiet", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)["replay"]["depths"]
    (point,) = mtpsim.run(mtpsim.load(tmp_path / "short.replay.toml")).data.points
    for k, entry in enumerate(table[: len(point.depths) - 1], 1):
        assert point.depths[k].accept_length.mean == pytest.approx(
            entry["predicted"]["mean"], rel=2e-3
        )
    gain = point.depths[3].accept_length.mean / point.depths[2].accept_length.mean
    assert gain == pytest.approx((1 + 0.7 + 0.7**2 + 0.7**3) / (1 + 0.7 + 0.7**2), rel=0.015)


def test_the_table_says_what_another_depth_would_add(log, tmp_path, capsys):
    assert main(["fit", str(log[0]), *FAST]) == 0
    text = " ".join(capsys.readouterr().err.split())
    assert "posterior replay of 60 requests, 24 draws" in text
    assert text.index("replay of 60") < text.index("P(accepted | reached)")  # it comes first
    assert "At the recorded depth 2 every draw has exactly the log's accept length" in text
    assert "* deeper than recorded: extrapolated" in text
    assert "half of the requests at depth 1 would measure it" in text
    assert "hidden states; on one token, draft 2 is worse than the first by 0." in text


def test_a_replay_can_be_left_out(log, tmp_path, capsys):
    out = tmp_path / "fitted.toml"
    assert main(["fit", str(log[0]), "-o", str(out), *FAST, "--no-replay", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replay"] is None
    assert out.exists()
    assert not list(tmp_path.glob("*.replay.*"))


@pytest.mark.parametrize(
    ("line", "count", "reason"),
    [
        ('{"rounds": 10, "drafted": 20, "accepted": 9}', 9, "the log has granularity totals"),
        ('{"accepted": [1, 0], "drafted": [2, 2]}', 4, "needs at least 5 requests; the log has 4"),
    ],
)
def test_logs_without_a_replay_say_why(line, count, reason, tmp_path, capsys):
    path = tmp_path / "counts.jsonl"
    path.write_text(f"{line}\n" * count)
    assert main(["fit", str(path)]) == 0
    text = " ".join(capsys.readouterr().err.split())
    assert "No posterior replay: it needs" in text
    assert reason in text
    assert main(["fit", str(path), "--replay"]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_positions_that_no_round_came_to_are_played(tmp_path):
    """A log at depth 4 whose second draft never was tested: the replay goes as deep."""
    path, out = tmp_path / "log.jsonl", tmp_path / "f.toml"
    path.write_text('{"accepted": [0, 0, 0], "drafted": [4, 4, 4]}\n' * 6)
    assert main(["fit", str(path), "-o", str(out), "--quiet", *FAST]) == 0
    assert mtpsim.load(tmp_path / "f.replay.toml").acceptance.chain().depth == 8


@pytest.mark.parametrize(("depth", "code"), [(2, 0), (3, 2), (7, 2)])
def test_a_depth_that_no_round_came_to_is_refused(depth, code, log, tmp_path, capsys):
    """Else all deeper drafts would have a rate of zero."""
    path = tmp_path / "log.jsonl"
    lines = [json.loads(line)["accepted"] for line in log[0].read_text().splitlines()]
    path.write_text("".join(json.dumps({"accepted": line}) + "\n" for line in lines))
    command = ["fit", str(path), "--depth", str(depth), *FAST, "--no-replay"]
    assert main(command) == code
    assert ("accepts more: give the depth that was run" in capsys.readouterr().err) == bool(code)


@pytest.mark.parametrize("accepted", [0, 3])
def test_a_log_without_chance_is_no_surer_than_its_sample(accepted, tmp_path, capsys):
    """All drafts accepted, or none; deeper than recorded means deeper than drafted."""
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"accepted": [accepted] * 50, "drafted": [3] * 50}) + "\n")
    path.write_text(path.read_text() * 30)
    assert main(["fit", str(path), *FAST, "--quiet", "--json"]) == 0
    depths = json.loads(capsys.readouterr().out)["replay"]["depths"]
    assert [entry["extrapolated"] for entry in depths] == [False] * 3 + [True] * 4
    at = depths[2]
    assert at["these_requests"]["low"] == at["these_requests"]["high"] == 1 + accepted
    for end in ("low", "high"):
        assert at["predicted"][end] == at["measured"][end]
    assert at["measured"]["low"] < at["measured"]["high"]
    assert all(entry["predicted"]["high"] <= entry["depth"] + 1 for entry in depths)


def test_times_of_another_depth_are_refused_before_the_fit(log, tmp_path, capsys, monkeypatch):
    like = tmp_path / "like.toml"
    like.write_text("[latency]\ntarget = 20\nverify = [22, 24, 26]\ndraft = [1, 2, 3]\n")
    monkeypatch.setattr("mtpsim.cli.fit.fit_log", None)  # is not called
    assert main(["fit", str(log[0]), "--like", str(like), "-o", str(tmp_path / "x.toml")]) == 2
    assert f"{like}: latency.verify: " in capsys.readouterr().err


SERVER = """latency = { model = "linear", base = 20, per_token = 0.1, draft = 1 }
serving = { arrivals = { rate = 1 }, prompt = 50, output = 40, requests = 50, depths = [0, 2]"""
PLAIN = "latency = { target = 20, verify = 22, draft = 1 }\n"
UNSURE = "it reads the draft's confidence, which is not recorded for every round"


@pytest.mark.parametrize(
    ("like", "section", "kept", "note"),
    [
        (
            f'{PLAIN}adaptive = {{ policies = ["ema", "threshold", "filter", "off"] }}',
            "adaptive",
            {"policies": ["ema", "off"]},
            f"adaptive.policies: threshold (number 2): {UNSURE}",
        ),
        (f'{PLAIN}adaptive = {{ policies = ["specdecpp"] }}', "adaptive", None, UNSURE),
        (f'{SERVER}, policies = ["budget", "off"] }}', "serving", {"policies": ["off"]}, UNSURE),
        (f'{SERVER}, policies = ["budget"] }}', "serving", {"policies": None}, UNSURE),
        (
            f'{PLAIN}robust = {{ "acceptance.clock" = ["round", "token"] }}',
            "robust",
            None,
            "robust: acceptance.clock is not in the file",
        ),
    ],
    ids=["policies", "no policy", "server", "server's depths", "robust"],
)
def test_what_a_replay_cannot_play_is_left_out(
    like, section, kept, note, short_log, tmp_path, capsys
):
    """The fit is shown and written whole; the files of the replay are valid."""
    path, out = tmp_path / "like.toml", tmp_path / "f.toml"
    path.write_text(like)
    assert main(["fit", str(short_log), "--like", str(path), "-o", str(out), *FAST]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "P(accepted | reached)" in text
    assert note in text
    written = tomllib.loads((tmp_path / "f.replay.toml").read_text())
    found = written.get(section)
    assert (found and {key: found.get(key) for key in kept}) == kept
    assert tomllib.loads(out.read_text())[section] == tomllib.loads(like)[section]
    for name in ("f.toml", "f.replay.toml"):
        mtpsim.load(tmp_path / name)


def test_a_fit_that_an_experiment_refuses_is_shown(short_log, tmp_path, capsys):
    path, out = tmp_path / "like.toml", tmp_path / "f.toml"
    path.write_text(f'{PLAIN}robust = {{ "acceptance.correlation" = [0, 1] }}')
    assert main(["fit", str(short_log), "--like", str(path), "-o", str(out), *FAST]) == 2
    found = capsys.readouterr()
    assert "P(accepted | reached)" in found.out
    assert "robust: acceptance.correlation is not in the file" in found.err


def test_a_server_plays_a_replay(log, replayed):
    length, folder = log[1], replayed(TIMES)
    kept = tomllib.loads((folder / "f.replay.toml").read_text())
    sections = {key: kept[key] for key in ("acceptance", "latency")}
    cost = {"model": "linear", "base": 20, "per_token": 0.1, "draft": 1}
    serving = {"arrivals": {"rate": 1.0}, "prompt": 50, "output": "recorded", "requests": 50}
    served = {**sections, "latency": cost, "serving": {**serving, "depths": [0, 2]}}
    (point,) = mtpsim.run(mtpsim.parse(tomli_w.dumps(served), folder=folder)).data.points
    deep = point.serving.arms[1]
    assert deep.accept_length.mean == pytest.approx(length, rel=0.02)
    assert any("without the uncertainty of the draws" in text for text in point.warnings)


def test_a_replay_without_times_has_the_intervals_of_its_sample(log, tmp_path, capsys):
    path, out = log[0], tmp_path / "fitted.toml"
    assert main(["fit", str(path), "-o", str(out), *FAST, "--quiet", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["replay"]["depths"]
    run = mtpsim.run(mtpsim.load(tmp_path / "fitted.replay.toml"))
    (point,) = run.data.points
    assert not point.advice.times_known
    for entry in expected[:2]:
        for quantity in ("accept_length", "speedup"):
            cell, known = cells_of(point, quantity)[entry["depth"]], entry["predicted"]
            assert cell.high - cell.low == pytest.approx(known["high"] - known["low"], rel=0.2)
    console = Console(file=io.StringIO(), width=200)
    render(run.data, console)
    assert "expected regret" not in console.file.getvalue()
    assert "without input uncertainty" not in console.file.getvalue()
