"""``mtpsim sample`` writes the rounds of a run: the same accepted drafts and the same times."""

import json

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.cli.sample import sample_requests
from mtpsim.engine.simulate import compile_point, simulate_requests
from tests.support.examples import TWO_DEEP, noise, regime

STATES = '[acceptance]\nmodel = "regime"\nrates = [[0.9, 0.8], [0.4, 0.3]]\nsojourn = [6, 4]\n'
SLOWED = {
    "regime": STATES + "slowdown = [1.0, 3.0]\n",
    "regime by token": STATES + 'clock = "token"\nslowdown = [1.0, 3.0]\n',
    "contagion": '[acceptance]\nmodel = "contagion"\nrates = [0.9, 0.8]\ndrop = 0.5\n'
    "duration = 3\nslowdown = 2.0\n",
    "contagion by token": '[acceptance]\nmodel = "contagion"\nrates = [0.9, 0.8]\ndrop = 0.5\n'
    'duration = 3\nslowdown = 2.0\nclock = "token"\n',
    "mixture": '[acceptance]\nmodel = "mixture"\n'
    'parts = [{ weight = 1, of = { model = "independent", rates = [0.9, 0.8] } },\n'
    '{ weight = 1, slowdown = 2.5, of = { model = "independent", rates = [0.4, 0.3] } }]\n',
    "difficulty": '[acceptance]\nmodel = "difficulty"\nrates = [0.8, 0.7]\n'
    'rates_are = "average"\nsd = 1.0\nlength = 5\nslowdown = 1.5\n',
    "beta by request": '[acceptance]\nmodel = "beta"\nmean = 0.7\nconcentration = 4\ndepth = 2\n'
    "slowdown = 2.0\n",
    "beta by round": '[acceptance]\nmodel = "beta"\nmean = 0.7\nconcentration = 4\ndepth = 2\n'
    'level = "round"\nslowdown = 1.5\n',
}
LATENCIES = {
    "shared": TWO_DEEP + noise(0.3),
    "persistent": TWO_DEEP + noise(0.3) + "persistence = 0.7\n",
    "parts": "[latency]\n"
    'target = { distribution = "gamma", mean = 76, cv = 0.2 }\n'
    'verify = { distribution = "lognormal", mean = [90, 104], cv = 0.2 }\n'
    'draft = { distribution = "gamma", mean = [8, 14], cv = 0.5 }\n'
    "correlation = -0.6\npersistence = 0.5\n",
    "spikes": TWO_DEEP + 'noise = { distribution = "spike", probability = 0.1, factor = 5 }\n',
}
HORIZONS = ("rounds = 30", "tokens = 50")


def parse(acceptance, latency, horizon="rounds = 30", more=""):
    return mtpsim.parse(f"{acceptance}{latency}[simulation]\n{horizon}\n{more}")


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("latency", ["persistent", "parts", "spikes"])
@pytest.mark.parametrize("model", SLOWED)
def test_times_of_a_request_add_up_to_those_of_the_run(model, latency, horizon):
    experiment = parse(SLOWED[model], LATENCIES[latency], horizon)
    plan = compile_point(experiment).plan
    rows = simulate_requests(plan, 0, 100)
    for depth in (1, 2):
        requests = list(sample_requests(experiment, [depth], 100))
        sums = [sum(request.times) for request in requests]
        assert sums == pytest.approx(rows[:, plan.layout.time_ms][:, depth], rel=1e-9)
        rounds = [len(request.accepted) for request in requests]
        assert rounds == rows[:, plan.layout.rounds][:, depth].tolist()


@pytest.mark.parametrize("model", SLOWED)
def test_mean_round_time_in_the_log_is_that_of_the_run(model, tmp_path):
    """Within standard errors; times that ignore the slowdown are far off (negative control)."""
    path, log = tmp_path / "e.toml", tmp_path / "log.jsonl"
    latency = LATENCIES["persistent"]
    path.write_text(f"{SLOWED[model]}{latency}[simulation]\nrounds = 30\nrequests = 4000\n")
    command = ["sample", str(path), "--as", "rounds", "--depth", "2", "--requests", "1000"]
    assert main([*command, "--out", str(log)]) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    by_request = 1000 * np.array([np.mean(line["seconds"]) for line in lines])
    (point,) = mtpsim.run(mtpsim.load(path)).points
    expected = point["depths"][2]["round_time"]
    error = np.hypot(
        by_request.std(ddof=1) / np.sqrt(1000), (expected["high"] - expected["low"]) / 4
    )
    assert abs(by_request.mean() - expected["mean"]) < 4 * error
    assert abs(118 - expected["mean"]) > 6 * error  # mean time of a round that nothing slows down


def lag_one(requests):
    """Correlation of successive rounds' log times, with its standard error."""
    scores = np.log([request.times for request in requests])
    early, late = scores[:, :-1].ravel(), scores[:, 1:].ravel()
    return np.corrcoef(early, late)[0, 1], 1 / np.sqrt(early.size)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_round_times_persist_as_stated(clock):
    acceptance = regime([0.9, 0.8], [0.4, 0.3], sojourn=[6, 4], clock=clock)
    for latency, persistence in (("persistent", 0.7), ("shared", 0.0)):
        experiment = parse(acceptance, LATENCIES[latency])
        found, error = lag_one(sample_requests(experiment, [2], 2000))
        assert found == pytest.approx(persistence, abs=5 * error)


def test_recorded_requests_are_replayed_with_times_of_the_run(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"accepted": [2, 0, 1, 2], "depth": 2}\n' * 500)
    path = tmp_path / "e.toml"
    path.write_text(
        '[acceptance]\nmodel = "trace"\nfile = "log.jsonl"\n'
        + LATENCIES["persistent"]
        + "[simulation]\nas_recorded = true\nrequests = 500\n"
    )
    experiment = mtpsim.load(path)
    plan = compile_point(experiment).plan
    times = simulate_requests(plan, 0, 500)[:, plan.layout.time_ms][:, 2]
    requests = list(sample_requests(experiment, [2], 500))  # all the same
    assert [sum(request.times) for request in requests] == pytest.approx(times, rel=1e-9)
    assert requests[0].accepted == [2, 0, 1, 2]


def test_a_distribution_that_cannot_be_tabulated_is_an_error_of_the_latency(tmp_path, capsys):
    path = tmp_path / "e.toml"
    extreme_noise = 'noise = { distribution = "lognormal", cv = 1e4 }\n'
    path.write_text(SLOWED["contagion"] + TWO_DEEP + extreme_noise + "[simulation]\nrounds = 5\n")
    for command in (["sample", str(path), "--as", "csv"], ["plan", str(path)]):
        assert main(command) == 2
        assert "latency: the distribution can't be tabulated" in capsys.readouterr().err


def test_a_sweep_over_several_points_is_refused(tmp_path, capsys):
    """And of one point, the swept value counts."""
    path = tmp_path / "e.toml"
    head = '[acceptance]\nmodel = "independent"\nrates = {}\n' + TWO_DEEP
    head += "[simulation]\nrounds = 50\n"

    def sampled(rates, sweep=""):
        path.write_text(head.format(rates) + sweep)
        code = main(["sample", str(path), "--as", "rounds", "--requests", "20"])
        return code, *capsys.readouterr()

    sweep = '[sweep]\n"acceptance.rates" = [{}]\n'
    code, out, err = sampled([0.5, 0.5], sweep.format("[0.9, 0.8], [0.1, 0.1]"))
    assert (code, out) == (2, "")
    assert "sweep: the sweep has 2 points; select one of them with --set" in err
    one = sampled([0.5, 0.5], sweep.format("[0.9, 0.8]"))
    assert one == sampled([0.9, 0.8])
    assert one != sampled([0.5, 0.5])
