"""Token chains from counts without the order of rounds."""

import json

import numpy as np
import pytest
from scipy.special import ndtri, stdtrit

import mtpsim
from mtpsim.cli.main import main
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.aggregated_chain import DepthCounts, _sample, depth_counts, fit_aggregated
from mtpsim.fit.chain_report import chain_draws, chain_report
from mtpsim.formula.closed_form import accept_length as closed_form
from mtpsim.logs import read_logs
from tests.support.engine_logs import windows
from tests.support.token_worlds import WORLDS, accept_length, log_at, text_of


def counts_of(text, depth):
    accepted = log_at(text, depth)[0].accepted
    survival = [float((accepted >= j).mean()) for j in range(1, depth + 1)]
    return DepthCounts.of_survival(survival, 1000)


@pytest.fixture(scope="module", params=["trained", "lookup"])
def text(request):
    return text_of(WORLDS[request.param], 400, np.random.default_rng(3))


@pytest.mark.parametrize("name", ["chain", "lookup"])
def test_logs_of_made_up_engines_are_not_biased_by_their_ends(name):
    """The last round is logged too: it is longer than others, as it reaches the end."""
    text = text_of(WORLDS[name], 400, np.random.default_rng(3))
    rounds, played = log_at(text, 7)
    ends = np.cumsum(np.diff(rounds.offsets)) - 1
    assert 1 + rounds.accepted.mean() == pytest.approx(accept_length(text, 7), rel=0.003)
    assert 1 + rounds.accepted.mean() == pytest.approx(accept_length(played, 7))
    without = np.delete(rounds.accepted, ends).mean() + 1
    assert without < 0.995 * accept_length(text, 7)  # control


@pytest.mark.parametrize("depths", [(7,), (3,), (1, 7)])
def test_depths_below_are_predicted_from_counts(text, depths):
    """Within 1.5 %; the closed form of the deepest depth's rates is off by twice as much."""
    found = fit_aggregated([counts_of(text, k) for k in depths])
    ours, errors = [], []
    for depth in range(1, depths[-1] + 2):
        at, truth = found.predict(depth), accept_length(text, depth)
        assert at.low < truth < at.high
        assert at.mean == pytest.approx(truth, rel=0.015)
        if depth <= depths[-1]:
            survival = 1 - np.cumsum(found.counts[-1].accepted)[:-1]
            rates = survival / np.append(1.0, survival[:-1])
            ours.append(abs(at.mean / truth - 1))
            errors.append(abs(closed_form(rates)[depth] / truth - 1))
    assert max(errors) > 2 * max(ours)


def test_a_second_depth_and_more_rounds_narrow_the_interval(text):
    deep, shallow = counts_of(text, 7), counts_of(text, 2)
    few = DepthCounts(7, 100.0, deep.accept_length, deep.accepted)

    def width(*counts):
        at = fit_aggregated(list(counts)).predict(2)
        return at.high - at.low

    assert width(deep, shallow) < width(deep) < width(few)


def test_an_accept_length_alone_has_its_error_and_the_prior():
    """At its depth the interval is that of the rounds; without rounds it is the prior's."""
    found = fit_aggregated([DepthCounts(3, 400.0, 2.5)])
    at = found.predict(3)
    assert at.mean == pytest.approx(2.5, abs=0.02)
    law = mtpsim_law(found, 3)
    error = np.sqrt((law @ np.arange(4) ** 2 - (law @ np.arange(4)) ** 2) / 400)
    assert (at.high - at.low) / 3.92 == pytest.approx(error, rel=0.15)
    assert found.predict(7).high - found.predict(7).low > 3 * (at.high - at.low)


def mtpsim_law(found, depth):
    draws = range(0, len(found.level), 100)
    return np.mean([solve(found.chain(n).chain(depth), depth).accepted for n in draws], axis=0)


def test_draws_do_not_depend_on_the_start_and_are_repeatable(text):
    counts = [counts_of(text, 5)]
    one, same, other = (fit_aggregated(counts, seed) for seed in (0, 0, 1))
    assert (one.level == same.level).all()
    for depth in (1, 3, 9):
        a, b = one.predict(depth), other.predict(depth)
        assert a.mean == pytest.approx(b.mean, abs=0.1 * (a.high - a.low))
    assert one.shift[:, 0] == pytest.approx(0)
    assert (np.diff(one.shift, axis=1) <= 0).all()
    assert (np.diff(one.level, axis=1) <= 0).all()
    assert _sample(counts, np.random.default_rng(0)).shape == (64 * 60, 8)


def test_counts_that_no_chain_has_are_named():
    odd = DepthCounts.of_survival([0.7, 0.2, 0.2, 0.02], 2000)
    assert any("a feature that the chain lacks" in note for note in fit_aggregated([odd]).misfit())
    few = DepthCounts(4, 10.0, odd.accept_length, odd.accepted)
    assert not fit_aggregated([few]).misfit()


def test_windows_that_differ_are_worth_fewer_rounds(tmp_path):
    """Windows of 100 rounds at two rates: by the variance between windows, worth far less.

    Student's quantile widens the interval of few windows.
    """
    path = tmp_path / "server.log"
    path.write_text(windows(*[(100, [80, 60]), (100, [40, 20])] * 10))
    log = read_logs([path])
    (found,) = depth_counts(log)
    variance = 0.4 * 0 + 0.2 * 1 + 0.4 * 4 - 1.0  # shares 0.4, 0.2, 0.4 of 0, 1, 2 accepted
    assert found.accepted == pytest.approx([0.4, 0.2, 0.4])
    expected = variance / (0.4**2 / 19) * (ndtri(0.975) / stdtrit(19, 0.975)) ** 2
    assert found.rounds == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("hits", [[[72, 52], [58, 38], [65, 45]], [[124], [96], [110]]])
def test_a_chain_is_no_surer_than_the_windows_it_was_fitted_to(hits, tmp_path):
    """Three windows that differ: by position, and as totals."""
    path = tmp_path / "log"
    if len(hits[0]) > 1:
        path.write_text(windows(*[(100, row) for row in hits]))
    else:
        lines = [{"rounds": 100, "accepted": total, "depth": 2} for (total,) in hits]
        path.write_text("\n".join(map(json.dumps, lines)))
    log = read_logs([path])
    fit = fit_aggregated(depth_counts(log))
    drawn, shown = fit.predict(2), chain_report(log, fit, np.array([0.6, 0.6])).depths[1]
    assert drawn.high - drawn.low > 0.9 * (shown.measured.high - shown.measured.low)
    assert shown.predicted.low <= shown.measured.low < shown.measured.high <= shown.predicted.high


def test_rates_that_give_other_accept_lengths_are_named(text, tmp_path):
    """In the experiment's first lines too; counts at depth 1 have no depth below (control)."""
    for depth, named in ((7, True), (1, False)):
        survival = [float(s) for s in 1 - np.cumsum(counts_of(text, depth).accepted)[:-1]]
        path, out = tmp_path / "rates.json", tmp_path / "fitted.toml"
        path.write_text(json.dumps({"rates": survival, "rates_are": "survival", "rounds": 5000}))
        assert main(["fit", str(path), "-o", str(out), "--quiet"]) == 0
        assert ("rates by position give an accept length" in out.read_text()) == named


def test_the_chain_is_written_as_an_experiment(tmp_path, capsys):
    path, out = tmp_path / "server.log", tmp_path / "fitted.toml"
    path.write_text(windows(*[(100, [78, 60, 46])] * 12))
    times = ["--target", "20", "--verify", "24"]
    assert main(["fit", str(path), "-o", str(out), *times]) == 0
    assert "token chain, given counts without the order" in capsys.readouterr().out
    entries = json.loads(out.with_suffix(".json").read_text())["other_depths"]["depths"]
    assert [entry["extrapolated"] for entry in entries] == [False] * 3 + [True] * 4
    settings = ["simulation.precision=0.05", "uncertainty.draws=50"]
    experiment = mtpsim.load(out.with_suffix(".tokens.toml"), settings)
    chain = experiment.acceptance.chain()
    for entry in entries[:3]:
        length = solve(chain, entry["depth"]).accept_length
        assert length == pytest.approx(entry["predicted"]["mean"], rel=0.01)
    depths = mtpsim.run(experiment).document["points"][0]["depths"]
    assert depths[3]["accept_length"]["mean"] == pytest.approx(2.84, abs=0.15)
    assert len(out.with_suffix(".tokens.csv").read_text().splitlines()) == 501
    assert len(chain_draws(fit_aggregated(depth_counts(read_logs([path]))), 3)) == 500
