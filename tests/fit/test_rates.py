"""Rates by position and accept lengths of a log: values and intervals, by hand."""

import json

import numpy as np
import pytest

from mtpsim.cli.main import main
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.document import uncertainty_section
from mtpsim.fit.model import fit_log
from mtpsim.fit.rates import estimate_rates
from mtpsim.logs import Answers, read_logs
from tests.support.engine_logs import windows
from tests.support.fitting import TRUTH, json_lines, simulated


def log_of(tmp_path, text, **answers):
    path = tmp_path / "log"
    path.write_text(text)
    return read_logs([path], Answers(**answers))


def test_no_accepted_draft_of_three_leaves_half_of_the_range(tmp_path):
    """Jeffreys: the 97.5 % quantile of Beta(0.5, 3.5) is 0.5356."""
    found = estimate_rates(log_of(tmp_path, '{"accepted": [0, 0, 0], "drafted": [2, 2, 2]}'), 0.95)
    assert (found.low[0], found.high[0]) == (0, pytest.approx(0.5356, abs=1e-4))
    assert (found.low[1], found.high[1]) == (0, 1)  # never reached
    assert (found.accept_length.mean, found.accept_length.low) == (1, 1)
    assert 1.5 < found.accept_length.high <= 3


def test_two_windows_with_the_same_rate_are_not_certain(tmp_path):
    """They are at least as uncertain as their 200 rounds: 160 of 200, Jeffreys."""
    found = estimate_rates(log_of(tmp_path, windows((100, [80, 40]), (100, [80, 40]))), 0.95)
    assert found.clustered
    assert [found.low[0], found.high[0]] == pytest.approx([0.7405, 0.8509], abs=2e-4)
    length = found.accept_length
    # One round accepts 0, 1 or 2 drafts with 0.2, 0.4 and 0.4: variance 2 - 1.2 ** 2 = 0.56
    half = 1.96 * np.sqrt(0.56 / 200)
    assert [length.low, length.high] == pytest.approx([2.2 - half, 2.2 + half], abs=0.01)


@pytest.mark.parametrize("accepted", [2, 0, 1])
def test_accept_lengths_lie_within_their_range(accepted, tmp_path):
    """Few requests that differ: the interval of a mean plus and minus an error would leave it."""
    lines = "".join(
        json.dumps({"accepted": [n] * 4, "drafted": [2] * 4}) + "\n"
        for n in (accepted, accepted, 1)
    )
    length = estimate_rates(log_of(tmp_path, lines), 0.95).accept_length
    assert 1 <= length.low <= length.mean <= length.high <= 3
    assert length.high - length.low > 0.5


OLD = (
    "Speculative metrics: Draft acceptance rate: {rate}, System efficiency: 0.5, Number of "
    "speculative tokens: {depth}, Number of accepted tokens: {accepted}, Number of draft tokens: "
    "{drafted}, Number of emitted tokens: {emitted}.\n"
)


def test_totals_state_how_many_rounds_reach_a_position(tmp_path, capsys):
    """1,000 rounds of 3 drafts emit 2,500 tokens: r + r^2 + r^3 = 1.5, r = 0.69141."""
    path, out = tmp_path / "log", tmp_path / "fitted.toml"
    path.write_text(OLD.format(rate=0.5, depth=3, accepted=1900, drafted=3000, emitted=2500))
    found = estimate_rates(read_logs([path]), 0.95)
    assert found.values == pytest.approx([0.69141] * 3, abs=1e-5)
    assert found.trials == pytest.approx([1000, 691.4, 478.1], abs=0.1)
    assert main(["fit", str(path), "-o", str(out), "--quiet"]) == 0
    text = out.read_text()
    assert "rate = 0.691414\ndepth = 3" in text
    assert 'inputs."acceptance.rate"]\ntrials = 2169' in text  # 1,500 accepted / r
    report = json.loads((tmp_path / "fitted.json").read_text())
    assert report["rates"]["tried"] == pytest.approx([1000, 691.4, 478.1], abs=0.1)


def test_totals_without_accepted_drafts_have_a_rate_of_zero(tmp_path):
    text = OLD.format(rate=0.05, depth=5, accepted=1, drafted=20, emitted=4)
    found = estimate_rates(log_of(tmp_path, text), 0.95)
    assert found.values.tolist() == [0] * 5
    assert found.low[0] == 0
    assert found.high[0] == pytest.approx(0.4441, abs=1e-3)  # of Beta(0.5, 4.5)


def test_rounds_without_drafts_count_at_the_setting_of_the_log(tmp_path):
    """100 rounds: 40 draft nothing; 60 draft 2, of which 30 accept both and 24 one.

    Accept length 1 + (60 + 24) / 100 = 1.84; the rounds with drafts alone have 2.4.
    """
    rounds = [(2, 2)] * 30 + [(1, 2)] * 24 + [(0, 2)] * 6 + [(0, 0)] * 40
    request = {"accepted": [a for a, _ in rounds], "drafted": [d for _, d in rounds]}
    log = log_of(tmp_path, (json.dumps(request) + "\n") * 6)
    assert log.undrafted == 240
    assert log.sequence.drafted[:100].tolist() == request["drafted"]
    found = fit_log(log, only=["independent"])
    assert found.rates.values == pytest.approx([54 / 100, 30 / 54])
    assert solve(found.chosen.chain, 2).accept_length == pytest.approx(1.84, abs=1e-3)
    assert any("40 % of rounds draft nothing" in note for note in found.notes)


def test_a_dynamic_model_predicts_the_log_with_rounds_without_drafts(tmp_path):
    rounds = simulated(TRUTH["regime2-token"], 60, 60, [3, 0, 3, 3, 0])
    log = log_of(tmp_path, json_lines(rounds))
    found = fit_log(log, only=["regime2-round"])
    length = solve(found.chosen.chain, 3).accept_length
    assert length == pytest.approx(1 + rounds.accepted.mean(), rel=0.02)
    drafting = rounds.accepted[rounds.drafted > 0].mean()
    assert length < 0.8 * (1 + drafting)  # negative control: rounds with drafts alone


def test_short_drafts_in_totals_count_at_the_setting_of_the_log(tmp_path):
    """75 rounds draft 130 of up to 8 tokens and accept 105: accept length 2.4 at that setting."""
    text = '{"timings": {"predicted_n": 181, "predicted_ms": 3500, "draft_n": 130, '
    log = log_of(tmp_path, text + '"draft_n_accepted": 105}}', depth=8)
    assert solve_at(log) == pytest.approx(2.4, rel=0.01)
    assert any("1.73 of 8 tokens on average" in note for note in fit_log(log).notes)


def totals(rng, rates, rounds=60):
    """llama.cpp requests of 60 rounds at depth 3, each with a rate of its own."""
    lines = []
    for rate in rates:
        accepted = int(np.minimum(rng.geometric(1 - rate, rounds) - 1, 3).sum())
        lines.append(
            f'{{"timings": {{"predicted_n": {1 + rounds + accepted}, "predicted_ms": 2400, '
            f'"draft_n": {3 * rounds}, "draft_n_accepted": {accepted}}}}}\n'
        )
    return "".join(lines)


@pytest.mark.parametrize("differ", [True, False])
def test_totals_show_whether_requests_differ(differ, tmp_path):
    """Rates of a beta distribution with mean 0.8 and concentration 20, against 0.8 for all."""
    rng = np.random.default_rng(4)
    rates = rng.beta(16, 4, 80) if differ else np.full(80, 0.8)
    found = fit_log(log_of(tmp_path, totals(rng, rates), depth=3))
    assert (found.chosen is not None) == differ
    if differ:
        section = found.chosen.section
        assert section["model"] == "beta"
        assert section["mean"] == pytest.approx(0.8, abs=0.03)
        assert 10 < section["concentration"] < 40
        assert any("requests, " in note and "differ by more" in note for note in found.notes)
        length = solve(found.chosen.chain, 3).accept_length
        assert length == pytest.approx(found.log.accept_length, rel=0.02)


def solve_at(log):
    return 1 + estimate_rates(log, 0.95).survival.sum()


@pytest.mark.parametrize(
    ("hits", "note"),
    [
        (
            [151, 0, 0],
            "position 2 accepts 0 of 151 drafts, position 1 accepts 76 %: the drafter is",
        ),
        ([2, 0, 0], "position 1 accepts 2 of 200 drafts: the drafter does not fit the target"),
        ([151, 20, 0], None),  # few, but not none; position 3 was tried too rarely to tell
    ],
)
def test_a_broken_drafter_is_named(hits, note, tmp_path):
    found = fit_log(log_of(tmp_path, windows((200, hits))))
    assert any(text.startswith(note or "position ") for text in found.notes) == bool(note)


def test_positions_never_reached_are_as_uncertain_as_the_one_before(tmp_path):
    """Position 2 accepts none of 151: position 3 has these trials too, not one."""
    found = fit_log(log_of(tmp_path, windows((200, [151, 0, 0]))))
    known = uncertainty_section(found, "", 1.0)["inputs"]["acceptance.rates"]
    assert known["trials"] == [200, 151, 151]
