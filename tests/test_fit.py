"""From logs back to the model that made them."""

import json
import re
from itertools import pairwise

import naive
import numpy as np
import pytest

import mtpsim
from mtpsim.acceptance import MODELS, AcceptanceChain
from mtpsim.cli import main
from mtpsim.exact import solve
from mtpsim.fit.candidates import candidates
from mtpsim.fit.choose import contest
from mtpsim.fit.evidence import Counts, Sequence, counts_of
from mtpsim.fit.forecast import accept_lengths, forecasts
from mtpsim.fit.goodness import features, goodness, replica
from mtpsim.fit.maximum import draws, maximise, spread
from mtpsim.fit.model import fit_log
from mtpsim.fit.rates import rates_of
from mtpsim.fit.times import fit_laws, latency_keys, times_of
from mtpsim.logs import Answers, Rounds, read_logs
from mtpsim.logs.write import WRITERS
from mtpsim.sample_verb import sample_requests

TRUTH = {
    "geometric": {"model": "independent", "rate": 0.7, "depth": 3},
    "decay": {"model": "decay", "first": 0.8, "factor": 0.85, "depth": 3},
    "independent": {"model": "independent", "rates": [0.8, 0.7, 0.75]},
    "beta": {"model": "beta", "mean": 0.7, "concentration": 8.0, "depth": 3},
    "beta-position": {"model": "beta", "mean": [0.8, 0.65, 0.7], "concentration": 10.0},
    "difficulty-round": {
        **{"model": "difficulty", "clock": "round", "rates": [0.8, 0.7, 0.65]},
        **{"sd": 0.8, "length": 10.0, "states": 9},
    },
    "difficulty-token": {
        **{"model": "difficulty", "clock": "token", "rates": [0.8, 0.7, 0.65]},
        **{"sd": 0.8, "length": 20.0, "states": 9},
    },
    "regime2-round": {
        **{"model": "regime", "clock": "round", "rates": [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]},
        "sojourn": [8.0, 5.0],
    },
    "regime2-token": {
        **{"model": "regime", "clock": "token", "rates": [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]},
        "sojourn": [20.0, 10.0],
    },
}


def chain_of(keys):
    return MODELS[keys["model"]].model_validate(keys).chain()


def random_chain(rng, states, depth, clock, outcomes=1):
    return AcceptanceChain(
        rng.dirichlet(np.ones(states)),
        rng.dirichlet(np.ones(states), (outcomes, states)),
        rng.uniform(0.2, 0.95, (states, depth)),
        clock,
        np.ones(states),
    )


def shape(requests, rounds, drafted):
    """Requests of so many rounds, all with the same drafts or with drafts in turn."""
    count = requests * rounds
    each = np.resize(np.atleast_1d(drafted), count).astype(np.uint8)
    return Rounds(np.zeros(count, np.uint8), each, np.arange(requests + 1) * rounds)


def made(keys, requests=400, rounds=60, drafted=3, seed=0):
    return replica(chain_of(keys), shape(requests, rounds, drafted), np.random.default_rng(seed))


def candidate(name, depth=3):
    return next(c for c in candidates(depth) if c.name == name)


def fit(name, rounds):
    evidence = Sequence(rounds, 3)
    counts = counts_of(rounds, 3)
    some = candidate(name)
    return maximise(
        some, evidence, some.starts(counts.hit.sum(0) / counts.reached.sum(0))
    ), evidence


@pytest.mark.parametrize("outcomes", [1, 2])
@pytest.mark.parametrize("clock", ["round", "token"])
def test_likelihood_is_that_of_every_path_of_states(clock, outcomes):
    rng = np.random.default_rng(5)
    for _ in range(12):
        chain = random_chain(rng, rng.integers(1, 4), 3, clock, outcomes)
        rounds = replica(chain, shape(4, 4, rng.integers(0, 4, 16)), rng)
        found = Sequence(rounds, 3).log_likelihood(chain)
        for r, (first, last) in enumerate(pairwise(rounds.begins)):
            part = rounds.drafted[first:last].tolist(), rounds.accepted[first:last].tolist()
            assert found[r] == pytest.approx(naive.log_likelihood(chain, *part), rel=1e-12)
    other = random_chain(rng, chain.states, 3, clock, outcomes)
    assert abs(found - Sequence(rounds, 3).log_likelihood(other)).max() > 0.01


def test_counts_and_rounds_agree_where_the_state_never_moves():
    rounds = made(TRUTH["beta"], 50, 20, [1, 3, 2])
    chain = chain_of(TRUTH["beta"])
    counts = counts_of(rounds, 3)
    # A step that keeps its state but for a rounding error goes round by round.
    nearly = np.eye(chain.states) * (1 - 1e-13)
    nearly[:, 0] += 1 - nearly.sum(1)
    moving = AcceptanceChain(chain.start, nearly[None], chain.accept, "round", chain.slowdown)
    assert Sequence(rounds, 3).log_likelihood(moving) == pytest.approx(
        counts.log_likelihood(chain), rel=1e-9
    )
    with pytest.raises(ValueError, match="counts can't tell"):
        counts.log_likelihood(chain_of(TRUTH["regime2-round"]))


@pytest.mark.parametrize("name", TRUTH)
def test_the_surrogate_has_the_slope_of_the_likelihood(name):
    some, evidence = candidate(name), Sequence(made(TRUTH["regime2-token"], 30, 20, [3, 1, 2]), 3)
    numbers = some.starts(np.array([0.8, 0.7, 0.6]))[0]
    total, near = evidence.surrogate(some.chain(numbers))
    assert total == pytest.approx(evidence.log_likelihood(some.chain(numbers)).sum())
    for step in 1e-4 * np.eye(numbers.size):
        above, below = (some.chain(numbers + sign * step) for sign in (1, -1))
        slope = evidence.log_likelihood(above).sum() - evidence.log_likelihood(below).sum()
        assert near(above) - near(below) == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_replicas_have_the_law_of_the_chain(clock):
    """Against the exact law and the twin that plays position by position."""
    rng = np.random.default_rng(2)
    chain = random_chain(rng, 3, 3, clock)
    found = replica(chain, shape(20_000, 12, 3), rng)
    law = solve(chain, 3, rounds=12).accepted
    share = np.bincount(found.accepted, minlength=4) / found.accepted.size
    assert share == pytest.approx(law, abs=5 * np.sqrt(1 / 20_000))
    first = found.accepted[found.begins[:-1]]
    slow = [naive.counts(rng, chain, 3, 1)[0] for _ in range(3000)]
    assert first.mean() == pytest.approx(np.mean(slow), abs=5 * np.std(slow) / 3000**0.5)
    wrong = random_chain(rng, 3, 3, clock)
    assert abs(share - solve(wrong, 3, rounds=12).accepted).max() > 5 * np.sqrt(1 / 20_000)


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
    """Regimes from 32 short logs; errors that take requests for rounds would cover less."""
    truth, hits, narrow = TRUTH["regime2-round"], [], []
    for seed in range(32):
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
    assert 0.90 < covered.mean() < 0.985
    assert (covered > 0.75).all()
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
    found = contest(entrants, Sequence(rounds, 3), rates)
    assert found.chosen.name == name
    assert found.chosen not in found.not_told_apart
    assert len(found.test) == 90
    assert not set(found.test) & set(found.train)
    if name == "regime2-round":
        far = next(t for t in found.trials if t.name == "independent")
        assert far.behind > 5 * far.error
        assert not far.as_good


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


def test_two_depths_tell_the_clocks_apart():
    """Rounds at depth 1 and at depth 3 of the same text: only the token clock has both p1."""
    rounds = made(TRUTH["regime2-token"], 600, 80, np.repeat([1, 3], 80))
    by_token, _ = fit("regime2-token", rounds)
    by_round, _ = fit("regime2-round", rounds)
    assert by_token.log_likelihood > by_round.log_likelihood + 20
    truth = accept_lengths(chain_of(TRUTH["regime2-token"]), 400)
    assert accept_lengths(by_token.chain, 400) == pytest.approx(truth, rel=0.01)


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


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("lognormal", "cv", 0.3),
        ("gamma", "cv", 0.5),
        ("exponential", "offset", 0.6),
        ("pareto", "alpha", 3.0),
    ],
)
def test_laws_of_times(name, key, value):
    rng = np.random.default_rng(1)
    sigma = np.sqrt(np.log1p(value**2))
    times = {
        "lognormal": lambda n: rng.lognormal(-(sigma**2) / 2, sigma, n),
        "gamma": lambda n: rng.gamma(value**-2, value**2, n),
        "exponential": lambda n: value + rng.exponential(1 - value, n),
        "pareto": lambda n: (1 + rng.pareto(value, n)) * (value - 1) / value,
    }[name](20_000) * 90
    best, *others = fit_laws(times)
    assert best.name == name
    assert best.keys[key] == pytest.approx(value, rel=0.05)
    assert best.distance < 0.02
    assert best.distance < min(law.distance for law in others)


def test_times_that_tell_no_law():
    assert fit_laws(np.full(100, 5.0)) == []
    assert fit_laws(np.array([1.0, 2.0])) == []


def test_latency_as_far_as_it_is_known(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        '{"accepted": [0, 1, 3], "drafted": [0, 1, 3], "seconds": [0.05, 0.06, 0.09]}\n'
    )
    times = times_of(read_logs([path]))
    keys, said = latency_keys(times, 3, None)
    assert keys == {"target": 50.0, "verify": pytest.approx([60.0, 75.0, 90.0]), "draft": 0.0}
    assert any("depth 2 were not measured" in text for text in said)
    keys, _ = latency_keys(times, 3, 40.0)
    assert keys["target"] == 40.0
    keys, said = latency_keys(times, 4, None)
    assert keys == {"target": 1.0, "verify": 1.0, "draft": 0.0}
    assert "NO TIMES were measured" in said[0]


EXPERIMENT = """
[acceptance]
model = "regime"
rates = [[0.9, 0.85, 0.8], [0.5, 0.4, 0.3]]
sojourn = [8, 5]
[latency]
target = 76
verify = [90, 104, 117]
draft = [8, 14, 22]
noise = { distribution = "gamma", cv = 0.2 }
[simulation]
tokens = 100
"""


@pytest.fixture(scope="module")
def requests():
    return list(sample_requests(mtpsim.parse(EXPERIMENT), [3], 120))


def logged(folder, form, requests):
    path = folder / f"{form}.log"
    path.write_text("".join(WRITERS[form](requests)))
    return path


@pytest.mark.parametrize("form", [form for form in WRITERS if form != "sglang-steps"])
def test_every_log_becomes_an_experiment_that_runs(form, requests, tmp_path, capsys):
    path, out = logged(tmp_path, form, requests), tmp_path / "fitted.toml"
    fast = ["--candidates", "independent"] if form in ("vllm-requests", "csv") else []
    depth = ["--depth", "3"] if form == "llamacpp-timings" else []
    command = ["fit", str(path), "-o", str(out), "--target", "76", *fast, *depth]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "fitted.json").read_text())
    experiment = mtpsim.load(out, ["simulation.precision=0.05", "uncertainty.draws=20"])
    assert experiment.uncertainty is not None
    length = report["accept_length"]["mean"]
    truth = 1 + sum(r.hits for r in requests) / sum(r.rounds for r in requests)
    assert length == pytest.approx(truth, rel=0.01)
    exact = solve(experiment.acceptance.chain(), 3).accept_length
    assert exact == pytest.approx(truth, rel=0.06)
    if report["times"]["by_depth"]:
        assert report["times"]["by_depth"]["3"] == pytest.approx(139, rel=0.02)
        assert experiment.latency.times(3)[0][-1] == pytest.approx(139, rel=0.02)


def test_the_fitted_experiment_carries_its_uncertainty(requests, tmp_path, capsys):
    path, out = logged(tmp_path, "rounds", requests), tmp_path / "fitted.toml"
    names = "independent,regime2-round"
    assert main(["fit", str(path), "-o", str(out), "--target", "76", "--candidates", names]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Chosen: regime2-round" in shown
    assert "Its noise is gamma (cv" in shown
    for picture in ("fitted.png", "fitted.times.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    settings = ["simulation.requests=400", "uncertainty.draws=20"]
    text = out.read_text().replace("precision = 0.002\n", "")
    (point,) = mtpsim.run(mtpsim.parse(text, folder=tmp_path, overrides=settings)).points
    inputs = {entry["key"]: entry for entry in point["uncertainty"]["inputs"]}
    assert set(inputs) == {"acceptance.rates", "acceptance.sojourn"}
    assert len(inputs["acceptance.rates"]["sd"]) == 6
    assert min(inputs["acceptance.rates"]["sd"]) > 0.002
    deepest = point["uncertainty"]["depths"][3]["speedup"]
    assert deepest["low"] < deepest["mean"] < deepest["high"]


def test_a_fit_without_a_file_stands_alone(requests, tmp_path, capsys):
    path = logged(tmp_path, "sglang-requests", requests)
    assert main(["fit", str(path), "--quiet"]) == 0
    text = capsys.readouterr().out
    experiment = mtpsim.parse(text)
    assert experiment.latency.times(3)[0].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert "NO TIMES were measured" in text
    assert "can't show correlation from round to round" in text


def test_few_samples_that_are_kept_need_a_file_beside_them(tmp_path, capsys):
    path = tmp_path / "log"
    path.write_text('{"accepted": [1, 0], "drafted": [2, 2], "seconds": [0.1, 0.2]}\n' * 6)
    assert main(["fit", str(path), "--keep-samples", "--quiet", "--target", "50"]) == 0
    assert mtpsim.parse(capsys.readouterr().out).latency.noise is None


def test_logs_with_step_times_and_with_an_experiment(requests, tmp_path, capsys):
    steps = tmp_path / "steps.csv"
    steps.write_text(
        "batch,depth,verify\n"
        + "".join(f"{b},{k},{6 + 0.1 * b * (k + 1)}\n" for b in (1, 8, 64) for k in range(4))
    )
    path, out = logged(tmp_path, "trtllm-requests", requests), tmp_path / "fitted.toml"
    before = set(tmp_path.iterdir())
    assert main(["fit", str(path), str(steps), "-o", str(out)]) == 0
    (wrote,) = re.findall("^wrote (.*)$", capsys.readouterr().err, re.M)
    assert set(wrote.split(", ")) == {str(new) for new in set(tmp_path.iterdir()) - before}
    experiment = mtpsim.load(out)
    assert experiment.latency.times(3)[0] == pytest.approx([6.1, 6.2, 6.3, 6.4], abs=1e-3)
    assert (tmp_path / "fitted.steps.png").exists()
    like = tmp_path / "like.toml"
    like.write_text(EXPERIMENT)
    assert main(["fit", str(path), "--like", str(like), "-o", str(out)]) == 0
    experiment = mtpsim.load(out)
    assert sum(experiment.latency.times(3)).tolist() == [76, 98, 118, 139]
    assert experiment.simulation.tokens == 100
    capsys.readouterr()


def test_totals_say_what_they_can_not(requests, tmp_path, capsys):
    path, out = logged(tmp_path, "vllm-bench", requests), tmp_path / "fitted.toml"
    assert main(["fit", str(path), "-o", str(out), "--design-effect", "4"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "too narrow by 1.4 to 26 times" in shown
    spread_of = mtpsim.load(out).uncertainty.inputs["acceptance.rates"]
    assert spread_of.design_effect == 4
    assert spread_of.tried[0] == sum(r.rounds for r in requests)


def test_totals_of_requests_have_the_interval_of_requests(requests, tmp_path, capsys):
    path, out = logged(tmp_path, "llamacpp-timings", requests), tmp_path / "fitted.toml"
    assert main(["fit", str(path), "-o", str(out), "--depth", "3", "--quiet"]) == 0
    known = mtpsim.load(out).uncertainty.inputs["acceptance.rates"]
    hits, rounds = (np.array([getattr(r, n) for r in requests]) for n in ("hits", "rounds"))
    off = hits - hits.sum() / rounds.sum() * rounds
    error = np.sqrt((off**2).sum() * 120 / 119) / rounds.sum()  # of A / N, by hand
    low, high = (sum(np.cumprod([rate] * 3)) for rate in (known.low[0], known.high[0]))
    assert high - low == pytest.approx(2 * 1.98 * error, rel=0.03)
    few = logged(tmp_path, "rounds", requests[:3])
    assert main(["fit", str(few)]) == 0
    assert "3 requests tell little" in " ".join(capsys.readouterr().err.split()).lower()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--candidates", "regime"], "'regime' is none of geometric"),
        (["--candidates", "regime2"], "did you mean 'regime2-"),
        (["--holdout", "1"], "a share from 0 to 0.9"),
        (["--design-effect", "0.5"], "at least 1"),
        (["--target", "0"], "above 0 ms"),
        (["--depth", "0"], "a whole number from 1 to 64"),
        (["--rounds", "-5"], "a whole number from 1"),
        (["--format", "vllm"], "'vllm' is none of"),
        (["--out", "/nowhere/fitted.toml"], "can't be written"),
        (["--like", "/nowhere/like.toml"], "No such file"),
        (["--experts", "8"], "give both"),
    ],
)
def test_wrong_options(options, message, requests, tmp_path, capsys):
    path = logged(tmp_path, "rounds", requests[:20])
    fast = [] if "--candidates" in options else ["--candidates", "geometric"]
    assert main(["fit", str(path), *fast, *options]) == 2
    assert message in capsys.readouterr().err


def test_few_requests_are_judged_by_bic(requests, tmp_path, capsys):
    path = logged(tmp_path, "rounds", requests[:12])
    assert main(["fit", str(path), "--candidates", "geometric,independent"]) == 0
    assert "by BIC alone" in " ".join(capsys.readouterr().err.split())


def test_windows_are_the_units_of_a_log_of_windows(requests, tmp_path):
    found = fit_log(read_logs([logged(tmp_path, "vllm-log", requests)]))
    assert found.contest is not None
    assert {t.name for t in found.contest.trials} == {"geometric", "decay", "independent"}
    assert any("windows pool many requests" in note for note in found.notes)


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


def test_a_histogram_is_foretold_too(requests, tmp_path):
    found = fit_log(read_logs([logged(tmp_path, "sglang-requests", requests)]), holdout=0.4)
    assert [row.depth for row in found.forecasts] == [1, 2, 3]
    assert len(found.contest.test) == 48
    for row in found.forecasts:
        assert row.model == pytest.approx(row.seen, rel=0.06)
    assert not any(name.startswith("regime") for name in found.goodness)


def test_counts_hold_no_more_than_they_should():
    counts = Counts(np.array([[4, 3]]), np.array([[3, 1]]))
    chain = chain_of({"model": "independent", "rates": [0.75, 1 / 3]})
    expected = np.log([0.75**3 * 0.25 * (1 / 3) * (2 / 3) ** 2])
    assert counts.log_likelihood(chain) == pytest.approx(expected)


def test_the_example_of_the_readme(tmp_path, capsys):
    """The shipped log gives the shipped experiment, as the README tells it."""
    out = tmp_path / "chat.toml"
    logs = [f"experiments/logs/{name}" for name in ("chat.jsonl.zst", "steps.csv")]
    assert main(["fit", *logs, "-o", str(out), "--json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["candidates"]) == 11
    assert report["chosen"] == "regime2-token"
    shipped = mtpsim.load("experiments/from_log.toml")
    found = mtpsim.load(out)
    for key in ("rates", "sojourn"):
        one, two = (np.array(getattr(e.acceptance, key)) for e in (found, shipped))
        assert one == pytest.approx(two, rel=0.01)
    assert found.latency.base == pytest.approx(shipped.latency.base)
    truth = mtpsim.load("experiments/logs/truth.toml").acceptance
    sampled = found.uncertainty.sampled
    off = (np.ravel(truth.rates) - np.ravel(found.acceptance.rates)) / sampled[
        "acceptance.rates"
    ].std(0)
    assert abs(off).max() < 3
