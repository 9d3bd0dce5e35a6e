"""Cost models fitted to steps that were made from a known one."""

import tomllib

import numpy as np
import pytest

import mtpsim
from mtpsim.cli import main as cli
from mtpsim.common.errors import InputError
from mtpsim.fit.step_times import Steps, fit_steps, read_steps

BATCH = np.repeat([1.0, 4, 16, 64, 256], 4)
DEPTH = np.tile([0.0, 1, 2, 3], 5)
TRUTH = {
    "linear": {"base": 6.0, "per_token": 0.02, "per_cached": 4e-5},
    "roofline": {"floor": 8.0, "per_token": 0.1, "per_cached": 2e-5},
    "moe": {"base": 3.0, "per_expert": 0.2, "per_token": 0.004, "per_cached": 4e-5},
}


def made(model, noise, seed=1):
    """Steps of a model worked out by hand, with relative noise."""
    truth, n = TRUTH[model], BATCH * (DEPTH + 1)
    cached = np.tile([200.0, 2000, 600, 1000, 1500], 4)
    reading = truth["per_cached"] * BATCH * cached
    if model == "linear":
        verify = truth["base"] + truth["per_token"] * n + reading
    elif model == "roofline":
        verify = np.maximum(truth["floor"] + reading, truth["per_token"] * n)
    else:
        hit = 64 * (1 - (1 - 4 / 64) ** n)
        verify = truth["base"] + truth["per_expert"] * hit + truth["per_token"] * n + reading
    factor = 1 + noise * np.random.default_rng(seed).standard_normal((2, n.size))
    draft = (DEPTH > 0) * (0.5 + 1.2 * DEPTH + 0.01 * BATCH * DEPTH)
    return Steps(BATCH, DEPTH, verify * factor[0], draft * factor[1], cached)


@pytest.mark.parametrize("model", TRUTH)
def test_exact_steps_give_back_their_model(model):
    best, *others = fit_steps(made(model, 0), 64, 4)
    assert best.keys["model"] == model
    assert {key: best.keys[key] for key in TRUTH[model]} == pytest.approx(TRUTH[model], rel=1e-6)
    assert best.keys["draft"] == pytest.approx({"base": 0.5, "per_token": 1.2}, rel=1e-6)
    assert best.keys["draft_per_request"] == pytest.approx(0.01, rel=1e-6)
    assert best.predicted < 1e-9
    contains = {"linear": {"moe"}}.get(model, set())  # no expert to read: a line
    assert all(fit.predicted > 1e-3 for fit in others if fit.keys["model"] not in contains)


@pytest.mark.parametrize("model", TRUTH)
def test_noisy_steps_recover_the_truth_within_their_errors(model):
    hits, total = 0, 0
    for seed in range(25):
        fits = fit_steps(made(model, 0.02, seed), 64, 4)
        fit = next(f for f in fits if f.keys["model"] == model)
        for key, value in TRUTH[model].items():
            if key in fit.errors and key != "per_cached":
                total += 1
                hits += abs(fit.keys[key] - value) < 2 * fit.errors[key]
        assert 0.01 < fit.predicted < 0.06
    assert hits / total > 0.85


CSV = "batch,depth,verify,draft\n" + "\n".join(
    f"{b:g},{k:g},{6 + 0.02 * b * (k + 1):.4f},{2 * k:g}" for b, k in zip(BATCH, DEPTH, strict=True)
)
LIKE = """
[acceptance]
model = "independent"
rates = [0.7, 0.6]
[latency]
target = 1
verify = 1
draft = 1
noise = { distribution = "gamma", cv = 0.2 }
[simulation]
requests = 500
"""


def test_a_file_becomes_an_experiment_that_runs(tmp_path, capsys):
    (tmp_path / "steps.csv").write_text(CSV)
    (tmp_path / "like.toml").write_text(LIKE)
    out = tmp_path / "fitted.toml"
    arguments = [str(tmp_path / "steps.csv"), "-o", str(out), "--like", str(tmp_path / "like.toml")]
    assert cli.main(["fit", *arguments]) == 0
    told = capsys.readouterr().err
    assert "linear: left-out steps predicted to" in told
    assert f"wrote {out}, {tmp_path / 'fitted.png'}\n" in told
    assert cli.main(["check", str(out)]) == 0
    assert (tmp_path / "fitted.png").read_bytes().startswith(b"\x89PNG")
    experiment = mtpsim.load(out)
    assert experiment.latency.times(2)[0] == pytest.approx([6.02, 6.04, 6.06], abs=1e-3)
    assert experiment.latency.noise is not None
    (point,) = mtpsim.run(experiment).points
    assert point["depths"][1]["round_time"]["mean"] == pytest.approx(8.04, abs=0.05)


def test_without_an_experiment_the_section_goes_to_stdout(tmp_path, capsys):
    (tmp_path / "steps.csv").write_text(CSV)
    assert cli.main(["fit", str(tmp_path / "steps.csv")]) == 0
    printed = capsys.readouterr()
    assert tomllib.loads(printed.out)["latency"]["model"] == "linear"
    assert "--like FILE makes an experiment of it" in printed.err


def test_step_times_alone_are_not_written_as_an_experiment(tmp_path, capsys):
    (tmp_path / "steps.csv").write_text(CSV)
    assert cli.main(["fit", str(tmp_path / "steps.csv"), "-o", str(tmp_path / "y.toml")]) == 2
    assert "give --like FILE, an experiment to put them in" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["steps.csv"]


def test_nothing_is_left_where_the_experiment_is_not_valid(tmp_path, capsys):
    (tmp_path / "steps.csv").write_text(CSV)
    (tmp_path / "like.toml").write_text("[acceptance]\nmodel = 'none'\n")
    like = ["--like", str(tmp_path / "like.toml"), "-o", str(tmp_path / "y.toml")]
    assert cli.main(["fit", str(tmp_path / "steps.csv"), *like]) == 2
    assert "'none'; it must be one of" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"steps.csv", "like.toml"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("batch,depth\n1,0\n", "1: column 'verify' is missing"),
        ("batch,depth,verify,drft\n1,0,5,1\n", "did you mean 'draft'"),
        ("batch,depth,verify\n1,0,fast\n", "2: '1,0,fast': 3 numbers are needed"),
        ("batch,depth,verify\n1,0\n", "2: '1,0': 3 numbers are needed"),
        ("batch,depth,verify\n0,0,5\n", "2: a batch of 0 is given"),
        ("batch,depth,verify\n1,0.5,5\n", "2: depth 0.5 is given"),
        ("batch,depth,verify\n1,0,nan\n", "2: numbers must be finite"),
        ("batch,depth,verify\n1,0,0\n", "2: 0 ms is given"),
        ("batch,depth,verify\n1,0,5\n", "1 step is given; at least 4"),
    ],
)
def test_what_is_no_table_of_steps_is_said(tmp_path, text, message):
    path = tmp_path / "steps.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_steps(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: can't be read: No such file"),
        (["steps.csv", "--experts", "4"], "give both"),
        (["steps.csv", "--experts", "2", "--active", "3"], "active at most experts"),
        (["steps.csv", "--like", "none.toml"], "none.toml"),
        (["steps.csv", "-o", "no/where.toml"], "can't be written"),
    ],
)
def test_wrong_commands_are_exit_2_with_a_sentence(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps.csv").write_text(CSV)
    assert cli.main(["fit", *arguments]) == 2
    assert message in capsys.readouterr().err
