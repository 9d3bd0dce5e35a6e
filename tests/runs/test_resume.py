"""A run that was stopped goes on to the same numbers; one of another precision uses its blocks."""

import itertools
import json
import time

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.engine.block_sizes import first_unit
from mtpsim.runs import block_run as point
from mtpsim.runs.directory import HELD, TALLIES, Tallies
from tests.support.children import python
from tests.support.examples import LONG_RUN

pytestmark = pytest.mark.usefixtures("no_pictures")  # but where a test asks for them


def parsed(precision):
    return mtpsim.parse(LONG_RUN + precision)


def points(result):
    return json.dumps(result.points)


@pytest.fixture
def saved(tmp_path):
    return tmp_path / TALLIES


def interrupt_at(report):
    """A progress callback that raises KeyboardInterrupt at one report."""
    numbers = itertools.count(1)

    def on_progress(_):
        if next(numbers) == report:
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.parametrize("report", [3, 33, 40])
def test_an_interrupted_point_resumes_from_its_last_block(report, saved, monkeypatch):
    experiment = parsed("precision = 0.0003")
    whole = mtpsim.run(experiment)
    monkeypatch.setattr(point, "PROGRESS_SECONDS", 0.0)
    cut = mtpsim.run(experiment, on_progress=interrupt_at(report), saved=Tallies(saved))
    assert cut.points[0]["interrupted"]
    before = []
    inner = point.simulate
    monkeypatch.setattr(
        point, "simulate", lambda *a, **k: before.append(k["begin"]) or inner(*a, **k)
    )
    again = mtpsim.run(experiment, saved=Tallies(saved))
    assert before[0].tally.count == cut.points[0]["requests"]
    assert points(again) == points(whole)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("precision = 0.001", "precision = 0.0003"),
        ("precision = 0.0003", "precision = 0.001"),
        ("requests = 1000", "requests = 40000"),
        ("requests = 40000", "requests = 30000"),
        ("requests = 100000", "precision = 0.0005"),
        ("precision = 0.001", "precision = 0.001\nconfidence = 0.99"),
    ],
)
def test_a_resumed_run_of_another_precision_equals_a_new_one(first, then, saved):
    mtpsim.run(parsed(first), saved=Tallies(saved))
    assert points(mtpsim.run(parsed(then), saved=Tallies(saved))) == points(
        mtpsim.run(parsed(then))
    )


def test_a_finished_point_is_not_simulated_again(saved, monkeypatch):
    for stop in ("precision = 0.001", "requests = 1001"):
        experiment = parsed(stop)
        whole = mtpsim.run(experiment, saved=Tallies(saved))
        with monkeypatch.context() as patch:
            patch.setattr(point, "simulate", None)
            assert points(mtpsim.run(experiment, saved=Tallies(saved))) == points(whole)


def test_records_are_few(saved):
    """Each has a matrix of moments: one per doubling, and the last two checks."""
    for stop in ("precision = 0.0003", "requests = 100000"):
        mtpsim.run(parsed(stop), saved=Tallies(saved))
        ends = [json.loads(line)["end"] for line in saved.read_text().splitlines()]
        assert 4 < len(ends) <= np.log2(first_unit(ends[-1]) / 30) + 4
        saved.unlink()


def test_the_command_resumes_at_a_higher_precision(tmp_path, capsys):
    file, out = tmp_path / "e.toml", tmp_path / "out"
    file.write_text(LONG_RUN + "precision = 0.002")
    command = ["run", str(file), "--out", str(out)]
    assert main(command) == 0
    assert main([*command, "--set", "simulation.precision=0.0005"]) == 0
    assert "its blocks are reused" in capsys.readouterr().err
    found = json.loads((out / "result.json").read_text())["points"]
    assert json.dumps(found) == points(parsed_run("precision = 0.0005"))
    assert not (out / HELD).exists()
    assert main([*command, "--set", "latency.target=70"]) == 2
    assert "results of a different experiment" in capsys.readouterr().err


def parsed_run(precision):
    return mtpsim.run(parsed(precision))


@pytest.mark.parametrize("executor", ["threads:2", "processes:2"])
def test_a_killed_run_resumes(executor, tmp_path, capsys):
    """kill -9 during the run: the stored blocks are at most a second old, and are reused."""
    file, out = tmp_path / "e.toml", tmp_path / "out"
    file.write_text(LONG_RUN + "requests = 3000000")
    command = ["run", str(file), "--out", str(out), "--quiet", "--executor", executor]
    with python("-m", "mtpsim", *command) as process:  # kills it at the end
        while process.poll() is None and not (out / HELD).exists():
            time.sleep(0.02)
    kept = Tallies(out / TALLIES)
    assert sum(len(known) for known in kept._known.values()) > 0
    with (out / TALLIES).open("a") as torn:
        torn.write('{"point": "abc", "blocks": 3, "mean": [1.0, ')
    assert main([*command[:4], "--executor", executor]) == 0
    assert "1 torn record of an earlier run ignored" in capsys.readouterr().err
    found = json.loads((out / "result.json").read_text())["points"]
    assert json.dumps(found) == points(parsed_run("requests = 3000000"))


def test_malformed_records_are_ignored(saved):
    saved.write_text(
        '{"point": "a", "seed": 1, "first": 0, "end": 1, "count": 64, "mean": [1.0], '
        '"comoment": [[1.0, 2.0]]}\n'
        '{"point": "a", "seed": 1, "end": 1}\n[]\nnull\n'
    )
    assert Tallies(saved).torn == 4
    assert Tallies(saved).block_ranges("a", 1) == []
