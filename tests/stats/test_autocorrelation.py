"""Diagnostics of dependence: simulated, counted naively, and solved."""

import os
import subprocess
import sys

import numpy as np
import pytest

import mtpsim
from mtpsim.acceptance import Beta, Contagion, Independent, Regime
from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.simulate import compile_plan, simulate_requests
from mtpsim.exact.chain_solver import count_moments
from mtpsim.stats import estimators
from mtpsim.stats.autocorrelation import dependence
from mtpsim.stats.estimators import Tally, delta_method
from tests.support.examples import beta, independent, latency, simulation
from tests.support.random_chains import LIMIT, latency_by_depth

RATES = [[0.9, 0.85, 0.8], [0.4, 0.3, 0.2]]
CHAINS = {
    "regime": Regime(model="regime", rates=RATES, sojourn=[8, 5]),
    "token": Regime(model="regime", rates=RATES, sojourn=[20, 12], clock="token"),
    "contagion": Contagion(model="contagion", rates=RATES[0], drop=0.4, duration=3, clock="token"),
    "beta": Beta(model="beta", mean=0.7, concentration=5, depth=3),
    "independent": Independent(model="independent", rates=[0.8, 0.7, 0.6]),
}


def z(estimates, truth):
    error = np.sqrt(np.diag(estimates.covariance))
    return np.abs(estimates.values - truth) / error


def test_no_correlation_is_beyond_1_and_no_design_effect_below_0():
    text = beta(0.75, 0.01, 3) + latency(10, 11, 1) + simulation(rounds=7, requests=40)
    for seed in (1, 2, 3):
        (point,) = mtpsim.run(mtpsim.parse(text, overrides=[f"simulation.seed={seed}"])).points
        found = point["diagnostics"]["autocorrelation"]
        assert max(found["mean"] + found["high"]) <= 1
        ends = zip(found["low"], found["mean"], found["high"], strict=True)
        assert all(low <= mean <= high for low, mean, high in ends)
        assert point["diagnostics"]["design_effect"]["low"] >= 0


@pytest.mark.parametrize("name", CHAINS)
def test_diagnostics_agree_with_the_exact_ones(name):
    chain, rounds = CHAINS[name].chain(), 40
    plan = compile_plan(chain, latency_by_depth(3), seed=4, rounds=rounds)
    exact = count_moments(chain, 3, rounds)
    found = dependence(record_requests(plan, 4000, rounds), 0.95)
    truth = [exact.autocorrelation(lag) for lag in found.lags]
    assert z(found.autocorrelation, truth).max() < LIMIT
    assert z(found.lasting_share, [exact.lasting_share]).max() < LIMIT
    tally = Tally.of(simulate_requests(plan, 0, 20_000))
    effect = delta_method(lambda means: estimators.design_effect(means, plan.layout), tally, 0.95)
    assert z(effect, [exact.design_effect]).max() < LIMIT
    if name != "independent":  # negative control
        assert z(found.autocorrelation, np.zeros(len(truth))).max() > 10
        assert z(effect, [1.0]).max() > 10


def test_no_dependence_where_counts_do_not_vary_or_requests_have_one_round():
    assert dependence(np.full((50, 9), 2, np.int32), 0.95) is None
    alone = np.full((50, 9), -1, np.int32)
    alone[:, 0] = np.arange(50) % 3
    assert dependence(alone, 0.95) is None
    certain = independent(1.0, 1.0) + latency(20, 22, 1) + simulation(rounds=5, requests=64)
    (point,) = mtpsim.run(mtpsim.parse(certain)).points
    found = point["diagnostics"]
    assert found["autocorrelation"] is found["design_effect"] is found["lasting_share"] is None
    assert found["survivorship"]["mean"] == 0


def test_requests_of_different_lengths_use_their_own_rounds():
    counts = np.array([[1, 2, 0, -1, -1], [0, 1, 1, 2, 2], [2, 0, -1, -1, -1]] * 20, np.int32)
    found = dependence(counts, 0.95)
    pairs = [(1, 2), (2, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 0)]
    x, y = np.array(pairs, float).T
    values = counts[counts >= 0]
    truth = ((x * y).mean() - x.mean() * y.mean()) / values.var()
    assert found.lags == [1]
    assert found.autocorrelation.values[0] == pytest.approx(truth)


def test_intervals_do_not_depend_on_the_number_of_threads_of_a_blas():
    """The covariance of traced rounds, large enough for OpenBLAS to divide a product."""
    code = """
import numpy as np
from mtpsim.stats.autocorrelation import dependence
counts = np.random.default_rng(1).integers(0, 4, (2000, 200)).astype(np.int32)
print(dependence(counts, 0.95).autocorrelation.half_width.tolist())
"""
    found = []
    for threads in "12":
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads}
        ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
        found.append(ended.stdout)
    assert found[0] == found[1] != b""
