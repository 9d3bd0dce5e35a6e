"""``fit --replay``: the log's own requests at other depths, as a table and as an experiment."""

import json
from pathlib import Path

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.exact.chain_solver import solve
from tests.support.fitting import json_lines
from tests.support.token_worlds import WORLDS, log_at, text_of

FAST = ["--candidates", "independent", "--replay"]
TIMES = ["--target", "20", "--verify", "22", "--draft", "1"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    rounds, _ = log_at(text_of(WORLDS["trained"], 60, np.random.default_rng(2)), 2)
    path = tmp_path_factory.mktemp("logs") / "log.jsonl"
    path.write_text(json_lines(rounds))
    return path, 1 + float(rounds.accepted.mean())


@pytest.mark.parametrize(("times", "depth"), [(TIMES, 6), (["--like", "like.toml"], 2)])
def test_replay_reproduces_the_log_at_its_depth(times, depth, log, tmp_path, monkeypatch, capsys):
    """As deep as times are known; the exact solution of a run is the log's accept length."""
    path, length = log
    monkeypatch.chdir(tmp_path)
    Path("like.toml").write_text("[latency]\ntarget = 20\nverify = [22, 24]\ndraft = [1, 2]\n")
    out = tmp_path / "fitted.toml"
    assert main(["fit", str(path), "-o", str(out), *times, *FAST, "--quiet", "--json"]) == 0
    replay = json.loads(capsys.readouterr().out)["replay"]
    assert [entry["depth"] for entry in replay["depths"]] == [1, 2, 3, 4, 5, 6]
    at = replay["depths"][1]
    assert at["these_requests"]["low"] == at["measured"]["mean"] == pytest.approx(length)
    assert [entry["extrapolated"] for entry in replay["depths"]] == [False] * 2 + [True] * 4
    found = mtpsim.load(tmp_path / "fitted.replay.toml")
    recording = found.acceptance.chain()
    assert recording.depth == depth
    assert found.simulation.as_recorded
    for k, entry in enumerate(replay["depths"][:depth], 1):
        exact = 1 + solve(recording, k).accepted @ np.arange(k + 1)
        assert exact == pytest.approx(entry["predicted"]["mean"], rel=1e-9 if k == 2 else 0.01)
    text = Path("fitted.replay.toml").read_text().replace("precision = 0.002", "requests = 99")
    (point,) = mtpsim.run(mtpsim.parse(text, folder=tmp_path)).document["points"]
    assert point["depths"][2]["accept_length"]["exact"] == pytest.approx(length, rel=1e-12)


def test_the_table_says_what_another_depth_would_add(log, tmp_path, capsys):
    assert main(["fit", str(log[0]), *FAST]) == 0
    text = " ".join(capsys.readouterr().err.split())
    assert "posterior replay of 60 requests, 24 draws" in text
    assert "half of the requests at depth 1 would measure it" in text


def test_counts_without_order_are_refused(tmp_path, capsys):
    path = tmp_path / "counts.jsonl"
    path.write_text('{"rounds": 10, "drafted": 20, "accepted": 9}\n' * 9)
    assert main(["fit", str(path), "--replay"]) == 2
    assert "needs rounds in order of at least 5 requests" in capsys.readouterr().err
