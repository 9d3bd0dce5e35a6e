"""The exact answer that `check` prints."""

import numpy as np
import pytest

import mtpsim
from mtpsim.exact.chain_solver import speedups
from mtpsim.report.exact_text import MOST_POINTS, exact_answer, exact_lines
from mtpsim.report.experiment_text import chapters
from tests.support.examples import acceptance, linear, regime, section


@pytest.mark.parametrize("name", ["article", "workload", "contagion", "tokens", "heavy_tails"])
def test_the_answer_is_the_solution_of_the_chain(name):
    experiment = mtpsim.load(name).points()[0].experiment
    source = experiment.acceptance.chain()
    times = np.add(*experiment.latency.times(source.depth))
    expected = speedups(source, times, **experiment.simulation.horizon)
    np.testing.assert_allclose(exact_answer(experiment).speedup, expected, rtol=1e-12)


@pytest.mark.parametrize(("name", "measured"), [("article", False), ("workload", True)])
def test_rates_that_do_not_give_the_accept_lengths_name_their_depth(name, measured):
    answer = exact_answer(mtpsim.load(name))
    assert (f"rate at depth {len(answer.speedup) - 1}" in answer.table()[0]) == measured


def test_states_that_slow_rounds_down_are_counted():
    states = "rates = [[0.9], [0.5]]\nsojourn = [10, 10]\nslowdown = [1, 3]\n"
    experiment = mtpsim.parse(
        f"[acceptance]\nmodel = 'regime'\n{states}"
        "[latency]\ntarget = 10\nverify = [12]\ndraft = [1]\n"
    )
    answer = exact_answer(experiment)
    source = experiment.acceptance.chain()
    expected = speedups(source, np.array([10.0, 13.0]), **experiment.simulation.horizon)
    np.testing.assert_allclose(answer.speedup, expected)
    assert answer.round_time[0] == pytest.approx(20)  # half of the rounds are three times as long


def test_a_point_has_a_table_and_a_sweep_a_line_per_point():
    assert len(exact_lines(mtpsim.load("article"))) == 1 + 5
    lines = exact_lines(mtpsim.load("batch"))
    assert len(lines) == 1 + 10
    assert lines[5] == "  cached = 0, batch = 1024: depth 0, 1.000x"
    values = ", ".join(str(target) for target in range(70, 70 + MOST_POINTS + 5))
    text = "acceptance = {model = 'independent', rates = [0.8]}\n"
    text += "latency = {target = 76, verify = [90], draft = [8]}\n"
    many = mtpsim.parse(text + f"sweep = {{'latency.target' = [{values}]}}")
    assert exact_lines(many)[-1] == "  and 5 more points"


TREE = section("draft", tree="topk", topk=2, nodes=5) + linear(10, 0.1, 1)
LENGTHS = section("draft", lengths=[0.2, 0.3, 0.5]) + linear(10, 0.1, 1)


@pytest.mark.parametrize(
    "text",
    [
        acceptance("ranks", first=[0.7, 0.6], power=0.9) + TREE,
        regime([0.9, 0.8], [0.4, 0.3], sojourn=[8, 4]) + LENGTHS,
    ],
    ids=["tree", "lengths"],
)
def test_round_times_of_the_latency_are_those_of_the_exact_answer(text):
    experiment = mtpsim.parse(text)
    shown = dict(chapters(experiment))
    (line,) = (line for line in shown["Latency"] if line.startswith("plain step"))
    plain, *rounds = (f"{time:.4g}" for time in exact_answer(experiment).round_time)
    assert line == f"plain step {plain} ms; rounds of depth 1 to 2: {', '.join(rounds)} ms"
    states = [line for heading in shown for line in shown[heading] if "hidden states" in line]
    assert all(line.startswith("2 hidden states") for line in states)  # those of the file


def test_recordings_and_long_solutions_are_left_to_the_run():
    assert exact_lines(mtpsim.load("replay")) == []
    deep = mtpsim.load("workload", ["latency.verify=90", "latency.draft=1"])
    assert exact_answer(deep) is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtpsim.report.exact_text.LARGEST", 2)
        assert exact_lines(deep) == []


def test_verdicts_follow_the_thresholds_of_the_experiment():
    stricter = mtpsim.load("article", ["decision.essential=0.5", "decision.negligible=0.2"])
    verdicts = [line.rsplit(" ", 1)[1] for line in exact_lines(stricter)[-3:]]
    assert verdicts == ["optional", "negligible", "negligible"]
