import numpy as np
import pytest
from scipy.stats import binom

from mtpsim.stats.quantiles import mean_speeds, quantile_speedups, quantiles

TOKENS, RATE, ROUNDS = 64, 0.61698, 44  # 0.9903 of the requests take at most 44 rounds
PLAIN, DEPTH_1 = 76.0, 98.0


def rounds_of_requests(random, requests):
    """Rounds until a request has its tokens, of one draft per round."""
    per_round = 1 + (random.random((requests, TOKENS)) < RATE)
    return 1 + (per_round.cumsum(1) < TOKENS).sum(1)


def test_intervals_cover_the_quantile_of_times_without_noise():
    """Whole rounds: the estimate is 44 or 45, an end of the interval. Unit: a run."""
    assert binom.sf(TOKENS - ROUNDS - 1, ROUNDS, RATE) == pytest.approx(0.9903, abs=1e-4)
    random, requests, runs = np.random.default_rng(5), 5000, 100
    covered = symmetric = 0
    for _ in range(runs):
        times = DEPTH_1 * rounds_of_requests(random, requests)
        plain = np.full(requests, PLAIN * TOKENS)
        found = quantile_speedups(np.stack([plain, times]), 0.99, 0.95)
        half_width = found.quantile * np.sqrt(found.covariance[1, 1])
        covered += abs(found.values[1] - PLAIN * TOKENS / (ROUNDS * DEPTH_1)) <= half_width
        middle, low, high = quantiles(times, (0.99,), 0.95)[0]
        symmetric += abs(middle - ROUNDS * DEPTH_1) <= (high - low) / 2
    assert covered / runs > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
    assert symmetric / runs < 0.8  # control: half the width on both sides


def test_equal_values_about_a_quantile_leave_an_error():
    values = np.repeat([1.0, 2.0, 3.0], [800, 40, 160])  # the 0.82 quantile lies among the twos
    found = quantile_speedups(np.stack([np.full(1000, 2.0), values]), 0.82, 0.95)
    assert found.values[1] == 1.0
    assert 0.1 < np.sqrt(found.covariance[1, 1]) < 0.6
    certain = quantile_speedups(np.ones((2, 1000)), 0.82, 0.95)
    assert certain.covariance[1, 1] == 0


def test_a_small_sample_has_no_interval():
    found = quantile_speedups(np.random.default_rng(1).random((2, 100)), 0.99, 0.95)
    assert np.isnan(found.covariance[1, 1])


def test_errors_of_depths_are_independent_where_times_are_often_equal():
    """A quantile that jumps at one depth may be continuous at another of correlated times."""
    random = np.random.default_rng(2)
    rounds = rounds_of_requests(random, 5000) * DEPTH_1
    plain = np.full(5000, PLAIN * TOKENS)
    for times, independent in ((rounds, True), (rounds * random.normal(1, 0.01, 5000), False)):
        covariance = quantile_speedups(np.stack([plain, times, times]), 0.99, 0.95).covariance
        assert covariance[1, 1] > 0
        assert (covariance[1, 2] == 0) == independent


def covered(paired, runs=2000, requests=30):
    """Share of runs whose interval covers the ratio of mean speeds, 1.5 of two speeds."""
    rng, hits = np.random.default_rng(4), 0
    for _ in range(runs):
        plain = rng.gamma(4, 5, requests)
        speeds = np.stack([plain, 1.5 * plain + rng.normal(0, 2, requests)])
        base = plain if paired else rng.permutation(plain)
        _, low, high = mean_speeds(speeds, base, 0.95)[1, 1]
        hits += low <= 1.5 <= high
    return hits / runs


def test_intervals_of_mean_speeds_cover_and_are_paired():
    error = np.sqrt(0.95 * 0.05 / 2000)
    assert covered(paired=True) == pytest.approx(0.95, abs=4 * error + 0.01)
    assert covered(paired=False) > 0.95 + 4 * error + 0.01  # the control: pairs torn apart
