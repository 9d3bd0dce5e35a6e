"""Quantiles of requests: right for known laws, and their intervals hold as often as they say."""

import numpy as np
import pytest
from scipy import stats

import mtpsim
from mtpsim.engine.simulate import compile_point, sample_rows
from mtpsim.stats.estimators import SHARES, quantiles
from tests.support.examples import TWO_DEEP, independent, noise

TEXT = (
    independent(0.8, 0.7)
    + TWO_DEEP
    + noise(0.3)
    + "[simulation]\nrounds = 1\nrequests = 40000\nconfidence = 0.999\n"
)


def coverage(confidence, share, runs=2000, n=200):
    """Share of samples of an exponential law whose interval holds the true quantile."""
    truth = stats.expon.ppf(share)
    samples = np.random.default_rng(1).exponential(size=(runs, n))
    found = np.stack([quantiles(row, (share,), confidence)[0] for row in samples])
    return ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_intervals_have_their_nominal_coverage(share):
    error = np.sqrt(0.95 * 0.05 / 2000)
    assert 0.95 - 3 * error < coverage(0.95, share) < 0.99
    assert coverage(0.8, share) < 0.95 - 3 * error  # the control: narrower ones do not


@pytest.mark.parametrize(("count", "confidence"), [(2, 0.5), (4, 0.875), (6, 0.96875)])
def test_interval_ends_are_the_narrowest_possible(count, confidence):
    tail = (1 - confidence) / 2
    (found,) = quantiles(np.arange(float(count)), (0.5,), confidence)
    low, high = stats.binom.ppf([tail, 1 - tail], count, 0.5).astype(int)
    assert found[1:] == pytest.approx([low - 1 if low else np.nan, high], nan_ok=True)


def test_small_samples_have_no_interval_ends():
    low, middle, high = quantiles(np.arange(50.0), (0.01, 0.5, 0.99), 0.95)
    assert np.isnan(low[1])
    assert np.isnan(high[2])
    assert np.isfinite(middle).all()
    assert middle[0] == 24


def test_times_of_one_round_have_the_quantiles_of_the_noise():
    depths = mtpsim.run(mtpsim.parse(TEXT)).points[0]["depths"]
    sigma = np.sqrt(np.log(1 + 0.3**2))
    law = stats.lognorm(sigma, scale=np.exp(-(sigma**2) / 2))
    for depth, mean in zip(depths, (76, 98, 118), strict=True):
        for share in SHARES:
            cell = depth["request_time"][f"p{100 * share:g}"]
            assert cell["low"] <= mean * law.ppf(share) <= cell["high"]
    # the control: the quantile of another share lies outside
    cell = depths[0]["request_time"]["p95"]
    assert not cell["low"] <= 76 * law.ppf(0.97) <= cell["high"]


def test_request_speed_is_tokens_over_time_with_reversed_quantiles():
    text = TEXT.replace("rounds = 1", "tokens = 64")
    plain = mtpsim.run(mtpsim.parse(text)).points[0]["depths"][0]
    for slow, fast in (("p1", "p99"), ("p50", "p50")):
        time, speed = plain["request_time"][fast], plain["request_speed"][slow]
        assert speed["mean"] == pytest.approx(64_000 / time["mean"], rel=1e-3)


def test_the_sample_is_of_the_first_requests_and_stays_small():
    work = compile_point(mtpsim.parse(TEXT.replace("40000", "400000")))
    rows = sample_rows(work.plan, 400_000)
    assert len(rows) == 50_000
    assert (sample_rows(work.plan, 100) == rows[:100]).all()
    long = compile_point(mtpsim.parse(TEXT.replace("rounds = 1", "rounds = 1000000")))
    assert len(sample_rows(long.plan, 400_000)) == 100
