"""``mtpsim sample`` writes the rounds of a run: the same accepted drafts and the same times."""

import pytest

import mtpsim
from mtpsim.cli.sample import sample_requests
from mtpsim.engine.simulate import compile_point, simulate_requests
from tests.support.examples import (
    TWO_DEEP,
    acceptance,
    beta,
    independent,
    latency,
    noise,
    regime,
    section,
    simulation,
)

STATES = regime([0.9, 0.8], [0.4, 0.3], sojourn=[6, 4])
CONTAGION = acceptance("contagion", rates=[0.9, 0.8], drop=0.5, duration=3, slowdown=2.0)
EASY, HARD = ({"model": "independent", "rates": rates} for rates in ([0.9, 0.8], [0.4, 0.3]))
PARTS = [{"weight": 1, "of": EASY}, {"weight": 1, "slowdown": 2.5, "of": HARD}]
SLOWED = {
    "regime": STATES + "slowdown = [1.0, 3.0]\n",
    "regime by token": STATES.replace("round", "token") + "slowdown = [1.0, 3.0]\n",
    "contagion": CONTAGION,
    "contagion by token": CONTAGION + 'clock = "token"\n',
    "mixture": acceptance("mixture", parts=PARTS),
    "difficulty": acceptance("difficulty", rates=[0.8, 0.7], sd=1.0, length=5, slowdown=1.5),
    "beta by request": beta(0.7, 4, 2, slowdown=2.0),
    "beta by round": beta(0.7, 4, 2, level="round", slowdown=1.5),
}
GAMMA, LOGNORMAL = {"distribution": "gamma"}, {"distribution": "lognormal", "cv": 0.2}
LATENCIES = {
    "persistent": TWO_DEEP + noise(0.3) + "persistence = 0.7\n",
    "parts": latency(
        {**GAMMA, "mean": 76, "cv": 0.2},
        {**LOGNORMAL, "mean": [90, 104]},
        {**GAMMA, "mean": [8, 14], "cv": 0.5},
        **{"correlation": -0.6, "persistence": 0.5},
    ),
    "spikes": TWO_DEEP + 'noise = { distribution = "spike", probability = 0.1, factor = 5 }\n',
}


@pytest.mark.parametrize("horizon", [{"rounds": 30}, {"tokens": 50}], ids=str)
@pytest.mark.parametrize("times", LATENCIES)
@pytest.mark.parametrize("model", SLOWED)
def test_times_of_a_request_add_up_to_those_of_the_run(model, times, horizon):
    experiment = mtpsim.parse(SLOWED[model] + LATENCIES[times] + simulation(**horizon))
    plan = compile_point(experiment).plan
    rows = simulate_requests(plan, 0, 100)
    for depth in (1, 2):
        requests = list(sample_requests(experiment, [depth], 100))
        sums = [sum(request.times) for request in requests]
        assert sums == pytest.approx(rows[:, plan.layout.time_ms][:, depth], rel=1e-9)
        rounds = [len(request.accepted) for request in requests]
        assert rounds == rows[:, plan.layout.rounds][:, depth].tolist()


def test_recorded_requests_are_replayed_with_times_of_the_run(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"accepted": [2, 0, 1, 2], "depth": 2}\n' * 500)
    text = acceptance("trace", file="log.jsonl") + LATENCIES["persistent"]
    text += simulation(as_recorded=True, requests=500)
    experiment = mtpsim.parse(text, folder=tmp_path)
    plan = compile_point(experiment).plan
    times = simulate_requests(plan, 0, 500)[:, plan.layout.time_ms][:, 2]
    requests = list(sample_requests(experiment, [2], 500))  # all the same
    assert [sum(request.times) for request in requests] == pytest.approx(times, rel=1e-9)
    assert requests[0].accepted == [2, 0, 1, 2]


def test_a_distribution_that_cannot_be_tabulated_is_an_error_of_the_latency(tmp_path, cli):
    path = tmp_path / "e.toml"
    path.write_text(CONTAGION + TWO_DEEP + noise(1e4) + simulation(rounds=5))
    for command in (["sample", path, "--as", "csv"], ["plan", path]):
        done = cli(*command)
        assert done.code == 2
        assert "latency: the distribution can't be tabulated" in done.err


def test_a_sweep_over_several_points_is_refused(tmp_path, cli):
    """And of one point, the swept value counts."""
    path = tmp_path / "e.toml"

    def sampled(rates, *swept):
        sweep = section("sweep", **{"acceptance.rates": swept}) if swept else ""
        path.write_text(independent(*rates) + TWO_DEEP + simulation(rounds=50) + sweep)
        return cli("sample", path, "--as", "rounds", "--requests", "20")

    several = sampled([0.5, 0.5], [0.9, 0.8], [0.1, 0.1])
    assert (several.code, several.out) == (2, "")
    assert "sweep: the sweep has 2 points; select one of them with --set" in several.err
    one = sampled([0.5, 0.5], [0.9, 0.8])
    assert one == sampled([0.9, 0.8])
    assert one != sampled([0.5, 0.5])
