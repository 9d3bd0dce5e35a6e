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
    assert "Unpaired: intervals of the change are of independent runs." in found.shown
    document = json.loads(cli("compare", *runs, "--json").out)
    assert document["inputs"] == [{"key": "latency.target", "before": 76.0, "after": 20.0}]
    assert document["points"][0]["after"] == 0
    assert "The inputs are the same." in cli("compare", runs[0], runs[0]).shown


def test_runs_of_other_seeds_are_independent(cli, runs, tmp_path):
    other = ("--seed", "2", "--out", tmp_path / "other")
    assert cli("run", "experiments/article.toml", *FEW, *other).code == 0
    shown = cli("compare", runs[0], tmp_path / "other").shown
    assert "Intervals of the change are of independent runs." in shown
    assert "Unpaired" not in shown


def test_objectives_that_differ_are_named(cli, runs, tmp_path):
    quantile = ("simulation.tokens=64", 'decision.objective="p99"')
    changed = [part for entry in quantile for part in ("--set", entry)]
    run = ("run", "experiments/article.toml", *FEW, *changed, "--out", tmp_path / "p99")
    assert cli(*run).code == 0
    found = cli("compare", runs[0], tmp_path / "p99").shown
    assert "at p99 after" in found
    assert "at p99 before" not in found
    depth = json.loads((tmp_path / "p99/result.json").read_text())["points"][0]["depths"][2]
    assert f"{depth['objective']['mean']:.4f}" in found
    assert "by mean speed, then by the p99 of request times." in found
    assert "selected by" not in cli("compare", *runs).shown


def test_only_finished_runs_are_compared(cli, runs, tmp_path):
    assert "nothing" in cli("compare", runs[0], tmp_path / "nothing").err
    (runs[1] / "result.json").unlink()
    found = cli("compare", *runs)
    assert found.code == 2
    assert "has no finished result" in found.err
    (runs[0] / "result.json").write_text((runs[0] / "result.json").read_text().replace("2", "3", 1))
    assert "is not a result document as a run wrote it" in cli("compare", *runs).err


def test_of_a_long_sweep_only_changed_points_are_printed(cli, tmp_path, no_pictures):
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    targets = f'sweep={{ "latency.target" = {list(range(200, 251))} }}'
    for path, draft in ((slow, 3000), (fast, 8)):
        sets = ("simulation.requests=300", f"latency.draft={draft}", targets)
        changed = [part for entry in sets for part in ("--set", entry)]
        assert cli("run", "experiments/article.toml", "--quiet", *changed, "--out", path).code == 0
    same = cli("compare", fast, fast).shown
    assert "0 of 51 points change the recommendation; 0 of 153 differences are" in same
    assert "speedup before" not in same
    assert cli("compare", fast, fast, "--all").shown.count("speedup before") == 51
    other = cli("compare", slow, fast).shown
    assert "51 of 51 points change the recommendation; 153 of 153 differences are" in other
    assert other.count("speedup before") == 51
