"""From logs back to the model that made them."""

import json
from itertools import pairwise

import numpy as np
import pytest

from mtpsim.fit.holdout import accept_lengths
from mtpsim.fit.likelihood import Sequence, counts_of
from mtpsim.fit.mle import draws, spread
from mtpsim.fit.model import fit_log
from mtpsim.fit.model_selection import selection
from mtpsim.fit.rates import rates_of
from mtpsim.logs import Answers, read_logs
from tests.support.fitting import TRUTH, candidate, chain_of, fit, made


@pytest.mark.parametrize("name", TRUTH)
def test_the_truth_is_recovered_within_its_errors(name):
    found, evidence = fit(name, made(TRUTH[name]))
    error = np.sqrt(np.diag(spread(found, evidence)))
    sampled = draws(found, spread(found, evidence), 400)
    keys = found.candidate.keys_that_vary()
    values = [np.array([found.candidate.keys(n)[key] for n in sampled], float) for key in keys]
    for key, drawn in zip(keys, values, strict=True):
        truth = np.array(TRUTH[name][key])
        off = (np.array(found.keys[key]) - truth) / drawn.std(0)
        assert abs(off).max() < 3.5, f"{key}: {off}"
        assert (drawn.std(0) < 0.3 * abs(truth)).all()
    assert (error < 1).all()
    likely = evidence.log_likelihood(chain_of(TRUTH[name])).sum()
    assert found.log_likelihood >= likely - 1e-6
    assert found.log_likelihood < likely + 25


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Regimes from twelve short logs; errors that take requests for rounds would cover less."""
    truth, hits, narrow = TRUTH["regime2-round"], [], []
    for seed in range(12):  # verification/fit.py takes hundreds
        found, evidence = fit("regime2-round", made(truth, 60, 40, 3, seed))
        covariance = spread(found, evidence)
        sampled = np.array(
            [found.candidate.keys(n)["rates"] for n in draws(found, covariance, 300, seed)]
        )
        low, high = np.quantile(sampled, [0.025, 0.975], axis=0)
        hits.append((low <= truth["rates"]) & (truth["rates"] <= high))
        middle, half = (low + high) / 2, (high - low) / 12
        narrow.append(abs(middle - truth["rates"]) <= half)
    covered = np.mean(hits, axis=0)
    assert 0.85 < covered.mean() < 1  # 72 intervals: .95, less 3.8 standard errors
    assert (covered > 0.6).all()
    assert np.mean(narrow) < 0.6  # negative control: intervals of a sixth of the width


@pytest.mark.parametrize(
    ("name", "family"), [("independent", "independent"), ("beta", "beta"), ("regime2-round", "")]
)
def test_the_kind_of_model_is_found(name, family):
    rounds = made(TRUTH[name], 300, 50, seed=3)
    entrants = [
        candidate(n) for n in ("geometric", "independent", "beta", "regime2-round", "regime2-token")
    ]
    counts = counts_of(rounds, 3)
    rates = counts.hit.sum(0) / counts.reached.sum(0)
    found = selection(entrants, Sequence(rounds, 3), rates)
    assert found.chosen.name == name
    assert found.chosen not in found.indistinguishable_trials
    assert len(found.test) == 90
    assert not set(found.test) & set(found.train)
    if name == "regime2-round":
        far = next(t for t in found.trials if t.name == "independent")
        assert far.behind > 5 * far.error
        assert not far.as_good


def test_short_drafts_do_not_bias_rates(tmp_path):
    """Half of the rounds draft one token only; counting them as rejections at 2 would halve p2."""
    rounds = made(TRUTH["independent"], 200, 100, [1, 3])
    path = tmp_path / "log"
    parts = pairwise(rounds.begins)
    path.write_text(
        "".join(
            json.dumps(
                {"accepted": rounds.accepted[a:b].tolist(), "drafted": rounds.drafted[a:b].tolist()}
            )
            + "\n"
            for a, b in parts
        )
    )
    log = read_logs([path])
    found = rates_of(log, 0.95)
    assert found.clustered
    assert found.values == pytest.approx([0.8, 0.7, 0.75], abs=0.02)
    assert (found.low < [0.8, 0.7, 0.75]).all()
    assert (found.high > [0.8, 0.7, 0.75]).all()
    naively = (rounds.accepted >= 2).sum() / (rounds.accepted >= 1).sum()
    assert naively < 0.5
    notes = fit_log(log, only=["independent"]).notes
    assert any("drafts differ in length" in note for note in notes)


def test_rates_without_spread_are_not_taken_for_sure(tmp_path):
    """50 drafts at position 1, all accepted, none at 2, so that none came to 3."""
    path = tmp_path / "log"
    path.write_text('{"accepted": [1, 1], "drafted": [3, 3]}\n' * 25)
    found = rates_of(read_logs([path]), 0.95)
    assert found.clustered
    assert found.values[:2].tolist() == [1, 0]
    assert found.low == pytest.approx([0.9512, 0, 0], abs=1e-4)  # Jeffreys, of 50
    assert found.high == pytest.approx([1, 1 - 0.9512, 1], abs=1e-4)


def test_two_depths_tell_the_clocks_apart():
    """Rounds at depth 1 and at depth 3 of the same text: only the token clock has both p1."""
    rounds = made(TRUTH["regime2-token"], 600, 80, np.repeat([1, 3], 80))
    by_token, _ = fit("regime2-token", rounds)
    by_round, _ = fit("regime2-round", rounds)
    assert by_token.log_likelihood > by_round.log_likelihood + 20
    truth = accept_lengths(chain_of(TRUTH["regime2-token"]), 400)
    assert accept_lengths(by_token.chain, 400) == pytest.approx(truth, rel=0.01)


def test_counts_of_requests_beyond_those_kept_serve_too(tmp_path):
    """The chosen model of still requests is fitted to all of them, not to those kept in order."""
    rounds = made(TRUTH["beta"], 600, 30, seed=2)
    path = tmp_path / "log"
    path.write_text(
        "".join(
            json.dumps({"accepted": rounds.accepted[a:b].tolist(), "depth": 3}) + "\n"
            for a, b in pairwise(rounds.begins)
        )
    )
    found = fit_log(read_logs([path], Answers(), keep=100), only=["beta", "independent"])
    assert found.chosen.candidate.name == "beta"
    assert (found.fitted_to[0], found.chosen.requests) == (100, 600)
    assert found.chosen.keys["concentration"] == pytest.approx(8, rel=0.25)
