"""Random numbers of proposed drafts: logs of a drafter simulated round by round, fitted."""

import json
import tomllib
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

import mtpsim
from mtpsim.acceptance.draft_lengths import thin
from mtpsim.cli.main import main
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.candidates import candidates
from mtpsim.fit.draft_lengths import by_drafter, draft_lengths, draft_section, has_random_lengths
from mtpsim.fit.likelihood import RoundSequence, position_counts
from mtpsim.fit.mle import _gradient, draw_parameters, fit_mle, parameter_covariance
from mtpsim.fit.model import fit_log
from mtpsim.logs import Rounds, read_logs
from mtpsim.logs.logged import LoggedRequest
from mtpsim.logs.write import WRITERS
from tests.support.fitting import LENGTHS, OFFERED, chain_of, json_lines, proposing

CALM = [[0.2, 0.2, 0.2, 0.2, 0.2]] * 2  # as many drafts in either state
REGIME = {"model": "regime", "clock": "round", "rates": OFFERED, "sojourn": [12, 18]}
NAMES = ["independent", "beta", "difficulty-round", "regime2-round", "regime3-round"]


def log_of(tmp_path, rounds):
    path = tmp_path / "log.jsonl"
    path.write_text(json_lines(rounds))
    return read_logs([path])


def begin(rounds, name):
    """A candidate, the data and where its fit begins."""
    chosen = by_drafter(rounds, 4)
    data, counts = RoundSequence(rounds, 4, chosen), position_counts(rounds, 4)
    known = candidates(4, drafted=rounds.drafted[chosen].astype(int))
    model = next(one for one in known if one.name == name)
    return model, data, model.initial(counts.hit.sum(0) / counts.reached.sum(0))[0]


def fitted(rounds, name="regime2-round"):
    model, data, first = begin(rounds, name)
    return fit_mle(model, data, [first]), data


def likelihood(law, accepted, drafted):
    """Sum over the paths of the two states, draft by draft."""
    stay, total = 1 - 1 / np.array([12, 18]), 0.0
    for path in product(range(2), repeat=len(accepted)):
        chance = [18, 12][1 - path[0]] / 30
        for before, after in pairwise(path):
            chance *= stay[before] if before == after else 1 - stay[before]
        for state, hits, proposed in zip(path, accepted, drafted, strict=True):
            rates = OFFERED[state]
            chance *= law[state][proposed] * np.prod(rates[:hits])
            chance *= 1 - rates[hits] if hits < proposed else 1
        total += chance
    return np.log(total)


def test_likelihood_is_the_sum_over_state_paths():
    rounds = proposing(5, 6, seed=3)
    chain = thin(chain_of(REGIME), np.array(LENGTHS))
    ends = list(pairwise(rounds.offsets))
    for law, same in ((LENGTHS, True), (LENGTHS[::-1], False)):
        data = RoundSequence(rounds, 4, np.ones(30, bool))
        found = data.log_likelihood(chain)
        right = [likelihood(law, rounds.accepted[a:b], rounds.drafted[a:b]) for a, b in ends]
        assert (found == pytest.approx(right, rel=1e-9)) == same


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_likelihood(name):
    model, data, first = begin(proposing(12, 30, seed=2), name)
    x = first + 0.1
    slopes = _gradient(model, data, x)[1]
    for number, step in enumerate(1e-4 * np.eye(x.size)):
        above, below = (data.log_likelihood(model.chain(x + s * step)).sum() for s in (1, -1))
        assert slopes[number] == pytest.approx((above - below) / 2e-4, rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_intervals_have_their_nominal_coverage():
    """Shares, rates and sojourns from 10 short logs; intervals of a sixth of the width miss."""
    hits, narrow = [], []
    truth = np.concatenate([np.ravel(OFFERED), [12, 18], np.ravel(LENGTHS)])
    for seed in range(10):
        fit, data = fitted(proposing(50, 60, seed=seed))
        draws = []
        for x in draw_parameters(fit, parameter_covariance(fit, data), 300, seed):
            section = fit.candidate.section(x)
            parts = section["rates"], section["sojourn"], fit.candidate.lengths.law(x)
            draws.append(np.concatenate([np.ravel(part) for part in parts]))
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        hits.append((low <= truth) & (truth <= high))
        narrow.append(np.abs((low + high) / 2 - truth) <= (high - low) / 12)
    covered = np.mean(hits, axis=0)
    assert abs(covered.mean() - 0.95) < 0.062  # 200 intervals: 4 standard errors
    assert (covered > 0.6).all()
    assert np.mean(narrow) < 0.5


def test_runs_of_long_drafts_are_recovered(tmp_path):
    """And not invented: where either state proposes as many, the model has no correlation."""
    for law, right in ((LENGTHS, 0.51), (CALM, 0.0)):
        rounds = proposing(80, 150, seed=1, law=law)
        fit = fit_log(log_of(tmp_path, rounds), only=["independent", "regime2-round"])
        assert fit.chosen.candidate.name == "regime2-round"
        assert fit.lengths.correlation == pytest.approx(right, abs=0.03)
        assert fit.lengths.model_correlation == pytest.approx(fit.lengths.correlation, abs=0.03)
        assert np.array(fit.lengths.states) == pytest.approx(np.array(law), abs=0.04)
        assert not any("outside the log's interval" in note for note in fit.notes)
        alone = draft_lengths(fit.selection.fits[0].refit, rounds, 4)
        assert alone.model_correlation == 0  # negative control: one state


def test_one_state_has_exactly_the_accept_length_of_the_log(tmp_path):
    """Its likelihood alone, which ignores that hard text has short drafts, is 4 % off."""
    rounds = proposing(40, 100, seed=5)
    fit = fit_log(log_of(tmp_path, rounds), only=["independent"])
    length = 1 + rounds.accepted.mean()
    assert solve(fit.chosen.chain, 4).accept_length == pytest.approx(length, rel=1e-5)
    by_likelihood = solve(fit.selection.chosen.refit.chain, 4).accept_length
    assert abs(by_likelihood / length - 1) > 0.02


def test_rounds_with_room_for_all_drafts_are_those_of_the_drafter():
    """After the rounds of the first request 5, 4 and 0 of its tokens are left; of the second 0."""
    rounds = Rounds(np.array([2, 0, 3, 1], np.uint8), np.full(4, 4, np.uint8), np.array([0, 3, 4]))
    assert by_drafter(rounds, 4).tolist() == [True, True, False, False]
    assert by_drafter(rounds, 5).tolist() == [True, False, False, False]


def test_ends_of_requests_are_no_random_lengths(tmp_path):
    """Rounds of four drafts, fewer where a request has fewer tokens left."""
    always = [[0, 0, 0, 0, 1.0]] * 2
    rounds = proposing(30, 200, seed=4, law=always, clip=True)
    log = log_of(tmp_path, rounds)
    assert (rounds.drafted < 4).mean() > 0.005
    assert not has_random_lengths(log)
    fit = fit_log(log, only=["tokens2"])  # as ever; not a model of random lengths
    assert fit.lengths is None
    rounds = proposing(30, 200, seed=4, law=LENGTHS, clip=True)
    log = log_of(tmp_path, rounds)
    assert has_random_lengths(log)
    law = fit_log(log, only=["regime2-round"]).lengths.states
    assert np.array(law) == pytest.approx(np.array(LENGTHS), abs=0.06)


def test_shares_in_a_file_sum_to_1():
    fit, _ = fitted(proposing(20, 40, seed=6))
    rows = np.array(draft_section(fit)["lengths"])
    assert np.abs(rows.sum(1) - 1).max() < 1e-9
    assert rows == pytest.approx(fit.candidate.lengths.law(fit.parameters), abs=1e-5)


def timed(rounds):
    """A log whose rounds take 10 ms and 1 ms per draft."""
    lines = []
    for line in json_lines(rounds).splitlines():
        request = json.loads(line)
        request["seconds"] = [0.01 + 0.001 * drafts for drafts in request["drafted"]]
        lines.append(json.dumps(request) + "\n")
    return "".join(lines)


def test_the_written_experiment_runs_as_the_log_did(tmp_path, capsys):
    rounds = proposing(60, 100, seed=8)
    (tmp_path / "log").write_text(timed(rounds))
    out = tmp_path / "fitted.toml"
    only = ["--candidates", "independent,regime2-round"]
    assert main(["fit", str(tmp_path / "log"), "-o", str(out), *only]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Proposed drafts per round are random: in state 1 (" in shown
    assert "Lag-1 correlation of their number: 0.5" in shown
    assert "The log itself runs at" not in shown  # the speeds agree
    speed = json.loads(out.with_suffix(".json").read_text())["speed"]
    ms = 10 + rounds.drafted.mean()
    assert speed["log"]["mean"] == pytest.approx(1000 * (1 + rounds.accepted.mean()) / ms)
    assert abs(speed["difference"]) < 0.02
    found = tomllib.loads(out.read_text())
    assert np.shape(found["draft"]["lengths"]) == (2, 5)
    assert found["latency"]["target"] == pytest.approx(10)
    assert found["latency"]["verify"] == pytest.approx([11, 12, 13, 14])
    assert not list(tmp_path.glob("*.replay.*"))
    assert "No posterior replay: rounds propose random numbers of drafts" in shown
    overrides = ["simulation.requests=400", "uncertainty.draws=20"]
    point = mtpsim.run(mtpsim.load(out, overrides)).data.points[0]
    cell = point.depths[4].accept_length
    assert cell.exact == pytest.approx(1 + rounds.accepted.mean(), rel=0.02)
    assert abs(cell.mean - cell.exact) < 2 * (cell.high - cell.mean)
    assert point.depths[4].round_time.exact == pytest.approx(ms, rel=0.01)
    assert "draft.lengths" in [one.key for one in point.uncertainty.inputs]


def test_total_times_give_times_by_number_of_drafts(tmp_path):
    rounds = proposing(30, 60, seed=9)
    rows = []
    for line in timed(rounds).splitlines():
        request = json.loads(line)
        rows.append({**request, "seconds": sum(request.pop("seconds"))})
    (tmp_path / "log").write_text("".join(json.dumps(row) + "\n" for row in rows))
    times = fit_log(read_logs([tmp_path / "log"]), only=["independent"]).times.by_depth
    assert times == pytest.approx({n: 10 + n for n in range(5)}, rel=1e-6)


def test_a_log_without_the_drafts_of_rounds_says_what_it_lacks(tmp_path):
    rounds = proposing(20, 50, seed=7)
    counts = {"rounds": 1000, "depth": 4, "drafted": int(rounds.drafted.sum())}
    counts["accepted"] = int(rounds.accepted.sum())
    request = LoggedRequest([0, 1, 4, 2] * 20, 4, [1.0] * 80, 200, proposed=[1, 1, 4, 4] * 20)
    by_length = "".join(WRITERS["vllm-requests-summary"]([request] * 6))
    always = {**counts, "drafted": 3990}  # negative control: the ends of requests
    for text, lacks in ((json.dumps(counts), 1), (by_length, 1), (json.dumps(always), 0)):
        (tmp_path / "log").write_text(text)
        notes = fit_log(read_logs([tmp_path / "log"])).notes
        assert any("[draft] lengths, how many each round" in note for note in notes) == lacks


def test_samples_have_the_proposed_drafts(tmp_path):
    """Those of the rounds that `mtpsim sample` writes follow the law, by state."""
    text = f"""
    acceptance = {{ model = "regime", clock = "round", rates = {OFFERED}, sojourn = [12, 18] }}
    latency = {{ target = 10, verify = [11, 12, 13, 14], draft = 0 }}
    draft = {{ lengths = {LENGTHS} }}
    simulation = {{ rounds = 100 }}
    """
    (tmp_path / "file.toml").write_text(text)
    log = tmp_path / "log"
    for form in ("rounds", "csv", "vllm-requests"):
        command = ["sample", str(tmp_path / "file.toml"), "--as", form, "-o", str(log)]
        assert main([*command, "--requests", "150"]) == 0
        found = read_logs([log]).sequence
        drafts = np.array([0.4, 0.6]) @ LENGTHS
        share = np.bincount(found.drafted, minlength=5) / found.drafted.size
        assert share == pytest.approx(drafts, abs=0.03)  # runs of 30 rounds: 4 standard errors
        assert share != pytest.approx([0, 0, 0, 0, 1], abs=0.5)  # negative control: always 4
    assert isinstance(found, Rounds)
    main([*command[:3], "llamacpp-log-debug", "-o", str(log)])
    notes = read_logs([log]).notes
    assert any("steps without drafts are not logged" in note for note in notes)


def shorter_drafts(cap, requests, *, by_text, seed, tokens=200):
    """Rounds of at most ``cap`` drafts; the state of round or text is drawn apart from numbers."""
    rng, most = np.random.default_rng(seed), 4
    law, offered = np.cumsum(LENGTHS, axis=1), np.array(OFFERED)[:, 0]
    size = tokens + most + 1
    state = (rng.random(requests) < 0.6).astype(int)
    states = np.empty((requests, size), int)
    for column in range(size):
        states[:, column] = state
        state = np.where(rng.random(requests) < 1 / np.array([12, 18])[state], 1 - state, state)
    passed = rng.random((requests, size)) < offered[states]
    at, number, each = np.zeros(requests, int), 0, np.arange(requests)
    accepted, drafted = np.zeros((2, requests, tokens), np.uint8)
    while (at < tokens).any():
        now = states[each, at if by_text else number]
        proposed = (rng.random(requests)[:, None] >= law[now]).sum(1)
        proposed = np.where(at < tokens, np.minimum(proposed, cap), 0)
        if by_text:
            hits = passed[each[:, None], np.minimum(at[:, None] + np.arange(most), size - 1)]
        else:
            hits = rng.random((requests, most)) < offered[now][:, None]
        hits = (hits & (np.arange(most) < proposed[:, None])).cumprod(1).sum(1)
        accepted[:, number], drafted[:, number] = hits, proposed
        at, number = np.where(at < tokens, at + hits + 1, tokens), number + 1
    used = np.cumsum(accepted.astype(int) + 1, axis=1)
    kept = (used - accepted - 1) < tokens
    offsets = np.concatenate([[0], np.cumsum(kept.sum(1))])
    return Rounds(accepted[kept], drafted[kept], offsets)


@pytest.mark.parametrize("by_text", [False, True], ids=["by round", "by text"])
def test_other_depths_are_those_of_the_same_drafter(by_text, tmp_path, capsys):
    """The truth is simulated with shorter drafts; a state of the text is refuted and warned of."""
    path = tmp_path / "log.jsonl"
    path.write_text(json_lines(shorter_drafts(4, 400, by_text=by_text, seed=11)))
    assert main(["fit", str(path), "--json", "--candidates", "regime2-round"]) == 0
    output = capsys.readouterr()
    report, shown = json.loads(output.out), " ".join(output.err.split())
    assert report["replay"] is None
    assert shown.index("predicted at each depth: regime2-round") < shown.index("P(accepted |")
    off = []
    for entry in report["by_depth"]:
        rounds = shorter_drafts(entry["depth"], 4000, by_text=by_text, seed=12)
        found, truth = entry["predicted"], 1 + rounds.accepted.mean()
        assert found["high"] - found["low"] < 0.08 * found["mean"]
        off.append(found["mean"] / truth - 1)
        if not by_text:
            assert found["low"] <= truth <= found["high"]
    assert (off[0] < -0.03) == by_text  # negative control: what the warning is of
    assert any("measure another depth" in text for text in report["warnings"]) == by_text


def test_a_share_of_no_rounds_is_drawn_next_to_0():
    """A state that never proposes four drafts: a normal log share would be drawn near 1."""
    never = [LENGTHS[0], [0.8, 0.1, 0.05, 0.05, 0.0]]
    fit, _ = fitted(proposing(60, 60, seed=1, law=never))
    law, x = fit.candidate.lengths, fit.parameters.copy()
    places = np.arange(x.size)[-law.size :].reshape(2, 4)
    rare = places[law.order(x)[1], list(law.numbers[1:]).index(4)]  # the parameter of this share
    x[rare] = -10.4
    covariance = np.zeros((x.size, x.size))
    covariance[rare, rare] = 36.0
    drawn = draw_parameters(replace(fit, parameters=x), covariance, 300)
    assert law.law(drawn[drawn[:, rare].argmax()])[1, 4] < 4 * 2 / 3600
    assert drawn[:, rare].std() > 1  # negative control: it varies
