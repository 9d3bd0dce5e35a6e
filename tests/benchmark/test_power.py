"""How many requests a benchmark needs, and whether that many do."""

import json
import os

import numpy as np
import pytest
from scipy import stats

import mtpsim
from mtpsim.benchmark import power, sizes
from mtpsim.benchmark.power import Design, Planner, RequestTotals
from mtpsim.benchmark.sizes import requests_to_detect, requests_to_measure
from mtpsim.stats.estimators import Tally, delta_method
from tests.support.examples import (
    TWO_DEEP,
    acceptance,
    beta,
    independent,
    noise,
    regime,
    simulation,
)
from tests.support.fitting import json_lines
from tests.support.token_worlds import WORLDS, log_at, text_of

TIMES = TWO_DEEP + noise(0.3)
TEXT = independent(0.8, 0.7) + TIMES + simulation(rounds=50)
STATES = regime([0.95, 0.9], [0.4, 0.3], sojourn=[40, 40], clock="token")
REGIME = STATES + TIMES + simulation(tokens=100)


@pytest.fixture
def plan(monkeypatch, tmp_path, cli):
    """A function that runs `plan` for an experiment, with fewer trials."""
    monkeypatch.setattr(power, "POOL", 6000)
    monkeypatch.setattr(power, "TRIALS", 600)

    def run(text, *options):
        (tmp_path / "e.toml").write_text(text)
        return cli("plan", tmp_path / "e.toml", *options)

    return run


def power_of(requests, shift, confidence=0.95):
    """By the noncentral t distribution: the exact power of a t test."""
    critical = stats.t.ppf((1 + confidence) / 2, requests - 1)
    return stats.nct.sf(critical, requests - 1, shift * np.sqrt(requests))


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.99])
@pytest.mark.parametrize("delta", [0.01, 0.05, 0.3])
def test_size_of_a_test(delta, wanted):
    variance = 0.04
    requests = requests_to_detect(variance, delta, wanted, 0.95)
    shift = np.log1p(delta) / np.sqrt(variance)
    if requests > sizes.LEAST_REQUESTS:
        assert power_of(requests, shift) == pytest.approx(wanted, abs=0.01)
        assert power_of(requests // 2, shift) < wanted - 0.05
    else:
        assert power_of(requests, shift) >= wanted


@pytest.mark.parametrize("size", [requests_to_detect, requests_to_measure])
@pytest.mark.parametrize("variance", [1e-6, 1e-4, 0.001, 0.04])
@pytest.mark.parametrize("delta", [0.003, 0.01, 0.1, 0.2])
@pytest.mark.parametrize(("wanted", "confidence"), [(0.5, 0.95), (0.9, 0.95), (0.999, 0.9999)])
def test_one_request_fewer_is_not_enough(size, variance, delta, wanted, confidence):
    """Each normal benchmark's half-width, and how far its mean may fall short of delta."""
    requests, width = size(variance, delta, wanted, confidence), np.log1p(delta)

    def quantile(m):
        half = stats.t.ppf((1 + confidence) / 2, m - 1)
        if size is requests_to_measure:
            return half * np.sqrt(stats.chi2.ppf(wanted, m - 1) / (m - 1))
        return half + stats.t.ppf(wanted, m - 1)

    assert quantile(requests) * np.sqrt(variance / requests) <= width * (1 + 1e-9)
    if requests > sizes.LEAST_REQUESTS:
        assert quantile(requests - 1) * np.sqrt(variance / (requests - 1)) > width * (1 - 1e-9)


def narrow_enough(requests, delta):
    """Share of 4,000 benchmarks of long-tailed requests whose interval is narrow enough."""
    sd = np.random.default_rng(1).exponential(0.2, (4000, requests)).std(1, ddof=1)
    half = stats.t.ppf(0.975, requests - 1) * sd / np.sqrt(requests)
    return (half <= np.log1p(delta)).mean()


def test_size_of_an_interval_of_requests_with_long_tails():
    excess = 9 - 1  # kurtosis of the exponential distribution, less 1
    requests = requests_to_measure(0.04, 0.03, 0.9, 0.95, excess)
    error = np.sqrt(0.9 * 0.1 / 4000)
    assert narrow_enough(requests, 0.03) == pytest.approx(0.9, abs=4 * error + 0.01)
    as_normal = requests_to_measure(0.04, 0.03, 0.9, 0.95)
    assert narrow_enough(as_normal, 0.03) < 0.85  # the negative control


def test_size_of_an_interval_with_a_variance_estimated_from_few_requests():
    rng, pool = np.random.default_rng(2), 400
    variances = rng.normal(0, 0.2, (300, pool)).var(1, ddof=1)

    def reached(known):
        """Share of pools and benchmarks; the half-width has the chi-squared distribution."""
        sizes = np.array([requests_to_measure(v, 0.02, 0.9, 0.95, 2.0, known) for v in variances])
        most = np.log1p(0.02) ** 2 * sizes / stats.t.ppf(0.975, sizes - 1) ** 2
        return stats.chi2.cdf(most * (sizes - 1) / 0.04, sizes - 1).mean()

    assert reached(pool) == pytest.approx(0.9, abs=0.03)
    assert reached(np.inf) < 0.87  # the negative control


def test_kurtosis_of_the_influence_of_a_request():
    rng = np.random.default_rng(3)
    rows = np.exp(rng.normal(0, 0.01, (100_000, 4)))
    assert sizes.excess_kurtosis(rows) == pytest.approx(2, abs=0.1)
    rows[:, 1] = 1 + rng.exponential(0.1, 100_000)  # a little less, cut at one in a thousand
    assert 5 < sizes.excess_kurtosis(rows) < 8
    assert sizes.excess_kurtosis(np.ones((10, 4))) == 2


def test_two_runs_share_the_text_and_have_independent_noise():
    totals = RequestTotals(mtpsim.parse(REGIME), 2000)
    assert (totals.tokens[0] == totals.tokens[1]).all()
    assert (totals.rounds[0] == totals.rounds[1]).all()
    pace = totals.times / totals.rounds
    assert np.corrcoef(pace[0, :, 2], pace[1, :, 2])[0, 1] == pytest.approx(0, abs=0.1)
    assert np.corrcoef(pace[0, :, 2], pace[0, :, 1])[0, 1] > 0.5  # one run: common noise
    still = RequestTotals(mtpsim.parse(REGIME.replace("cv = 0.3", "cv = 0.0")), 100)
    assert (still.times[0] == still.times[1]).all()


def test_variance_of_independent_rounds_by_hand():
    """Rounds of 1 + a tokens and a time with cv .3, 50 a request, in two runs."""
    planner = Planner(mtpsim.parse(TEXT), 0.01, 0.9)
    rows = planner.pool.compared((1, 2), paired=False)
    by_hand = 0.0
    for chances in ([0.2, 0.8], [0.2, 0.24, 0.56]):
        tokens = np.arange(1, len(chances) + 1)
        mean = tokens @ chances
        by_hand += ((tokens**2 @ chances - mean**2) / mean**2 + 0.09) / 50
    assert sizes.gain_variance(rows, paired=False) == pytest.approx(by_hand, rel=0.05)
    alone = planner._design_by_rounds((1, 2))
    assert alone.requests == pytest.approx(requests_to_detect(by_hand, 0.01, 0.9, 0.95), rel=0.03)


def test_plan_has_the_stated_power(plan):
    found = Planner(mtpsim.parse(REGIME), 0.02, 0.9).compare((1, 2))
    for design in found.designs:
        error = np.sqrt(0.9 * 0.1 / design.tries)
        assert design.power == pytest.approx(0.9, abs=4 * error + 0.01)
        assert design.false == pytest.approx(0.05, abs=4 * error)
    independent, paired = found.designs
    assert paired.requests < 0.6 * independent.requests
    assert found.if_rounds.requests < 0.4 * independent.requests
    assert found.if_rounds.power < 0.7  # the negative control: rounds are no requests


def test_longer_requests_do_not_help_where_requests_differ(plan):
    text = beta(0.7, 4, 2) + TIMES + simulation(tokens=100)
    rows = Planner(mtpsim.parse(text), 0.02, 0.9).by_length((1, 2))
    assert [row.length for row in rows] == [25, 100, 400]
    assert rows[2].independent > 0.6 * rows[1].independent  # four times the tokens for little
    planner = Planner(mtpsim.parse(TEXT), 0.02, 0.9)
    rows = planner.by_length((1, 2))
    designs = [design.raised_from or design for design in planner.compare((1, 2)).designs]
    planned = [design.requests for design in designs]
    assert [rows[1].independent, rows[1].paired] == planned  # one length, one number
    assert rows[2].independent == pytest.approx(rows[0].independent / 16, rel=0.2)


def test_the_command(plan, tmp_path):
    picture = tmp_path / "plan.png"
    done = plan(REGIME, "--delta", "0.03", "--depths", "1,2", "--picture", picture)
    assert done.code == 0
    assert f"wrote {picture}\n" in done.err
    assert "to detect a difference of 3 % with probability 0.9" in done.shown
    assert "Sizes are for a difference of 3 % (--delta), not" in done.shown
    assert "depth 2 vs 1" in done.shown
    assert "treating rounds as independent gives n =" in done.shown
    assert "All requests of this model" not in done.shown
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = json.loads(plan(REGIME, "--delta", "0.03", "--json").out)
    assert found["horizon"] == {"tokens": 100}
    assert [question["depths"] for question in found["questions"]] == [[1, 2], [0, 1], [0, 2]]


def test_a_recorded_log_can_be_planned_with(plan, tmp_path):
    rng = np.random.default_rng(1)
    lines = [
        {"accepted": rng.binomial(2, rng.beta(4, 2), 40).tolist(), "depth": 2} for _ in range(60)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    text = acceptance("trace", file="log.jsonl") + TIMES + simulation(as_recorded=True)
    done = plan(text, "--depths", "1,2", "--delta", "0.05")
    assert done.code == 0
    assert "requests of their own lengths" in done.shown
    assert "All requests of this model" not in done.shown


def test_a_log_is_planned_with_its_own_requests(plan, cli, tmp_path, capsys):
    """As with the replay that `fit` writes of it; without rounds in order, the fitted model."""
    rng = np.random.default_rng(1)
    rounds = [rng.binomial(2, rng.beta(4, 2), rng.integers(5, 60)) for _ in range(60)]
    lines = [json.dumps({"accepted": one.tolist(), "depth": 2}) for one in rounds]
    log, counts = tmp_path / "log.jsonl", tmp_path / "counts.jsonl"
    log.write_text("\n".join(lines))
    row = '{{"rounds": {}, "drafted": {}, "accepted": {}}}\n'
    counts.write_text("".join(row.format(a.size, 2 * a.size, a.sum()) for a in rounds))
    times = ["--target", "20", "--verify", "22", "--draft", "1"]
    depths = ["--depths", "1,2", "--delta", "0.2"]
    found = json.loads(cli("plan", log, *times, *depths, "--json").out)
    cli("fit", log, *times, "-o", tmp_path / "f.toml", "--quiet", "--candidates", "independent")
    replay = tmp_path / "f.replay.toml"
    assert found == json.loads(cli("plan", replay, *depths, "--json").out)
    assert (found["recorded"], found["horizon"]) == (60, {})
    done = cli("plan", replay, *depths)
    assert "Resampled from 60 recorded requests" in done.shown
    model = json.loads(cli("plan", counts, *times, *depths, "--json").out)
    assert model["recorded"] == 0
    assert model["horizon"]
    done = cli("plan", replay, *times)
    assert "is an experiment; only logs take more logs and times" in done.err
    assert done.code == 2


def test_sizes_from_a_log_are_those_from_the_truth(tmp_path, cli, monkeypatch):
    """Long-tailed requests logged at depth 3; the control is a model fitted to the same log."""
    monkeypatch.setattr(power, "POOL", 6000)
    monkeypatch.setattr(power, "TRIALS", 600)
    rounds, text = log_at(text_of(WORLDS["trained"], 300, np.random.default_rng(5)), 3)
    (tmp_path / "log.jsonl").write_text(json_lines(rounds))
    parts = np.split(np.minimum(text.accepted, 3), text.offsets[1:-1])
    lines = [json.dumps({"accepted": part.tolist(), "depth": 3}) for part in parts]
    (tmp_path / "truth.jsonl").write_text("\n".join(lines))
    times = "[latency]\ntarget = 20\nverify = 22\ndraft = 1\n[simulation]\nas_recorded = true\n"
    truth = acceptance("trace", file="truth.jsonl", by="position") + times
    options = ["--target", "20", "--verify", "22", "--draft", "1", "--candidates", "independent"]
    cli("fit", tmp_path / "log.jsonl", "-o", tmp_path / "f.toml", "--quiet", *options)

    def sizes_of(experiment):
        compared = Planner(experiment, 0.02, 0.9).compare((1, 3))
        return np.array([(one.raised_from or one).requests for one in compared.designs])

    needed = sizes_of(mtpsim.parse(truth, folder=tmp_path))
    assert sizes_of(mtpsim.load(tmp_path / "f.replay.toml")) == pytest.approx(needed, rel=0.25)
    assert (sizes_of(mtpsim.load(tmp_path / "f.toml")) < 0.6 * needed).all()


def test_the_gain_of_recorded_requests_varies_over_draws_and_the_sample():
    rng = np.random.default_rng(2)
    shift = np.exp(rng.normal(0, 0.05, (24, 1)))
    rows = np.ones((24, 400, 4))
    rows[..., 2] = 1.1 * shift * np.exp(rng.normal(0, 0.4, (24, 400)))
    gain, half = sizes.recorded_gain(rows, 0.95)
    expected = 2.07 * np.hypot(0.05, 0.42 / 400**0.5)
    assert half == pytest.approx(expected, rel=0.2)
    assert gain == pytest.approx(np.log(1.1) + 0.08, abs=0.03)
    _, of_sample = sizes.recorded_gain(rows[:1], 0.95)
    assert of_sample < 0.6 * half  # the negative control: one draw


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--delta", "0"], "--delta: 0 is given"),
        (["--power", "1"], "--power: 1 is given"),
        (["--depths", "3"], "depths are 1 to 2"),
        (["--depths", "a"], "depths are 1 to 2"),
        (["--set", "sweep.simulation.rounds=[5, 9]"], "sweep"),
        (["--picture", "/nowhere/plan.png"], "can't be written"),
    ],
)
def test_wrong_options(plan, options, message):
    done = plan(TEXT, "--delta", "0.2", *options)
    assert done.code == 2
    assert message in done.err


def test_default_difference_is_marked_as_default(plan):
    done = plan(TEXT, "--depths", "1")
    assert done.code == 0
    assert "Sizes are for a difference of 1 % (the default of --delta), not" in done.shown
    assert "All requests of this model have the same acceptance rates. Real req" in done.shown


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk to write to")
def test_a_full_disk_is_an_error_message(plan, tmp_path):
    picture = tmp_path / "plan.png"
    picture.symlink_to("/dev/full")
    done = plan(TEXT, "--depths", "1,2", "--picture", picture)
    assert done.code == 2
    assert "--picture: can't be written: No space left on device" in done.err


def test_a_plan_that_decides_too_rarely_asks_for_more(plan, monkeypatch):
    """133 requests decide in 0.9 where 100 do in 0.805: (1.960 + 1.282)^2 / (1.960 + 0.860)^2."""
    short, enough = Design(True, 100, 0.805, 0.05, 2000), Design(False, 100, 0.89, 0.05, 2000)
    assert short.falls_short(0.9)
    assert not enough.falls_short(0.9)
    assert short.requests_for(0.9, 0.95) == 133
    monkeypatch.setattr(power, "requests_to_detect", lambda *_: 10)
    done = plan(TEXT, "--depths", "1,2")
    assert "Depth 2 vs 1, paired: with 10 requests" in done.shown
    assert "% of simulated benchmarks decide correctly, not 90 %; raised to" in done.shown
    for design in json.loads(plan(TEXT, "--depths", "1,2", "--json").out)["questions"][0][
        "designs"
    ]:
        assert design["raised_from"]["requests"] == 10
        assert design["power"] > 0.86
        assert design["requests"] > 100
    monkeypatch.setattr(power, "MAX_RAISES", 0)
    assert "not 90 %; plan about" in plan(TEXT, "--depths", "1,2").shown


def test_requests_that_are_all_the_same_need_the_least_number():
    assert requests_to_measure(0.0, 0.01, 0.9, 0.95, 0.0, 30) == sizes.LEAST_REQUESTS


@pytest.mark.parametrize("requests", [12, 700, 1500])
def test_simulated_benchmarks_have_the_intervals_of_the_delta_method(monkeypatch, requests):
    monkeypatch.setattr(power, "DRAWN_AT_ONCE", 1000)  # many benchmarks, or one
    monkeypatch.setattr(power, "TRIALS", 200)
    monkeypatch.setattr(power, "LEAST_TRIALS", 200)
    rows = 2 + np.random.default_rng(1).gamma(4.0, size=(500, 4))
    found, rng = power._simulated(rows, requests, 0.01, 0.9), np.random.default_rng(0)
    truth = sizes.log_gain(rows.mean(0))[0]
    assert len(found) == 200
    for gain, half_width in found:
        drawn = Tally.of(rows[rng.integers(len(rows), size=requests)])
        one = delta_method(sizes.log_gain, drawn, 0.9)
        assert gain == pytest.approx(one.values[0] - truth + 0.01, rel=1e-9)
        assert half_width == pytest.approx(one.half_width[0], rel=1e-8)
