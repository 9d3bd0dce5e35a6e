"""Equivalence verdicts, alone and together."""

import numpy as np
import pytest
from scipy import stats

from mtpsim.stats.comparisons import RelativeError, holm_verdicts


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


def test_requests_needed_shrink_the_interval_to_the_room_there_is():
    more = error(0.004, 0.003, 1000).requests_needed
    assert more == pytest.approx(8000, rel=0.005)
    assert error(0.005, 0.003).requests_needed is None


@pytest.mark.parametrize("requests", [2, 3, 10])
def test_requests_needed_from_a_few_count_on_a_narrower_quantile(requests):
    level, deviation = 0.975, 0.02  # of a request: 0.001 is known by 1,537 + 1 at 95 %
    half = deviation / np.sqrt(requests) * stats.t.ppf(level, requests - 1)
    few = RelativeError(0.004, half, stats.t.ppf(level, requests - 1), requests, 0.005, 0.95)
    total = requests + few.requests_needed
    assert stats.t.ppf(level, total - 1) * deviation / np.sqrt(total) <= 0.001
    assert total <= 1540


def test_together_each_needs_a_smaller_p_value():
    clear, close = error(0.0, 0.001), error(0.0, 0.0045)
    assert [v for v, _ in holm_verdicts([close])] == ["holds"]
    # p of `close` is 0.015: enough alone and as the last one left, not among ten like it
    assert 0.0125 < close.p_value < 0.025
    assert [v for v, _ in holm_verdicts([clear] * 9 + [close])] == ["holds"] * 10
    verdicts = holm_verdicts([clear] + [close] * 9)
    assert [v for v, _ in verdicts] == ["holds"] + ["undecided"] * 9
    assert all(needed > 0 for _, needed in verdicts[1:])


def test_judged_in_the_order_given_and_certain_errors_need_no_noise():
    verdicts = holm_verdicts(
        [error(0.004, 0.003), error(0.02, 0.001), error(0.0, 0.0), error(0.1, 0.0)]
    )
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


def test_families_are_wrong_as_rarely_as_stated_and_without_holm_more_often():
    assert wrong_families(correct=True) <= 0.025 + 3.5 * np.sqrt(0.025 * 0.975 / RUNS)
    assert wrong_families(correct=False) > 0.1  # negative control
