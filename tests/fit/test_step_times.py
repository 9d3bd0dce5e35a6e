"""Cost models fitted to step times that were made from a known one."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import mtpsim
from mtpsim.cli import main as cli
from mtpsim.common.errors import InputError
from mtpsim.fit.round_times import RoundTimes, fit_noise, latency_section, round_times_of
from mtpsim.fit.step_times import StepTimes, fit_cost_models, is_step_table, read_step_times
from mtpsim.latency.experts import experts_hit
from mtpsim.logs import read_logs
from tests.support.examples import independent, latency, noise, simulation

BATCH = np.repeat([1.0, 4, 16, 64, 256], 4)
DEPTH = np.tile([0.0, 1, 2, 3], 5)
TRUTH = {
    "linear": {"base": 6.0, "per_token": 0.02, "per_cached": 4e-5},
    "roofline": {"floor": 8.0, "per_token": 0.1, "per_cached": 2e-5},
    "moe": {"base": 3.0, "per_expert": 0.2, "per_token": 0.004, "per_cached": 4e-5},
}


def made(model, noise, seed=1):
    """Steps of a model, by hand, with relative noise."""
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
    return StepTimes(BATCH, DEPTH, verify * factor[0], draft * factor[1], cached)


@pytest.mark.parametrize("model", TRUTH)
def test_model_is_recovered_from_exact_steps(model):
    best, *others = fit_cost_models(made(model, 0), 64, 4)
    assert best.section["model"] == model
    assert {key: best.section[key] for key in TRUTH[model]} == pytest.approx(TRUTH[model], rel=1e-6)
    assert best.section["draft"] == pytest.approx({"base": 0.5, "per_token": 1.2}, rel=1e-6)
    assert best.section["draft_per_request"] == pytest.approx(0.01, rel=1e-6)
    assert best.left_out_error < 1e-9
    # Those contain it: without an expert to read, or without a context read by each token.
    contains = {"linear": {"moe"}}.get(model, set()) | {model}
    assert all(fit.left_out_error > 1e-3 for fit in others if fit.section["model"] not in contains)


def test_experts_that_neighbouring_tokens_share_are_recovered():
    """25.7 % of the experts; without them the same steps are off by 4.5 %."""
    hit = [experts_hit(64, 4, b * (k + 1), b, 0.257) for b, k in zip(BATCH, DEPTH, strict=True)]
    factor = 1 + 0.002 * np.random.default_rng(4).standard_normal(BATCH.size)
    verify = (3.5 + 0.8 * np.array(hit) + 0.01 * BATCH * (DEPTH + 1)) * factor
    fits = fit_cost_models(StepTimes(BATCH, DEPTH, verify, 0 * DEPTH, 0 * DEPTH), 64, 4)
    best, plain = fits[0], next(fit for fit in fits if fit.name == "moe")
    assert best.name == "moe, experts shared by neighbouring tokens"
    error = best.standard_errors["expert_overlap"]
    assert best.section["expert_overlap"] == pytest.approx(0.257, abs=4 * error)
    assert error < 0.03
    assert plain.left_out_error > 5 * best.left_out_error


@pytest.mark.parametrize("model", TRUTH)
def test_true_keys_are_within_their_standard_errors(model):
    hits, total = 0, 0
    for seed in range(12):
        fits = fit_cost_models(made(model, 0.02, seed), 64, 4)
        fit = next(f for f in fits if f.section["model"] == model)
        for key, value in TRUTH[model].items():
            if key in fit.standard_errors and key != "per_cached":
                total += 1
                hits += abs(fit.section[key] - value) < 2 * fit.standard_errors[key]
        assert 0.01 < fit.left_out_error < 0.06
    assert hits / total > 0.85


CSV = "batch,depth,verify,draft\n" + "\n".join(
    f"{b:g},{k:g},{6 + 0.02 * b * (k + 1):.4f},{2 * k:g}" for b, k in zip(BATCH, DEPTH, strict=True)
)
LIKE = independent(0.7, 0.6) + latency(1, 1, 1) + noise(0.2, "gamma") + simulation(requests=500)


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """A table of step times in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("steps.csv").write_text(CSV)


def test_fitted_experiment_runs(steps, cli):
    Path("like.toml").write_text(LIKE)
    done = cli("fit", "steps.csv", "-o", "fitted.toml", "--like", "like.toml")
    assert done.code == 0
    assert "linear: leave-one-out error" in done.err
    assert "wrote fitted.toml, fitted.json, fitted.png\n" in done.err
    assert json.loads(Path("fitted.json").read_text())["left_out_error"] < 0.01
    assert cli("check", "fitted.toml").code == 0
    assert Path("fitted.png").read_bytes().startswith(b"\x89PNG")
    experiment = mtpsim.load("fitted.toml")
    assert experiment.latency.times(2)[0] == pytest.approx([6.02, 6.04, 6.06], abs=1e-3)
    assert experiment.latency.noise is not None
    (point,) = mtpsim.run(experiment).points
    assert point["depths"][1]["round_time"]["mean"] == pytest.approx(8.04, abs=0.05)


def test_step_times_without_like_print_the_latency_section(steps, cli):
    done = cli("fit", "steps.csv")
    assert done.code == 0
    assert tomllib.loads(done.out)["latency"]["model"] == "linear"
    assert "--like FILE completes an experiment" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "none.csv: can't be read: No such file"),
        (["steps.csv", "--experts", "4"], "give both"),
        (["steps.csv", "--experts", "2", "--active", "3"], "active at most experts"),
        (["steps.csv", "--like", "none.toml"], "none.toml"),
        (["steps.csv", "-o", "no/where.toml"], "can't be written"),
        (["steps.csv", "-o", "y.toml"], "give --like FILE, an experiment to put them in"),
        (["steps.csv", "-o", "y.toml", "--like", "like.toml"], "allowed: independent, decay"),
    ],
)
def test_wrong_commands_exit_with_2_and_leave_no_file(steps, cli, arguments, message):
    Path("like.toml").write_text("[acceptance]\nmodel = 'none'\n")
    done = cli("fit", *arguments)
    assert done.code == 2
    assert message in done.err
    assert {path.name for path in Path().iterdir()} == {"steps.csv", "like.toml"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("batch,depth\n1,0\n", "1: column 'verify' is missing"),
        ("batch,depth,verify,drft\n1,0,5,1\n", "did you mean 'draft'"),
        ("batch,depth,verify\n1,0,fast\n", "2: 'fast' is given for 'verify'; it must be a number"),
        (
            '"batch","depth","verify"\n1,0,"12,5"\n',
            "2: '12,5' is given for 'verify'; it must be a number; a table with decimal commas "
            "must be delimited by ';'",
        ),
        ("batch,depth,verify\n1,0\n", "2: '1,0': 3 numbers are needed"),
        ("batch,depth,verify\n0,0,5\n", "2: batch 0 is given"),
        ("batch,depth,verify\n1,0.5,5\n", "2: depth 0.5 is given"),
        ("batch,depth,verify\n1,0,nan\n", "2: numbers must be finite"),
        ("batch,depth,verify\n1,0,0\n", "2: 0 ms is given"),
        ("batch,depth,verify\n1,0,5\n", "1 step is given; at least 4"),
    ],
)
def test_malformed_step_tables(tmp_path, text, message):
    path = tmp_path / "steps.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_step_times(path)
    assert message in str(error.value)


@pytest.mark.parametrize(("delimiter", "point"), [(";", "."), (";", ","), ("\t", ".")])
def test_other_delimiters_and_decimal_commas(tmp_path, delimiter, point):
    text = CSV.replace(",", delimiter).replace(".", point)
    for name, content in (("comma.csv", CSV), ("other.csv", text)):
        (tmp_path / name).write_text(content)
    one, two = (read_step_times(tmp_path / name) for name in ("comma.csv", "other.csv"))
    assert is_step_table(tmp_path / "other.csv")
    assert one.verify.tolist() == two.verify.tolist()


ONE_BATCH = "batch,depth,verify,draft\n1,0,76,0\n1,1,90,8\n1,2,104,14\n1,3,117,22\n"


def fitted_with(tmp_path, steps, like, name="fitted.toml"):
    (tmp_path / "steps.csv").write_text(steps)
    (tmp_path / "like.toml").write_text(like)
    arguments = [str(tmp_path / "steps.csv"), "--like", str(tmp_path / "like.toml")]
    assert cli.main(["fit", *arguments, "-o", str(tmp_path / name)]) == 0
    return mtpsim.load(tmp_path / name)


@pytest.mark.parametrize("rates", ["[0.8, 0.74, 0.67]", "[0.8, 0.74]"])
def test_times_of_one_batch_are_kept(rates, tmp_path, capsys):
    """A line through them is off by 0.4 %, more than what decides between depths 2 and 3."""
    like = LIKE.replace("[0.7, 0.6]", rates)
    experiment = fitted_with(tmp_path, ONE_BATCH, like)
    depth = experiment.acceptance.chain().depth
    assert sum(experiment.latency.times(depth)).tolist() == [76, 98, 118, 139][: depth + 1]
    assert "▸ table: the measured times of depths 0 to 3, as they are" in capsys.readouterr().err
    assert experiment.latency.noise is not None


def test_two_steps_of_one_batch_suffice(tmp_path):
    experiment = fitted_with(
        tmp_path, "batch,depth,verify\n1,0,76\n1,1,90\n", LIKE.replace("[0.7, 0.6]", "[0.7]")
    )
    assert experiment.latency.times(1)[0].tolist() == [76, 90]


@pytest.mark.parametrize(
    ("change", "model"),
    [
        (("[0.7, 0.6]", "[0.7, 0.6, 0.5, 0.4]"), "linear"),  # deeper than measured
        (("[simulation]", "[sweep]\n'latency.batch' = [1, 2]\n[simulation]"), "linear"),
        (("[0.7, 0.6]", "[0.7, 0.6]"), "table"),
    ],
)
def test_other_batches_and_depths_need_a_cost_model(change, model, tmp_path):
    like = LIKE.replace(*change).replace(
        "draft = 1\n", "draft = 1\nmodel = 'linear'\nper_token = 1\n"
    )
    like = like.replace("target = 1\nverify = 1\n", "")
    assert fitted_with(tmp_path, ONE_BATCH, like).latency.model == model


def test_deeper_acceptance_than_a_short_table_is_refused(tmp_path, capsys):
    (tmp_path / "steps.csv").write_text("batch,depth,verify\n1,0,76\n1,1,90\n")
    (tmp_path / "like.toml").write_text(LIKE)
    arguments = ["fit", str(tmp_path / "steps.csv"), "--like", str(tmp_path / "like.toml")]
    assert cli.main(arguments) == 2
    assert "times of depths 0 to 1, but the acceptance model has depth 2" in capsys.readouterr().err


def test_like_keeps_the_drafting_that_a_table_does_not_state(tmp_path, capsys):
    steps = "batch,depth,verify\n" + "".join(
        f"{b},{k},{40 + b * (k + 1)}\n" for b in (1, 2, 4) for k in (0, 1, 2)
    )
    like = LIKE.replace("draft = 1", "draft = [2.0, 4.0]")
    assert fitted_with(tmp_path, steps, like).latency.draft == [2, 4]
    assert "no column `draft`: that of --like is kept" in capsys.readouterr().err
    stated = (
        steps.replace("verify\n", "verify,draft\n")
        .replace("\n", ",0\n")
        .replace("draft,0", "draft")
    )
    assert fitted_with(tmp_path, stated, like).latency.draft == 0.0


def test_a_model_that_does_not_describe_the_times_says_so_in_a_run(tmp_path):
    """The verify of batch 4 takes 30 % longer than a line through the others says."""
    rows = [
        (b, k, (40 + b * (k + 1)) * (1.3 if b == 4 else 1)) for b in (1, 2, 4, 8) for k in (0, 1, 2)
    ]
    steps = "batch,depth,verify,draft\n" + "".join(f"{b},{k},{t},0\n" for b, k, t in rows)
    experiment = fitted_with(tmp_path, steps, LIKE)
    assert experiment.latency.fit_error > 0.05
    (warning,) = experiment.latency.warnings()
    assert "cost model is off by" in warning
    (point,) = mtpsim.run(experiment).points
    assert "at a measured step" in " ".join(point["warnings"])
    assert fitted_with(tmp_path, CSV, LIKE).latency.warnings() == []


def test_a_verify_that_reads_the_context_once_per_token(tmp_path):
    cached = np.tile([1000.0, 8000, 30000], 8)[:20]
    verify = 6 + 0.02 * BATCH * (DEPTH + 1) + 1e-6 * BATCH * cached * (DEPTH + 1)
    best, *others = fit_cost_models(StepTimes(BATCH, DEPTH, verify, 0 * DEPTH, cached))
    assert best.name == "linear, context read by each token"
    assert best.section["per_cached_token"] == pytest.approx(1e-6, rel=1e-6)
    assert best.section["per_cached"] == pytest.approx(0, abs=1e-12)
    usual = next(fit for fit in others if fit.name == "linear")
    assert usual.left_out_error > 0.05  # negative control: the context read once


PARETO = ("pareto", "alpha", 3.0)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("lognormal", "cv", 0.3), ("gamma", "cv", 0.5), ("exponential", "offset", 0.6), PARETO],
)
def test_true_noise_distribution_fits_best(name, key, value):
    rng = np.random.default_rng(1)
    sigma = np.sqrt(np.log1p(value**2))
    times = {
        "lognormal": lambda n: rng.lognormal(-(sigma**2) / 2, sigma, n),
        "gamma": lambda n: rng.gamma(value**-2, value**2, n),
        "exponential": lambda n: value + rng.exponential(1 - value, n),
        "pareto": lambda n: (1 + rng.pareto(value, n)) * (value - 1) / value,
    }[name](20_000) * 90
    best, *others = fit_noise(times)
    assert best.name == name
    assert best.section[key] == pytest.approx(value, rel=0.05)
    assert best.distance < 0.02
    assert best.distance < min(fit.distance for fit in others)


@pytest.mark.parametrize("times", [np.full(100, 5.0), np.array([1.0, 2.0])])
def test_equal_or_few_times_have_no_distribution(times):
    assert fit_noise(times) == []


def test_round_times_of_a_drafter_that_may_stop(tmp_path):
    """If at most 2 tokens are drafted, the three rounds have 0, 1 and 2: 50, 60 and 75 ms."""
    path = tmp_path / "log"
    path.write_text(
        '{"accepted": [0, 1, 3], "drafted": [0, 1, 3], "seconds": [0.05, 0.06, 0.09]}\n'
    )
    found = round_times_of(read_logs([path])).by_depth
    assert found == pytest.approx({0: 50, 1: 170 / 3, 2: 185 / 3, 3: 200 / 3})


def test_latency_of_measured_times():
    times = RoundTimes({0: 50.0, 1: 60.0, 3: 90.0}, None, np.zeros(0), [])
    section, notes = latency_section(times, 3, None)
    assert section == {"target": 50.0, "verify": pytest.approx([60.0, 75.0, 90.0]), "draft": 0.0}
    assert "depth 2 are interpolated" in notes[0]
    assert latency_section(times, 3, 40.0)[0]["target"] == 40.0
    section, notes = latency_section(times, 4, None)
    verify = pytest.approx([60.0, 75.0, 90.0, 90.0])  # depth 4 takes the deepest measured time
    assert section == {"target": 50.0, "verify": verify, "draft": 0.0}
    assert any("upper bound" in note for note in notes), notes


@pytest.mark.parametrize(
    ("by_depth", "target", "note"),
    [
        ({}, None, 'No step times given: 1 ms is used for every round, so "speedup" equals'),
        ({}, 30.0, "No round times at depth 3 given: 30 ms is used for every round"),
        ({3: 90.0}, None, "No times of plain steps given: 1 ms is used for every round"),
    ],
)
def test_missing_times_are_noted_and_a_given_step_is_used(by_depth, target, note):
    times = RoundTimes(by_depth, None, np.zeros(0), [])
    section, (text,) = latency_section(times, 3, target)
    assert section == {"target": target or 1.0, "verify": target or 1.0, "draft": 0.0}
    assert text.startswith(note)
    assert ("Pass --target MS" in text) == bool(by_depth)


def test_columns_under_other_names(tmp_path):
    """The same steps; times called only `ms` need a batch size and a depth beside them."""
    rows = "1;0;40,5\n1;2;42\n2;0;41\n2;2;44\n"
    path = tmp_path / "steps.csv"
    for header in ("batch;depth;verify", "bs;k;verify_ms", "Batch_Size;n_max;ms"):
        path.write_text(f"{header}\n{rows}")
        assert is_step_table(path)
        steps = read_step_times(path)
        assert steps.batch.tolist() == [1, 1, 2, 2]
        assert steps.depth.tolist() == [0, 2, 0, 2]
        assert steps.verify.tolist() == [40.5, 42, 41, 44]
    path.write_text("request,accepted,ms\na,1,20\n")
    assert not is_step_table(path)
