"""Goodness of fit by replicas, and predictions of held-out requests."""

import numpy as np
import pytest

from mtpsim.fit.holdout import predict_held_out
from mtpsim.fit.likelihood import position_counts
from mtpsim.fit.replicas import compare_replicas, features, simulate_sample
from mtpsim.logs import Rounds
from tests.support.fitting import TRUTH, chain_of, fit, simulated


def test_replicas_of_a_wrong_model_fail_checks():
    rounds = simulated(TRUTH["regime2-round"], 300, 50, seed=4)
    right, _ = fit("regime2-round", rounds)
    wrong, _ = fit("independent", rounds)
    assert not compare_replicas(right.chain, rounds, 3).failed
    failed = {c.name for c in compare_replicas(wrong.chain, rounds, 3).failed}
    assert {"correlation 1 apart", "spread over requests"} <= failed
    unordered = compare_replicas(wrong.chain, position_counts(rounds, 3), 3).checks
    assert not any(check.kind == "correlation" for check in unordered)


def test_features_of_a_small_log():
    rounds = Rounds(
        np.array([3, 0, 1, 1], np.uint8), np.array([3, 3, 3, 1], np.uint8), np.array([0, 3, 4])
    )
    found = features(rounds, 3)
    assert found.histogram.tolist() == [0.25, 0.5, 0, 0.25]
    assert found.rates.tolist() == [0.75, 0.5, 1.0]
    assert found.length == pytest.approx(2.25)
    assert found.spread == pytest.approx(np.std([4 / 3, 1.0]))
    centred = np.array([1.75, -1.25, -0.25])
    lag = np.mean([centred[0] * centred[1], centred[1] * centred[2]]) / np.var([3, 0, 1, 1])
    assert found.autocorrelation[0] == pytest.approx(lag)
    assert np.isnan(found.autocorrelation[2:]).all()


def test_deeper_predictions_ignore_short_rounds():
    """Half of the rounds draft one token."""
    rounds = simulated(TRUTH["independent"], 200, 50, [1, 3], seed=6)
    found, _ = fit("independent", rounds)
    rows = predict_held_out(found.chain, train=rounds, test=rounds, depth=3, confidence=0.95)
    deep = rounds.drafted == 3
    assert rows[2].observed.mean == pytest.approx(1 + rounds.accepted[deep].mean())
    assert rows[2].closed_form["conditional"] == pytest.approx(rows[2].model, abs=0.02)
    assert rows[0].observed.mean == pytest.approx(1 + (rounds.accepted > 0).mean())


def test_held_out_accept_lengths_are_predicted():
    rounds = simulated(TRUTH["regime2-round"], 400, 60, seed=8)
    train, test = rounds.subset(np.arange(280)), rounds.subset(np.arange(280, 400))
    found, _ = fit("regime2-round", train)
    rows = predict_held_out(found.chain, train=train, test=test, depth=3, confidence=0.99)
    for row in rows:
        length = 1 + np.minimum(test.accepted, row.depth).mean()
        assert row.observed.low - 0.03 < row.model < row.observed.high + 0.03
        assert row.observed.mean == pytest.approx(length, rel=1e-12)
    closed_form, observed = rows[-1].closed_form, rows[-1].observed
    assert closed_form["survival"] < observed.low  # survival rates used as conditional ones
    assert closed_form["pooled"] < observed.low
    assert closed_form["conditional"] == pytest.approx(observed.mean, rel=0.03)


@pytest.mark.parametrize("drafted", [3, [1, 3]])
def test_replicas_of_counts_have_the_features_of_replicas_of_rounds(drafted):
    """Requests that differ, with full and with short drafts; means of 200 replicas of each."""
    chain, rng = chain_of(TRUTH["beta"]), np.random.default_rng(5)
    like = simulated(TRUTH["beta"], 60, 40, drafted)
    means = []
    for form in (like, position_counts(like, 3)):
        found = [features(simulate_sample(chain, form, rng), 3) for _ in range(200)]
        means.append(np.array([[*f.histogram, *f.rates, f.spread, f.length] for f in found]))
    one, two = means
    error = np.sqrt((one.var(0) + two.var(0)) / 200)
    assert (abs(one.mean(0) - two.mean(0)) < 4 * error + 1e-12).all()
    other = simulate_sample(chain_of(TRUTH["independent"]), position_counts(like, 3), rng)
    assert abs(features(other, 3).spread - one.mean(0)[-2]) > 4 * one.std(0)[-2]  # no spread


def test_the_autocorrelation_of_counts_is_not_computed():
    """It cost over a minute for a day of log windows, which have no order of rounds."""
    found = features(position_counts(simulated(TRUTH["beta"], 5, 10), 3), 3)
    assert np.isnan(found.autocorrelation).all()
