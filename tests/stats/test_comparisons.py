"""Choice of the best option and equivalence verdicts, alone and in families."""

import numpy as np
import pytest
from scipy import stats

from mtpsim.stats import comparisons
from mtpsim.stats.comparisons import (
    DRAWS,
    RelativeError,
    against_one,
    choose,
    draws_against_one,
    holm_verdicts,
)
from mtpsim.stats.estimators import Estimates
from tests.support.strategies import estimates


def test_candidates_contain_a_best_depth_as_often_as_stated_if_all_tie():
    rng, hits, runs = np.random.default_rng(3), 0, 200
    for _ in range(runs):
        drawn = rng.normal(0, 0.01, 5)
        hits += 2 in choose(estimates(drawn, 0.01), 0.95).candidates
    assert abs(hits / runs - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / runs)


def row_by_row(values, draws, scales, option, confidence):
    """Slow reference: gains, errors, and quantiles of max t and max |t|."""
    noise = draws - draws[:, [option]]
    error = noise.std(0)
    error[error <= 1e-12] = 0.0
    if not error.any():
        return values - values[option], error, 0.0, 0.0
    t = noise[:, error > 0] / error[error > 0] / scales
    ends = (float(np.quantile(each.max(1), confidence)) for each in (t, np.abs(t)))
    return values - values[option], error, *ends


@pytest.mark.parametrize("size", [2, 3, 6])
def test_pairs_compared_once_are_those_of_each_option_to_the_last_bit(size):
    rng = np.random.default_rng(size)
    mixed = rng.normal(0, 0.01, (size, size))
    mixed[0] = 0.0
    mixed[-1] = mixed[-2]  # equal options: their difference does not vary
    values, draws = rng.normal(0, 0.01, size), comparisons.normal_draws(mixed @ mixed.T)
    scales = comparisons.student_scales(29.0)
    found = comparisons._differences(values, draws, scales, range(size), 0.95)
    for option, one in enumerate(found):
        gain, error, *ends = row_by_row(values, draws, scales, option, 0.95)
        assert (one.gain == gain).all()
        assert (one.error == error).all()
        assert [one.one_sided, one.two_sided] == ends


def test_clear_winners_are_the_only_candidates_and_exact_differences_too():
    assert choose(estimates([0, 0.3, 0.5, 0.4], 0.01), 0.95).candidates == [2]
    assert choose(estimates([0, 0.3, 0.31], 0.0), 0.95).candidates == [2]
    assert choose(estimates([0, 0.31, 0.31], 0.0), 0.95).candidates == [1, 2]


def covers(found, truth):
    loss = truth.max() - truth
    return bool(((found.low <= loss + 1e-12) & (loss <= found.high + 1e-12)).all())


@pytest.mark.parametrize("truth", [[0, 0, 0, 0], [0, 0.01, 0.02, 0.03], [0, 0.5, 0.5, 0.4]])
def test_loss_intervals_cover_simultaneously_as_often_as_stated(truth):
    truth = np.array(truth)
    rng, runs = np.random.default_rng(5), 200
    mixed = 0.01 * np.array([[1, 0, 0, 0], [0.5, 1, 0, 0], [0.5, 0.9, 0.4, 0], [0.2, 0, 0.3, 1]])
    hits = 0
    for _ in range(runs):
        drawn = Estimates(truth + mixed @ rng.normal(size=4), mixed @ mixed.T, 1.96)
        hits += covers(choose(drawn, 0.95), truth)
    assert hits / runs > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / runs)


def test_lower_bounds_of_losses_hold_for_ties_where_bounds_of_one_option_at_a_time_do_not():
    rng, size, runs = np.random.default_rng(6), 8, 100
    half = against_one(estimates([0] * size, 0.01), 0, 0.95)[1].max()
    spread = np.ptp(rng.normal(0, 0.01, (2000, size)), axis=1)
    assert (spread <= half).mean() < 0.9  # negative control: quantiles of one option at a time
    held = sum(
        not choose(estimates(rng.normal(0, 0.01, size), 0.01), 0.95).low.any() for _ in range(runs)
    )
    assert held / runs > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / runs)


def test_a_noisy_candidate_does_not_hide_that_an_option_is_worse():
    found = choose(Estimates(np.array([0, 0.3, 0.28]), np.diag([1e-6, 1e-6, 0.04]), 1.96), 0.95)
    assert found.candidates == [1, 2]
    assert found.low[0] == pytest.approx(0.3, abs=0.005)
    assert found.verdict(0, 0.01) == "worse"


@pytest.mark.parametrize("requests", [3, 6, 15])
def test_loss_intervals_cover_with_few_requests(requests):
    rng, runs, hits, normal = np.random.default_rng(8), 200, 0, 0
    truth = np.array([0, 0.01, 0.02, 0.02])
    mixed = 0.05 * np.array([[1, 0, 0], [0.5, 1, 0], [0.5, 0.9, 0.4], [0.2, 0, 0.3]])
    for _ in range(runs):
        rows = truth + rng.normal(size=(requests, 3)) @ mixed.T
        covariance = np.cov(rows.T) / requests
        for freedom in (requests - 1, np.inf):
            covered = covers(
                choose(Estimates(rows.mean(0), covariance, 1.96, freedom), 0.95), truth
            )
            hits += covered * (freedom < np.inf)
            normal += covered * (freedom == np.inf)
    assert hits / runs > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / runs)
    assert requests > 3 or normal / runs < 0.9  # negative control: the covariance taken as known


@pytest.mark.parametrize("freedom", [2, 10, np.inf])
def test_probability_of_being_best_follows_students_distribution(freedom):
    gap, error = 0.1, 0.05
    covariance = np.diag([error**2 / 2, error**2 / 2])
    choice = choose(Estimates(np.array([0.0, gap]), covariance, 2.0, freedom), 0.95)
    chance = stats.t.sf(gap / error, freedom)
    slack = 4 * np.sqrt(chance * (1 - chance) / DRAWS)
    assert abs(choice.probability[0] - chance) < slack
    assert freedom > 2 or abs(stats.norm.sf(gap / error) - chance) > slack  # the control


def test_verdicts_and_regret_of_a_loss():
    found = choose(estimates([0, 0.30, 0.305, 0.2], 1e-4), 0.95)
    assert [found.verdict(k, 0.01) for k in range(4)] == ["worse", "as good", "as good", "worse"]
    assert found.regret == pytest.approx(-np.expm1([-0.305, -0.005, 0, -0.105]), abs=2e-4)
    assert choose(estimates([0, 0.3, 0.305], 0.01), 0.95).verdict(1, 0.01) == "open"
    assert found.probability.sum() == pytest.approx(1)


def error(mean, half, requests=10_000, confidence=0.95, epsilon=0.005):
    quantile = stats.t.ppf((1 + confidence) / 2, requests - 1)
    return RelativeError(mean, half, quantile, requests, epsilon, confidence)


@pytest.mark.parametrize(
    ("mean", "half", "expected"),
    [
        (0.001, 0.003, "holds"),
        (0.004, 0.003, "undecided"),
        (0.009, 0.003, "fails"),
        (-0.009, 0.003, "fails"),
        (-0.002, 0.0029, "holds"),
        (0.0, 0.006, "undecided"),
    ],
)
def test_verdict_is_an_equivalence_test(mean, half, expected):
    one = error(mean, half)
    assert one.verdict == expected
    assert (one.p_value <= 0.025) == (expected != "undecided")
    assert holm_verdicts([one])[0][0] == expected


def test_requests_needed_make_the_interval_fit_the_margin():
    more = error(0.004, 0.003, 1000).requests_needed
    assert more == pytest.approx(8000, rel=0.005)
    assert error(0.005, 0.003).requests_needed is None


@pytest.mark.parametrize("requests", [2, 3, 10])
def test_requests_needed_from_few_use_the_smaller_quantile(requests):
    level, deviation = 0.975, 0.02  # of a request: 0.001 is known by 1,537 + 1 at 95 %
    half = deviation / np.sqrt(requests) * stats.t.ppf(level, requests - 1)
    few = RelativeError(0.004, half, stats.t.ppf(level, requests - 1), requests, 0.005, 0.95)
    total = requests + few.requests_needed
    assert stats.t.ppf(level, total - 1) * deviation / np.sqrt(total) <= 0.001
    assert total <= 1540


def test_holm_requires_smaller_p_values_in_larger_families():
    clear, close = error(0.0, 0.001), error(0.0, 0.0045)
    assert [v for v, _ in holm_verdicts([close])] == ["holds"]
    # p of `close` is 0.015: enough alone and as the last one left, not among ten like it
    assert 0.0125 < close.p_value < 0.025
    assert [v for v, _ in holm_verdicts([clear] * 9 + [close])] == ["holds"] * 10
    verdicts = holm_verdicts([clear] + [close] * 9)
    assert [v for v, _ in verdicts] == ["holds"] + ["undecided"] * 9
    assert all(needed > 0 for _, needed in verdicts[1:])


def test_verdicts_are_in_the_order_given_and_exact_errors_are_decided():
    known = error(0.0, 0.0), error(0.1, 0.0)
    verdicts = holm_verdicts([error(0.004, 0.003), error(0.02, 0.001), *known])
    assert [v for v, _ in verdicts] == ["undecided", "fails", "holds", "fails"]


RUNS = 1500


def wrong_families(correct, runs=RUNS, size=8):
    """Share of families with a wrong verdict, where every true error is at the tolerance."""
    rng = np.random.default_rng(11)
    wrong = 0
    for means in 0.005 + rng.normal(0, 0.001, (runs, size)):
        errors = [error(mean, 0.001 * stats.norm.ppf(0.975)) for mean in means]
        families = [errors] if correct else [[one] for one in errors]
        verdicts = [v for family in families for v, _ in holm_verdicts(family)]
        # An error at the tolerance is within it: `holds` is right just at the edge, `fails` wrong.
        wrong += "fails" in verdicts
    return wrong / runs


def test_holm_controls_the_familywise_error_rate():
    assert wrong_families(correct=True) <= 0.025 + 3.5 * np.sqrt(0.025 * 0.975 / RUNS)
    assert wrong_families(correct=False) > 0.1  # negative control


def test_intervals_of_draws_are_simultaneous_and_keep_the_sign_of_all_draws():
    rng = np.random.default_rng(5)
    base = rng.normal(size=5000)
    gains = [rng.normal(0.3, 1, 5000), rng.exponential(1, 5000), 0 * base]  # normal, skewed, none
    _, low, high = draws_against_one(np.stack([base, *(base + g for g in gains)], 1), 0, 0.9)
    inside = [
        (g >= a - 1e-12) & (g <= b + 1e-12)
        for g, a, b in zip(gains, low[1:], high[1:], strict=True)
    ]
    assert np.all(inside, axis=0).mean() == pytest.approx(0.9, abs=0.002)
    assert inside[0].mean() > 0.94  # more than 0.9 each
    assert low[2] > 0
    assert (low[[0, 3]], high[[0, 3]]) == (pytest.approx(0, abs=1e-12),) * 2
