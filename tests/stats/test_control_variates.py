"""Control variates: known means, less variance, correct coverage, and no use in theory errors."""

from dataclasses import replace

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.simulate import compile_point, tally_block
from mtpsim.exact.chain_solver import solve
from mtpsim.stats import estimators
from mtpsim.stats.control_variates import (
    Controls,
    controlled,
    controls_of,
    log_pace,
    variance_reductions,
)
from mtpsim.stats.estimators import Tally
from tests.support.examples import THREE_DEEP, independent, noise, regime

LATENCY = THREE_DEEP + noise(0.1) + "[simulation]\n"
INDEPENDENT = independent(0.8, 0.74, 0.67)


def slow_in_one_state(clock):
    chain = regime([0.95, 0.9, 0.85], [0.5, 0.4, 0.3], sojourn=[20, 30], clock=clock)
    return chain + "slowdown = [1.0, 1.2]\n"


CASES = [
    INDEPENDENT + LATENCY + "rounds = 100",
    slow_in_one_state("round") + LATENCY + "rounds = 100",
    slow_in_one_state("token") + LATENCY + "rounds = 100",
    slow_in_one_state("token") + LATENCY + "tokens = 128",
    INDEPENDENT + LATENCY + "tokens = 128",
]


def setting(text):
    experiment = mtpsim.parse(text + "\nrequests = 2000")
    work, source = compile_point(experiment), experiment.acceptance.chain()
    simulation = experiment.simulation
    horizon = {"rounds": simulation.rounds or 0, "tokens": simulation.tokens or 0}
    latency = experiment.latency.compile(source.depth)
    return work.plan, source, horizon, controls_of(source, latency, work.plan.layout, horizon)


@pytest.mark.parametrize("text", CASES)
def test_means_of_the_controls_are_the_simulated_ones(text):
    plan, _, _, controls = setting(text)
    tally = tally_block(plan, 0, 4 * plan.chunk)
    error = np.sqrt(np.diag(tally.covariance_of_mean)[controls.columns])
    varies = error > 1e-9
    off = (tally.mean[controls.columns] - controls.means)[varies] / error[varies]
    assert np.abs(off).max() < 4
    wrong = (tally.mean[controls.columns] - 1.01 * controls.means)[varies] / error[varies]
    assert np.abs(wrong).max() > 4  # the control


@pytest.mark.parametrize("text", CASES)
def test_controlled_intervals_are_narrower_and_contain_the_exact_gain(text):
    """Step from depth 1 to 2 over many small runs; raw means in such intervals must fail."""
    plan, source, horizon, controls = setting(text)
    solved = [solve(source, k, **horizon) for k in (1, 2)]
    length = [s.accept_length for s in solved]
    time = [t * s.slow_rounds / s.rounds for t, s in zip((98, 118), solved, strict=True)]
    truth = length[1] / time[1] / (length[0] / time[0])

    def second_step(means):
        return estimators.marginal(means, plan.layout)[..., 1:2]

    covered = misplaced = narrower = 0
    runs = 400
    for run in range(runs):
        tally = tally_block(plan, 64 * run, 64)
        both = tally, controlled(tally, controls)
        raw, sharp = (estimators.delta_method(second_step, t, 0.95) for t in both)
        covered += int(sharp.low[0] <= truth <= sharp.high[0])
        misplaced += int(abs(raw.values[0] - truth) <= sharp.half_width[0])
        narrower += int(sharp.half_width[0] < raw.half_width[0])
    error = np.sqrt(0.95 * 0.05 / runs)
    assert covered / runs > 0.95 - 3.5 * error
    assert misplaced / runs < 0.95 - 3.5 * error
    assert narrower / runs > 0.9


def test_common_random_numbers_reduce_variance_as_stated():
    """Against depths of one block set beside depths of the next, which are independent."""
    plan, _, _, controls = setting(CASES[0])
    parts = [tally_block(plan, 64 * i, 64) for i in range(2000)]
    pace = np.stack([log_pace(part.mean, plan.layout) for part in parts])
    together = (pace[:, 3] - pace[:, 2]).var()
    independent_depths = (pace[1:, 3] - pace[:-1, 2]).var()
    total = tally_block(plan, 0, 64 * 2000)
    shared, more = variance_reductions(total, controls, plan.layout)
    assert shared[2] == pytest.approx(independent_depths / together, rel=4 * np.sqrt(4 / 2000))
    assert shared[2] > 10
    assert more[2] > 1.5


def test_errors_of_the_theory_do_not_use_controls():
    text = CASES[3] + "\nrequests = 4000"
    plain, sharp = (
        mtpsim.run(mtpsim.parse(text, overrides=[f"simulation.control_variates={on}"])).points[0]
        for on in ("false", "true")
    )
    for one, other in zip(plain["depths"][1:], sharp["depths"][1:], strict=True):
        assert one["theory_error"] == other["theory_error"]
        assert one["accept_length"] == other["accept_length"]
        assert one["speedup"]["mean"] != other["speedup"]["mean"]
        widths = [d["speedup"]["high"] - d["speedup"]["low"] for d in (one, other)]
        assert widths[1] < widths[0]
    assert sharp["variance"]["used"]


def test_controls_that_do_not_vary_are_left_out():
    plan, _, _, controls = setting(CASES[0])
    tally = tally_block(plan, 0, 64)
    assert (np.diag(tally.comoment)[controls.columns] > 0).sum() < len(controls.columns)
    few = tally_block(plan, 0, 3)
    assert controlled(few, controls) is few
    none = replace(controls, columns=[plan.layout.rounds.start], means=np.array([100.0]))
    assert controlled(tally, none) is tally


def regression(rows, known=(5.0, 7.0)):
    """Estimate of the mean of the last column, with the first two as controls."""
    tally = controlled(Tally.of(rows), Controls([0, 1], np.array(known)))
    return estimators.delta_method(lambda means: means[..., 2:], tally, 0.95), tally


@pytest.mark.parametrize("requests", [5, 8, 20])
def test_slopes_cost_degrees_of_freedom_with_few_requests(requests):
    rng, runs, covered, bare = np.random.default_rng(7), 2000, 0, 0
    mix = np.array([[1, 0.3, 0.8], [0, 1, -0.6], [0, 0, 0.5]])
    for _ in range(runs):
        found, tally = regression(rng.normal(size=(requests, 3)) @ mix + [5, 7, 9])
        covered += bool(found.low[0] <= 9 <= found.high[0])
        plain = Tally(tally.count, tally.mean, tally.comoment)  # the same, no freedom spent
        found = estimators.delta_method(lambda means: means[..., 2:], plain, 0.95)
        bare += bool(found.low[0] <= 9 <= found.high[0])
    slack = 3.5 * np.sqrt(0.95 * 0.05 / runs)
    assert abs(covered / runs - 0.95) < slack
    assert requests > 5 or bare / runs < 0.95 - slack  # negative control


def test_controls_with_rounding_only_or_implausible_means_are_not_used():
    rng = np.random.default_rng(1)
    rows = rng.normal([5, 7, 9], size=(50, 3))
    constant = rows.copy()
    constant[:, 0] = 0.1 + 0.2 + 1e-16 * rng.integers(0, 2, 50)
    found, _ = regression(constant, known=(9.0, 7.0))
    same, _ = regression(constant, known=(-9.0, 7.0))
    assert found.values == same.values
    _, tally = regression(constant, known=(constant[:, 0].mean(), 7.0))
    assert tally.spent == 1  # rounding costs no degree of freedom either
    _, tally = regression(rows, known=(50.0, 7.0))
    assert type(tally) is Tally
    assert type(regression(rows)[1]) is not Tally


def test_controls_that_cannot_be_used_give_a_warning():
    expected = "control variates are not used"
    text = INDEPENDENT + LATENCY + "rounds = 20\nrequests = 100\ncontrol_variates = true\n"
    rare = '{ distribution = "spike", probability = 1e-6, factor = 1000 }'
    missed = text.replace('{ distribution = "lognormal", cv = 0.1 }', rare)
    missed = missed.replace("[0.8, 0.74, 0.67]", "[1.0, 1.0, 1.0]")
    for given, warned in ((missed, True), (text, False)):
        (point,) = mtpsim.run(mtpsim.parse(given)).points
        assert any(expected in warning for warning in point["warnings"]) == warned
