"""``mtpsim compare``."""

import json

import pytest

FEW = ("--set", "simulation.requests=300", "--quiet")


@pytest.fixture
def runs(cli, tmp_path, no_pictures):
    for name, target in (("one", 76), ("two", 20)):
        changed = ("--set", f"latency.target={target}", "--out", tmp_path / name)
        assert cli("run", "experiments/article.toml", *FEW, *changed).code == 0
    return tmp_path / "one", tmp_path / "two"


def test_inputs_and_answers_are_compared(cli, runs):
    found = cli("compare", *runs)
    assert found.code == 0
    assert "latency.target 76 20" in found.shown
    assert "-73.68" in found.shown
    assert "The recommended depth changes from 2 to 0." in found.shown
    document = json.loads(cli("compare", *runs, "--json").out)
    assert document["inputs"] == [{"key": "latency.target", "before": 76.0, "after": 20.0}]
    assert document["points"][0]["after"] == 0
    assert "The inputs are the same." in cli("compare", runs[0], runs[0]).shown


def test_only_finished_runs_are_compared(cli, runs, tmp_path):
    assert "nothing" in cli("compare", runs[0], tmp_path / "nothing").err
    (runs[1] / "result.json").unlink()
    found = cli("compare", *runs)
    assert found.code == 2
    assert "has no finished result" in found.err
    (runs[0] / "result.json").write_text((runs[0] / "result.json").read_text().replace("2", "3", 1))
    assert "is not a result document as a run wrote it" in cli("compare", *runs).err
