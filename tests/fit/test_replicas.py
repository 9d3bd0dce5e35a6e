"""What a fitted model shows of its log, and foretells of requests that it did not see."""

import numpy as np
import pytest

from mtpsim.fit.holdout import forecasts
from mtpsim.fit.replicas import features, goodness
from mtpsim.logs import Rounds
from tests.support.fitting import TRUTH, fit, made


def test_goodness_tells_what_a_model_does_not_show():
    rounds = made(TRUTH["regime2-round"], 300, 50, seed=4)
    right, _ = fit("regime2-round", rounds)
    wrong, _ = fit("independent", rounds)
    assert all(check.fits for check in goodness(right.chain, rounds, 3, True).checks)
    misfits = {c.name for c in goodness(wrong.chain, rounds, 3, True).checks if not c.fits}
    assert {"correlation 1 apart", "spread over requests"} <= misfits
    unordered = goodness(wrong.chain, rounds, 3, False).checks
    assert not any("correlation" in check.name for check in unordered)


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


def test_only_rounds_of_a_depth_are_foretold_for_it():
    """Half of the rounds draft one token: they say nothing of depth 3."""
    rounds = made(TRUTH["independent"], 200, 50, [1, 3], seed=6)
    found, _ = fit("independent", rounds)
    rows = forecasts(found.chain, rounds, rounds, 3, 0.95)
    deep = rounds.drafted == 3
    assert rows[2].seen == pytest.approx(1 + rounds.accepted[deep].mean())
    assert rows[2].closed["conditional"] == pytest.approx(rows[2].model, abs=0.02)
    assert rows[0].seen == pytest.approx(1 + (rounds.accepted > 0).mean())


def test_held_out_requests_are_foretold():
    rounds = made(TRUTH["regime2-round"], 400, 60, seed=8)
    train, test = rounds.some(np.arange(280)), rounds.some(np.arange(280, 400))
    found, _ = fit("regime2-round", train)
    rows = forecasts(found.chain, train, test, 3, 0.99)
    for row in rows:
        assert row.low - 0.03 < row.model < row.high + 0.03
        assert row.seen == pytest.approx(1 + np.minimum(test.accepted, row.depth).mean(), rel=1e-12)
    deepest = rows[-1]
    assert deepest.closed["survival"] < deepest.low  # survival rates read as conditional
    assert deepest.closed["pooled"] < deepest.low
    assert deepest.closed["conditional"] == pytest.approx(deepest.seen, rel=0.03)
