"""Fits recover the model that a log was simulated from."""

import numpy as np
import pytest

from mtpsim.fit.holdout import accept_lengths
from mtpsim.fit.likelihood import RoundSequence, position_counts
from mtpsim.fit.mle import draw_parameters, parameter_covariance
from mtpsim.fit.model import fit_log
from mtpsim.fit.model_selection import select_model
from mtpsim.fit.rates import estimate_rates
from mtpsim.logs import read_logs
from tests.support.fitting import TRUTH, candidate, chain_of, fit, json_lines, simulated


@pytest.mark.parametrize("name", TRUTH)
def test_true_parameters_are_within_their_standard_errors(name):
    found, data = fit(name, simulated(TRUTH[name]))
    covariance = parameter_covariance(found, data)
    draws = draw_parameters(found, covariance, 400)
    keys = found.candidate.fitted_keys
    values = [np.array([found.candidate.section(x)[key] for x in draws], float) for key in keys]
    for key, drawn in zip(keys, values, strict=True):
        truth = np.array(TRUTH[name][key])
        off = (np.array(found.section[key]) - truth) / drawn.std(0)
        assert abs(off).max() < 3.5, f"{key}: {off}"
        assert (drawn.std(0) < 0.3 * abs(truth)).all()
    assert (np.sqrt(np.diag(covariance)) < 1).all()
    likely = data.log_likelihood(chain_of(TRUTH[name])).sum()
    assert found.log_likelihood >= likely - 1e-6
    assert found.log_likelihood < likely + 25


def test_intervals_have_their_nominal_coverage():
    """Regimes from twelve short logs; errors not clustered by request would cover less."""
    truth, hits, narrow = TRUTH["regime2-round"], [], []
    for seed in range(12):  # verification/fit.py takes hundreds
        found, data = fit("regime2-round", simulated(truth, 60, 40, 3, seed))
        draws = draw_parameters(found, parameter_covariance(found, data), 300, seed)
        rates = np.array([found.candidate.section(x)["rates"] for x in draws])
        low, high = np.quantile(rates, [0.025, 0.975], axis=0)
        hits.append((low <= truth["rates"]) & (truth["rates"] <= high))
        middle, half = (low + high) / 2, (high - low) / 12
        narrow.append(abs(middle - truth["rates"]) <= half)
    covered = np.mean(hits, axis=0)
    assert 0.85 < covered.mean() < 1  # 72 intervals: 0.95 - 3.8 standard errors
    assert (covered > 0.6).all()
    assert np.mean(narrow) < 0.6  # negative control: intervals of a sixth of the width


@pytest.mark.parametrize("name", ["independent", "beta", "regime2-round"])
def test_true_model_is_selected(name):
    rounds = simulated(TRUTH[name], 300, 50, seed=3)
    names = ("geometric", "independent", "beta", "regime2-round", "regime2-token")
    counts = position_counts(rounds, 3)
    rates = counts.hit.sum(0) / counts.reached.sum(0)
    found = select_model([candidate(n) for n in names], RoundSequence(rounds, 3), rates)
    assert found.chosen.name == name
    assert found.chosen not in found.indistinguishable
    assert len(found.test) == 90
    assert not set(found.test) & set(found.train)
    if name == "regime2-round":
        far = next(f for f in found.fits if f.name == "independent")
        assert far.behind > 5 * far.behind_se
        assert not far.is_near_best


def test_short_drafts_do_not_bias_rates(tmp_path):
    """Half of the rounds draft one token only; counting them as rejections at 2 would halve p2."""
    rounds = simulated(TRUTH["independent"], 200, 100, [1, 3])
    path = tmp_path / "log"
    path.write_text(json_lines(rounds))
    log = read_logs([path])
    found = estimate_rates(log, 0.95)
    assert found.clustered
    assert found.values == pytest.approx([0.8, 0.7, 0.75], abs=0.02)
    assert (found.low < [0.8, 0.7, 0.75]).all()
    assert (found.high > [0.8, 0.7, 0.75]).all()
    naively = (rounds.accepted >= 2).sum() / (rounds.accepted >= 1).sum()
    assert naively < 0.5
    notes = fit_log(log, only=["independent"]).notes
    assert any("draft lengths differ" in note for note in notes)


def test_rates_of_0_and_1_have_intervals_of_binomial_width(tmp_path):
    """50 drafts at position 1 are all accepted, none at 2, and none reach 3."""
    path = tmp_path / "log"
    path.write_text('{"accepted": [1, 1], "drafted": [3, 3]}\n' * 25)
    found = estimate_rates(read_logs([path]), 0.95)
    assert found.clustered
    assert found.values[:2].tolist() == [1, 0]
    assert found.low == pytest.approx([0.9512, 0, 0], abs=1e-4)  # Jeffreys, of 50
    assert found.high == pytest.approx([1, 1 - 0.9512, 1], abs=1e-4)


def test_counts_at_two_depths_identify_the_clock():
    """Rounds at depth 1 and at depth 3: only the token clock has both first-position rates."""
    rounds = simulated(TRUTH["regime2-token"], 600, 80, np.repeat([1, 3], 80))
    by_token, _ = fit("regime2-token", rounds)
    by_round, _ = fit("regime2-round", rounds)
    assert by_token.log_likelihood > by_round.log_likelihood + 20
    truth = accept_lengths(chain_of(TRUTH["regime2-token"]), 400)
    assert accept_lengths(by_token.chain, 400) == pytest.approx(truth, rel=0.01)


def test_static_models_are_refitted_to_the_counts_of_all_requests(tmp_path):
    """Not only to the requests whose rounds are kept."""
    rounds = simulated(TRUTH["beta"], 600, 30, seed=2)
    path = tmp_path / "log"
    path.write_text(json_lines(rounds))
    found = fit_log(read_logs([path], keep=100), only=["beta", "independent"])
    assert found.chosen.candidate.name == "beta"
    assert (found.requests_fitted, found.chosen.requests) == (100, 600)
    assert found.chosen.section["concentration"] == pytest.approx(8, rel=0.25)
