"""Which directory a run gets when none is asked for."""

import json
from pathlib import Path

import pytest

from tests.support.examples import article

ARTICLE = article(300)


@pytest.fixture
def edit(cli, tmp_path, monkeypatch, no_pictures):
    """Run the experiment with changes in the text; returns how the command ended."""
    monkeypatch.chdir(tmp_path)

    def run(old="", new="", *options):
        Path("my.toml").write_text(ARTICLE.replace(old, new) if old else ARTICLE)
        return cli("run", "my.toml", *options)

    return run


def target(folder):
    return json.loads(Path("runs", folder, "result.json").read_text())["experiment"]["latency"][
        "target"
    ]


def test_an_edited_experiment_keeps_the_earlier_result(edit):
    assert edit().code == 0
    found = edit("target = 76", "target = 70")
    assert found.code == 0
    assert (
        "runs/my contains a different experiment (latency.target: 76 then, 70 now); using runs/my-2"
    ) in found.err
    assert (target("my"), target("my-2")) == (76, 70)
    assert "runs/my-2 already contains this result" in edit("target = 76", "target = 70").err
    assert "using runs/my-3" in edit("target = 76", "target = 60").err
    again = edit()
    assert "runs/my already contains this result" in again.err
    assert sorted(path.name for path in Path("runs").iterdir()) == ["my", "my-2", "my-3"]


def test_more_requests_of_the_same_experiment_stay_in_its_directory(edit):
    assert edit().code == 0
    found = edit("", "", "--set", "simulation.requests=400")
    assert "its blocks are reused" in found.err
    assert [path.name for path in Path("runs").iterdir()] == ["my"]


def test_a_new_title_alone_is_no_other_experiment(edit):
    assert edit().code == 0
    assert edit("Production MTP head", "My head").code == 0
    assert [path.name for path in Path("runs").iterdir()] == ["my"]


def test_fresh_replaces_and_a_chosen_directory_is_never_replaced(edit):
    assert edit().code == 0
    found = edit("target = 76", "target = 70", "--out", "runs/my")
    assert found.code == 2
    assert "latency.target: 76 then, 70 now" in found.err
    assert target("my") == 76
    assert edit("target = 76", "target = 70", "--fresh").code == 0
    assert target("my") == 70


def test_stored_blocks_of_a_stopped_run_are_kept(edit):
    assert edit().code == 0
    tallies = Path("runs/my/tallies.jsonl").read_text()
    Path("runs/my/result.json").unlink()  # as if it had been killed
    assert "using runs/my-2" in edit("target = 76", "target = 70").err
    assert Path("runs/my/tallies.jsonl").read_text() == tallies
    assert edit().code == 0
    assert target("my") == 76


@pytest.mark.parametrize("change", ["latency.target=70", "simulation.seed=2"])
def test_blocks_of_another_unfinished_run_are_not_mixed(change, edit):
    """Also of another seed: `show` would add them up."""
    assert edit().code == 0
    Path("runs/my/result.json").unlink()  # as if it had been killed
    before = {path.name: path.read_bytes() for path in Path("runs/my").iterdir()}
    found = edit("", "", "--set", change, "--out", "runs/my")
    assert found.code == 2
    assert (
        f"already contains results of a different experiment ({change.split('=')[0]}" in found.err
    )
    assert {path.name: path.read_bytes() for path in Path("runs/my").iterdir()} == before
    assert edit("", "", "--set", "simulation.requests=500", "--out", "runs/my").code == 0


def test_a_longer_sweep_goes_on_from_the_blocks_of_an_unfinished_one(edit):
    sweep = 'sweep={"latency.target"=[70, 72]}'
    assert edit("", "", "--set", sweep).code == 0
    Path("runs/my/result.json").unlink()
    before = Path("runs/my/tallies.jsonl").read_text()
    assert edit("", "", "--set", sweep.replace("72", "72, 74")).code == 0
    after = Path("runs/my/tallies.jsonl").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 3


def test_a_folder_of_runs_is_listed_with_headlines(edit, cli):
    assert edit().code == 0
    assert (
        edit("", "", "--set", 'sweep={"latency.target"=[70, 76]}', "--out", "runs/sweep").code == 0
    )
    assert edit("target = 76", "target = 70").code == 0
    Path("runs/my-2/result.json").unlink()
    found = cli("show", "runs")
    assert found.code == 0
    assert "Run depth 2: 1.5" in found.out
    assert "Depth 2 is fastest at all 2 points" in found.out
    assert "unfinished" in found.out
    listed = json.loads(cli("show", "runs", "--json").out)
    assert [entry["run"] for entry in listed] == ["runs/my", "runs/my-2", "runs/sweep"]
    Path("runs/my/result.json").write_text("{}")
    assert "can't be read" in cli("show", "runs").out
    Path("empty").mkdir()
    assert "not a run directory" in cli("show", "empty").err


@pytest.mark.parametrize("option", ["--part=9/9", "--max-hours=1e-9"])
def test_a_refused_run_leaves_no_directory(option, edit):
    assert edit("", "", option).code == 2
    assert not Path("runs").exists()
    Path("runs/my").mkdir(parents=True)
    assert edit("", "", option).code == 2
    assert Path("runs/my").is_dir()  # it was there before


def test_a_finished_result_is_read_once(edit, monkeypatch):
    import mtpsim.runs.directory as store

    assert edit().code == 0
    store._read_result.cache_clear()
    reads = []
    of = store.Result.of
    monkeypatch.setattr(store.Result, "of", lambda *given: reads.append(1) or of(*given))
    assert "already contains" in edit().err
    assert len(reads) == 1


def test_doubts_and_a_long_wait_are_said_before_the_answer(edit, cli, monkeypatch):
    doubt = "a verify at depth 1 takes 90 ms, a plain step 0.076 ms"
    found = edit("target = 76", "target = 0.076")
    assert found.code == 0
    assert doubt in found.shown  # at once, and only there
    assert doubt not in found.err
    monkeypatch.setattr("mtpsim.cli.run.LONG_RUN", 1e-9)
    long = edit("target = 76", "target = 0.076", "--fresh", "--executor", "threads:1").err
    assert f"warning: {doubt}" in long
    assert "estimated simulation time on 1 core: less than 1 s" in long
    assert "warning" not in edit("target = 76", "target = 0.076", "--fresh", "--quiet").err
    long = ["--set", "simulation.requests=1_000_000_000_000", "--set", "simulation.rounds=200"]
    estimate = cli("check", "my.toml", *long).out.splitlines()[-1]
    assert "days (first run: +5 to 30 s to compile kernels; " in estimate
