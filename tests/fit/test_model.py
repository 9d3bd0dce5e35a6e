"""Fits recover the model that a log was simulated from: likelihood, selection, goodness of fit."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, logit

from mtpsim.acceptance import AcceptanceChain
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.document import samples_csv
from mtpsim.fit.holdout import accept_lengths, predict_held_out
from mtpsim.fit.likelihood import RoundSequence, position_counts
from mtpsim.fit.mle import draw_parameters, parameter_covariance
from mtpsim.fit.model import fit_log
from mtpsim.fit.model_selection import select_model
from mtpsim.fit.rates import estimate_rates
from mtpsim.fit.replicas import compare_replicas, features, simulate_replica, simulate_sample
from mtpsim.logs import Rounds, read_logs
from tests.support import naive
from tests.support.fitting import TRUTH, candidate, chain_of, fit, json_lines, shape, simulated
from tests.support.random_chains import random_chain


@pytest.mark.parametrize("outcomes", [1, 2])
@pytest.mark.parametrize("clock", ["round", "token"])
def test_likelihood_is_the_sum_over_state_paths(clock, outcomes):
    rng = np.random.default_rng(5)
    for _ in range(12):
        chain = random_chain(rng, clock, rng.integers(1, 4), 3, outcomes)
        rounds = simulate_replica(chain, shape(4, 4, rng.integers(0, 4, 16)), rng)
        found = RoundSequence(rounds, 3).log_likelihood(chain)
        for r, (first, last) in enumerate(pairwise(rounds.offsets)):
            part = rounds.drafted[first:last].tolist(), rounds.accepted[first:last].tolist()
            assert found[r] == pytest.approx(naive.log_likelihood(chain, *part), rel=1e-12)
    other = random_chain(rng, clock, chain.states, 3, outcomes)
    assert abs(found - RoundSequence(rounds, 3).log_likelihood(other)).max() > 0.01


def test_counts_and_rounds_agree_for_static_chains():
    rounds = simulated(TRUTH["beta"], 50, 20, [1, 3, 2])
    chain = chain_of(TRUTH["beta"])
    counts = position_counts(rounds, 3)
    # A step that differs from the identity by rounding only is evaluated round by round.
    nearly = np.eye(chain.states) * (1 - 1e-13)
    nearly[:, 0] += 1 - nearly.sum(1)
    dynamic = AcceptanceChain(chain.start, nearly[None], chain.accept, "round", chain.slowdown)
    found = RoundSequence(rounds, 3).log_likelihood(dynamic)
    assert found == pytest.approx(counts.log_likelihood(chain), rel=1e-9)
    with pytest.raises(ValueError, match="counts have no likelihood"):
        counts.log_likelihood(chain_of(TRUTH["regime2-round"]))


@pytest.mark.parametrize("name", TRUTH)
def test_surrogate_has_the_gradient_of_the_likelihood(name):
    model = candidate(name)
    data = RoundSequence(simulated(TRUTH["regime2-token"], 30, 20, [3, 1, 2]), 3)
    parameters = model.initial(np.array([0.8, 0.7, 0.6]))[0]
    total, surrogate = data.surrogate(model.chain(parameters))
    assert total == pytest.approx(data.log_likelihood(model.chain(parameters)).sum())
    for step in 1e-4 * np.eye(parameters.size):
        above, below = (model.chain(parameters + sign * step) for sign in (1, -1))
        slope = data.log_likelihood(above).sum() - data.log_likelihood(below).sum()
        assert surrogate(above) - surrogate(below) == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_replicas_follow_the_distribution_of_the_chain(clock):
    """Against the exact distribution and the naive simulator, position by position."""
    rng = np.random.default_rng(2)
    chain = random_chain(rng, clock, 3, 3, 1)
    found = simulate_replica(chain, shape(20_000, 12, 3), rng)
    law = solve(chain, 3, rounds=12).accepted
    share = np.bincount(found.accepted, minlength=4) / found.accepted.size
    assert share == pytest.approx(law, abs=5 * np.sqrt(1 / 20_000))
    first = found.accepted[found.offsets[:-1]]
    slow = [naive.counts(rng, chain, 3, 1)[0] for _ in range(3000)]
    assert first.mean() == pytest.approx(np.mean(slow), abs=5 * np.std(slow) / 3000**0.5)
    wrong = random_chain(rng, clock, 3, 3, 1)
    assert abs(share - solve(wrong, 3, rounds=12).accepted).max() > 5 * np.sqrt(1 / 20_000)


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


def test_shifts_of_a_token_chain_are_fitted_at_two_depths(tmp_path):
    """Drafts that are all as good as the first; a factor of typical shifts could not say so."""
    logits = np.array([[2.5], [-1.0]]) - [0.0, 1.0, 1.0]
    truth = {**TRUTH["tokens2"], "rates": expit(logits).tolist()}
    rounds = simulated(truth, 300, 60, np.repeat([1, 3], 60))
    (tmp_path / "log").write_text(json_lines(rounds))
    found = fit_log(read_logs([tmp_path / "log"]), only=["tokens2"], holdout=0)
    fitted = logit(np.array(found.chosen.section["rates"]))
    assert fitted == pytest.approx(logits, abs=0.4)
    assert fitted[0] - fitted[1] == pytest.approx(fitted[0, 0] - fitted[1, 0])
    header, *lines = samples_csv(found.chosen.candidate, found.draws).splitlines()
    names, draws = header.split(","), np.loadtxt(lines, delimiter=",")
    rows = [names.index(f"acceptance.step[0][{to}]") for to in (0, 1)]
    assert draws[:, rows].sum(1) == pytest.approx(1, abs=1e-10)


def test_a_model_that_misses_the_recorded_depth_is_named(tmp_path):
    """A log whose accept length no decay of rates has; independent rates have it (control)."""
    rounds = simulated({**TRUTH["independent"], "rates": [0.4, 0.95, 0.95]}, 300, 60)
    (tmp_path / "log").write_text(json_lines(rounds))
    log = read_logs([tmp_path / "log"])
    wrong, right = (fit_log(log, only=[name]).notes for name in ("geometric", "independent"))
    assert any("geometric expects an accept length of" in note for note in wrong)
    assert not any("expects an accept length" in note for note in right)


def test_intervals_have_their_nominal_coverage():
    """Regimes from eight short logs; errors not clustered by request would cover less."""
    truth, hits, narrow = TRUTH["regime2-round"], [], []
    for seed in range(8):  # verification/fit.py takes hundreds
        found, data = fit("regime2-round", simulated(truth, 60, 40, 3, seed))
        draws = draw_parameters(found, parameter_covariance(found, data), 300, seed)
        rates = np.array([found.candidate.section(x)["rates"] for x in draws])
        low, high = np.quantile(rates, [0.025, 0.975], axis=0)
        hits.append((low <= truth["rates"]) & (truth["rates"] <= high))
        middle, half = (low + high) / 2, (high - low) / 12
        narrow.append(abs(middle - truth["rates"]) <= half)
    covered = np.mean(hits, axis=0)
    assert 0.83 < covered.mean() < 1  # 48 intervals: 0.95 - 3.8 standard errors
    assert (covered > 0.5).all()
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
    (tmp_path / "log").write_text(json_lines(rounds))
    log = read_logs([tmp_path / "log"])
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
    (tmp_path / "log").write_text(json_lines(rounds))
    log = read_logs([tmp_path / "log"], keep=100)
    found = fit_log(log, only=["beta", "independent"])
    assert found.chosen.candidate.name == "beta"
    assert (found.requests_fitted, found.chosen.requests) == (100, 600)
    assert found.chosen.section["concentration"] == pytest.approx(8, rel=0.25)


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
    rounds = Rounds(*(np.array(a) for a in ([3, 0, 1, 1], [3, 3, 3, 1], [0, 3, 4])))
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


def test_errors_of_held_out_predictions_have_their_stated_standard_error():
    """Errors in stated standard errors have variance 1; that of the mean of 50 squares is 0.2."""
    squares = []
    for seed in range(50):
        rounds = simulated(TRUTH["beta"], 60, 20, seed=seed)
        train, test = rounds.subset(np.arange(40)), rounds.subset(np.arange(40, 60))
        found, _ = fit("independent", train)
        row = predict_held_out(found.chain, train=train, test=test, depth=3, confidence=0.95)[-1]
        squares.append(((row.model - row.observed.mean) / row.error) ** 2)
    assert abs(np.mean(squares) - 1) < 4 * 0.2
    assert 3 * np.mean(squares) > 1 + 4 * 0.2  # negative control: an error 3 ** 0.5 times as small


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
